#!/usr/bin/env bash
# Fetch cosign, gitleaks and oras, which Debian 12 lacks, from Debian 13 into a folder: nothing is installed.
# usage: tools/release/signers.sh FOLDER
#
# apt checks Debian's signatures on what it downloads. It gets lists of its own, so that the machine
# does not see the newer release's packages as upgrades.
set -euo pipefail
into=$(mkdir -p "${1:?where to put them}" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists,archives}/partial
mirror=$(apt-cache policy base-files | sed -nE 's/^ +[0-9]+ ([a-z]+:[^ ]+) .*/\1/p' | sed -n 1p)
[[ -n $mirror ]] || { echo "apt knows no mirror; run apt-get update first" >&2 && exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/list"
apt=(apt-get -qq -o Dir::Etc::SourceList="$work/list" -o Dir::Etc::SourceParts=-
  -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives"
  -o APT::Sandbox::User=root)
"${apt[@]}" update
cd "$work"
"${apt[@]}" download cosign gitleaks oras
for deb in ./*.deb; do
  dpkg -x "$deb" "$work/root"
done
install -m 755 "$work"/root/usr/bin/{cosign,gitleaks,oras} "$into"
