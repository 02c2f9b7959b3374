"""LibTorch from the pip wheel that tools/setup put into .venv; its folder comes as --repo_env=LIBTORCH.

Only the headers of ATen, c10, torch and caffe2 are exposed: the wheel also carries an old google/protobuf, which breaks
gRPC's headers once it is on the include path.
"""

def _libtorch_impl(ctx):
    home = ctx.os.environ.get("LIBTORCH", "")
    if not home or not ctx.path(home + "/lib/libtorch_cpu.so").exists:
        fail("LibTorch was not found at LIBTORCH='%s': run tools/setup" % home)
    for folder in ["ATen", "c10", "torch", "caffe2"]:
        ctx.symlink(home + "/include/" + folder, "include/" + folder)
    ctx.file("BUILD", """
cc_library(
    name = "torch",
    hdrs = glob(["include/**/*.h", "include/**/*.hpp"]),
    # The Gloo backend lives in libtorch_cpu.so, its headers in Debian's libgloo-dev.
    defines = ["USE_C10D_GLOO", "USE_DISTRIBUTED"],
    includes = ["include", "include/torch/csrc/api/include"],
    linkopts = ["-L%s/lib", "-Wl,-rpath,%s/lib", "-ltorch_cpu", "-lc10"],
    visibility = ["//visibility:public"],
)
""" % (home, home))

libtorch = repository_rule(
    implementation = _libtorch_impl,
    environ = ["LIBTORCH"],
    local = True,
)
