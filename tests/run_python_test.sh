#!/usr/bin/env bash
# Runs a Python test; the standard library is enough: run_python_test.sh tests/x/y_test.py
set -euo pipefail
export PYTHONDONTWRITEBYTECODE=1
exec python3 "$1" -v
