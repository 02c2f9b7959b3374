#!/usr/bin/env bash
# Runs a Python test beside it with the interpreter that tools/setup made, which has grpcio: run_test.sh X_test.py
set -euo pipefail
folder=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
python=${folder}/../../.venv/bin/python
if [[ ! -x ${python} ]]; then
  echo "there is no ${python}: run tools/setup" >&2
  exit 1
fi
export PYTHONDONTWRITEBYTECODE=1
exec "${python}" "${folder}/$1" -v
