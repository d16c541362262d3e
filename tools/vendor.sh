#!/usr/bin/env bash
# Fetch the scripts that pages are served with, in exact versions, and write down what they are.
# The files are committed: neither installing nor running needs npm. To go to another version,
# change its line (`npm view NAME@VERSION dist.integrity`) and run this again.
set -euo pipefail
cd "$(dirname "$0")/.."
static=$PWD/src/watchkeeper/http/static
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

packages=(
  # package version licence integrity: file-in-package=file-here ...
  "htmx.org 4.0.1 0BSD sha512-oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg== dist/htmx.min.js=htmx.min.js LICENSE=htmx.LICENSE.txt"
  "uplot 1.6.32 MIT sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw== dist/uPlot.iife.min.js=uplot.min.js dist/uPlot.min.css=uplot.min.css LICENSE=uplot.LICENSE.txt"
)

rows=()
for line in "${packages[@]}"; do
  read -r name version licence integrity files <<<"$line"
  told=$(cd "$work" && npm pack --silent --json "$name@$version" |
    python3 -c 'import json, sys; one = json.load(sys.stdin)[0]; print(one["integrity"], one["filename"])')
  read -r got archive <<<"$told"
  if [[ $got != "$integrity" ]]; then
    echo "$name $version: integrity is $got, not $integrity" >&2
    exit 1
  fi
  mkdir "$work/$name"
  tar -xzf "$work/$archive" -C "$work/$name"
  for pair in $files; do
    cp "$work/$name/package/${pair%%=*}" "$static/${pair##*=}"
    sum=$(sha256sum "$static/${pair##*=}" | cut -d' ' -f1)
    rows+=("{\"file\": \"${pair##*=}\", \"package\": \"$name\", \"version\": \"$version\", \"licence\": \"$licence\", \"sha256\": \"$sum\"}")
  done
done

{
  echo "["
  for index in "${!rows[@]}"; do
    comma=,
    ((index == ${#rows[@]} - 1)) && comma=
    echo "  ${rows[index]}$comma"
  done
  echo "]"
} >"$static/vendor.json"
echo "wrote ${#rows[@]} files and vendor.json to src/watchkeeper/http/static"
