#!/bin/sh
# One login approved, end to end: broker, portal, phone, each as its own program. Asks on a terminal; without one, or
# with AUTO=1, it answers by itself (ANSWER=approve, deny or not-me). Ends with 0 when the portal and the phone agree.
set -eu

build=${BUILD:-build}
demo=$(mktemp -d "$build/demo.XXXXXX")
export NANOPUSH_DATA="$demo/data" NANOPUSH_CREDENTIAL="$demo/portal.credential"
nanopush=$build/nanopush
broker='' portal='' phone=''
ask=ask
if [ "${AUTO:-}" = 1 ] || [ ! -t 0 ] || [ ! -t 1 ]; then ask=${ANSWER:-approve}; fi

finish() {
  status=$?
  trap - EXIT INT TERM
  for pid in $phone $portal; do kill "$pid" 2>/dev/null || true; done
  if [ -n "$broker" ]; then
    kill "$broker" 2>/dev/null || true
    wait "$broker" 2>/dev/null || true
  fi
  if [ $status -ne 0 ]; then
    echo "The demo failed. What the broker said last:" >&2
    tail -n 20 "$demo/broker.log" >&2 || true
  fi
  rm -rf "$demo"
  exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

now_ms() { date +%s%3N; }
step_began=$(now_ms)
step() { # who, what: a line with the time that it took
  printf '%7d ms  %-8s %s\n' "$(($(now_ms) - step_began))" "$1" "$2"
  step_began=$(now_ms)
}
fail() {
  echo "$1" >&2
  exit 1
}
field() { sed -n "1s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p" "$2"; } # of a line of JSON
soon() { # file to wait for, 10 s at the most
  tries=500
  while [ ! -s "$1" ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "nothing came: $1"
    sleep 0.02
  done
}

cat >"$demo/nanopush.conf" <<CONF
device_listen = "127.0.0.1:0";
portal_listen = "127.0.0.1:0";
stats_listen = "127.0.0.1:0";
CONF
"$build/nanopushd" --config "$demo/nanopush.conf" --data "$NANOPUSH_DATA" 2>"$demo/broker.log" &
broker=$!
soon "$NANOPUSH_DATA/ports"
step broker "is ready, with a Redis of its own: $(tr '\n' ' ' <"$NANOPUSH_DATA/ports")"

$nanopush org add nano --name NANO >/dev/null
$nanopush portal add nano-demo --org nano --name 'NANO Portal' --mode tap --scope challenge,enrol \
  --credential "$NANOPUSH_CREDENTIAL" >/dev/null
step operator "added the organisation nano and the portal nano-demo, which may ask by TAP"

$nanopush enrol create ada --pins "$demo/pins.json" >"$demo/enrolment"
uri=$(grep -o 'nanopush://[^ ]*' "$demo/enrolment")
enrolment=$(echo "$uri" | sed 's/.*&e=\([^&]*\).*/\1/')
step portal "lets Ada enrol a phone, and shows her this QR code:"
cat "$demo/enrolment"

(umask 077 && echo 123456 >"$demo/passcode")
$nanopush enrol watch "$enrolment" --pins "$demo/pins.json" >"$demo/enrolled" &
portal=$!
step_began=$(now_ms)
echo "$uri" | $nanopush phone enrol - --state "$demo/phone" --name "Ada's phone" --platform ios \
  --passcode-file "$demo/passcode" >/dev/null
step phone "scanned it, made its two keys, and is Ada's phone now"
wait "$portal" || fail 'the portal did not accept the phone'
portal=''
step portal "checked the proof by the QR code's own secret, and pinned both keys"

phone_log=$demo/phone.log
set -- --state "$demo/phone" --passcode-file "$demo/passcode" --once
if [ "$ask" != ask ]; then
  $nanopush phone run --answer "$ask" --delay-ms 300 "$@" >"$phone_log" &
  phone=$!
  soon "$phone_log"
  step phone "is connected (TLS 1.3) and waits"
fi
$nanopush challenge create ada --pins "$demo/pins.json" --mode tap --application 'NANO Portal' --address 198.51.100.7 \
  --place Bolzano --browser Firefox --os Linux --json >"$demo/challenge"
step portal "\"Get a push notification\": Ada typed her password, the push is on its way"
$nanopush challenge watch "$(field id "$demo/challenge")" --pins "$demo/pins.json" >"$demo/watched" 2>&1 &
portal=$!

if [ "$ask" = ask ]; then
  echo
  $nanopush phone run --answer ask "$@" || fail 'the phone failed'
  echo
else
  wait "$phone" || fail 'the phone failed'
  phone=''
  sed -e '/^Connected/d' -e 's/^/            | /' "$phone_log"
fi
step phone "answered"
verdict=0
wait "$portal" || verdict=$?
portal=''
sed 's/^/            | /' "$demo/watched"
case $verdict in
0) step portal "Ada is signed in: the signed approval was verified against the pinned key, without the broker" ;;
10) step portal "was told: \"No\". Nobody is signed in" ;;
11) step portal "was told: \"No, it's not me\". Nobody is signed in, and somebody else knows the password" ;;
*) fail "the portal ended with $verdict" ;;
esac
