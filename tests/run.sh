#!/bin/sh
# Run every test that is built: the unit tests in $BUILD/tests/unit, then the Node tests. Ends in the line that counts
# them. With arguments, only those whose path below this directory contains one of them:
#
#   tests/run.sh                                          everything
#   tests/run.sh unit                                     the unit tests
#   tests/run.sh frame login                              test_frame, login.test.mjs, ...
#   BUILD=build/asan NANOPUSH_SLOW=1 tests/run.sh         the sanitizers' build, every deadline doubled
set -u

tests=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd "$tests/.." || exit 2
BUILD=$(CDPATH='' cd -- "${BUILD:-build}" && pwd) || exit 2
NANOPUSHD=${NANOPUSHD:-$BUILD/nanopushd}
mkdir -p "$BUILD/test-logs"
TEST_LOGS=$(mktemp -d "$BUILD/test-logs/run-XXXXXX") || exit 2
export BUILD NANOPUSHD TEST_LOGS

# Files of tests that run side by side: they wait more than they compute.
at_once=3
logs=$TEST_LOGS
names=$*
passed=0
failed=0

selected() { # path below tests/
  [ -n "$names" ] || return 0
  for name in $names; do
    case $1 in *"$name"*) return 0 ;; esac
  done
  return 1
}

# Count what a run reported; one that ended badly and reported no failure counts as one.
count() { # passed, failed, exit status
  passed=$((passed + $1))
  failed=$((failed + $2))
  [ "$3" -eq 0 ] || [ "$2" -gt 0 ] || failed=$((failed + 1))
}

run_unit() {
  name=$(basename "$1")
  CMOCKA_MESSAGE_OUTPUT=tap "$1" >"$logs/$name.tap" 2>"$logs/$name.err"
  status=$?
  ok=$(grep -c '^ok ' "$logs/$name.tap")
  not_ok=$(grep -c '^not ok ' "$logs/$name.tap")
  count "$ok" "$not_ok" "$status"
  if [ "$status" -eq 0 ] && [ "$not_ok" -eq 0 ]; then
    echo "ok      $name: $ok"
  else
    echo "FAILED  $name: exit status $status"
    grep -v '^ok ' "$logs/$name.tap"
    tail -n 40 "$logs/$name.err"
  fi
}

# A figure of the summary in which node --test ends.
summary() {
  figure=$(sed -n "s/^# $1 \([0-9]*\)\$/\1/p" "$logs/node.tap" | tail -n 1)
  echo "${figure:-0}"
}

run_node() {
  "$tests/generate.sh" || exit 2
  node --test --test-concurrency="$at_once" \
    --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="$logs/node.tap" "$@"
  status=$?
  count "$(summary pass)" "$(($(summary fail) + $(summary cancelled)))" "$status"
}

for program in "$BUILD"/tests/unit/*; do
  if [ -f "$program" ] && [ -x "$program" ] && selected "unit/${program##*/}"; then run_unit "$program"; fi
done

set --
for script in "$tests"/vectors/check.mjs "$tests"/integration/*.test.mjs "$tests"/model/*.test.mjs "$tests"/e2e/*.test.mjs \
  "$tests"/chaos/*.test.mjs; do
  if [ -f "$script" ] && selected "${script#"$tests"/}"; then set -- "$@" "$script"; fi
done
[ $# -eq 0 ] || run_node "$@"

# No broker of any test may log a credential, a token, a signed answer or a key: an enrolment's URI, a JWS, an
# Authorization header, PEM.
if grep -lE 'nanopush://enrol|eyJ[A-Za-z0-9_-]{16}|Bearer [a-z0-9]|PRIVATE KEY' "$logs"/*.log 2>/dev/null; then
  echo "FAILED  these logs have secrets"
  failed=$((failed + 1))
fi

if [ "$failed" -eq 0 ]; then rm -rf "$logs"; else echo "The logs are in $logs"; fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
