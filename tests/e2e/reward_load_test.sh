#!/usr/bin/env bash
# A reward server under load keeps generous bounds.
set -euo pipefail
exec tools/reward_bench --seconds 3 --min-items-per-second 2000 --max-p99-ratio 20 --max-growth-mib 64
