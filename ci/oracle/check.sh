#!/usr/bin/env bash
# Asks the pinned llama.cpp for every token golden again and compares, byte for byte.
#
# Usage: check.sh MODEL.gguf...
#
# The golden of a model is the one that holds its SHA-256.
# Environment:
#   LAB_ORACLE_MODELS  models to check when no argument is given, separated by colons
#   LAB_ORACLE_VENV    virtual environment to make or reuse (default: a temporary one)
#   PYTHON             interpreter, 3.11 or newer, that makes it (default: python3)
# Exit code: 0 all agree, 1 something differs or failed, 2 wrong usage.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
goldens=$(cd "$here/../../crates/lab-model/tests/data" && pwd)
install_timeout_seconds=600

fail() {
    echo "check: $1" >&2
    exit "${2:-1}"
}

make_venv() {
    local venv=$1
    [[ -x $venv/bin/python ]] || "${PYTHON:-python3}" -m venv "$venv"
    timeout "$install_timeout_seconds" "$venv/bin/python" -m pip install --quiet \
        --disable-pip-version-check --no-deps --requirement "$here/requirements.txt" ||
        fail "cannot install $(basename "$here")/requirements.txt"
}

golden_of() {
    local model=$1 digest
    digest=$(sha256sum <"$model" | cut -d' ' -f1)
    grep --files-with-matches --max-count=1 "\"model_sha256\": \"$digest\"" "$goldens"/tokens_*.json ||
        fail "no token golden for \`$model\` (sha256 $digest)"
}

check_model() {
    local model=$1 golden fresh
    golden=$(golden_of "$model")
    fresh=$scratch/$(basename "$golden")
    "$venv/bin/python" -B "$here/tokens.py" --model "$model" --out "$fresh" ||
        fail "cannot ask llama.cpp about \`$model\`"
    diff --unified=0 --label committed --label llama.cpp "$golden" "$fresh" ||
        fail "\`$model\`: $(basename "$golden") differs from llama.cpp"
    echo "check: $(basename "$golden") agrees with llama.cpp"
}

models=("$@")
if ((${#models[@]} == 0)); then
    IFS=: read -ra models <<<"${LAB_ORACLE_MODELS:-}"
fi
((${#models[@]} > 0)) || fail "no model given, expected MODEL.gguf... or LAB_ORACLE_MODELS" 2
for model in "${models[@]}"; do
    [[ -f $model ]] || fail "no model file \`$model\`" 2
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
venv=${LAB_ORACLE_VENV:-$scratch/venv}
make_venv "$venv"
for model in "${models[@]}"; do
    check_model "$model"
done
