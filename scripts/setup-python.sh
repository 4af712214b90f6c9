#!/bin/bash
# Makes .venv and installs the project into it, with what the demo and the tests need.
# Usage: scripts/setup-python.sh [EXTRAS]     (default: envoy; as in envoy,dev)
# Skipped when pyproject.toml and the extras are those of the last time.
set -euo pipefail
cd "$(dirname "$0")/.."

extras=${1:-envoy}
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup-python: Python 3.11 or later is needed, $("$python" --version) is here (set PYTHON=…)" >&2
    exit 1
}
wanted="$extras $(sha256sum < pyproject.toml) $PWD"
have=$(cat .venv/.installed 2>/dev/null || true)
# What was installed with more extras serves those that ask for fewer.
if [ "$have" = "$wanted" ] || [[ "$have" == "$extras",*" ${wanted#* }" ]]; then
    echo "setup-python: .venv is current"
    exit 0
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv || {
    echo "setup-python: no virtual environment could be made (Debian: apt-get install python3-venv)" >&2
    exit 1
}
echo "setup-python: installing the project and its dependencies into .venv"
.venv/bin/pip install --quiet --disable-pip-version-check -e ".[$extras]"
.venv/bin/python -m compileall -q compiler m4ls bpf deploy # some environments keep Python from doing so at the first start
printf '%s' "$wanted" > .venv/.installed
