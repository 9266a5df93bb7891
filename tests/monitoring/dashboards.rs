//! What stands on the dashboards. The JSON under `dashboards/` is made of this:
//! `make dashboards` writes it, and a test holds that it agrees.
//!
//! A query with `$recipient` is about the recipient that is chosen at the top;
//! `$__rate_interval` is Grafana's.

use serde_json::{Value, json};

/// A dashboard.
pub struct Dashboard {
    /// The file's name, and what its address in Grafana ends with.
    pub uid: &'static str,
    title: &'static str,
    about: &'static str,
    by_recipient: bool,
    rows: Vec<Row>,
}

struct Row {
    title: &'static str,
    panels: Vec<Panel>,
}

/// A panel.
pub struct Panel {
    title: &'static str,
    about: &'static str,
    shape: Shape,
    unit: &'static str,
    queries: Vec<(String, &'static str)>,
    /// A value from which on it is red.
    alarm: Option<f64>,
    width: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Number,
    Lines,
    /// One row for each series, the largest first.
    List,
}

fn number(title: &'static str, unit: &'static str, alarm: Option<f64>, query: &str, about: &'static str) -> Panel {
    Panel { title, about, shape: Shape::Number, unit, queries: vec![(query.to_owned(), "")], alarm, width: 4 }
}

fn lines(title: &'static str, unit: &'static str, queries: &[(&str, &'static str)], about: &'static str) -> Panel {
    let queries = queries.iter().map(|(query, legend)| ((*query).to_owned(), *legend)).collect();
    Panel { title, about, shape: Shape::Lines, unit, queries, alarm: None, width: 8 }
}

fn list(title: &'static str, unit: &'static str, query: &str, about: &'static str) -> Panel {
    Panel { title, about, shape: Shape::List, unit, queries: vec![(query.to_owned(), "")], alarm: None, width: 8 }
}

fn quantiles(title: &'static str, metric: &str, unit: &'static str, about: &'static str) -> Panel {
    let query = |quantile: &str| format!("histogram_quantile({quantile}, sum by (le) (rate({metric}_bucket[$__rate_interval])))");
    let queries = [("0.5", "median"), ("0.95", "95 %"), ("0.99", "99 %")];
    Panel {
        title,
        about,
        shape: Shape::Lines,
        unit,
        queries: queries.iter().map(|(quantile, legend)| (query(quantile), *legend)).collect(),
        alarm: None,
        width: 8,
    }
}

impl Panel {
    fn wide(mut self) -> Self {
        self.width = 12;
        self
    }
}

/// Every dashboard.
pub fn all() -> Vec<Dashboard> {
    vec![overview(), recipient(), gdpr(), internals()]
}

fn overview() -> Dashboard {
    Dashboard {
        uid: "wsb-overview",
        title: "WSB broker: overview",
        about: "Is everything delivered, to the right ones, in time?",
        by_recipient: false,
        rows: vec![
            Row {
                title: "Now",
                panels: vec![
                    number(
                        "Ready",
                        "bool_yes_no",
                        None,
                        "min(wsb_ready)",
                        "No: see /readyz of the broker, and the runbook under WsbNotReady.",
                    ),
                    number(
                        "Oldest waiting",
                        "s",
                        Some(300.0),
                        "max(wsb_oldest_pending_seconds)",
                        "How long the oldest unfinished delivery has waited, over all recipients.",
                    ),
                    number(
                        "Waiting",
                        "short",
                        None,
                        "sum(wsb_pending) + sum(wsb_retrying)",
                        "Deliveries that are not in the recipient's queue yet.",
                    ),
                    number(
                        "Paused queues",
                        "short",
                        Some(1.0),
                        "sum(wsb_queue_paused)",
                        "Queues that take nothing; most often the vendor has not fetched.",
                    ),
                    number("Dead", "short", Some(1.0), "sum(wsb_dead)", "Deliveries given up or rejected; they wait for an operator."),
                    number(
                        "Late within the last hour",
                        "percentunit",
                        Some(0.001),
                        "wsb:delivery_late_ratio:rate1h",
                        "Objective: 99.9 % are in the recipient's queue within 60 seconds.",
                    ),
                ],
            },
            Row {
                title: "Flow",
                panels: vec![
                    lines(
                        "Events taken in",
                        "short",
                        &[("sum by (outcome) (rate(wsb_events_consumed_total[$__rate_interval]))", "{{outcome}}")],
                        "Per second, by what became of them.",
                    ),
                    lines(
                        "Deliveries",
                        "short",
                        &[(
                            "sum by (recipient_type, outcome) (rate(wsb_deliveries_total[$__rate_interval]))",
                            "{{recipient_type}} {{outcome}}",
                        )],
                        "Per second, by how they ended.",
                    ),
                    lines(
                        "Attempts by outcome",
                        "short",
                        &[("sum by (outcome) (rate(wsb_delivery_attempts_total[$__rate_interval]))", "{{outcome}}")],
                        "Per second. Anything but confirmed is tried again.",
                    ),
                    list(
                        "Busiest types",
                        "short",
                        "topk(10, sum by (entity) (rate(wsb_events_consumed_total[$__rate_interval])))",
                        "Events per second, by EntitetNavn.",
                    ),
                    quantiles(
                        "From event to delivery",
                        "wsb_event_to_delivery_seconds",
                        "s",
                        "From the intake of an event to RabbitMQ's confirm that it is in the recipient's queue.",
                    ),
                    lines(
                        "Late deliveries",
                        "percentunit",
                        &[
                            ("wsb:delivery_late_ratio:rate1h", "last hour"),
                            ("wsb:delivery_late_ratio:rate6h", "last 6 hours"),
                            ("wsb:delivery_late_ratio:rate3d", "last 3 days"),
                            ("vector(0.001)", "objective"),
                            ("wsb:delivery_late_unpaused_ratio:rate1h", "last hour, queues that are not paused"),
                        ],
                        "Share of deliveries that took more than 60 seconds, or were given up. What was held on purpose counts from its end.",
                    ),
                ],
            },
            Row {
                title: "Only to whoever is entitled",
                panels: vec![
                    lines(
                        "Wrong recipient prevented",
                        "short",
                        &[("sum by (stage) (increase(wsb_wrong_recipient_prevented_total[$__rate_interval]))", "{{stage}}")],
                        "Recipients that once had the citizen, have not any more, and were not told.",
                    ),
                    lines(
                        "Left out, by reason",
                        "short",
                        &[("sum by (reason) (rate(wsb_deliveries_suppressed_total[$__rate_interval]))", "{{reason}}")],
                        "Recipients that a rule named and that were left out at the decision, per second.",
                    ),
                    list(
                        "Left out, by type",
                        "short",
                        "topk(10, sum by (entity, reason) (increase(wsb_deliveries_suppressed_total[1h])))",
                        "Within the last hour.",
                    ),
                ],
            },
            Row {
                title: "Recipients in trouble",
                panels: vec![
                    list("Longest waiting", "s", "topk(10, wsb_oldest_pending_seconds > 0)", "Ten at the most."),
                    list("Paused", "short", "wsb_queue_paused == 1", "Every one."),
                    list("Most dead", "short", "topk(10, wsb_dead > 0)", "Ten at the most."),
                ],
            },
        ],
    }
}

fn recipient() -> Dashboard {
    Dashboard {
        uid: "wsb-recipient",
        title: "WSB broker: one recipient",
        about: "How does one a-kasse or kommune do?",
        by_recipient: true,
        rows: vec![
            Row {
                title: "Now",
                panels: vec![
                    number(
                        "Paused",
                        "bool_yes_no",
                        Some(1.0),
                        "wsb_queue_paused{recipient=\"$recipient\"}",
                        "Yes: the queue takes nothing, and is probed once a minute.",
                    ),
                    number(
                        "Oldest waiting",
                        "s",
                        Some(300.0),
                        "wsb_oldest_pending_seconds{recipient=\"$recipient\"}",
                        "How long the oldest unfinished delivery has waited. After 72 hours it is given up.",
                    ),
                    number(
                        "Never attempted",
                        "short",
                        None,
                        "wsb_pending{recipient=\"$recipient\"}",
                        "Deliveries that wait for their first attempt.",
                    ),
                    number(
                        "Being retried",
                        "short",
                        None,
                        "wsb_retrying{recipient=\"$recipient\"}",
                        "Deliveries that have failed and are tried again.",
                    ),
                    number(
                        "Lanes blocked",
                        "short",
                        None,
                        "wsb_lanes_blocked{recipient=\"$recipient\"}",
                        "Citizens and domains that wait behind a delivery that is being retried.",
                    ),
                    number(
                        "Dead",
                        "short",
                        Some(1.0),
                        "wsb_dead{recipient=\"$recipient\"}",
                        "Given up or rejected by the vendor; they wait for an operator.",
                    ),
                ],
            },
            Row {
                title: "Over time",
                panels: vec![
                    lines(
                        "Waiting",
                        "short",
                        &[
                            ("wsb_pending{recipient=\"$recipient\"}", "never attempted"),
                            ("wsb_retrying{recipient=\"$recipient\"}", "being retried"),
                        ],
                        "Falls once the vendor is back.",
                    )
                    .wide(),
                    lines(
                        "Oldest waiting",
                        "s",
                        &[("wsb_oldest_pending_seconds{recipient=\"$recipient\"}", "oldest"), ("vector(259200)", "given up")],
                        "Never to reach the upper line.",
                    )
                    .wide(),
                    lines(
                        "Paused, lanes blocked",
                        "short",
                        &[
                            ("wsb_queue_paused{recipient=\"$recipient\"}", "paused"),
                            ("wsb_queue_maintenance{recipient=\"$recipient\"}", "by order or for maintenance"),
                            ("wsb_lanes_blocked{recipient=\"$recipient\"}", "lanes blocked"),
                        ],
                        "A pause concerns the whole queue; a blocked lane one citizen.",
                    )
                    .wide(),
                    lines(
                        "Dead",
                        "short",
                        &[
                            ("wsb_dead{recipient=\"$recipient\"}", "dead"),
                            ("increase(wsb_deliveries_late_total{recipient=\"$recipient\"}[1h])", "late within the last hour"),
                        ],
                        "Falls when an operator replays or discards.",
                    )
                    .wide(),
                ],
            },
        ],
    }
}

fn gdpr() -> Dashboard {
    Dashboard {
        uid: "wsb-gdpr",
        title: "WSB broker: data protection",
        about: "Are records deleted in time, and do their holders hear of it? Is nobody told who must not be?",
        by_recipient: false,
        rows: vec![
            Row {
                title: "Deletion",
                panels: vec![
                    number(
                        "Orders overdue",
                        "short",
                        Some(1.0),
                        "wsb_gdpr_orders_overdue",
                        "Deletion orders without an answer in time. They are repeated daily.",
                    ),
                    lines(
                        "Deletion orders",
                        "short",
                        &[("sum by (area) (increase(wsb_gdpr_orders_total[$__rate_interval]))", "{{area}}")],
                        "Records that fell due, by data area.",
                    ),
                    lines(
                        "Deletion notices delivered",
                        "short",
                        &[("sum by (area) (increase(wsb_gdpr_notices_total[$__rate_interval]))", "{{area}}")],
                        "Recipients that were told of a deletion, by data area.",
                    ),
                    lines("Overdue", "short", &[("wsb_gdpr_orders_overdue", "overdue")], "Must come back to zero."),
                    list(
                        "Deleted most within a day",
                        "short",
                        "topk(10, sum by (area) (increase(wsb_gdpr_notices_total[1d])))",
                        "Notices delivered, by data area.",
                    ),
                    lines(
                        "Citizens erased",
                        "short",
                        &[("sum by (cause) (increase(wsb_citizens_erased_total[$__rate_interval]))", "{{cause}}")],
                        "On order, or with their last record; nothing about them can be read any more.",
                    ),
                    lines(
                        "Deletions that were not expected",
                        "short",
                        &[("sum by (why) (increase(wsb_gdpr_unexpected_deletions_total[$__rate_interval]))", "{{why}}")],
                        "DFDG has deleted what was not due, was blocked, or was not known here.",
                    ),
                    lines(
                        "Notices that lie unfetched",
                        "short",
                        &[("wsb_gdpr_notices_unfetched", "{{recipient}}")],
                        "Of former days, at the most: the recipient has not been reached yet.",
                    ),
                ],
            },
            Row {
                title: "Disclosure",
                panels: vec![
                    number(
                        "Prevented within a day",
                        "short",
                        None,
                        "sum(increase(wsb_wrong_recipient_prevented_total[1d]))",
                        "Recipients that once had the citizen and were not told.",
                    ),
                    number(
                        "Contradictions within a day",
                        "short",
                        Some(1.0),
                        "sum(increase(wsb_deliveries_suppressed_total{reason=\"contradictory_membership\"}[1d]))",
                        "Two funds claim the citizen from the same day: nobody is told.",
                    ),
                    lines(
                        "Prevented, by stage",
                        "short",
                        &[("sum by (stage) (increase(wsb_wrong_recipient_prevented_total[$__rate_interval]))", "{{stage}}")],
                        "When decided, before an attempt, in a replay.",
                    ),
                    lines(
                        "Withdrawn",
                        "short",
                        &[(
                            "sum by (recipient_type) (increase(wsb_deliveries_total{outcome=\"withdrawn\"}[$__rate_interval]))",
                            "{{recipient_type}}",
                        )],
                        "Deliveries taken back before they were sent.",
                    ),
                ],
            },
        ],
    }
}

fn internals() -> Dashboard {
    Dashboard {
        uid: "wsb-internals",
        title: "WSB broker: internals",
        about: "Why is it slow, large, or not there?",
        by_recipient: false,
        rows: vec![
            Row {
                title: "Intake and store",
                panels: vec![
                    lines(
                        "Waiting at RabbitMQ",
                        "short",
                        &[("wsb_intake_waiting", "{{queue}}")],
                        "Events that the broker has not taken in yet. tilknytning goes first.",
                    ),
                    quantiles(
                        "Commit time",
                        "wsb_commit_seconds",
                        "s",
                        "From the first change of a group to its being durable; everything waits for it.",
                    ),
                    quantiles(
                        "Events in a commit",
                        "wsb_commit_batch_events",
                        "short",
                        "Up to 512; large groups mean that more comes than is committed one by one.",
                    ),
                    lines(
                        "Commits",
                        "short",
                        &[("rate(wsb_commit_seconds_count[$__rate_interval])", "commits a second")],
                        "Each is one flush of the disk.",
                    ),
                    lines(
                        "Store size",
                        "bytes",
                        &[("wsb_store_bytes", "on disk"), ("wsb_disk_free_bytes", "free on that disk")],
                        "About 1 KB an event, kept for the duplicate horizon.",
                    ),
                    number(
                        "Since the latest backup",
                        "s",
                        Some(172_800.0),
                        "time() - wsb_latest_backup_timestamp_seconds and wsb_latest_backup_timestamp_seconds > 0",
                        "Of those that `wsb-broker backup` took; empty while none is known.",
                    ),
                    lines("Store growth", "binBps", &[("deriv(wsb_store_bytes[30m])", "growth")], "Over half an hour."),
                ],
            },
            Row {
                title: "RabbitMQ and process",
                panels: vec![
                    lines(
                        "Connections",
                        "short",
                        &[("wsb_amqp_connected", "connected"), ("wsb_ready", "ready"), ("up{job=\"wsb-broker\"}", "scraped")],
                        "1 while all is well.",
                    ),
                    lines(
                        "Attempts by outcome",
                        "short",
                        &[
                            ("sum by (outcome) (rate(wsb_delivery_attempts_total[$__rate_interval]))", "{{outcome}}"),
                            ("rate(wsb_attempts_put_off_total[$__rate_interval])", "put off"),
                        ],
                        "Per second. Put off: publishing was held up for 0.4 s, and whether it may be sent is decided anew.",
                    ),
                    lines(
                        "Reloads of routing.toml",
                        "short",
                        &[("wsb_routing_reload_total", "{{outcome}}"), ("wsb_settings_refused{file=\"routing\"}", "refused now")],
                        "A refused one leaves the old rules in force.",
                    ),
                    lines(
                        "Time of a scrape",
                        "s",
                        &[("scrape_duration_seconds{job=\"wsb-broker\"}", "scrape")],
                        "Prometheus' own measure.",
                    ),
                    lines(
                        "Series",
                        "short",
                        &[("scrape_samples_scraped{job=\"wsb-broker\"}", "series")],
                        "Grows with types and recipients, never with traffic.",
                    ),
                    list(
                        "Certificates",
                        "s",
                        "wsb_certificate_expiry_timestamp_seconds - time()",
                        "How long each is still valid; empty without TLS.",
                    ),
                    list("Version", "short", "wsb_build_info", "Of each instance."),
                ],
            },
            Row {
                title: "Admin API",
                panels: vec![
                    lines(
                        "Requests refused",
                        "short",
                        &[("sum by (why) (increase(wsb_http_refused_total[$__rate_interval]))", "{{why}}")],
                        "A wave of unknown tokens is somebody who guesses, or a program with an old one.",
                    ),
                    lines(
                        "Reloads of the tokens",
                        "short",
                        &[("wsb_tokens_reload_total", "{{outcome}}"), ("wsb_settings_refused{file=\"tokens\"}", "refused now")],
                        "A refused one leaves the old tokens in force, withdrawn ones too.",
                    ),
                ],
            },
        ],
    }
}

impl Dashboard {
    /// Returns every query with the panel that it belongs to.
    pub fn queries(&self) -> impl Iterator<Item = (String, &str)> {
        let panels = self.rows.iter().flat_map(|row| &row.panels);
        panels.flat_map(|panel| panel.queries.iter().map(|(query, _)| (format!("{} / {}", self.uid, panel.title), query.as_str())))
    }

    /// Returns what Grafana imports.
    pub fn json(&self) -> Value {
        let mut panels = Vec::new();
        let mut y = 0;
        for row in &self.rows {
            panels.push(json!({
                "id": panels.len() + 1, "type": "row", "title": row.title, "collapsed": false, "panels": [],
                "gridPos": { "x": 0, "y": y, "w": 24, "h": 1 },
            }));
            y += 1;
            let (mut x, mut line) = (0, 0);
            for panel in &row.panels {
                let height = if panel.shape == Shape::Number { 4 } else { 8 };
                if x + panel.width > 24 {
                    y += line;
                    (x, line) = (0, 0);
                }
                panels.push(panel.json(panels.len() + 1, json!({ "x": x, "y": y, "w": panel.width, "h": height })));
                x += panel.width;
                line = line.max(height);
            }
            y += line;
        }
        let mut variables = vec![json!({
            "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
            "current": {}, "hide": 0, "includeAll": false, "multi": false, "options": [], "refresh": 1, "regex": "",
        })];
        if self.by_recipient {
            variables.push(json!({
                "name": "recipient", "label": "Recipient", "type": "query", "datasource": source(),
                "definition": "label_values(wsb_pending, recipient)",
                "query": { "qryType": 1, "query": "label_values(wsb_pending, recipient)", "refId": "recipient" },
                "current": {}, "hide": 0, "includeAll": false, "multi": false, "options": [], "refresh": 2, "regex": "", "sort": 1,
            }));
        }
        json!({
            "uid": self.uid, "title": self.title, "description": self.about, "tags": ["wsb"],
            "schemaVersion": 41, "version": 1, "id": null, "editable": true, "graphTooltip": 1, "fiscalYearStartMonth": 0,
            "time": { "from": "now-6h", "to": "now" }, "timezone": "browser", "refresh": "30s", "timepicker": {},
            "templating": { "list": variables },
            "annotations": { "list": [{
                "name": "Alerts", "enable": true, "iconColor": "red", "datasource": source(),
                "expr": "ALERTS{alertname=~\"Wsb.*\", alertstate=\"firing\"}", "titleFormat": "{{alertname}}", "textFormat": "{{recipient}}",
            }] },
            "links": [{
                "title": "WSB", "type": "dashboards", "tags": ["wsb"], "asDropdown": true, "icon": "external link",
                "includeVars": false, "keepTime": true, "targetBlank": false, "tooltip": "", "url": "",
            }],
            "panels": panels,
        })
    }
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

impl Panel {
    fn json(&self, id: usize, place: Value) -> Value {
        let instant = self.shape != Shape::Lines;
        let letters = ["A", "B", "C", "D"];
        let targets: Vec<Value> = self
            .queries
            .iter()
            .zip(letters)
            .map(|((query, legend), letter)| {
                json!({
                    "refId": letter, "datasource": source(), "editorMode": "code", "expr": query,
                    "legendFormat": if legend.is_empty() { "__auto" } else { legend },
                    "instant": instant, "range": !instant, "format": if self.shape == Shape::List { "table" } else { "time_series" },
                })
            })
            .collect();
        let mut steps = vec![json!({ "color": "green", "value": null })];
        steps.extend(self.alarm.map(|value| json!({ "color": "red", "value": value })));
        let mut defaults = json!({
            "unit": self.unit, "color": { "mode": if self.shape == Shape::Lines { "palette-classic" } else { "thresholds" } },
            "thresholds": { "mode": "absolute", "steps": steps }, "mappings": [], "custom": {},
        });
        let mut transformations = json!([]);
        let (kind, options) = match self.shape {
            Shape::Number => (
                "stat",
                json!({
                    "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
                    "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                }),
            ),
            Shape::Lines => {
                defaults["min"] = json!(0);
                if self.title == "Store growth" {
                    defaults["min"] = Value::Null;
                }
                defaults["custom"] =
                    json!({ "drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "spanNulls": false });
                (
                    "timeseries",
                    json!({
                        "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
                        "tooltip": { "mode": "multi", "sort": "desc" },
                    }),
                )
            }
            Shape::List => {
                transformations = json!([
                    { "id": "organize", "options": { "excludeByName": { "Time": true, "__name__": true, "job": true, "instance": true }, "indexByName": {}, "renameByName": {} } },
                    { "id": "sortBy", "options": { "fields": {}, "sort": [{ "field": "Value", "desc": true }] } },
                ]);
                ("table", json!({ "showHeader": true, "cellHeight": "sm", "footer": { "show": false, "reducer": ["sum"], "fields": "" } }))
            }
        };
        json!({
            "id": id, "type": kind, "title": self.title, "description": self.about, "gridPos": place, "datasource": source(),
            "targets": targets, "fieldConfig": { "defaults": defaults, "overrides": [] }, "options": options,
            "transformations": transformations,
        })
    }
}
