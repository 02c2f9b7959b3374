"""A precompiled header: the compiler's memory after it has read what many files include.

GCC looks for one beside the header that -include names (.bazelrc), in the folders that a target's dependencies put on its include path, and takes it if
it was made with the target's own options. So whoever depends on the rule below, at whatever distance, has it; all others find GCC's own <iso646.h>,
which is empty in C++, as ours is. Clang has third_party/clang look for it.
"""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "CPP_COMPILE_ACTION_NAME")
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def _precompiled_header_impl(ctx):
    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    context = cc_common.merge_cc_infos(cc_infos = [dep[CcInfo] for dep in ctx.attr.deps]).compilation_context
    included = ctx.actions.declare_file(ctx.label.name + "/iso646.h")
    precompiled = ctx.actions.declare_file(ctx.label.name + "/iso646.h.gch")
    dependencies = ctx.actions.declare_file(ctx.label.name + "/iso646.h.d")
    ctx.actions.write(included, "")

    # The command line of a cc_library without copts, so that both have the same options in every configuration. With -MD the precompiled header knows
    # what it was made from, and -fpch-deps (.bazelrc) tells Bazel so of every file that takes it: a new LibTorch compiles them again.
    for_clang = ["-fpch-instantiate-templates"] if toolchain.compiler.startswith("clang") else []
    variables = cc_common.create_compile_variables(
        feature_configuration = features,
        cc_toolchain = toolchain,
        source_file = ctx.file.header.path,
        output_file = precompiled.path,
        user_compile_flags = ctx.fragments.cpp.copts + ctx.fragments.cpp.cxxopts + ["-x", "c++-header", "-MD", "-MF", dependencies.path] + for_clang,
        quote_include_directories = context.quote_includes,
        system_include_directories = context.system_includes,
        preprocessor_defines = context.defines,
    )
    ctx.actions.run(
        mnemonic = "CppPrecompile",
        executable = cc_common.get_tool_for_action(feature_configuration = features, action_name = CPP_COMPILE_ACTION_NAME),
        arguments = cc_common.get_memory_inefficient_command_line(
            feature_configuration = features,
            action_name = CPP_COMPILE_ACTION_NAME,
            variables = variables,
        ),
        inputs = depset([ctx.file.header], transitive = [context.headers, toolchain.all_files]),
        outputs = [precompiled, dependencies],
    )
    return CcInfo(compilation_context = cc_common.create_compilation_context(
        headers = depset([ctx.file.header, included, precompiled]),
        system_includes = depset([precompiled.dirname]),
    ))

precompiled_header = rule(
    implementation = _precompiled_header_impl,
    attrs = {
        "header": attr.label(allow_single_file = [".h"], mandatory = True, doc = "Includes what is to be precompiled."),
        "deps": attr.label_list(providers = [CcInfo]),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)
