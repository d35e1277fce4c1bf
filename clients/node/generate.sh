#!/bin/sh
# Fetch the npm packages of package-lock.json and generate the JavaScript of ../../proto into gen/, with Debian's protoc.
# What is there and not older than its sources is left alone.
set -eu

cd -- "$(dirname -- "$0")"
proto=../../proto

# One at a time: whoever comes second finds everything done.
exec 9>>.generate.lock
flock 9

# True when $1 exists and nothing under the other arguments is newer.
fresh() {
  stamp=$1
  shift
  [ -e "$stamp" ] && [ -z "$(find "$@" -type f -newer "$stamp")" ]
}

if ! fresh node_modules/.fetched package-lock.json; then
  npm ci --ignore-scripts --no-progress
  touch node_modules/.fetched
fi

if ! fresh gen/.generated "$proto" package-lock.json generate.sh; then
  rm -rf gen
  mkdir gen
  protoc -I"$proto" -I/usr/include --plugin=node_modules/.bin/protoc-gen-es --es_out=gen \
    --es_opt=target=js,import_extension=js "$proto"/nanopush/v1/*.proto "$proto"/google/rpc/error_details.proto
  touch gen/.generated
fi
