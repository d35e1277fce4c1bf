#!/bin/sh
# Run every fuzz target for a while; the first finding ends it.
# usage: run.sh BUILD SECONDS
set -eu
cd "$(dirname -- "$0")/../.."
for target in "$1"/tests/fuzz/fuzz_*; do
  case $target in *.*) continue ;; esac
  name=${target##*/fuzz_}
  found=$1/corpus/$name
  mkdir -p "$found" "tests/fuzz/corpus/$name"
  echo "== $name, $2 s"
  "$target" -max_total_time="$2" -print_final_stats=0 -verbosity=0 -artifact_prefix="$1/" "$found" "tests/fuzz/corpus/$name"
done
echo "no findings"
