#!/bin/sh
# Includes run in one direction: each folder of broker/ may include itself and those that the table names, and only the
# libraries named there. broker/ARCHITECTURE.md explains the table.
set -eu
cd "$(dirname -- "$0")/.."

# folder: folders that it may include | headers of libraries that it may include
allowed() {
  case $1 in
  base)   echo "|" ;;
  core)   echo "base | libconfig.h" ;;
  audit)  echo "base core crypto |" ;;
  crypto) echo "base | openssl/ jansson.h" ;;
  wire)   echo "base nanopush google | protobuf-c/ jansson.h" ;;
  net)    echo "base core crypto | openssl/ http_parser.h nghttp2/" ;;
  store)  echo "base core crypto net store | hiredis/ protobuf-c/" ;;
  domain) echo "audit base core crypto wire store nanopush |" ;;
  device) echo "base core crypto wire net domain nanopush | openssl/ protobuf-c/" ;;
  portal) echo "base core crypto wire net store domain nanopush google grpc | openssl/ protobuf-c/ qrencode.h" ;;
  ops)    echo "base core crypto wire net store domain nanopush portal/rpc.h |" ;;
  proc)   echo "audit base core crypto wire net store domain device portal ops nanopush | openssl/" ;;
  esac
}

broken=0
complain() {
  echo "$1"
  broken=$((broken + 1))
}

# What a C file may include that is not one of ours and belongs to the C library or the kernel.
system=' assert arpa/inet ctype dirent errno fcntl float fnmatch getopt grp inttypes libgen limits linux/capability malloc math netdb netinet/in netinet/tcp poll
 pthread pwd sanitizer/asan_interface sched signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib string strings sys/epoll
 sys/eventfd sys/file sys/ioctl sys/mman sys/prctl sys/random sys/resource sys/signalfd sys/socket sys/stat sys/syscall
 sys/time sys/types sys/uio sys/un sys/wait termios time unistd '
system=$(echo $system | sed 's/^/ /; s/$/ /')

check_file() { # file, folders, libraries
  for include in $(sed -n 's/^# *include "\([^"]*\)".*/\1/p' "$1"); do
    folder=${include%%/*}
    [ "$folder" != "$include" ] || continue # beside the file itself
    case " $own $2 " in *" $folder "* | *" $include "*) ;; *) complain "$1: includes $include" ;; esac
  done
  for include in $(sed -n 's/^# *include <\([^>]*\)>.*/\1/p' "$1"); do
    case "$system" in *" ${include%.h} "*) continue ;; esac
    known=no
    for library in $3; do
      case $include in "$library"*) known=yes ;; esac
    done
    [ $known = yes ] || complain "$1: includes <$include>"
  done
}

for folder in broker/*/; do
  own=$(basename "$folder")
  [ "$own" != adr ] || continue
  table=$(allowed "$own")
  [ -n "$table" ] || complain "$folder: not in the table of $0"
  for file in "$folder"*.[ch]; do
    check_file "$file" "${table%%|*}" "${table#*|}"
  done
done

# The phone's library stands alone; the command line stands on it and on the lower floors of the broker.
own=device
for file in clients/device/*.[ch]; do check_file "$file" "nanopush google" "openssl/ protobuf-c/"; done
own=cli
for file in clients/cli/*.[ch]; do
  check_file "$file" "audit device base crypto wire net nanopush google" "openssl/ protobuf-c/ curl/ jansson.h qrencode.h"
done

[ $broken -eq 0 ] || { echo "$broken includes in the wrong direction"; exit 1; }
