//! What the broker may cost: a page of the console while very much waits, and what it
//! takes with nothing to do. `docs/performance.md` has the numbers of a release build.

use std::fs;
use std::time::{Duration, Instant};

use wsb_broker::config::load_routing;
use wsb_broker::core::ids::Recipient;

use crate::backlog;
use crate::rig::{Broker, Options, shared_node, until};
use crate::root;

/// Looking at each of so many takes longer than this, by far: 2 µs each. With a million
/// the page may take 300 ms.
const WAITING: u64 = 60_000;
const FIRST_PAGE: Duration = Duration::from_millis(50);

#[test]
fn the_first_page_comes_at_once_while_very_much_waits() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let rules = load_routing(&root().join("routing.toml")).unwrap();
    let recipients: Vec<Recipient> = rules.recipients().map(|rule| rule.recipient).collect();
    let begun = Instant::now();
    backlog::fill(&data, WAITING, &recipients).unwrap();
    println!("{WAITING} deliveries written in {:?}", begun.elapsed());
    // Nobody listens there: nothing leaves, and everything keeps waiting.
    let broker = Broker::spawn(Options::new("amqp://guest:guest@127.0.0.1:1/%2f").data_dir(&data));
    until(Duration::from_secs(120), "the broker answers", || broker.readyz().is_some());

    let agent: ureq::Agent = ureq::Agent::config_builder().max_redirects(0).build().into();
    let form = agent.post(broker.url("/console/login")).content_type("application/x-www-form-urlencoded");
    let answer = form.send(format!("token={}", broker.token())).unwrap();
    let cookie = answer.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok()).unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let page = || {
        let begun = Instant::now();
        let text = agent.get(broker.url("/console")).header("cookie", &cookie).call().unwrap().body_mut().read_to_string().unwrap();
        (text, begun.elapsed())
    };
    let (text, _) = page();
    let waiting = WAITING - WAITING / 100;
    let shown = [".", ","].map(|point| format!(">{}{point}{:03}<", waiting / 1000, waiting % 1000));
    assert!(shown.iter().any(|shown| text.contains(shown)), "not all of them wait: {text}");
    // What else runs on the machine makes one slow, and not each of them.
    let fastest = (0..20).map(|_| page().1).min().unwrap();
    println!("the first page: {fastest:?}");
    assert!(fastest < FIRST_PAGE, "{fastest:?}");
}

/// Clock ticks a second, as Linux reports processor time.
const TICKS: f64 = 100.0;
/// What may be resident. A test build holds half as much again as a release build.
const HELD_MIB: f64 = 60.0;
/// For how long idleness is measured.
const IDLE: Duration = Duration::from_secs(15);

/// Processor seconds that the process has used.
fn used(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name in parentheses; user and system time are the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// What the process holds by itself, without the pages of its program: that of a test
/// is several times as large as a release build.
fn held_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap() / 1024.0
}

/// With every recipient of the country, an empty store and a small cache. Processor
/// time is the process' own, whatever else runs on the machine.
#[test]
fn nothing_to_do_costs_next_to_nothing() {
    let broker = Broker::start(Options::new(&shared_node().vhost("idle")).env("WSB_STORE_CACHE_MIB", "4"));
    let pid = broker.pid().unwrap();
    let share = || {
        let (before, begun) = (used(pid), Instant::now());
        std::thread::sleep(IDLE);
        (used(pid) - before) / begun.elapsed().as_secs_f64()
    };
    // What the start leaves to be done is no idleness.
    until(Duration::from_secs(120), "it costs under 1 % of a core", || share() < 0.01);
    let mib = held_mib(pid);
    println!("{mib:.1} MiB held");
    assert!(mib < HELD_MIB, "{mib:.1} MiB");
}
