#!/bin/sh
# Try the package on a bare Debian 12, as root: install, start (without systemd, which is not there), upgrade under a
# running broker, remove, purge. What it leaves behind is an error. Needs debootstrap and Debian's packages.
# usage: test.sh BUILD [ROOT]; ROOT is a debootstrap of its own, made where there is none, and kept.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd "$here/../.."
build=$1
root=${2:-$build/debian-root}
[ -e "$root/etc/debian_version" ] || debootstrap --variant=minbase bookworm "$root" >/dev/null

old=$("$here/build.sh" "$build")
new=$("$here/build.sh" "$build" "$("$build/nanopushd" --version | sed 's/^nanopushd //')+new")
mkdir -p "$root/packages"
rm -f "$root"/packages/*
cp "$old" "$root/packages/old.deb"
cp "$new" "$root/packages/new.deb"
rm "$new"
cat >"$root/packages/steps" <<'STEPS'
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
step() { echo "- $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
wait_for() { # what, command
  what=$1
  shift
  for _ in $(seq 200); do if "$@"; then return 0; fi; sleep 0.1; done
  fail "$what"
}
ready() { [ -e /var/lib/nanopush/ports ]; }
gone() { ! kill -0 "$1" 2>/dev/null; }
is_new() { [ -n "$(handed_to)" ]; }
handed_to() { sed -n 's/.*event=handed-over to_pid=\([0-9]*\).*/\1/p' /packages/log; }
mount -t proc proc /proc

step install
apt-get update -q >/dev/null
apt-get install -y -q --no-install-recommends /packages/old.deb >/packages/apt.log 2>&1 || { cat /packages/apt.log; fail install; }
for file in /usr/sbin/nanopushd /usr/bin/nanopush /lib/systemd/system/nanopush.service /etc/nanopush/nanopushd.conf; do
  [ -f "$file" ] || fail "$file is there"
done
[ "$(stat -c '%U %a' /var/lib/nanopush)" = 'nanopush 700' ] || fail 'the data directory is its user'\''s'
nanopushd --config /etc/nanopush/nanopushd.conf --check

step start
nanopushd --config /etc/nanopush/nanopushd.conf 2>/packages/log &
old=$!
wait_for 'it is ready' ready
[ "$(stat -c %U "/proc/$old")" = nanopush ] || fail 'it is its user'
nanopush org add nano
nanopush portal add demo --org nano --credential /packages/credential >/dev/null

step 'upgrade, with a change of the configuration that is kept'
echo '# mine' >>/etc/nanopush/nanopushd.conf
apt-get install -y -q --no-install-recommends /packages/new.deb >/packages/apt.log 2>&1 || { cat /packages/apt.log; fail upgrade; }
grep -q '^# mine$' /etc/nanopush/nanopushd.conf || fail 'the configuration is kept'
kill -USR2 "$old" # what systemd does by the package's script
wait_for 'the new one has taken over' is_new
new=$(handed_to)
wait_for 'the old one has ended' gone "$old"
wait_for 'the new one is ready' ready
nanopush org list | grep -q nano || fail 'what there was is there'

step remove
kill "$new"
wait_for 'it ends' gone "$new"
apt-get remove -y -q nanopush >/packages/apt.log 2>&1 || { cat /packages/apt.log; fail remove; }
[ ! -e /usr/sbin/nanopushd ] || fail 'the program is gone'
[ -e /var/lib/nanopush/cluster.secret ] || fail 'the data stays'

step purge
apt-get purge -y -q nanopush >/packages/apt.log 2>&1 || { cat /packages/apt.log; fail purge; }
left=$(find / -xdev -path /packages -prune -o -path /proc -prune -o -name '*nanopush*' -print)
[ -z "$left" ] || fail "left behind: $left"
STEPS
status=0
unshare --mount --pid --fork --kill-child chroot "$root" sh /packages/steps || status=$?
rm -rf "$root/packages"
[ "$status" -eq 0 ] && echo "installs, starts, upgrades, is removed and purged"
