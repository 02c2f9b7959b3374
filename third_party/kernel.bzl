"""Kernels written with the compiler's vector types (model/simd.h): inlining and vectorising them needs more than Bazel's -O2.

GCC would take a header that was precompiled with -O2 for -O3 too, and optimise less; GRPO_KERNEL makes it refuse (third_party/precompiled_torch.h).
"""

KERNEL = ["-O3", "-Wno-psabi", "-DGRPO_KERNEL"]
