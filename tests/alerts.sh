#!/bin/sh
# Alert and recording rules: well-formed, and each alert fires when it must and
# not before. Their metrics and runbook sections are held by tests/monitoring.
set -eu
cd "$(dirname "$0")/.."

if ! command -v promtool >/dev/null; then
    echo "SKIPPED: there is no promtool: make setup installs it, or apt-get install prometheus"
    [ "${WSB_REQUIRE_TOOLS:-0}" != 1 ]
    exit
fi
# An alert without a test of it firing would be one that nobody has seen.
for alert in $(sed -n 's/^ *- alert: *//p' deploy/prometheus/alerts.yml); do
    awk -v alert="$alert" '
        /alertname:/ { seen = index($0, "alertname: " alert " ") || index($0, "alertname: " alert ",") || $NF == alert }
        seen && /exp_labels/ { fires = 1 }
        END { exit !fires }' deploy/prometheus/tests/*.yml || { echo "no test has $alert fire" >&2; exit 1; }
done
promtool check rules deploy/prometheus/alerts.yml deploy/prometheus/recording.yml
promtool test rules deploy/prometheus/tests/*.yml
