#!/usr/bin/env bash
# Write requirements*.lock: exact versions and hashes for every Python and platform we support.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() { # file, then what to resolve
  local file=$1
  shift
  .venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
    --output-file "$file" "$@"
}
lock requirements.lock pyproject.toml "$@"
lock requirements-build.lock --group build "$@"
# The constraint keeps one version of everything across the files.
lock requirements-dev.lock pyproject.toml --all-extras --group dev --constraint requirements.lock "$@"
# Tools of a release live apart from ours: what signs and publishes shares no library with the product.
lock requirements-release.lock --group release "$@"
! grep -nE 'https?://|--(index|find)' requirements*.lock
