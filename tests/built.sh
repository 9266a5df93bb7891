# Sourced by the scripts beside it, from the repository's folder: $broker is the
# program that was built last. Without one the script is skipped, or fails where
# WSB_REQUIRE_TOOLS=1 asks for everything.
broker=$(ls -t "$PWD"/target/release/wsb-broker "$PWD"/target/debug/wsb-broker 2>/dev/null | head -n 1)
if [ -z "$broker" ]; then
    echo "SKIPPED: no built broker: cargo build"
    [ "${WSB_REQUIRE_TOOLS:-0}" != 1 ]
    exit
fi

# Stops the broker with the id $pid; "$1" says of which one it is told that it did not stop
# in order. `fail` is the caller's.
stop_broker() {
    kill -TERM "$pid"
    code=0
    wait "$pid" || code=$?
    pid=
    [ "$code" -eq 0 ] || fail "$1 stopped with exit code $code"
}

# Waits until the broker with the id $pid answers this command. `fail` is the caller's.
until_it_answers() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || { pid=; fail "the broker ended instead of starting"; }
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || fail "the broker does not answer"
        sleep 0.1
    done
}
