//! Dashboards and alert rules, held against a live broker and a real Prometheus:
//! no query may ask for something that is not there.

#![allow(clippy::panic, clippy::unwrap_used, reason = "in a test, a panic with a good message is how it fails")]

#[path = "../../examples/made_up/backlog.rs"]
mod backlog;
mod costs;
mod dashboards;
#[path = "../../examples/made_up/mod.rs"]
mod made_up;
mod prometheus;
#[path = "../rig/mod.rs"]
mod rig;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rig::{Amqp, Broker, Event, Options, Vendor, VendorOptions, Verdict, event, jobcenter, membership, residence, shared_node, until};
use serde_json::{Value, json};

/// Metrics that are on no dashboard, each with the reason.
const DELIBERATELY_ABSENT: [(&str, &str); 0] = [];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_files_are_what_is_written_here() {
    for dashboard in dashboards::all() {
        let file = root().join("dashboards").join(format!("{}.json", dashboard.uid));
        let text = format!("{:#}\n", dashboard.json());
        if std::env::var_os("WSB_WRITE_DASHBOARDS").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let there = fs::read_to_string(&file).unwrap_or_default();
        assert!(there == text, "{} differs from tests/monitoring/dashboards.rs: run `make dashboards`", file.display());
    }
}

#[test]
fn panels_have_a_place_and_an_explanation() {
    for dashboard in dashboards::all() {
        let json = dashboard.json();
        let mut taken = BTreeSet::new();
        for panel in json["panels"].as_array().unwrap() {
            let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(x < 24 && taken.insert((x, y)), "{}: {} lies over another panel", dashboard.uid, panel["title"]);
                }
            }
            let explained = panel["type"] == "row" || panel["description"].as_str().is_some_and(|text| text.ends_with('.'));
            assert!(explained, "{}: {} explains nothing", dashboard.uid, panel["title"]);
        }
    }
}

/// The metrics that the code knows, by name: what a scrape shows depends on what
/// has happened, the source does not.
fn metrics_of_the_code() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<PathBuf> = vec![root().join("src/telemetry")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for maker in ["counter(", "counters(", "gauges(", "histogram(", "one(", "Opts::new(", "Gauge::new(", "Counter::new("] {
                for (_, rest) in code.match_indices(maker).map(|(at, _)| code.split_at(at + maker.len())) {
                    let Some(name) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else { continue };
                    found.insert(format!("wsb_{name}"));
                }
            }
        }
    }
    assert!(found.len() > 20, "the metrics of the code are not found any more: {found:?}");
    found
}

/// The metrics of the broker that a query names, without what a histogram adds.
fn metrics_in(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words
        .filter(|word| word.starts_with("wsb_"))
        .map(|word| {
            let bare = ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end));
            bare.unwrap_or(word).to_owned()
        })
        .collect()
}

#[test]
fn every_metric_is_shown_or_left_out_on_purpose() {
    let code = metrics_of_the_code();
    let shown: BTreeSet<String> = dashboards::all()
        .iter()
        .flat_map(|dashboard| dashboard.queries().flat_map(|(_, query)| metrics_in(query)).collect::<Vec<_>>())
        .collect();
    let absent: BTreeSet<String> = DELIBERATELY_ABSENT.iter().map(|(name, _)| (*name).to_owned()).collect();
    for metric in &code {
        assert!(
            shown.contains(metric) != absent.contains(metric),
            "{metric} must stand on a dashboard (tests/monitoring/dashboards.rs), or be named as deliberately absent with a reason, and not both"
        );
    }
    for metric in shown.union(&absent) {
        assert!(code.contains(metric), "{metric} is asked for, and the code has no such metric");
    }
}

/// The recipients of the story, one of whose vendors has gone home.
const RECIPIENTS: [&str; 4] = ["akasse:053", "akasse:067", "akasse:086", "kommune:860"];
const AWAY: &str = "akasse:086";

/// Makes happen, once, whatever a panel asks about.
struct Story {
    amqp: Amqp,
    _vendor: Vendor,
    round: usize,
}

fn cpr(number: usize) -> String {
    format!("010199{number:04}")
}

impl Story {
    fn begin(uri: &str) -> Self {
        let amqp = Amqp::connect(uri);
        // The kommune's system refuses every meeting.
        let judge = |message: &rig::Message| if message.kind == "Samtale" { Verdict::Reject } else { Verdict::Ack };
        let queues = ["wsb.akasse.053", "wsb.akasse.067", "wsb.kommune.860"];
        let vendor = Vendor::with(uri, queues, &VendorOptions { judge: std::sync::Arc::new(judge), ..VendorOptions::default() });
        let story = Self { amqp, _vendor: vendor, round: 0 };
        for number in 1..=3 {
            story.tell(&jobcenter(&cpr(number), "86001", "2020-01-01", None));
            story.tell(&residence(&cpr(number), "860", "2020-01-01", None));
        }
        story.tell(&membership(&cpr(1), "067", "2020-01-01", None));
        story.tell(&membership(&cpr(2), "086", "2020-01-01", None));
        story.tell(&membership(&cpr(3), "053", "2020-01-01", None));
        // Citizen 4 was a member once; citizen 5 is claimed by two funds.
        story.tell(&membership(&cpr(4), "067", "2020-01-01", Some("2021-01-01")));
        story.tell(&jobcenter(&cpr(4), "86001", "2020-01-01", None));
        story.tell(&membership(&cpr(5), "067", "2022-01-01", None));
        story.tell(&membership(&cpr(5), "053", "2022-01-01", None));
        story
    }

    fn tell(&self, event: &Event) {
        event.publish(&self.amqp);
    }

    /// A second's worth of everything.
    fn go_on(&mut self) {
        self.round += 1;
        let ordinary = event("Tilmelding").cpr(&cpr(1));
        self.tell(&ordinary);
        self.tell(&ordinary);
        for number in [2, 3, 4, 5, 99] {
            self.tell(&event("Tilmelding").cpr(&cpr(number)));
        }
        self.tell(&event("Samtale").cpr(&cpr(1)));
        self.tell(&event("GdprSletning").cpr(&cpr(1)).deleted().content(json!({ "Dataomraade": "joblog", "SlettetEntitet": "Joblog" })));
        self.amqp.publish("dfdg.events", "plan.plan.oprettet", "no JSON");
        // A record that fell due years ago is ordered to be deleted at once.
        self.tell(&event("Fravaer").cpr(&cpr(6)).period("2016-03-16", Some("2016-04-16")).content(json!({ "FravaerTypeId": 11 })));
        // Citizen 2 leaves the fund whose vendor is away, and comes back.
        let ended = self.round % 2 == 1;
        let time = format!("2026-03-17T08:{:02}:{:02}+01:00", self.round / 60 % 60, self.round % 60);
        self.tell(&membership(&cpr(2), "086", "2020-01-01", ended.then_some("2025-01-01")).again().updated().at(&time));
    }
}

fn few_recipients(window: u32) -> String {
    let text = fs::read_to_string(root().join("routing.toml")).unwrap();
    let kept = |line: &&str| !line.starts_with("  { authority = ") || RECIPIENTS.iter().any(|name| line.contains(&format!("\"{name}\"")));
    let text: String = text.lines().filter(kept).map(|line| format!("{line}\n")).collect();
    text.replace("\nmax-unfetched = 1000", &format!("\nmax-unfetched = {window}"))
}

/// A broker that serves HTTP with a certificate; it does nothing else.
fn broker_with_tls(folder: &Path) -> Broker {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("http.pem"), file("http.key"));
    let arguments =
        ["req", "-x509", "-days", "30", "-subj", "/CN=wsb-broker", "-nodes", "-newkey", "rsa:2048", "-out", &cert, "-keyout", &key];
    let made = std::process::Command::new("openssl").args(arguments).output().expect("openssl is installed: `make setup` installs it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Broker::spawn(Options::new(&shared_node().vhost("monitoring-tls")).env("WSB_HTTP_CERT", &cert).env("WSB_HTTP_KEY", &key))
}

#[test]
fn every_query_finds_data_and_every_alert_its_section() {
    let Some(program) = prometheus::find("prometheus") else { return };
    let uri = shared_node().vhost("monitoring");
    let folder = tempfile::tempdir().unwrap();
    let routing = folder.path().join("routing.toml");
    fs::write(&routing, few_recipients(5)).unwrap();
    let broker = Broker::start(Options::new(&uri).routing(&routing));
    let with_tls = broker_with_tls(folder.path());
    let address = |broker: &Broker| broker.url("").trim_start_matches("http://").to_owned();
    let prometheus = prometheus::Prometheus::start(&program, &address(&broker), &address(&with_tls));
    let mut story = Story::begin(&uri);
    broker.cli_ok(&["backup", "--to", folder.path().join("backup").to_str().unwrap()]);

    let mut open: Vec<(String, String)> = dashboards::all()
        .iter()
        .flat_map(|dashboard| {
            let queries = dashboard.queries();
            queries.map(|(panel, query)| (panel, query.replace("$__rate_interval", "1m").replace("$recipient", AWAY))).collect::<Vec<_>>()
        })
        .collect();
    let asked = open.len();
    assert!(asked > 50, "only {asked} queries");
    let started = Instant::now();
    let mut next = started;
    loop {
        if Instant::now() >= next {
            story.go_on();
            next += Duration::from_millis(500);
            if story.round == 4 {
                fs::write(&routing, "no rules").unwrap();
                broker.signal("HUP");
                until(Duration::from_secs(20), "the reload is refused", || {
                    broker.metrics().sum("wsb_routing_reload_total", &[("outcome", "refused")]) > 0.0
                });
                fs::write(&routing, few_recipients(5)).unwrap();
                broker.signal("HUP");
            }
        }
        open.retain(|(panel, query)| match prometheus.query(query) {
            // NaN is what a rate over nothing gives.
            Ok(series) => !series.iter().any(|series| series["value"][1].as_str().is_some_and(|value| value != "NaN")),
            Err(why) => panic!("{panel}: Prometheus refuses {query}: {why}"),
        });
        if open.is_empty() {
            break;
        }
        let list: Vec<String> = open.iter().map(|(panel, query)| format!("{panel}: {query}")).collect();
        assert!(started.elapsed() < Duration::from_secs(90), "no data for\n{}", list.join("\n"));
        // Nothing is new before the next scrape.
        std::thread::sleep(Duration::from_millis(200));
    }

    let runbook = fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let sections: BTreeSet<String> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_lowercase).collect();
    let code = metrics_of_the_code();
    let alerts = prometheus.alerts();
    assert!(alerts.len() >= 15, "{alerts:?}");
    let text = |rule: &Value, name: &str| rule[name].as_str().unwrap_or_default().to_owned();
    for alert in &alerts {
        let name = text(alert, "name");
        assert_eq!(text(&alert["annotations"], "runbook"), format!("docs/runbook.md#{}", name.to_lowercase()), "{name}");
        assert!(sections.contains(&name.to_lowercase()), "docs/runbook.md has no section {name}");
        for metric in metrics_in(&text(alert, "query")) {
            assert!(code.contains(&metric), "{name} asks for {metric}, and the code has no such metric");
        }
    }
}

/// What a scrape may cost and weigh, with every recipient of the country.
#[test]
fn a_scrape_is_small_and_does_not_grow_with_traffic() {
    let uri = shared_node().vhost("scrape");
    let broker = Broker::start(Options::new(&uri));
    let amqp = Amqp::connect(&uri);
    let scrape = || {
        let started = Instant::now();
        let text = ureq::get(broker.url("/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
        (text, started.elapsed())
    };
    let (before, _) = scrape();
    for akasse in ["010", "014", "015"] {
        let citizen = format!("0202990{akasse}");
        amqp.publish_all("dfdg.events", [membership(&citizen, akasse, "2020-01-01", None).message()]);
        amqp.publish_all("dfdg.events", (0..50).map(|_| event("Tilmelding").cpr(&citizen).message()).collect::<Vec<_>>());
    }
    until(Duration::from_secs(60), "everything is delivered", || {
        broker.metrics().sum("wsb_deliveries_total", &[("outcome", "delivered")]) >= 150.0
    });
    let (after, _) = scrape();
    let fastest = (0..20).map(|_| scrape().1).min().unwrap();
    println!("a scrape: {} bytes, {} series, {fastest:?}", after.len(), after.lines().filter(|line| !line.starts_with('#')).count());
    assert!(after.len() < 200 * 1024, "{} bytes", after.len());
    assert!(fastest < Duration::from_millis(20), "{fastest:?}");
    // A few series appear with the first event of a type, none with the fiftieth;
    // those that alerts watch are there, at zero, before the first of it.
    let grown = after.lines().count() - before.lines().count();
    assert!(grown < 40, "{grown} series more after 150 events");
    let zero = r#"wsb_deliveries_suppressed_total{entity="Tilmelding",reason="contradictory_membership"} 0"#;
    assert!(before.lines().any(|line| line == zero), "{before}");
    for line in after.lines() {
        assert!(!line.contains("evt-") && !line.contains("020299"), "a label names an event or a citizen: {line}");
    }
}
