#!/usr/bin/env bash
# The committed page says what its generator says.
#   generated_docs_test.sh GENERATOR PAGE
set -euo pipefail
if ! diff -u "$2" <("$1"); then
  generator=${1#*tools/reference/}
  echo "$2 (-) is not what the code says (+). Write it anew:" >&2
  echo "  bazel build //tools/reference:${generator} && bazel-bin/tools/reference/${generator} > $2" >&2
  exit 1
fi
