"""OpenMP for the targets that call at::parallel_for: ATen's header runs on one thread in what is compiled without it.

The run time is the one that LibTorch brings and computes with (third_party/libtorch.bzl); model/threads.h checks that no second one is there.
"""

# The sanitizers do not know libgomp's locks.
OPENMP = select({
    "//third_party:sanitized": [],
    "//conditions:default": ["-fopenmp"],
})
