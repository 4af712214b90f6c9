#!/bin/bash
# Installs the Debian packages that the project uses, if they are missing and may be installed.
# Usage: scripts/setup-system.sh [python] [kernel] [proxies] [tests] [bench]
#   python    the module venv, if this Python comes without it
#   kernel    clang, libbpf and headers: what compiles and loads the programs in the kernel
#   proxies   HAProxy; Envoy comes with the Python packages
#   tests     Chromium, which the VS Code tests drive, a compiler for a part of that VS Code, bpftool, iproute2 for networks of
#             their own, bcc, which compiles for the kernel in place of clang, and Emacs with eglot
#   bench     what the benchmark of the dataplanes needs beside those: h2load, and a compiler for its application
# Without root (or sudo that asks nothing) it says what is missing and goes on: everything else works without.
set -euo pipefail

declare -A packages=(
    [python]=""
    [kernel]="clang-14 libbpf1 libbpf-dev linux-libc-dev"
    [proxies]="haproxy"
    [tests]="chromium g++ make bpftool iproute2 python3-bpfcc emacs-nox elpa-eglot"
    [bench]="nghttp2-client gcc libc6-dev"
)

say() { printf 'setup-system: %s\n' "$*"; }

missing=()
"${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null || packages[python]="python3-venv"
for group in "$@"; do
    [ -n "${packages[$group]+known}" ] || { say "unknown group: $group (python, kernel, proxies, tests, bench)"; exit 2; }
    for package in ${packages[$group]}; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
done
[ ${#missing[@]} -gt 0 ] || { say "nothing is missing"; exit 0; }

command -v apt-get >/dev/null || { say "no apt-get here; please install: ${missing[*]}"; exit 0; }
run=()
if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null; then run=(sudo); else say "not root; please install: ${missing[*]}"; exit 0; fi
fi
say "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${run[@]}" apt-get update -qq
"${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
