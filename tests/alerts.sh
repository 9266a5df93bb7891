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
promtool check rules deploy/prometheus/alerts.yml deploy/prometheus/recording.yml
promtool test rules deploy/prometheus/tests/*.yml
