// What most files that see LibTorch include, precompiled (third_party/precompiled.bzl). A file still includes what it
// uses: OpenMP, kernels, other compilers and sanitizers do without this one.
#define GRPO_PRECOMPILED_TORCH
// Read here so that GCC refuses this header for whoever defines it (third_party/kernel.bzl).
#ifdef GRPO_KERNEL
#error "kernels are compiled without it"
#endif

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
