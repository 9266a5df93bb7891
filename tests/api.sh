#!/bin/sh
# The admin API of a running broker under schemathesis, which makes up requests
# from docs/openapi.yaml, well-formed and not, and checks the answers against it.
# Takes about a minute, and needs no RabbitMQ. Skipped where schemathesis cannot
# be installed. WSB_API_SECONDS=600 tries longer; WSB_REQUIRE_TOOLS=1 fails
# instead of skipping.
set -eu
cd "$(dirname "$0")/.."

seconds=${WSB_API_SECONDS:-45}
tool=target/schemathesis/bin/schemathesis
skip() {
    echo "SKIPPED: $1"
    [ "${WSB_REQUIRE_TOOLS:-0}" != 1 ] || exit 1
    exit 0
}

if [ ! -x "$tool" ]; then
    command -v python3 >/dev/null 2>&1 || skip "there is no python3 to run schemathesis with"
    mkdir -p target
    python3 -m venv target/schemathesis >/dev/null 2>&1 || skip "python3 cannot make a virtual environment (python3-venv)"
    timeout 300 target/schemathesis/bin/pip install --quiet --disable-pip-version-check 'schemathesis>=4,<5' >/dev/null 2>&1 ||
        skip "schemathesis cannot be installed from PyPI"
fi
# The newest one: an old release may lie beside a fresh debug build.
broker=$(ls -t target/release/wsb-broker target/debug/wsb-broker 2>/dev/null | head -n 1)
[ -n "$broker" ] || skip "the broker is not built"

work=$(mktemp -d)
pid=
stop() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
token=$("$broker" token create --name schemathesis --role operator --file "$work/tokens.toml" | sed -n 's/^token, shown this once: //p')
# Something to be found. The citizen is made up.
cat >"$work/citizens.ndjson" <<'TEXT'
{"specversion":"1.0","id":"one","source":"urn:dk:star:dfdg:tilknytning","type":"dk.star.dfdg.Akassemedlemskab.v1","time":"2026-03-01T08:00:00Z","datacontenttype":"application/json","data":{"EntitetNavn":"Akassemedlemskab","Aendringstype":1,"EksternIdentifier":"10000000-0000-4000-8000-000000000001","Personnummer":"0101901234","Startdato":"2020-01-01","Slutdato":null,"Indhold":{"Akassekode":"067"}}}
TEXT
export WSB_DATA_DIR="$work/data" WSB_HTTP="127.0.0.1:$port" WSB_TOKENS="$work/tokens.toml"
export WSB_AMQP_URI="amqp://nobody:nothing@127.0.0.1:1/%2f" WSB_LOG=warn
"$broker" import "$work/citizens.ndjson" >/dev/null
"$broker" run >"$work/log" 2>&1 &
pid=$!
alive() { python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/healthz', timeout=1)" >/dev/null 2>&1; }
tries=0
until alive; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ] || ! kill -0 "$pid" 2>/dev/null; then
        cat "$work/log"
        exit 1
    fi
    sleep 0.1
done

# Left out: readiness, which says 503 without RabbitMQ; a backup, which would
# write where schemathesis points; lines of events, which it cannot write, and
# this very document, which it would take apart. The schema cannot say everything that is
# refused, such as what is no time; hence no check that it does.
status=0
"$tool" run docs/openapi.yaml --url "http://127.0.0.1:$port" --header "Authorization: Bearer $token" \
    --exclude-path /readyz --exclude-path /api/v1/backup --exclude-path /api/v1/import --exclude-path /api/v1/openapi.yaml \
    --exclude-checks negative_data_rejection,positive_data_acceptance,missing_required_header,object_level_authorization \
    --phases examples,coverage,fuzzing --max-time "$seconds" --max-examples 60 --request-timeout 10 --suppress-health-check all --warnings off \
    >"$work/report" 2>&1 || status=$?
if [ $status -ne 0 ]; then
    cat "$work/report"
    exit $status
fi
kill -0 "$pid" || { cat "$work/log"; echo "the broker ended" >&2; exit 1; }
if grep -q 0101901234 "$work/log"; then
    echo "the log names a citizen" >&2
    exit 1
fi
grep -E 'passed|generated|No issues' "$work/report" | tail -n 3
