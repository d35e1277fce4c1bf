#!/bin/sh
# Writes the C table of the scripts (store/script.h) to standard output: each row its name, SHA-1, text. A script is the
# clock, the prelude, then the table of moves and the limits where it uses them, then its own file.
# usage: embed.sh BROKER_DIR MOVES_LUA TIME_LUA   (MOVES_LUA: moves.lua.in after the C preprocessor)
set -eu
broker=$1 moves=$2 time=$3
scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT

echo '#include "store/script.h"'
echo 'const struct script scripts[SCRIPT_COUNT] = {'
for name in $(sed -n 's/^SCRIPT(\([a-z_]*\), [a-z]*)$/\1/p' "$broker/store/script.def"); do
  source=$broker/store/lua/$name.lua
  cat "$time" "$broker/store/lua/prelude.lua" > "$scratch"
  if grep -q MOVES "$source"; then cat "$moves" >> "$scratch"; fi
  if grep -q limits_ "$source"; then cat "$broker/store/lua/limits.lua" >> "$scratch"; fi
  cat "$source" >> "$scratch"
  sum=$(sha1sum "$scratch" | cut -d ' ' -f 1)
  durable=$(sed -n "s/^SCRIPT($name, \([a-z]*\))\$/\1/p" "$broker/store/script.def")
  printf '[SCRIPT_%s] = {.name = "%s", .sha1 = "%s", .durable = %s, .text =\n' "$name" "$name" "$sum" "$durable"
  sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$/\\n"/' "$scratch"
  echo '},'
done
echo '};'
