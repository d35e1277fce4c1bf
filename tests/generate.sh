#!/bin/sh
# Fetch the npm packages of package-lock.json and generate the JavaScript of proto/ into build/gen-js.
# What is there and not older than its sources is left alone.
set -eu

tests=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
proto=$tests/../proto
out=$tests/../build/gen-js
fetched=$tests/node_modules/.fetched

# True when $1 exists and nothing under the other arguments is newer.
fresh() {
  stamp=$1
  shift
  [ -e "$stamp" ] && [ -z "$(find "$@" -type f -newer "$stamp")" ]
}

if ! fresh "$fetched" "$tests/package-lock.json"; then
  (cd "$tests" && npm ci --ignore-scripts --no-progress)
  touch "$fetched"
fi

if ! fresh "$out/package.json" "$proto/nanopush" "$proto/google" "$tests/package-lock.json" "$tests/generate.sh"; then
  rm -rf "$out"
  mkdir -p "$out"
  (cd "$proto" && protoc -I. -I/usr/include --plugin="$tests/node_modules/.bin/protoc-gen-es" \
    --es_out="$out" --es_opt=target=js,import_extension=js nanopush/v1/*.proto google/rpc/error_details.proto)
  # What is generated imports @bufbuild/protobuf, which must be the very one that the tests import.
  ln -s ../../tests/node_modules "$out/node_modules"
  printf '{"type":"module"}\n' >"$out/package.json"
fi
