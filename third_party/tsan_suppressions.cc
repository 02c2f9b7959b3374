// What the thread sanitizer keeps to itself, in `bazel test --config=tsan`: Debian's libraries are not built for it, so it sees none of
// their locking. A report with a frame of such a library is about the library's own business. Tests that serve over gRPC are left out
// (no_tsan in coordinator/BUILD says why).
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:libgrpc.so\n"
         "race:libgrpc++.so\n"
         "race:libgpr.so\n"
         "race:libupb.so\n";
}
