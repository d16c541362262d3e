#!/usr/bin/env bash
# Build .venv from the hash-locked requirements and install watchkeeper into it; or .venv-release,
# which has the tools that package, sign and publish, and not watchkeeper.
# usage: tools/environment.sh runtime|dev|release
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?runtime, dev or release}
venv=.venv
[[ $kind != release ]] || venv=.venv-release
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "watchkeeper needs Python 3.11 or newer; $python is $("$python" -V 2>&1)" >&2
  exit 1
}

locks_of() {
  case $1 in
    runtime) echo requirements-build.lock requirements.lock ;;
    dev) echo requirements-dev.lock ;;
    release) echo requirements-release.lock ;;
    *) echo "usage: $0 runtime|dev|release" >&2 && exit 2 ;;
  esac
}

# The stamp is a digest, not a time: a fresh checkout of the same locks has nothing to do.
digest() {
  local locks
  read -ra locks <<<"$(locks_of "$1")"
  { cat "${locks[@]}" pyproject.toml && "$python" -V && pwd; } | sha256sum | cut -d' ' -f1
}

current() {
  [[ -x $venv/bin/python && -f $venv/.$1 && $(<"$venv/.$1") == "$(digest "$1")" ]]
}

if current "$kind" || { [[ $kind == runtime ]] && current dev; }; then
  exit 0
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  echo "installing python3-venv and python3-pip" >&2
  as_root=()
  [[ $EUID -eq 0 ]] || as_root=(sudo -n)
  if ! { "${as_root[@]}" apt-get update -q &&
    "${as_root[@]}" apt-get install -yq --no-install-recommends python3-venv python3-pip; } >&2; then
    echo "cannot make a virtual environment: install python3-venv, then run this again" >&2
    exit 1
  fi
fi

say() { echo "building $venv ($kind), this first time only: $*" >&2; }

say "1 of 3, Python"
[[ -x $venv/bin/python ]] || "$python" -m venv "$venv"
rm -f "$venv"/.runtime "$venv"/.dev "$venv"/.release
pip=("$venv"/bin/python -m pip --disable-pip-version-check -qq)
read -ra locks <<<"$(locks_of "$kind")"
say "2 of 3, $(cat "${locks[@]}" | grep -c '^[a-zA-Z0-9].*==') packages, some tens of seconds"
# The locks name everything, so nothing is resolved again: pip would look at releases that are newer
# than the lock where one is asked for with an extra, and refuse those for want of a hash.
slowly() {
  # Python compiles a module when it is first imported, and keeps it, if it may: most never are.
  local lazily=()
  [[ $kind != runtime || -n ${PYTHONDONTWRITEBYTECODE:-} ]] || lazily=(--no-compile)
  "${pip[@]}" install "${lazily[@]}" --no-deps --require-hashes --only-binary :all: "${locks[@]/#/--requirement=}"
}
# uv installs in seconds what pip takes a minute for. It does not read how pip was told to find an
# index, so where it has no way to one, pip goes on.
quickly() {
  local uv=("$venv/bin/uv" --quiet pip) lock
  lock=$(sed -n '/^uv==/,/[^\\]$/p' requirements-release.lock)
  "${pip[@]}" install --no-deps --require-hashes --only-binary :all: --requirement <(echo "$lock") &&
    VIRTUAL_ENV=$PWD/$venv "${uv[@]}" install --compile-bytecode --no-deps --require-hashes --only-binary :all: "${locks[@]/#/--requirement=}"
}
{ [[ $kind != runtime ]] && quickly; } || slowly
say "3 of 3, what is in this folder"
if [[ $kind == release ]]; then
  tools/release/signers.sh "$venv/bin"
else
  "${pip[@]}" install --no-deps --no-build-isolation --editable .
fi
digest "$kind" >"$venv/.$kind"
