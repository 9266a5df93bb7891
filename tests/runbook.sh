#!/bin/sh
# Every command of the broker that stands in the documents is one that it has,
# with flags that it knows. Nothing is reached by them: there is no broker, no
# RabbitMQ and no store at the places that they are told.
set -eu
cd "$(dirname "$0")/.."
. tests/built.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/etc/credentials"
ln -s "$broker" "$work/bin/wsb-broker"
cp routing.toml "$work/etc/"
echo token >"$work/etc/credentials/admin-token"

# In code blocks, and between backticks; `wsb-broker run` would not end.
for document in README.md docs/runbook.md docs/routing.md docs/vendor-guide.md; do
    awk '/^ *```/ { block = !block; next } block { sub(/^ +/, ""); if (/^wsb-broker /) print }' "$document"
    tr '\n' ' ' <"$document" | grep -o '`wsb-broker [^`]*`' | tr -d '`' || true
done | sed -e 's/ *#.*//' -e 's/ *>.*//' -e 's/  */ /g' | grep -v -e '^wsb-broker run' -e '…' -e '\.\.\.' | sort -u >"$work/commands"

count=0
while read -r command; do
    count=$((count + 1))
    here=$(printf '%s\n' "$command" | sed -E "s#/etc/wsb-broker#$work/etc#g; s#\\b(N|ID)\\b#1#g")
    (
        cd "$work"
        PATH=$work/bin:$PATH WSB_HTTP=127.0.0.1:1 WSB_AMQP_URI=amqp://127.0.0.1:1/x WSB_DATA_DIR=$work/none/data \
            WSB_KEY_FILE=$work/none.key WSB_ROUTING=$work/etc/routing.toml WSB_ADMIN_TOKEN_FILE=$work/etc/credentials/admin-token \
            timeout 20 sh -c "$here"
    ) >"$work/out" 2>"$work/err" </dev/null || true
    # A command may be mentioned by its name alone.
    if grep -q -e 'unexpected argument' -e 'unrecognized subcommand' -e 'invalid value' -e 'cannot be used with' "$work/err"; then
        echo "the documents say: $command" >&2
        cat "$work/err" >&2
        exit 1
    fi
done <"$work/commands"
[ "$count" -ge 20 ] || { echo "only $count commands found in the documents" >&2; exit 1; }
echo "runbook: $count commands of the documents are understood"

# The exchange of the master key, command by command as the runbook has it, on a
# broker at work: without systemd, whose part is to restart, and without RabbitMQ, for
# which the broker waits.
etc=$work/host/etc/wsb-broker
mkdir -p "$etc/credentials" "$work/host/var" "$work/host/somewhere/else" "$work/host/backups"
cp routing.toml "$etc/"
echo rotation >"$etc/credentials/admin-token"
port=$((20000 + ($$ + 5000) % 10000))
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
export PATH="$work/bin:$PATH" WSB_HTTP="127.0.0.1:$port" WSB_AMQP_URI=amqp://127.0.0.1:1/x WSB_ROUTING="$etc/routing.toml" \
    WSB_DATA_DIR="$work/host/var/data" WSB_KEY_FILE="$etc/credentials/master-key" WSB_ADMIN_TOKEN_FILE="$etc/credentials/admin-token"

fail() {
    echo "the exchange of the master key: $*" >&2
    tail -n 20 "$work/log" >&2
    exit 1
}
start() {
    wsb-broker run >>"$work/log" 2>&1 &
    pid=$!
    until_it_answers wsb-broker health
}
systemctl() {
    [ "$*" = "restart wsb-broker" ] || fail "the runbook asks for systemctl $*, and this script knows a restart only"
    stop_broker "the broker"
    start
}
is_known() {
    echo 0101901003 | wsb-broker erase --dry-run >>"$work/log" 2>&1
}

awk '/^## / { section = ($0 == "## The master key") } section && /^```/ { block = !block; next } section && block' docs/runbook.md |
    sed -E "s#(/etc/wsb-broker|/somewhere/else|/backups)#$work/host&#g" >"$work/exchange"
grep -c . "$work/exchange" | grep -qx 6 || fail "the runbook has not six commands for it: $(cat "$work/exchange")"

wsb-broker init-key >>"$work/log"
cp -p "$WSB_KEY_FILE" "$work/first.key"
start
printf '{"specversion":"1.0","id":"rotation","source":"urn:dk:star:dfdg:tilknytning","type":"dk.star.dfdg.Akassemedlemskab.v1","time":"2026-03-16T08:00:00+01:00","datacontenttype":"application/json","data":{"EntitetNavn":"Akassemedlemskab","Aendringstype":1,"EksternIdentifier":"40000000-0000-4000-8000-000000000003","Personnummer":"0101901003","Startdato":"2020-01-01","Indhold":{"Akassekode":"067"}}}\n' >"$work/member.ndjson"
wsb-broker import "$work/member.ndjson" >>"$work/log" 2>&1 || fail "the import failed"
is_known || fail "what was imported is not known"
. "$work/exchange" >>"$work/log"

is_known || fail "what was known with the old key is not known with the new one"
stop_broker "the broker"
wsb-broker verify >>"$work/log" 2>&1 || fail "the new key does not open the store"
cmp -s "$work/first.key" "$WSB_KEY_FILE" && fail "the key was not exchanged"
kept=$(ls "$work/host/somewhere/else/"*)
cmp -s "$work/first.key" "$kept" || fail "the old key was not kept"
code=0
wsb-broker verify --key-file "$kept" >>"$work/log" 2>&1 || code=$?
[ "$code" -eq 4 ] || fail "the old key still opens the store, or is refused with $code"
wsb-broker restore --from "$work/host/backups/"* --data-dir "$work/host/var/restored" >>"$work/log" 2>&1 || fail "the backup does not open with the new key"
grep -q 0101901003 "$work/log" && fail "the log names somebody"
echo "runbook: the master key is exchanged as it says"
