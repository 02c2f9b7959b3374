#!/usr/bin/env bash
# Runs the test of the Python client with the interpreter that tools/setup made, which has grpcio.
set -euo pipefail
folder=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
export PYTHONDONTWRITEBYTECODE=1
exec "${folder}/../../.venv/bin/python" "${folder}/grpo_client_test.py" -v
