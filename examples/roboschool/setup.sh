#!/bin/bash
# Make a Python 3.7 environment with roboschool, for `BridgedEnv(FOLDER/bin/python, "RoboschoolAnt-v1", ["roboschool"])`.
#
#     examples/roboschool/setup.sh FOLDER [PYTHON37]
#
# Without PYTHON37 it looks for one on PATH and in pyenv, uv and conda. A folder that is ready is left as it is.
set -euo pipefail

LIBRARIES="libgl1 libglib2.0-0 libharfbuzz0b libfreetype6 libx11-6"

fail() {
    echo "roboschool: $1" >&2
    exit 1
}

# A candidate is run, because a name on PATH may be a stub that starts nothing.
is_python37() {
    "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, 7))' >/dev/null 2>&1
}

find_python37() {
    local root="" base="" candidate
    if command -v pyenv >/dev/null; then root=$(pyenv root); fi
    if command -v conda >/dev/null; then base=$(conda info --base 2>/dev/null || true); fi
    for candidate in python3.7 "${root:-$HOME/.pyenv}"/versions/3.7*/bin/python \
        "$(uv python find 3.7 2>/dev/null || true)" "${base:-$HOME/miniconda3}"/envs/*/bin/python3.7; do
        if is_python37 "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: setup.sh FOLDER [PYTHON37]"
folder=$1
if [ -e "$folder/ready" ]; then exit 0; fi
[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || fail "expected Linux on x86-64, got $(uname -sm); its wheels are for no other"

python=${2:-$(find_python37)}
[ -n "$python" ] || fail "expected a Python 3.7, got none on PATH or in pyenv, uv, conda; see docs/roboschool.md for where to get one"
is_python37 "$python" || fail "expected $python to be a Python 3.7 with venv and ensurepip, got something else; give the path of one"

echo "roboschool: making $folder with $python"
"$python" -m venv --clear "$folder"
"$folder/bin/python" -m pip install -qq --disable-pip-version-check roboschool==1.0.49 gym==0.15.4 ||
    fail "expected pip to install roboschool 1.0.49 and gym 0.15.4, got the error above; is PyPI within reach?"

if ! message=$("$folder/bin/python" -W ignore -c 'import roboschool; from roboschool import cpp_household' 2>&1); then
    fail "expected its system libraries, got: ${message##*$'\n'}; on Debian or Ubuntu: apt-get install $LIBRARIES"
fi
touch "$folder/ready"
