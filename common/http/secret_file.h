// A key that is kept in a file of its own, so that it stands in no configuration, no command line and no log.
#ifndef GRPO_COMMON_HTTP_SECRET_FILE_H_
#define GRPO_COMMON_HTTP_SECRET_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace grpo::http {

// The file's one line, without blanks around it. NotFound when there is no such file; PermissionDenied when it cannot
// be read, or when its group or others may (chmod 600); InvalidArgument when it is empty, longer than 16 KiB, no file,
// or holds anything but printable ASCII in one line. No message holds any of its content. Thread-safe.
absl::StatusOr<std::string> ReadSecretFile(const std::string& path);

// `text` with every occurrence of `secret` blotted out: servers like to say what they were sent. An empty secret
// changes nothing. Pure.
std::string WithoutSecret(std::string text, const std::string& secret);

}  // namespace grpo::http

#endif  // GRPO_COMMON_HTTP_SECRET_FILE_H_
