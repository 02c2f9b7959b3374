// SHA-256 by OpenSSL. One thread per object.
#ifndef GRPO_COMMON_SHA256_H_
#define GRPO_COMMON_SHA256_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Update(absl::string_view bytes);
  // 64 lower-case hex digits; ends the computation.
  std::string Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string Sha256Hex(absl::string_view bytes);

}  // namespace grpo

#endif  // GRPO_COMMON_SHA256_H_
