"""Apache Arrow from PyPI's pyarrow wheel, which tools/setup put into .venv; its folder comes as --repo_env=ARROW.

The wheel holds libarrow and libparquet with their headers, each under a name with its version. Debian has neither.
"""

def _arrow_impl(ctx):
    home = ctx.os.environ.get("ARROW", "")
    if not home or not ctx.path(home + "/include/parquet").exists:
        fail("Apache Arrow was not found at ARROW='%s': run tools/setup" % home)
    libraries = []
    for library in ["libarrow.so.", "libparquet.so."]:
        # pip leaves no link without a version; libarrow_compute and its like have other prefixes.
        found = sorted([file.basename for file in ctx.path(home).readdir() if file.basename.startswith(library)], key = len)
        if not found:
            fail("%s has no %s*: run tools/setup" % (home, library))
        libraries.append(found[0])
    for folder in ["arrow", "parquet"]:
        ctx.symlink(home + "/include/" + folder, "include/" + folder)
    ctx.file("BUILD", """
cc_library(
    name = "parquet",
    hdrs = glob(["include/**/*.h"]),
    includes = ["include"],
    linkopts = ["-L%s", "-Wl,-rpath,%s", %s],
    visibility = ["//visibility:public"],
)
""" % (home, home, ", ".join(['"-l:%s"' % library for library in reversed(libraries)])))

arrow = repository_rule(
    implementation = _arrow_impl,
    environ = ["ARROW"],
    local = True,
)
