#!/usr/bin/env bash
# Make the base of our image: Debian 13's Python and what it links to, no shell, no package manager.
# usage: deploy/container/base.sh FILE.tar    (SOURCE_DATE_EPOCH clamps its times; needs root)
#
# The mirror is the one this machine is set up with. No archive of old packages is asked, so a
# rebuild months later takes newer ones: the versions taken are in var/lib/dpkg/status.d, from which
# the image's bill of materials is made.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?where to write the base}
: "${SOURCE_DATE_EPOCH:?the time that everything in the base gets}"
export SOURCE_DATE_EPOCH

mirror=$(apt-cache policy base-files | sed -nE 's/^ +[0-9]+ ([a-z]+:[^ ]+) .*/\1/p' | sed -n 1p)
[[ -n $mirror ]] || { echo "apt knows no mirror; run apt-get update first" >&2 && exit 1; }

packages=(
  python3.13-minimal libpython3.13-stdlib # trixie's, with the distribution's security updates
  libstdc++6                              # numba and pyarrow
  ca-certificates                         # for what we ask and send over TLS
  tzdata netbase
)
mmdebstrap --quiet --mode=root --variant=extract --include="$(IFS=,; echo "${packages[*]}")" \
  --extract-hook="sh '$here/base-hook.sh' \"\$1\"" \
  trixie "$out" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main"
