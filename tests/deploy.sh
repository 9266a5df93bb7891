#!/bin/sh
# The files under deploy/, as far as a machine without a container engine and
# without a cluster can tell: schemas, promises that the files make to one
# another, the hardening score, and an installation into an empty root.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

skip() {
    echo "SKIPPED: $1"
    [ "${WSB_REQUIRE_TOOLS:-0}" != 1 ]
}
fail() {
    echo "$1" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# -- make install: a complete tree, nothing outside of it, and nothing of the
# operator's overwritten by a second one.
# The newest one: an old release may lie beside a fresh debug build.
broker=$(ls -t target/release/wsb-broker target/debug/wsb-broker 2>/dev/null | head -n 1)
if [ -n "$broker" ]; then
    make --no-print-directory install BINARY=$broker DESTDIR="$work/root" PREFIX=/opt/wsb >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    for file in opt/wsb/bin/wsb-broker etc/wsb-broker/routing.toml etc/wsb-broker/settings \
        etc/systemd/system/wsb-broker.service etc/sysusers.d/wsb-broker.conf \
        opt/wsb/share/doc/wsb-broker/runbook.md opt/wsb/share/wsb-broker/dashboards/wsb-overview.json \
        opt/wsb/share/wsb-broker/prometheus/alerts.yml; do
        [ -f "$work/root/$file" ] || fail "make install does not install /$file"
    done
    echo "mine" >"$work/root/etc/wsb-broker/settings"
    make --no-print-directory install BINARY=$broker DESTDIR="$work/root" PREFIX=/opt/wsb >/dev/null 2>&1
    [ "$(cat "$work/root/etc/wsb-broker/settings")" = mine ] || fail "a second make install overwrites settings"
    "$work/root/opt/wsb/bin/wsb-broker" --version >/dev/null
    "$work/root/opt/wsb/bin/wsb-broker" --routing "$work/root/etc/wsb-broker/routing.toml" check >/dev/null
    unit=$work/root/etc/systemd/system/wsb-broker.service
    grep -q '^ExecStart=/opt/wsb/bin/wsb-broker run$' "$unit" || fail "the installed unit starts another program"
    # systemd finds what is installed, wherever that is.
    make --no-print-directory install BINARY=$broker DESTDIR="$work/local" >/dev/null 2>&1
    if has systemd-analyze; then
        for place in /etc/systemd/system /usr/local/lib/systemd/system; do
            systemd-analyze unit-paths | grep -qx "$place" || fail "systemd does not look for units in $place"
            [ -f "$work/root$place/wsb-broker.service" ] || [ -f "$work/local$place/wsb-broker.service" ] || fail "no unit in $place"
        done
    fi
else
    skip "no built broker for make install: cargo build"
    unit=$root/deploy/systemd/wsb-broker.service
fi

# -- systemd
if has systemd-analyze; then
    # Verified with a program that is there, as the installed one will be.
    sed "s#^ExecStart=[^ ]*#ExecStart=/bin/true#; s#^Documentation=.*##" "$unit" >"$work/wsb-broker.service"
    systemd-analyze verify "$work/wsb-broker.service"
    score=$(systemd-analyze security --offline=true --no-pager "$work/wsb-broker.service" 2>&1 | sed -n 's/.*exposure level[^:]*: \([0-9.]*\).*/\1/p')
    [ -n "$score" ] || fail "systemd-analyze security tells no score"
    echo "systemd-analyze security: $score"
    awk -v score="$score" 'BEGIN { exit !(score < 2.0) }' || fail "the unit's exposure is $score, and must be under 2.0"
else
    skip "there is no systemd-analyze"
fi

# -- Prometheus and Alertmanager
if has promtool; then
    promtool check config deploy/prometheus/prometheus.yml >"$work/log" || { cat "$work/log"; exit 1; }
else
    skip "there is no promtool: make setup"
fi

# -- Kubernetes and Compose
checkers=target/checkers/bin
if [ -x $checkers/kubernetes-validate ]; then
    # What no schema is shipped for is checked in deploy.py.
    plain=$(ls deploy/kubernetes/*.yaml | grep -v -e kustomization -e servicemonitor)
    $checkers/kubernetes-validate --strict $plain >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    $checkers/python tests/deploy.py
else
    skip "there are no schema checkers in target/checkers: make setup"
fi
if has kubectl; then
    cp -r deploy/kubernetes "$work/kubernetes"
    cp routing.toml "$work/kubernetes"
    kubectl kustomize "$work/kubernetes" >"$work/all.yaml"
    grep -q 'image: registry.example/wsb-broker:0.1.0' "$work/all.yaml" || fail "the image is not exchanged"
    [ ! -x $checkers/kubernetes-validate ] || {
        # Without the ServiceMonitor, which no schema is shipped for.
        awk 'BEGIN { RS = "\n---\n"; ORS = "\n---\n" } !/kind: ServiceMonitor/' "$work/all.yaml" >"$work/known.yaml"
        $checkers/kubernetes-validate --strict "$work/known.yaml" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    }
fi
for script in deploy/compose/prepare .ci/install-checkers .ci/install-rabbitmq .ci/apt-install; do
    sh -n $script
done
if [ -n "$broker" ]; then
    # What compose.yaml needs is made, once, and not readable by others' eyes in git.
    cp -r deploy "$work/deploy" && cp routing.toml "$work/"
    prepare() { (cd "$work/deploy/compose" && WSB_BROKER=$root/$broker ./prepare) >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }
    prepare
    cp "$work/deploy/compose/secrets/admin-token" "$work/token"
    prepare
    cmp -s "$work/token" "$work/deploy/compose/secrets/admin-token" || fail "prepare makes a new token every time"
    for file in $(sed -n 's/^[^#]*[ /]\(secrets\/[a-z.-]*\).*/\1/p' deploy/compose/compose.yaml | sort -u); do
        [ -s "$work/deploy/compose/$file" ] || fail "prepare does not make $file"
    done
    # A token for somebody: the file is there, takes it, and keeps it.
    tokens=$work/deploy/compose/secrets/tokens/tokens.toml
    "$broker" token create --name anna --role viewer --file "$tokens" >/dev/null 2>&1 || fail "no token can be added to the file that prepare makes"
    prepare
    "$broker" token check "$tokens" | grep -q '1 tokens' || fail "prepare forgets the tokens, or the broker refuses its file"
    git check-ignore -q deploy/compose/secrets/admin-token || fail "git does not ignore deploy/compose/secrets"
fi
echo "deploy: ok"
