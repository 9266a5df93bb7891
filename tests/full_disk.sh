#!/bin/sh
# A disk without a byte left, for real: a small disk in memory is filled up beside the
# store. Whatever opens the store then says so and waits, or ends; once there is room
# everything is there. The disk is mounted in a namespace of its own, which needs no root
# where the system allows that.
set -eu
cd "$(dirname "$0")/.."
. tests/built.sh
case ${1:-} in
inside) ;;
*)
    for namespace in "-rm" "-m"; do
        if unshare $namespace sh -c 'mount -t tmpfs tmpfs /mnt' 2>/dev/null; then
            exec unshare $namespace sh tests/full_disk.sh inside
        fi
    done
    echo "SKIPPED: no disk may be mounted here, not even in a namespace of its own"
    [ "${WSB_REQUIRE_TOOLS:-0}" != 1 ]
    exit
    ;;
esac

work=$(mktemp -d)
disk=$work/disk
pid=
cleanup() {
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    umount "$disk" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
fail() {
    echo "full disk: $*" >&2
    tail -n 20 "$work/log" >&2 2>/dev/null || true
    exit 1
}
mkdir "$disk"
mount -t tmpfs -o size=32m tmpfs "$disk"

port=$((30000 + $$ % 10000))
export WSB_HTTP="127.0.0.1:$port" WSB_AMQP_URI=amqp://127.0.0.1:1/x WSB_DATA_DIR="$disk/data" WSB_KEY_FILE="$work/key" \
    WSB_ERASED_LIST="$disk/erased" WSB_ADMIN_TOKEN=full-disk WSB_MIN_FREE_MIB=1 WSB_SHUTDOWN_SECONDS=5
fill() {
    dd if=/dev/zero of="$disk/filler" bs=64k >/dev/null 2>&1 || true
    dd if=/dev/zero of="$disk/last" bs=1 >/dev/null 2>&1 || true
}

# The broker stops as it should, and leaves everything as it should be.
stops_in_order() {
    stop_broker "$1: the broker"
    "$broker" verify >"$work/said" 2>&1 || fail "$1, once there is room: $(cat "$work/said")"
}

# People who do not exist become members of a fund.
members() {
    awk -v from="$1" -v to="$2" 'BEGIN { for (n = from; n <= to; n++) printf "{\"specversion\":\"1.0\",\"id\":\"full-%d\",\"source\":\"urn:dk:star:dfdg:tilknytning\",\"type\":\"dk.star.dfdg.Akassemedlemskab.v1\",\"time\":\"2026-03-16T08:00:00+01:00\",\"datacontenttype\":\"application/json\",\"data\":{\"EntitetNavn\":\"Akassemedlemskab\",\"Aendringstype\":1,\"EksternIdentifier\":\"50000000-0000-4000-8000-%012d\",\"Personnummer\":\"%02d0190%04d\",\"Startdato\":\"2020-01-01\",\"Indhold\":{\"Akassekode\":\"067\"}}}\n", n, n, 1 + int(n / 10000), n % 10000 }' >"$work/members.ndjson"
    "$broker" import "$work/members.ndjson" 2>&1
}
members 1 2000 >"$work/log" || fail "the import failed"

for round in 1 2 3; do
    # So that there is something to be written at the next opening.
    members $((2000 * round + 1)) $((2000 * round + 2000)) >>"$work/log" || fail "round $round: the import failed"
    # A command on the full disk ends and says why.
    fill
    code=0
    "$broker" verify >"$work/said" 2>&1 || code=$?
    [ "$code" -ne 0 ] || fail "round $round: the disk is not full: $(df "$disk")"
    grep -q 'no room left on the disk' "$work/said" || fail "round $round: on a full disk it says: $(cat "$work/said")"
    # The service waits, and goes on by itself.
    "$broker" run >>"$work/log" 2>&1 &
    pid=$!
    tries=0
    until grep -q 'waiting for room' "$work/log"; do
        kill -0 "$pid" 2>/dev/null || { pid=; fail "round $round: the broker ended on a full disk"; }
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || fail "round $round: the broker does not say that it waits for room"
        sleep 0.1
    done
    # Killed while it waits, and started again, in every other round.
    if [ "$round" = 2 ]; then
        kill -9 "$pid"
        wait "$pid" 2>/dev/null || true
        "$broker" run >>"$work/log" 2>&1 &
        pid=$!
    fi
    rm "$disk/filler" "$disk/last"
    until_it_answers curl -sf -H 'Authorization: Bearer full-disk' "http://127.0.0.1:$port/api/v1/recipients"
    stops_in_order "round $round"
    : >"$work/log"
done
# Citizens who are taken in as the disk fills up, until there is no room for more: their
# keys go into a file that grows by blocks. What was taken in is there afterwards, and the
# rest is taken in then.
next=8001
for left in 20 60 110; do
    free=$(df -k "$disk" | awk 'END { print $4 }')
    dd if=/dev/zero of="$disk/filler" bs=1024 count=$((free - left)) >/dev/null 2>&1
    # The store has room of its own, where it writes over what is no longer needed.
    batches=0
    while first=$next && next=$((next + 400)) && members "$first" $((next - 1)) >"$work/said"; do
        batches=$((batches + 1))
        [ "$batches" -lt 100 ] || fail "with $left KiB left there is always room: $(cat "$work/said")"
    done
    grep -q 'no room left on the disk' "$work/said" || fail "with $left KiB left it says: $(cat "$work/said")"
    rm "$disk/filler"
    "$broker" verify >"$work/verified" 2>&1 || fail "with $left KiB left, after $(cat "$work/said"): $(cat "$work/verified")"
    members "$first" $((next - 1)) >"$work/said" || fail "once there is room: $(cat "$work/said")"
done
members 1 $((next - 1)) | grep -q "imported 0 events; $((next - 1)) had been taken in before" || fail "something is forgotten"
# Through a running broker, which takes nothing in with less than a MiB left, and goes on
# by itself.
"$broker" run >"$work/log" 2>&1 &
pid=$!
until_it_answers curl -sf -H 'Authorization: Bearer full-disk' "http://127.0.0.1:$port/api/v1/recipients"
free=$(df -k "$disk" | awk 'END { print $4 }')
dd if=/dev/zero of="$disk/filler" bs=1024 count=$((free - 600)) >/dev/null 2>&1
until_it_answers sh -c "curl -s http://127.0.0.1:$port/readyz | grep -q 'too full'"
members "$next" $((next + 399)) >"$work/said" && fail "taken in without room: $(cat "$work/said")"
grep -q 'is too full' "$work/said" || fail "a running broker without room says: $(cat "$work/said")"
rm "$disk/filler"
until_it_answers sh -c "! curl -s http://127.0.0.1:$port/readyz | grep -q 'too full'"
members "$next" $((next + 399)) >"$work/said" || fail "once there is room again: $(cat "$work/said")"
stops_in_order "a running broker"
echo "full disk: waited for room, with everything still there"
