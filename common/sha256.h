// SHA-256 by OpenSSL. One thread per object.
#ifndef GRPO_COMMON_SHA256_H_
#define GRPO_COMMON_SHA256_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

// SHA-256 by OpenSSL of bytes that come in parts. One thread per object.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  // Any number of parts; how the bytes are cut makes no difference.
  void Update(absl::string_view bytes);
  // 64 lower-case hex digits; ends the computation. Nothing but the destructor may follow.
  std::string Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// The digest of one text, as Finish writes it. Pure; any thread.
std::string Sha256Hex(absl::string_view bytes);

}  // namespace grpo

#endif  // GRPO_COMMON_SHA256_H_
