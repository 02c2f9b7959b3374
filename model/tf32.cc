#include "model/tf32.h"

#include <ATen/Context.h>

namespace grpo {

Tf32Scope::Tf32Scope(bool on)
    : changed_(on && at::globalContext().float32MatmulPrecision() == at::Float32MatmulPrecision::HIGHEST) {
  if (changed_) at::globalContext().setFloat32MatmulPrecision("high");
}

Tf32Scope::~Tf32Scope() {
  if (changed_) at::globalContext().setFloat32MatmulPrecision("highest");
}

}  // namespace grpo
