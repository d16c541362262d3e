#!/bin/sh
# Finish a root file system of which packages were only unpacked: do what their scripts would have
# done and we need, write down which packages are in it, and drop what only people would read.
set -eu
root=$1

mkdir -p "$root/var/lib/dpkg/status.d"
for deb in "$root"/var/cache/apt/archives/*.deb; do
  dpkg-deb -f "$deb" >"$root/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"
done

for folder in bin sbin lib lib64; do # base-files would have laid these
  mkdir -p "$root/usr/$folder"
  [ -e "$root/$folder" ] || ln -s "usr/$folder" "$root/$folder"
done
ln -sf python3.13 "$root/usr/bin/python3"

mkdir -p "$root/etc/ssl/certs"
find "$root/usr/share/ca-certificates" -name '*.crt' | LC_ALL=C sort | xargs cat \
  >"$root/etc/ssl/certs/ca-certificates.crt"

echo 'root:x:0:0:root:/:/nonexistent
watchkeeper:x:65532:65532:watchkeeper:/var/lib/watchkeeper:/nonexistent' >"$root/etc/passwd"
echo 'root:x:0:
watchkeeper:x:65532:' >"$root/etc/group"

# Only the interpreter stays executable by name.
find "$root/usr/bin" "$root/usr/sbin" -mindepth 1 ! -name 'python3*' -delete
rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/info" "$root/usr/share/locale" \
  "$root/usr/share/lintian" "$root/usr/share/perl5" "$root/usr/share/debconf" "$root/usr/share/pixmaps"
