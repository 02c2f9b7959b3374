"""LibTorch from the pip wheel that tools/setup put into .venv; its folder comes as --repo_env=LIBTORCH.

A wheel of the CUDA build also gives :torch_cuda, which adds NCCL; NVIDIA's headers and libraries come as wheels beside it.

Only the headers of ATen, c10, torch and caffe2 are exposed: the wheel also carries an old google/protobuf, which breaks
gRPC's headers once it is on the include path.
"""

def _libtorch_impl(ctx):
    home = ctx.os.environ.get("LIBTORCH", "")
    if not home or not ctx.path(home + "/lib/libtorch_cpu.so").exists:
        fail("LibTorch was not found at LIBTORCH='%s': run tools/setup" % home)
    for folder in ["ATen", "c10", "torch", "caffe2"]:
        ctx.symlink(home + "/include/" + folder, "include/" + folder)
    runtimes = [entry.basename for entry in ctx.path(home + "/lib").readdir() if entry.basename.startswith("libgomp")]
    if len(runtimes) != 1:
        fail("LibTorch at %s should bring one OpenMP run time, it has %s" % (home, runtimes))
    cuda = ""
    if ctx.path(home + "/lib/libtorch_cuda.so").exists:
        nvidia = home + "/../nvidia"
        for package, folder in {"nccl": "nccl", "cuda": "cu13"}.items():
            if ctx.path(nvidia + "/" + folder + "/include").exists:
                ctx.symlink(nvidia + "/" + folder + "/include", "nvidia/" + package)
        cuda = """
cc_library(
    name = "torch_cuda",
    hdrs = glob(["nvidia/**"]),
    defines = ["USE_C10D_NCCL"],
    includes = ["nvidia/nccl", "nvidia/cuda"],
    # What the driver brings is not there where this is built.
    linkopts = [
        "-L%s/lib", "-L%s/nccl/lib", "-Wl,-rpath,%s/nccl/lib",
        "-Wl,--no-as-needed", "-ltorch_cuda", "-lc10_cuda", "-l:libnccl.so.2", "-Wl,--as-needed",
        "-Wl,--unresolved-symbols=ignore-in-shared-libs",
    ],
    visibility = ["//visibility:public"],
    deps = [":torch"],
)
""" % (home, nvidia, nvidia)
    ctx.file("BUILD", """
load("@//third_party:precompiled.bzl", "precompiled_header")

cc_library(
    name = "headers",
    hdrs = glob(["include/**/*.h", "include/**/*.hpp"]),
    # The Gloo backend lives in libtorch_cpu.so, its headers in Debian's libgloo-dev.
    defines = ["USE_C10D_GLOO", "USE_DISTRIBUTED"],
    includes = ["include", "include/torch/csrc/api/include"],
)

precompiled_header(
    name = "precompiled",
    header = "@//third_party:precompiled_torch.h",
    deps = [":headers"],
)

cc_library(
    name = "torch",
    # LibTorch's own OpenMP: what is compiled with third_party/openmp.bzl computes on the same threads.
    linkopts = ["-L%s/lib", "-Wl,-rpath,%s/lib", "-ltorch_cpu", "-lc10", "-l:%s"],
    visibility = ["//visibility:public"],
    deps = [":headers"] + select({
        "@//third_party:sanitized": [],
        "//conditions:default": [":precompiled"],
    }),
)
""" % (home, home, runtimes[0]) + cuda)

libtorch = repository_rule(
    implementation = _libtorch_impl,
    environ = ["LIBTORCH"],
    local = True,
)
