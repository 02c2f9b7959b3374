#!/usr/bin/env bash
# Runs a Python test beside it; the standard library is enough: run_test.sh X_test.py
set -euo pipefail
export PYTHONDONTWRITEBYTECODE=1
exec python3 "$(dirname "${BASH_SOURCE[0]}")/$1" -v
