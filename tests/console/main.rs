//! The console in a real browser, on a live broker with something wrong.
//! `WSB_WRITE_SCREENSHOTS=1` writes `docs/images/` anew.

#![allow(clippy::panic, clippy::unwrap_used, reason = "in a test, a panic with a good message is how it fails")]

mod chromium;
mod made_up;
#[path = "../rig/mod.rs"]
mod rig;
#[path = "../../examples/run_private/traffic.rs"]
#[allow(dead_code, reason = "what it says in the terminal is not read here")]
mod traffic;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chromium::{Chromium, ENTER};
use rig::{Amqp, Broker, Options, Vendor, VendorOptions, Verdict, event, jobcenter, membership, shared_node, until};
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(90);

/// Recipients of the test; each costs time to declare.
const FEW: [&str; 6] = ["akasse:053", "akasse:067", "akasse:083", "kommune:101", "kommune:751", "kommune:860"];

/// Whether the pictures of the README are to be made; then with all recipients.
fn writes_screenshots() -> bool {
    std::env::var_os("WSB_WRITE_SCREENSHOTS").is_some()
}

/// A maintenance window that is to come.
const WINDOW: (&str, &str) = ("kommune:860", "maintenance = [{ from = 2099-03-20T22:00:00, until = 2099-03-21T04:00:00 }]");

/// A broker with people to look at it, and trouble to look at.
struct Stage {
    broker: Broker,
    amqp: Amqp,
    uri: String,
    operator: String,
    vendor: String,
    directory: TempDir,
}

fn routing() -> String {
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml")).expect("routing.toml is there");
    let (whose, window) = WINDOW;
    let begins = format!("{{ authority = \"{whose}\"");
    let with_window = |line: &str| match line.trim_start().starts_with(&begins) {
        true => line.replace(" },", &format!(", {window} }},")),
        false => line.to_owned(),
    };
    let shipped: String = shipped.lines().map(|line| with_window(line) + "\n").collect();
    assert!(shipped.contains(window), "routing.toml has no {whose}");
    if writes_screenshots() {
        return shipped;
    }
    let kept = |line: &&str| !line.starts_with("  { authority = ") || FEW.iter().any(|one| line.contains(&format!("\"{one}\"")));
    shipped.lines().filter(kept).map(|line| format!("{line}\n")).collect()
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| directory.path().join(name);
        fs::write(file("routing.toml"), routing()).expect("the directory is writable");
        let uri = shared_node().vhost("console");
        let tokens = file("tokens.toml");
        fs::write(&tokens, "").expect("the directory is writable");
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).expect("our own file");
        let tokens_text = tokens.to_str().expect("temporary paths are UTF-8");
        let options = Options::new(&uri).routing(file("routing.toml")).env("WSB_TOKENS", tokens_text).env("WSB_ERASE_TWO_PERSONS", "true");
        let mut broker = Broker::prepare(options);
        let token = |name: &str, role: &str| {
            let made = broker.cli_ok(&["token", "create", "--name", name, "--role", role, "--file", tokens_text]);
            let found = made.split_whitespace().find(|word| word.starts_with("wsb_"));
            found.unwrap_or_else(|| panic!("no token in {made}")).to_owned()
        };
        let (operator, vendor) = (token("anna", "operator"), token("lederne-it", "vendor:akasse:067"));
        broker.start_again();
        let amqp = Amqp::connect(&uri);
        Self { broker, amqp, uri, operator, vendor, directory }
    }

    /// Makes the trouble: a queue that is gone, deliveries that their vendor
    /// rejects, a message that is no event. Returns the id of an event whose
    /// delivery was rejected.
    fn trouble(&self) -> String {
        let people = 40;
        let funds = ["067", "053", "083"];
        let jobcentres = ["86001", "75101", "10101"];
        let cpr = |n: usize| format!("01019{:05}", 1200 + n);
        let mut events = Vec::new();
        for n in 0..people {
            events.push(membership(&cpr(n), funds[n % 3], "2020-01-01", None));
            events.push(jobcenter(&cpr(n), jobcentres[n % 3], "2020-01-01", None));
        }
        self.publish(&events);
        until(LIMIT, "everybody is known", || self.waiting() == 0);
        self.amqp.purge("wsb.akasse.067");

        self.amqp.delete_queue("wsb.akasse.053");
        let reject = VendorOptions { judge: Arc::new(|_| Verdict::Reject), ..VendorOptions::default() };
        let rejecting = Vendor::with(&self.uri, ["wsb.akasse.067"], &reject);
        let kinds = ["Indkaldelse", "Tilmelding", "FagprofessionelKontakt", "Samtale"];
        let told: Vec<_> = (0..people).map(|n| event(kinds[n % 4]).cpr(&cpr(n)).period("2026-03-16", None)).collect();
        self.publish(&told);
        self.amqp.publish("dfdg.events", "kontaktforloeb.indkaldelse.oprettet", "this is no event".as_bytes().to_vec());
        until(LIMIT, "what was rejected is dead", || self.recipient("akasse:067")["dead"].as_u64() == Some(14));
        until(LIMIT, "the queue that is gone is paused", || self.recipient("akasse:053")["state"] == "paused");
        until(LIMIT, "something is in quarantine", || {
            self.broker.api_get("/api/v1/quarantine").1["items"].as_array().is_some_and(|items| items.len() == 1)
        });
        drop(rejecting);
        // A deletion of which nobody fetches the notice.
        let joblog = event("Joblog").cpr(&cpr(2));
        let content = serde_json::json!({ "Dataomraade": "joblog", "SlettetEntitet": "Joblog" });
        let deleted = event("GdprSletning").cpr(&cpr(2)).external(joblog.record_id()).content(content);
        self.publish(&[joblog, deleted]);
        until(LIMIT, "a notice lies unfetched", || self.unfetched().contains(&"akasse:083".to_owned()));
        told[0].event_id().to_owned()
    }

    fn publish(&self, events: &[rig::Event]) {
        let messages: Vec<_> = events.iter().map(rig::Event::message).collect();
        self.amqp.publish_all("dfdg.events", messages);
    }

    fn recipient(&self, recipient: &str) -> Value {
        let (_, list) = self.broker.api_get("/api/v1/recipients");
        let found = list["items"].as_array().and_then(|items| items.iter().find(|one| one["recipient"] == recipient).cloned());
        found.unwrap_or_default()
    }

    fn unfetched(&self) -> Vec<String> {
        let (_, list) = self.broker.api_get("/api/v1/retention/notices");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|one| one["recipient"].as_str().map(str::to_owned)).collect()
    }

    fn waiting(&self) -> u64 {
        // Before the list: one from before they were taken in says that nothing waits.
        let taken = self.broker.metrics().sum("wsb_events_consumed_total", &[]);
        let (_, list) = self.broker.api_get("/api/v1/recipients");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let sum = |name: &str| items.iter().filter_map(|one| one[name].as_u64()).sum::<u64>();
        if taken < 80.0 { u64::MAX } else { sum("pending") + sum("retrying") }
    }

    fn url(&self, path: &str) -> String {
        self.broker.url(path)
    }

    fn log_in(&self, browser: &Chromium, token: &str) {
        log_in(&self.broker, browser, token);
    }
}

fn log_in(broker: &Broker, browser: &Chromium, token: &str) {
    browser.go(&broker.url("/console/login"));
    browser.write("#token", token);
    browser.click(".login button");
    browser.until_text("Log out");
}

/// A picture of the README.
fn image(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/images/console-{name}.png"))
}

#[test]
fn operators_and_vendors_find_their_way() {
    let Some(programs) = chromium::find() else { return };
    let mut stage = Stage::new();
    let event = stage.trouble();
    let browser = Chromium::start(&programs);

    logs_in_with_the_right_token_only(&stage, &browser);
    shows_what_is_wrong(&stage, &browser);
    if writes_screenshots() {
        photograph(&stage, &browser, &event);
    }
    draws_the_course_of_an_event(&stage, &browser, &event);
    speaks_both_languages(&stage, &browser);
    fits_narrow_screens_and_is_called_what_it_says(&stage, &browser, &event);
    tells_of_tokens_that_are_refused(&stage, &browser);
    nothing_is_objected_to(&browser);
    says_that_a_broker_hangs_or_answers_oddly(&stage, &browser);
    replays_after_a_trial(&stage, &browser);
    keeps_what_is_typed_while_it_refreshes(&stage, &browser);
    can_be_used_by_keyboard(&stage, &browser);
    parks_a_lane_and_lets_it_go(&stage, &browser);
    shows_windows_to_come(&stage, &browser);
    closes_notices_by_keyboard(&stage, &browser);
    confirms_an_erasure(&stage, &browser);
    nothing_is_objected_to(&browser);
    works_without_scripts(&stage, &browser);
    shows_a_vendor_its_own(&stage, &browser);
    nothing_is_objected_to(&browser);
    says_that_a_broker_is_gone_and_asks_to_log_in_again(&mut stage, &browser);
    let log = stage.broker.log();
    assert!(!log.contains("010190") && !log.contains(&stage.operator), "the log names somebody: {log}");
    drop(stage.directory);
}

fn logs_in_with_the_right_token_only(stage: &Stage, browser: &Chromium) {
    browser.go(&stage.url("/console"));
    assert!(browser.url().ends_with("/console/login"), "{}", browser.url());
    browser.write("#token", "wsb_not-a-token");
    browser.click(".login button");
    browser.until_text("That token is not known.");
    assert_eq!(browser.run("return document.cookie"), "", "no cookie is for scripts");
    stage.log_in(browser, &stage.operator);
    assert!(browser.text().contains("anna"), "{}", browser.text());
    // What was refused is told by the browser as well, and is no objection.
    let objections: Vec<String> = browser.objections().into_iter().filter(|line| !line.contains("401")).collect();
    assert_eq!(objections, Vec::<String>::new());
}

fn shows_what_is_wrong(stage: &Stage, browser: &Chromium) {
    browser.go(&stage.url("/console"));
    let page = browser.text();
    for words in ["1 queue does not work and is paused", "14 deliveries", "1 message is in quarantine", "queue missing"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for words in ["events a minute", "delivered a minute", "kept from a former recipient"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    browser.click(".problems li.bad a");
    browser.until_url("/console/recipients?state=troubled");
    assert!(browser.count("svg.spark") >= 2, "each has its last hour");
    // Why, and what to do, is one click away, and comes from the broker too.
    browser.go(&stage.url("/console"));
    browser.click(".problems li.bad a.guide");
    browser.until_url("/console/runbook#wsbqueuepaused");
    browser.until_text("The queue of a recipient has taken nothing for a quarter of an hour.");
    let seen = "const box = document.querySelector(':target').getBoundingClientRect(); return box.top >= 0 && box.bottom < innerHeight";
    assert_eq!(browser.run(seen), true, "the section is not in sight");
    browser.go(&stage.url("/console"));
    browser.click(".asof a[href='/console/runbook']");
    browser.until_text("For whoever has been called, or has a ticket.");
}

fn draws_the_course_of_an_event(stage: &Stage, browser: &Chromium, event: &str) {
    browser.go(&stage.url("/console"));
    browser.write("#search", event);
    browser.click(".search button");
    browser.until_text("Time line");
    assert!(browser.url().ends_with(&format!("/console/events/{event}")), "{}", browser.url());
    assert!(browser.count(".timeline .mark.bad") == 1 && browser.count(".timeline .mark.good") >= 1, "{}", browser.text());
    assert!(browser.text().contains("Given up: rejected by the recipient"), "{}", browser.text());
}

fn choose_language(stage: &Stage, browser: &Chromium, language: &str, words: &str) {
    browser.go(&stage.url("/console"));
    browser.click(".look summary");
    browser.click(&format!("input[name=language][value={language}]"));
    browser.click(".look button");
    browser.until_text(words);
    assert_eq!(browser.run("return document.documentElement.lang"), language);
}

fn speaks_both_languages(stage: &Stage, browser: &Chromium) {
    choose_language(stage, browser, "da", "Galt lige nu");
    choose_language(stage, browser, "en", "Wrong right now");
}

/// The widths of phones, and of what is still laid out as for one. WCAG 1.4.10 asks
/// for the first.
const NARROW: [u32; 6] = [320, 360, 375, 390, 412, 640];

/// Nothing but the calendar is scrolled sideways on a narrow screen, nothing lies on
/// something else, and whoever says what stands on a button presses it (2.5.3).
fn fits_narrow_screens_and_is_called_what_it_says(stage: &Stage, browser: &Chromium, event: &str) {
    let (_, dead) = stage.broker.api_get("/api/v1/deliveries?state=dead&limit=1");
    let (_, replays) = stage
        .broker
        .api_post("/api/v1/replays", &serde_json::json!({ "filter": { "ids": [dead["items"][0]["id"]], "reason": "expired" } }));
    let id = |value: &Value| value.as_str().expect("an id").to_owned();
    let mut pages: Vec<String> = [
        "",
        "/recipients",
        "/recipients/akasse:053",
        "/pauses",
        "/lanes",
        "/failures",
        "/replays",
        "/quarantine",
        "/gdpr",
        "/audit",
        "/runbook",
        "/login",
    ]
    .map(|page| format!("/console{page}"))
    .into();
    pages.extend([
        "/console/failures?state=retrying&recipient=akasse:053".to_owned(),
        format!("/console/deliveries/{}", id(&dead["items"][0]["id"])),
        format!("/console/events/{event}"),
        format!("/console/replays/{}", id(&replays["id"])),
    ]);
    for (language, words) in [("da", "Galt lige nu"), ("en", "Wrong right now")] {
        choose_language(stage, browser, language, words);
        for page in &pages {
            browser.go(&stage.url(page));
            for width in NARROW {
                browser.resize(width, 640, false);
                let wide = browser.run(
                    "const width = window.innerWidth;
                     const scrolled = (one) => one && (getComputedStyle(one).overflowX !== 'visible' || scrolled(one.parentElement));
                     const inside = [...document.querySelectorAll('.scroll')]
                         .filter((one) => one.scrollWidth > one.clientWidth && !one.querySelector('.calendar'));
                     const fields = [...document.querySelectorAll('main :is(input, select, button):not([type=hidden], thead *)')];
                     const boxes = new Map(fields.map((one) => [one, one.getBoundingClientRect()]).filter(([one]) => one.checkVisibility()));
                     const upon = [...boxes].filter(([one, a]) => [...boxes].some(([other, b]) => one !== other
                         && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
                     const outside = document.documentElement.scrollWidth <= width ? [] : [...document.querySelectorAll('body *')]
                         .filter((one) => one.getBoundingClientRect().right > width && !scrolled(one.parentElement))
                         .concat(document.documentElement);
                     return [...inside, ...upon.map(([one]) => one), ...outside]
                         .map((one) => one.outerHTML.slice(0, 200) + ' ' + one.scrollWidth);",
                );
                assert_eq!(wide, serde_json::json!([]), "{page} in {language} does not fit {width} pixels");
            }
            let misnamed = browser.run(
                "const plain = (text) => text.replace(/\\s+/g, ' ').trim().toLowerCase();
                 return [...document.querySelectorAll('button[aria-label], a[aria-label], summary[aria-label]')]
                     .filter((one) => !plain(one.getAttribute('aria-label')).includes(plain(one.textContent)))
                     .map((one) => one.outerHTML);",
            );
            assert_eq!(misnamed, serde_json::json!([]), "{page} in {language}");
        }
    }
    browser.resize(1280, 900, false);
}

fn tells_of_tokens_that_are_refused(stage: &Stage, browser: &Chromium) {
    let file = stage.directory.path().join("tokens.toml");
    let good = fs::read(&file).expect("the file of tokens is there");
    browser.go(&stage.url("/console"));
    assert!(!browser.text().contains("file of tokens"), "{}", browser.text());
    // Told as well while somebody is on a line below, who stays where they are.
    let here = holds_on_to(browser, ".problems li.warn:last-child a");
    fs::write(&file, "no tokens").expect("the directory is writable");
    browser.until_text("The latest file of tokens was refused");
    assert_eq!(holds(browser), here);
    fs::write(&file, good).expect("the directory is writable");
    browser.until_text_gone("The latest file of tokens was refused");
    assert_eq!(holds(browser), here);
}

/// Puts the focus on something, and returns what it is.
fn holds_on_to(browser: &Chromium, selector: &str) -> Value {
    browser.run(&format!("const one = document.querySelector({selector:?}); one.focus(); one.mine = one.outerHTML"));
    holds(browser)
}

/// Returns what has the focus, if it is the very element that was chosen.
fn holds(browser: &Chromium) -> Value {
    let mine = browser.run("return document.activeElement.mine || null");
    assert!(mine.is_string(), "the focus is lost: {}", browser.run("return document.activeElement.outerHTML.slice(0, 300)"));
    mine
}

/// Waits until the page has refreshed itself so many times.
fn until_refreshed(browser: &Chromium, times: u32) {
    let as_of = || browser.run("return document.getElementById('live').dataset.asOf");
    for _ in 0..times {
        let before = as_of();
        until(LIMIT, "the page refreshes itself", || as_of() != before);
    }
}

fn yesterday() -> String {
    let made = std::process::Command::new("date").args(["-u", "-d", "-1 day", "+%Y-%m-%dT%H:%M:%SZ"]).output().expect("date is there");
    String::from_utf8_lossy(&made.stdout).trim().to_owned()
}

/// Somebody writes why, while the numbers above go on.
fn keeps_what_is_typed_while_it_refreshes(stage: &Stage, browser: &Chromium) {
    let begin = || {
        let filter = serde_json::json!({ "recipient": "akasse:067", "state": "delivered", "since": yesterday() });
        let (status, begun) = stage.broker.api_post("/api/v1/replays", &serde_json::json!({ "filter": filter, "canary": 1 }));
        assert!(status < 300, "{begun}");
        let id = begun["id"].as_str().expect("a number").to_owned();
        browser.go(&stage.url(&format!("/console/replays/{id}")));
        browser.until_text("waiting for your word");
        browser.until_text("1 delivered");
        id
    };
    begin();
    holds_on_to(browser, "form[action$='/go'] input[name=why]");
    browser.type_text("as agreed");
    until_refreshed(browser, 2);
    browser.type_text(" with the fund");
    until_refreshed(browser, 1);
    holds(browser);
    assert_eq!(browser.run("return document.activeElement.value"), "as agreed with the fund");
    browser.press(ENTER);
    browser.until_text("done");
    browser.go(&stage.url("/console/audit"));
    browser.until_text("as agreed with the fund");
    // What is gone is let go, and whoever was on it goes on from there.
    let id = begin();
    holds_on_to(browser, "form[action$='/go'] input[name=why]");
    let (status, _) = stage.broker.api_post(&format!("/api/v1/replays/{id}/go"), &serde_json::json!({}));
    assert!(status < 300, "{status}");
    browser.until_text("done");
    assert_eq!(browser.run("return document.activeElement.id"), "live");
}

/// What is told when nothing comes any more, and that the time is that of what is shown.
fn until_it_is_told(browser: &Chromium, words: &str) {
    browser.until_text_within(NOTICED, words);
    let as_of = browser.run("return document.getElementById('live').dataset.asOf");
    let as_of = as_of.as_str().expect("the part says of when it is");
    let page = browser.text();
    assert!(page.contains(&format!("{words} What is shown is as of {as_of}.")), "{page}");
    assert!(page.contains(&format!("As of {}", &as_of[11..])) && !page.contains("Refreshes by itself"), "{page}");
}

/// In how long it must be told: every ten seconds at the most a page refreshes, and
/// for eight it waits.
const NOTICED: Duration = Duration::from_secs(20);

const SILENT: &str = "The broker does not answer.";
const ODD: &str = "The broker cannot say how things are now.";

fn says_that_a_broker_hangs_or_answers_oddly(stage: &Stage, browser: &Chromium) {
    browser.go(&stage.url("/console"));
    browser.until_text("Refreshes by itself");
    stage.broker.signal("STOP");
    until_it_is_told(browser, SILENT);
    assert_eq!(browser.run("return document.querySelector('#stale[role=alert]').getBoundingClientRect().top >= 0"), true);
    // Also to whoever is far down on a small screen.
    browser.resize(320, 400, false);
    let seen = browser.run(
        "window.scrollTo(0, 600);
         const box = document.getElementById('stale').getBoundingClientRect();
         return [window.scrollY > 0, box.top >= 0 && box.bottom < 400, document.documentElement.scrollWidth]",
    );
    assert_eq!(seen, serde_json::json!([true, true, 320]));
    browser.resize(1280, 900, false);
    stage.broker.signal("CONT");
    browser.until_text_gone(SILENT);
    browser.until_text("Refreshes by itself");

    browser.run(
        "const open = XMLHttpRequest.prototype.open;
         XMLHttpRequest.prototype.open = function (verb, path, ...rest) { open.call(this, verb, window.elsewhere || path, ...rest); }",
    );
    // An error, and a page that somebody else might answer with.
    for other in ["/console/no-such-page", "/console/login"] {
        browser.run(&format!("window.elsewhere = {other:?}"));
        until_it_is_told(browser, ODD);
        assert!(browser.count("#live .totals") == 1, "what was shown stays: {}", browser.text());
        browser.run("window.elsewhere = null");
        browser.until_text_gone(ODD);
    }

    // What has the focus keeps it, and silence is told all the same.
    browser.run("document.querySelector('#live a').focus(); document.activeElement.mine = 'yes'");
    stage.broker.signal("STOP");
    until_it_is_told(browser, SILENT);
    stage.broker.signal("CONT");
    browser.until_text_gone(SILENT);
    assert_eq!(browser.run("return document.activeElement.mine"), "yes", "it was taken out of somebody's hands");

    choose_language(stage, browser, "da", "Galt lige nu");
    stage.broker.signal("STOP");
    browser.until_text_within(NOTICED, "Brokeren svarer ikke. Det viste er fra");
    stage.broker.signal("CONT");
    browser.until_text_gone("Brokeren svarer ikke.");
    choose_language(stage, browser, "en", "Wrong right now");
    only_requests_failed(browser);
}

/// That nobody answers is told by the browser and by htmx as well; the policy of the
/// pages is violated by nothing.
fn only_requests_failed(browser: &Chromium) {
    let known = ["Failed to load resource", "Response Status Error Code 404", "htmx:"];
    let objections: Vec<String> = browser.objections().into_iter().filter(|line| !known.iter().any(|one| line.contains(one))).collect();
    assert_eq!(objections, Vec::<String>::new(), "the browser objects");
}

/// Who is logged in, a broker that has been started anew does not know.
fn says_that_a_broker_is_gone_and_asks_to_log_in_again(stage: &mut Stage, browser: &Chromium) {
    browser.go(&stage.url("/console"));
    browser.until_text("Refreshes by itself");
    stage.broker.kill9();
    until_it_is_told(browser, SILENT);
    stage.broker.start_again();
    browser.until_text("Your session has ended. Log in again.");
    only_requests_failed(browser);
}

fn nothing_is_objected_to(browser: &Chromium) {
    assert_eq!(browser.objections(), Vec::<String>::new(), "the browser objects");
}

fn replays_after_a_trial(stage: &Stage, browser: &Chromium) {
    let dead = || stage.recipient("akasse:067")["dead"].as_u64();
    browser.go(&stage.url("/console/failures?recipient=akasse:067"));
    assert_eq!(browser.count("td input[name=id]"), 14);
    // Two by themselves.
    browser.click("tbody tr:nth-child(1) input[name=id]");
    browser.click("tbody tr:nth-child(2) input[name=id]");
    browser.click("button[value=selected]");
    browser.until_text("nothing has been sent");
    browser.until_text("2 deliveries match");
    assert_eq!(dead(), Some(14), "a trial sends nothing");
    browser.click(".stacked button.primary");
    browser.until_text("The replay has begun.");
    browser.until_text("2 of 2");
    until(LIMIT, "two are sent", || dead() == Some(12));
    // All the rest, selected by one click.
    browser.go(&stage.url("/console/failures?recipient=akasse:067"));
    browser.click("[data-all]");
    assert_eq!(browser.count("td input[name=id]:checked"), 12);
    browser.click("button[value=all]");
    browser.until_text("12 deliveries match");
    browser.click(".stacked button.primary");
    browser.until_text("12 of 12");
    browser.until_text("done");
    until(LIMIT, "all are sent", || dead() == Some(0));
}

fn can_be_used_by_keyboard(stage: &Stage, browser: &Chromium) {
    browser.go(&stage.url("/console/login"));
    browser.tab_to("#token");
    browser.type_text(&stage.operator);
    browser.press(ENTER);
    browser.until_text("Wrong right now");
    // The first stop leads past everything on top.
    browser.tab_to("a.skip");
    assert_eq!(browser.run("const box = document.activeElement.getBoundingClientRect(); return box.left >= 0 && box.width > 0"), true);
    browser.press(ENTER);
    assert_eq!(browser.run("return document.activeElement.id"), "content");
    browser.tab_to(".problems a[href^='/console/recipients']");
    let outlined = browser.run("return getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outlined, "solid", "the focus is seen");
    browser.press(ENTER);
    browser.until_text("Name, code or vendor");
    browser.tab_to("a[href='/console/quarantine']");
    browser.press(ENTER);
    browser.until_text("not-json");
    browser.tab_to("details.confirm summary");
    browser.press(ENTER);
    browser.tab_to("input[name=why]");
    browser.type_text("sent by mistake");
    browser.press(ENTER);
    browser.until_text("The message is discarded.");
    browser.until_text("Quarantine is empty.");
    browser.go(&stage.url("/console/audit"));
    browser.until_text("sent by mistake");
}

/// Parks the lane of a delivery from its page, and lets it go on without scripts.
fn parks_a_lane_and_lets_it_go(stage: &Stage, browser: &Chromium) {
    browser.go(&stage.url("/console/failures?state=retrying&recipient=akasse:053"));
    browser.click("tbody a.id");
    browser.until_url("/console/deliveries/");
    browser.write("#why", "the vendor looks into it");
    browser.click("button[formaction$='/park']");
    browser.until_text("The lane is parked.");
    browser.until_text("the vendor looks into it");
    browser.go(&stage.url("/console"));
    browser.click(".problems a[href='/console/lanes']");
    browser.until_text("the vendor looks into it");
    assert_eq!(browser.count("details.confirm"), 1, "{}", browser.text());
    browser.devtools("Emulation.setScriptExecutionDisabled", &serde_json::json!({ "value": true }));
    browser.click("details.confirm summary");
    browser.write("details.confirm input[name=why]", "the vendor has mended it");
    browser.click("details.confirm button");
    browser.until_url("done=let-go");
    browser.devtools("Emulation.setScriptExecutionDisabled", &serde_json::json!({ "value": false }));
    browser.go(&stage.url("/console/lanes"));
    browser.until_text("No lane is parked.");
    browser.go(&stage.url("/console/audit"));
    browser.until_text("the vendor has mended it");
}

fn shows_windows_to_come(stage: &Stage, browser: &Chromium) {
    browser.go(&stage.url("/console/pauses"));
    browser.until_text("2099-03-20 22:00");
    browser.until_text("2099-03-21 04:00");
}

fn closes_notices_by_keyboard(stage: &Stage, browser: &Chromium) {
    browser.go(&stage.url("/console/gdpr"));
    browser.until_text("Deletion notices that have not been fetched");
    browser.tab_to("details.confirm summary");
    browser.press(ENTER);
    let whose = browser.run("return document.activeElement.closest('details').querySelector('[name=recipient]').value");
    browser.tab_to("details[open] input[name=why]");
    browser.type_text("carried out from a list");
    browser.press(ENTER);
    browser.until_text("The notices are closed.");
    let whose = whose.as_str().unwrap_or_default().to_owned();
    assert!(!whose.is_empty() && !stage.unfetched().contains(&whose), "{whose} is still listed");
    browser.go(&stage.url("/console/audit"));
    browser.until_text("carried out from a list");
}

/// One operator has asked, another one confirms; nobody reads whom it is about.
fn confirms_an_erasure(stage: &Stage, browser: &Chromium) {
    let citizen = "0101901999";
    stage.publish(&[membership(citizen, "053", "2020-01-01", None)]);
    let asks =
        |dry_run: bool| stage.broker.api_post("/api/v1/erasures", &serde_json::json!({ "personnummer": citizen, "dry_run": dry_run })).0;
    until(LIMIT, "the citizen is known", || asks(true) == 200);
    assert_eq!(asks(false), 200);
    browser.go(&stage.url("/console/gdpr"));
    browser.until_text("Erasures that wait for a second person");
    assert!(!browser.text().contains(citizen));
    browser.click("details.confirm:has(form[action^='/console/gdpr/erasures/']) summary");
    browser.click("form[action^='/console/gdpr/erasures/'] button");
    browser.until_text("The citizen is erased.");
    assert_eq!(asks(true), 404, "nothing is known any more");
}

fn works_without_scripts(stage: &Stage, browser: &Chromium) {
    browser.devtools("Emulation.setScriptExecutionDisabled", &serde_json::json!({ "value": true }));
    browser.go(&stage.url("/console/recipients/akasse:053"));
    browser.click(".act button");
    browser.until_url("done=resumed");
    browser.go(&stage.url("/console/failures?state=retrying&recipient=akasse:053"));
    browser.click("tbody a.id");
    browser.until_url("/console/deliveries/");
    browser.devtools("Emulation.setScriptExecutionDisabled", &serde_json::json!({ "value": false }));
}

fn shows_a_vendor_its_own(stage: &Stage, browser: &Chromium) {
    browser.go(&stage.url("/console"));
    browser.click("form.who button");
    browser.until_text("You are logged out.");
    stage.log_in(browser, &stage.vendor);
    let page = browser.text();
    assert!(page.contains("akasse:067") && !page.contains("akasse:053") && !page.contains("Quarantine"), "{page}");
    browser.go(&stage.url("/console/lanes"));
    assert!(!browser.text().contains("akasse:053") && browser.count("details.confirm") == 0, "{}", browser.text());
    browser.go(&stage.url("/console/pauses"));
    assert!(!browser.text().contains("kommune:860") && browser.count("form.stacked") == 0, "{}", browser.text());
    assert_eq!(browser.count("a.guide"), 0, "the runbook is not for vendors");
    for hidden in ["/console/recipients/akasse:053", "/console/runbook"] {
        browser.go(&stage.url(hidden));
        let page = browser.text();
        assert!(["There is no such page", "may not"].iter().any(|words| page.contains(words)) && !page.contains("For whoever"), "{page}");
    }
    // That a page is not there is told by the browser as well.
    let objections: Vec<String> = browser.objections().into_iter().filter(|line| !line.contains("404") && !line.contains("403")).collect();
    assert_eq!(objections, Vec::<String>::new());
}

fn photograph(stage: &Stage, browser: &Chromium, event: &str) {
    browser.resize(1280, 860, false);
    browser.prefer("light");
    browser.go(&stage.url(&format!("/console/events/{event}")));
    browser.photograph(&image("trace"));
    browser.go(&stage.url("/console/failures"));
    browser.photograph(&image("failures"));
    browser.go(&stage.url("/console/runbook#wsbqueuepaused"));
    browser.photograph(&image("runbook"));
    browser.resize(1280, 900, false);
}
