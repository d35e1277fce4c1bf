#!/bin/sh
# Make the Debian package of what is built, with the program's own version: BUILD/nanopush_VERSION_ARCH.deb.
# usage: build.sh BUILD [VERSION]
set -eu
umask 022
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd "$here/../.."
build=$1
version=${2:-$("$build/nanopushd" --version | sed 's/^nanopushd //')}
arch=$(dpkg --print-architecture)
root=$build/deb
rm -rf "$root"
mkdir -p "$root/DEBIAN"

"${MAKE:-make}" -s install BUILD="$build" DESTDIR="$root" prefix=/usr
strip --remove-section=.comment --remove-section=.note "$root/usr/bin/nanopush" "$root/usr/sbin/nanopushd"
find "$root/usr/share/man" -type f -exec gzip -9n {} +

for unit in deploy/systemd/*; do install -D -m 644 "$unit" "$root/lib/systemd/system/${unit##*/}"; done
install -D -m 644 deploy/debian/nanopushd.conf "$root/etc/nanopush/nanopushd.conf"
install -D -m 644 deploy/sysctl.d/90-nanopush.conf "$root/usr/share/doc/nanopush/examples/90-nanopush.conf"
install -D -m 644 README.md "$root/usr/share/doc/nanopush/README.md"
install -D -m 644 deploy/debian/copyright "$root/usr/share/doc/nanopush/copyright"
cp CHANGELOG.md "$root/usr/share/doc/nanopush/changelog"
printf 'nanopush (%s) bookworm; urgency=medium\n\n  * See changelog.gz.\n\n -- nanopush maintainers <maintainers@nanopush.example>  %s\n' \
  "$version" "$(date -R -r CHANGELOG.md)" >"$root/usr/share/doc/nanopush/changelog.Debian"
gzip -9n "$root/usr/share/doc/nanopush/changelog" "$root/usr/share/doc/nanopush/changelog.Debian"
mkdir -p "$root/usr/share/bash-completion/completions"
"$build/nanopush" completion bash >"$root/usr/share/bash-completion/completions/nanopush"

# dpkg-shlibdeps wants a source package's control file to be there.
mkdir -p "$build/deb-source/debian"
: >"$build/deb-source/debian/control"
absolute=$PWD/$root
case $root in /*) absolute=$root ;; esac
libraries=$(cd "$build/deb-source" && dpkg-shlibdeps -O "$absolute/usr/sbin/nanopushd" "$absolute/usr/bin/nanopush" |
  sed -n 's/^shlibs:Depends=//p')
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@LIBRARIES@/$libraries/" \
  -e "s/@SIZE@/$(du -k -s --exclude=DEBIAN "$root" | cut -f1)/" deploy/debian/control >"$root/DEBIAN/control"
echo /etc/nanopush/nanopushd.conf >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 "deploy/debian/$script" "$root/DEBIAN/$script"; done
(cd "$root" && find etc lib usr -type f ! -path 'etc/*' -exec md5sum {} + | sort -k 2 >DEBIAN/md5sums)
chmod 644 "$root/DEBIAN/control" "$root/DEBIAN/conffiles" "$root/DEBIAN/md5sums"

dpkg-deb --root-owner-group -b "$root" "$build/nanopush_${version}_$arch.deb" >/dev/null
rm -rf "$root" "$build/deb-source"
echo "$build/nanopush_${version}_$arch.deb"
