#!/bin/sh
# The upgrade of docs/runbook.md, tried: back up, stop, exchange the binary, start;
# and the way back, with the former binary and the backup. Without systemd, whose
# part is to start and to stop, and without RabbitMQ, for which the broker waits.
#
# The former version is WSB_FORMER_BINARY, or the same program under another path.
set -eu
cd "$(dirname "$0")/.."
. tests/built.sh
former=${WSB_FORMER_BINARY:-$broker}
work=$(mktemp -d)
pid=
cleanup() {
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

fail() {
    echo "upgrade: $*" >&2
    tail -n 20 "$work/log" >&2 2>/dev/null || true
    exit 1
}

# As on a plain host; the log is where the journal would be.
installed=$work/host/usr/local/bin/wsb-broker
settings=$work/host/etc/wsb-broker
install_binary() {
    make -s install DESTDIR="$work/host" BINARY="$1" >/dev/null
}
wsb_broker() {
    env -i PATH="$PATH" WSB_HTTP="127.0.0.1:$port" WSB_AMQP_URI=amqp://127.0.0.1:1/x WSB_ADMIN_TOKEN=upgrade \
        WSB_ROUTING="$settings/routing.toml" WSB_DATA_DIR="$work/data" WSB_SHUTDOWN_SECONDS=10 "$installed" "$@"
}
start() {
    # The subshell becomes the broker, so that its id is the broker's.
    (exec env -i PATH="$PATH" WSB_HTTP="127.0.0.1:$port" WSB_AMQP_URI=amqp://127.0.0.1:1/x WSB_ADMIN_TOKEN=upgrade \
        WSB_ROUTING="$settings/routing.toml" WSB_DATA_DIR="$work/data" WSB_SHUTDOWN_SECONDS=10 "$installed" run) >>"$work/log" 2>&1 &
    pid=$!
    until_it_answers wsb_broker health
}
# When the latest backup was taken, as the running broker knows it.
latest_backup() {
    curl -sf -H 'Authorization: Bearer upgrade' "http://127.0.0.1:$port/api/v1/backup" | grep -o '"latest_at":"[^"]*"' || true
}
# Somebody who does not exist becomes a member of a fund.
member() {
    printf '{"specversion":"1.0","id":"%s","source":"urn:dk:star:dfdg:tilknytning","type":"dk.star.dfdg.Akassemedlemskab.v1","time":"2026-03-16T08:00:00+01:00","datacontenttype":"application/json","data":{"EntitetNavn":"Akassemedlemskab","Aendringstype":1,"EksternIdentifier":"%s","Personnummer":"%s","Startdato":"2020-01-01","Indhold":{"Akassekode":"067"}}}\n' "$1" "$2" "$3" >"$work/member.ndjson"
    wsb_broker import "$work/member.ndjson" >>"$work/log" 2>&1 || fail "the import of $1 failed"
}
is_known() {
    echo "$1" | wsb_broker erase --dry-run >"$work/known" 2>&1
}

before=0101901001
after=0101901002

# A port that nobody listens on: the broker says so if somebody does.
port=$((20000 + $$ % 10000))
mkdir -p "$work/backups"

# The former version, at work.
install_binary "$former"
echo '# changed by hand' >>"$settings/routing.toml"
start
member before 40000000-0000-4000-8000-000000000001 "$before"
is_known "$before" || fail "the former version does not know whom it was told of: $(cat "$work/known")"

# Back up, stop, exchange the binary, start.
wsb_broker backup --to "$work/backups/before" >>"$work/log" 2>&1 || fail "no backup was taken"
[ -e "$work/backups/before/manifest" ] || fail "the backup has no manifest"
taken=$(latest_backup)
[ -n "$taken" ] || fail "the broker does not say when its latest backup was taken"
stop_broker "the broker"
# A second name, so that what is installed cannot get the same inode again.
ln "$installed" "$work/former-binary"
install_binary "$broker"
[ ! "$installed" -ef "$work/former-binary" ] || fail "the binary was not exchanged"
grep -q '# changed by hand' "$settings/routing.toml" || fail "make install has overwritten settings"
start
is_known "$before" || fail "the new version does not know what the former one knew"
[ "$(latest_backup)" = "$taken" ] || fail "the latest backup is forgotten with the restart: $(latest_backup), not $taken"
member after 40000000-0000-4000-8000-000000000002 "$after"
is_known "$after" || fail "the new version takes nothing in"
stop_broker "the broker"
wsb_broker verify >>"$work/log" 2>&1 || fail "the store of the new version is not sound"

# The way back: the former binary, and the backup in the place of the store.
install_binary "$former"
mv "$work/data" "$work/data-of-the-new-version"
wsb_broker restore --from "$work/backups/before" >>"$work/log" 2>&1 || fail "the backup cannot be restored"
wsb_broker verify >>"$work/log" 2>&1 || fail "the restored store is not sound"
start
is_known "$before" || fail "what was in the backup is not there after the way back"
[ "$(latest_backup)" = "$taken" ] || fail "the restored store does not know of which backup it is: $(latest_backup), not $taken"
if is_known "$after"; then
    fail "something is known that came after the backup"
fi
stop_broker "the broker"
grep -qE '010190100[12]' "$work/log" && fail "the log names somebody"
echo "upgrade: there and back, with what was known"
