#!/bin/bash
# Makes a Debian package of the weir and weirctl in a folder, without root and
# without debhelper, and puts it there: weir_VERSION_ARCHITECTURE.deb.
# usage, from the Makefile: scripts/deb.sh FOLDER
set -euo pipefail
folder=$(realpath "$1")
cd "$(dirname "$0")/.."
umask 022

# The manifest's version. What comes before a release sorts before it, by the time
# of the commit: 0.1.0~dev202605040302.1a2b3c4.
version=$(sed -n 's/^  version: //p' builder-config.yaml)
if [ "$version" != "${version%-dev}" ]; then
  version="${version%-dev}~dev$(git log -1 --format=.%cd.%h --date=format:%Y%m%d%H%M 2>/dev/null || true)"
fi
architecture=$(dpkg --print-architecture)
# The same commit gives the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
install -D -m 755 -t "$tree/usr/bin" "$folder/weir" "$folder/weirctl"
install -D -m 644 -t "$tree/usr/lib/systemd/system" packaging/systemd/weir.service
install -d -m 700 "$tree/etc/weir"
install -m 600 -t "$tree/etc/weir" packaging/debian/config.yaml packaging/debian/policy.yaml
install -D -m 644 -t "$tree/usr/share/doc/weir" README.md CHANGELOG.md SECURITY.md
install -D -m 644 -t "$tree/usr/share/doc/weir/docs" docs/*.md
install -D -m 644 LICENSE "$tree/usr/share/doc/weir/copyright"
install -D -m 644 -t "$tree/usr/share/doc/weir/examples" examples/*.yaml

install -d "$tree/DEBIAN"
install -m 755 -t "$tree/DEBIAN" packaging/debian/{postinst,prerm,postrm}
printf '%s\n' /etc/weir/config.yaml /etc/weir/policy.yaml >"$tree/DEBIAN/conffiles"
cat >"$tree/DEBIAN/control" <<END
Package: weir
Version: $version
Architecture: $architecture
Maintainer: The Weir authors <https://github.com/weirnet/weir>
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f 1)
Section: net
Priority: optional
Homepage: https://github.com/weirnet/weir
Description: eBPF connection firewall and observer
 Watches the connections of this host and, in mode prevent, enforces a policy
 in the kernel. What it sees leaves as OpenTelemetry logs, metrics and traces.
 .
 The service is installed disabled, with a policy in mode detect. It needs
 Linux 5.17 or newer.
END
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | LC_ALL=C sort | xargs md5sum) >"$tree/DEBIAN/md5sums"

package=$folder/weir_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$tree" "$package" >/dev/null
echo "$package"
