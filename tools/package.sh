#!/usr/bin/env bash
# Build sdist and wheel twice from two copies of the committed tree; the bytes must be equal.
# Then install the wheel, hash-locked, into an empty environment and ask for its version.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

build() {
  mkdir -p "$work/$1"
  git archive HEAD | tar -x -C "$work/$1"
  cd "$work/$1"
  "$root/.venv/bin/python" -m build --no-isolation --outdir "$work/dist-$1" >"$work/$1.log" 2>&1 ||
    { cat "$work/$1.log"; exit 1; }
}
build one & other=$!
(build two)
wait "$other"
diff <(cd "$work/dist-one" && sha256sum -- *) <(cd "$work/dist-two" && sha256sum -- *)
mkdir -p dist
cp "$work"/dist-one/* dist/
echo "built twice, byte for byte the same:"
(cd "$work/dist-one" && sha256sum -- *)

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip -qq --disable-pip-version-check install --no-deps --require-hashes --only-binary :all: -r requirements.lock
"$work/venv/bin/python" -m pip -qq --disable-pip-version-check check
"$work/venv/bin/python" -m pip -qq --disable-pip-version-check install --no-deps "$work"/dist-one/*.whl
(cd "$work" && "$work/venv/bin/watchkeeper" --version)
(cd "$work" && "$work/venv/bin/python" -c 'from watchkeeper.http.pages import guide
assert guide.document("runbooks/disk-full"), "the wheel has no documentation"')
