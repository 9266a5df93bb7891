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
