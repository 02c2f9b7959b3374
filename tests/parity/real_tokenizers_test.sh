#!/usr/bin/env bash
# Compares the real tokenizers of Qwen and Mistral NeMo with the goldens: makes their tokenizer.json from the packages in .venv and runs
# tokenizer_test on them.
set -euo pipefail
folder=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
packages=${folder}/../../.venv/lib/python3.11/site-packages
for package in dashscope mistral_common; do
  if [[ ! -d ${packages}/${package} ]]; then
    echo "there is no ${packages}/${package}: run tools/setup" >&2
    exit 1
  fi
done
export PYTHONDONTWRITEBYTECODE=1
files=()
for name in qwen2 tekken; do
  python3 tools/parity/tokenizer_files.py "${name}" "${packages}" "${TEST_TMPDIR}/${name}.json"
  files+=("${name}=${TEST_TMPDIR}/${name}.json")
done
exec tests/parity/tokenizer_test "${files[@]}"
