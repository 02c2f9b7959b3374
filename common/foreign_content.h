// Files that are not what their names say, because something else was downloaded in their place.
#ifndef GRPO_COMMON_FOREIGN_CONTENT_H_
#define GRPO_COMMON_FOREIGN_CONTENT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

// "is a Git LFS pointer ...: fetch the file itself with `git lfs pull`" for a file that begins as a pointer, a web page
// or a packed archive does; empty for anything else. The first kilobyte of the file is enough. The text goes on a
// message after the path; it also names ZIP, Zstandard, XZ and bzip2 (gzip is read, see common/gzip.h). Pure; any
// thread.
std::string ForeignContent(absl::string_view content);

}  // namespace grpo

#endif  // GRPO_COMMON_FOREIGN_CONTENT_H_
