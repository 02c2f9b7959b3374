#!/usr/bin/env bash
# A production binary neither holds the armed failpoints nor heeds their environment; a twin does both.
#   production_test.sh BINARY... --twins TWIN...
set -uo pipefail

# An armed process aborts at its start on a list that it cannot read.
export GRPO_FAILPOINTS=nonsense
readonly exit_aborted=134

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

armed=no
for binary in "$@"; do
  if [[ ${binary} == --twins ]]; then
    armed=yes
    continue
  fi
  holds=no
  if grep -qa GRPO_FAILPOINT "${binary}"; then holds=yes; fi
  "${binary}" --help >/dev/null 2>&1
  code=$?
  echo "${binary}: holds the environment's name: ${holds}, exit code ${code}"
  [[ ${holds} == "${armed}" ]] || fail "${binary} should be armed: ${armed}"
  if [[ ${armed} == yes ]]; then
    [[ ${code} -eq ${exit_aborted} ]] || fail "${binary} did not heed GRPO_FAILPOINTS"
  else
    [[ ${code} -eq 0 ]] || fail "${binary} heeded GRPO_FAILPOINTS"
  fi
done
[[ ${armed} == yes ]] || fail "no twins given"
