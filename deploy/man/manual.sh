#!/bin/sh
# Write the manual pages into DIRECTORY: nanopushd.8 with its version put in; nanopush.1 and nanopushd.conf.5 from what the
# programs say of themselves, so that they never lag behind the tables of commands and options.
# usage: manual.sh BUILD DIRECTORY
set -eu
build=$1
out=$2
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
version=$("$build/nanopushd" --version | sed 's/^nanopushd //')
mkdir -p "$out"

heading() { # title, section, name, what it is
  printf '.TH %s %s "" "nanopush %s" "nanopush"\n.SH NAME\n%s \\- %s\n' "$1" "$2" "$version" "$3" "$4"
}

# What roff would take for its own: backslashes, hyphens (to be copied from a page), and what begins a request.
escape() {
  sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\\([.']\\)/\\\\\\&\\1/"
}

sed "s/@VERSION@/$version/" "$here/nanopushd.8" >"$out/nanopushd.8"

# Rows "# help", "# what is allowed", "key = default;".
{
  heading NANOPUSHD.CONF 5 nanopushd.conf 'configuration of the nanopush broker'
  cat <<'END'
.SH DESCRIPTION
Read by
.BR nanopushd (8)
at its start, from the file that \-\-config names, and again at SIGHUP. A line is an option with its value and a semicolon;
.B #
begins a comment. A file with a mistake is refused as a whole, with the line and what would be right:
.B nanopushd \-\-config FILE \-\-check
says so. The environment goes over the file:
.I workers
as
.BR NANOPUSHD_WORKERS_EXAMPLE ,
texts without quotes, lists with commas.
.SH OPTIONS
Each with its default.
END
  "$build/nanopushd" --help | escape | awk '
    /^# / { text[++lines] = substr($0, 3); next }
    / = .*;$/ && lines == 2 {
      gsub(/"/, "\\(dq"); print ".TP"; print ".B " $0; print text[1]; print ".br"; print "Allowed: " text[2] "."
    }
    { lines = 0 }'
  printf '.SH SEE ALSO\n.BR nanopushd (8),\n.BR nanopush (1)\n'
} | sed 's/NANOPUSHD_WORKERS_EXAMPLE/NANOPUSH_WORKERS/' >"$out/nanopushd.conf.5"

# "  name OPERANDS   summary", then what `nanopush help` says of each.
commands() {
  "$build/nanopush" help | sed -n '/^Commands:$/,/^$/{s/^  \(.*[^ ]\)   *.*$/\1/p}' | sed 's/   *.*//'
}
{
  heading NANOPUSH 1 nanopush 'administrator, portal and phone of the nanopush broker, for the shell'
  cat <<'END'
.SH SYNOPSIS
.B nanopush
.I COMMAND
.RI [ OPERAND ]...
.RI [ OPTION ]...
.SH COMMANDS
END
  commands | while read -r command; do
    name=$(printf '%s\n' "$command" | sed 's/ [[A-Z-].*//')
    # shellcheck disable=SC2086 # a name is one word or two
    "$build/nanopush" help $name | escape | awk -v command="$(printf '%s' "$command" | escape | sed 's/\\/\\\\/g')" '
      NR == 1 { print ".SS nanopush " command; next }
      /^It ends with:/ { exit }
      /^Options:/ { options = 1; next }
      /^$/ { if (!options) print ".PP"; next }
      options && /(data|json|help|version)( |$)/ && /the broker.s data directory|print JSON, one|say how the|say which/ { next }
      options {
        line = substr($0, 3); at = match(line, /   */)
        if (at == 0) at = match(line, / [a-z]/)
        print ".TP"; print ".B " substr(line, 1, at - 1); sub(/^ */, "", line)
        rest = substr(line, at); sub(/^ */, "", rest); print rest; next
      }
      { print }'
  done
  printf '.SH OPTIONS OF EVERY COMMAND\n'
  "$build/nanopush" help | sed -n '/^Options of every command:$/,/^$/{s/^  //p}' | escape |
    sed -E 's/^([^ ]+( [A-Z]+)?) +/.TP\n.B \1\n/'
  printf '.SH EXIT STATUS\n'
  "$build/nanopush" help | sed -n '/^It ends with:$/,/^$/{s/^ *\([0-9][0-9]*\)  /\1 /p}' | escape |
    sed -E 's/^([0-9]+) /.TP\n.B \1\n/'
  printf '.SH SEE ALSO\n.BR nanopushd (8),\n.BR nanopushd.conf (5)\n'
} >"$out/nanopush.1"
