#!/usr/bin/env bash
# The committed reference says what the options structs say.
#   config_reference_test.sh GENERATOR REFERENCE.md
set -euo pipefail
if ! diff -u "$2" <("$1"); then
  echo "configs/REFERENCE.md (-) is not what the options say (+). Write it anew:" >&2
  echo "  bazel build //tools/reference:config_reference && bazel-bin/tools/reference/config_reference > configs/REFERENCE.md" >&2
  exit 1
fi
