#!/bin/sh
# Usage: environment.sh FOLDER WHAT -- makes a virtual environment and installs WHAT into it.
# JAX=VERSION in the environment replaces the constrained version of jax.
set -eu
folder=$1 what=$2

suitable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; }

find_python() {
    # Each candidate is run: a shim may exist without the version that it stands for.
    for candidate in ${PYTHON:-} python3.13 python3.12 python3 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[3-9]*/bin/python \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python; do
        if suitable "$candidate"; then echo "$candidate" && return; fi
    done
}

if ! suitable "$folder/bin/python"; then
    python=$(find_python)
    if [ -n "$python" ]; then
        "$python" -m venv "$folder"
    elif command -v uv >/dev/null 2>&1; then
        uv venv --seed --python 3.13 "$folder"
    else
        echo "jaxlin needs Python 3.12 or newer: install python3.12 (with venv) or uv, or set PYTHON=" >&2
        exit 1
    fi
fi

constraints=$folder/constraints.txt
if [ -n "${JAX:-}" ]; then
    sed "s/^jax==.*/jax==$JAX/; s/^jaxlib==.*/jaxlib==$JAX/" constraints.txt >"$constraints"
else
    cp constraints.txt "$constraints"
fi
echo "installing $what into $folder ..."
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint "$constraints" --editable "$what"
