"""cc_library for .proto files by Debian's protoc and grpc_cpp_plugin."""

def grpc_cc_library(name, protos, deps = [], visibility = None):
    """All `protos` of this package as one library; other packages' protos are not imported."""
    outs = []
    for proto in protos:
        stem = proto[:-len(".proto")]
        outs += [stem + suffix for suffix in [".pb.h", ".pb.cc", ".grpc.pb.h", ".grpc.pb.cc"]]
    native.genrule(
        name = name + "_gen",
        srcs = protos,
        outs = outs,
        cmd = "protoc -I. -I/usr/include --cpp_out=$(GENDIR) --grpc_out=$(GENDIR) " +
              "--plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin $(SRCS)",
    )
    native.cc_library(
        name = name,
        srcs = [out for out in outs if out.endswith(".cc")],
        hdrs = [out for out in outs if out.endswith(".h")],
        copts = ["-w"],
        visibility = visibility,
        deps = deps,
    )
