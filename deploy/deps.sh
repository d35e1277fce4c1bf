#!/bin/sh
# Install what is missing to build (build) or to test (test), from Debian's packages. Quick when all is there, and
# starts no service: the Redis server's program comes with redis-tools, under the name redis-check-rdb. Services that the
# tests run, or `make bench` measures beside the broker, are unpacked in DIRECTORY and not installed.
# usage: deps.sh build, deps.sh deb, deps.sh test [DIRECTORY], deps.sh bench DIRECTORY (build/tools, else)
set -eu

missing=
need_program() { # program, package
  command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need_header() { # header below an include directory, package
  for dir in /usr/include /usr/include/*-linux-gnu /usr/local/include; do
    [ ! -e "$dir/$1" ] || return 0
  done
  missing="$missing $2"
}
need_version() { # package, the first version that is good enough
  have=$(dpkg-query -W -f '${Version}' "$1" 2>/dev/null) || return 0
  dpkg --compare-versions "$have" ge "$2" || missing="$missing $1"
}

need_program gcc gcc
need_program ar binutils
need_program protoc-c protobuf-c-compiler
need_program protoc protobuf-compiler
need_header stdlib.h libc6-dev
need_header hiredis/hiredis.h libhiredis-dev
need_header openssl/ssl.h libssl-dev
need_header protobuf-c/protobuf-c.h libprotobuf-c-dev
need_header google/protobuf/timestamp.proto libprotobuf-dev
need_header jansson.h libjansson-dev
need_header http_parser.h libhttp-parser-dev
need_header nghttp2/nghttp2.h libnghttp2-dev
need_header libconfig.h libconfig-dev
need_header qrencode.h libqrencode-dev
need_header curl/curl.h libcurl4-openssl-dev
command -v redis-server >/dev/null 2>&1 || need_program redis-check-rdb redis-tools
need_version libnghttp2-14 1.52.0-1+deb12u2

if [ "${1:-}" = test ] || [ "${1:-}" = deb ]; then
  need_program dpkg-shlibdeps dpkg-dev
fi
if [ "${1:-}" = test ]; then
  need_header cmocka.h libcmocka-dev
  need_program node nodejs
  need_program npm npm
  need_program curl curl
  need_program h2load nghttp2-client
  need_program wrk wrk
  need_program openssl openssl
  need_program zbarimg zbar-tools
  need_program chromium chromium
  need_program rsvg-convert librsvg2-bin
  need_program clang-format clang-format
  need_program gcore gdb
  need_program spin spin
  need_program tmux tmux
  need_program docker-compose docker-compose
  need_program systemd-analyze systemd
  need_program man man-db
fi

unpack() { # directory, packages
  directory=$1
  shift
  rm -rf "$directory.tmp"
  mkdir -p "$directory.tmp/archives/partial"
  $as_root apt-get install -y -q --no-install-recommends --reinstall --download-only \
    -o Dir::Cache::archives="$directory.tmp/archives" "$@" >/dev/null
  for archive in "$directory.tmp"/archives/*.deb; do dpkg-deb -x "$archive" "$directory.tmp"; done
  rm -rf "$directory.tmp/archives"
  mv "$directory.tmp" "$directory"
}

# What is a service is unpacked, and not installed: nothing of it is to run at the next boot.
peers=
directory=${2:-build/tools}
case $directory in /*) ;; *) directory=$PWD/$directory ;; esac # apt takes another for one below its own
if [ "${1:-}" = bench ]; then
  [ -d "$directory" ] || peers="mosquitto nginx libnginx-mod-nchan"
elif [ "${1:-}" = test ] && [ ! -d "$directory" ]; then
  command -v haproxy >/dev/null 2>&1 || [ -x /usr/sbin/haproxy ] || peers="$peers haproxy"
  command -v promtool >/dev/null 2>&1 || peers="$peers prometheus"
fi

[ -n "$missing$peers" ] || exit 0
echo "Installing:$missing $peers"
as_root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null 2>&1 || { echo "These packages are missing, and there is no sudo: install them as root." >&2; exit 1; }
  as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q >/dev/null
# shellcheck disable=SC2086 # lists of packages
[ -z "$missing" ] || $as_root apt-get install -y -q --no-install-recommends $missing >/dev/null
# shellcheck disable=SC2086
[ -z "$peers" ] || unpack "$directory" $peers
