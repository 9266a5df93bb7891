//! Traffic that is made up: citizens who do not exist, events about them, vendors
//! that fetch what they get, and some trouble that is arranged, so that every page
//! of the console has something to show. Nothing is checked here; the demo does that.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::ToSpan;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::json;
use tempfile::TempDir;

use crate::rig::{
    Amqp, Broker, Event, Metrics, Options, Vendor, VendorOptions, Verdict, event, external_id, jobcenter, membership, residence, until,
    until_some,
};

/// How often [`Traffic::tick`] is to be called.
pub const TICK: Duration = Duration::from_millis(250);

const CITIZENS: usize = 900;
/// Events a second, at the least and at the most: it swells and ebbs.
const SLOWEST: f64 = 8.0;
const FASTEST: f64 = 28.0;
/// Seconds from one swell to the next.
const SWELL: f64 = 150.0;
/// Events that are published at once to begin with.
const FIRST: usize = 900;
/// Every how many ticks somebody changes fund.
const MOVES: u64 = 12;

/// Nobody empties its queue, which is small.
const FULL: &str = "akasse:053";
/// Nobody empties its queue, which is large; deletion notices lie in it.
const ASLEEP: &str = "akasse:040";
/// Its vendor rejects [`REJECTED`].
const REJECTING: &str = "akasse:073";
/// Its vendor comes now and then, and its queue is small.
const NOW_AND_THEN: &str = "kommune:751";
/// Its queue has been deleted.
const GONE: &str = "kommune:461";
/// An operator has paused it.
const PAUSED: &str = "kommune:101";
/// It is in a maintenance window.
const IN_WINDOW: &str = "akasse:083";
/// Maintenance windows of theirs are to come.
const WINDOWS_TO_COME: [&str; 3] = ["akasse:086", "kommune:851", "kommune:657"];

/// The type that a vendor rejects.
const REJECTED: &str = "FagprofessionelKontakt";

const KINDS: [&str; 9] =
    ["Indkaldelse", "Samtale", "Frist", "Fravaer", "Joblog", "Tilmelding", "BevillingAfYdelse", REJECTED, "YderligeInfoOmFravaer"];

/// How long a vendor that comes now and then stays, and stays away.
const STAYS: Duration = Duration::from_secs(15);
const AWAY: Duration = Duration::from_secs(45);

/// What must be there before the broker starts.
pub struct Prepared {
    home: TempDir,
}

impl Prepared {
    /// Writes the rules: the shipped ones, with small queues and maintenance windows
    /// for some.
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("wsb-run-").tempdir().expect("a temporary directory");
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/routing.toml");
        let mut rules = fs::read_to_string(shipped).expect("routing.toml is part of the repository");
        let now = in_copenhagen();
        let window = |from: DateTime, until: DateTime| format!("maintenance = [{{ from = {}, until = {} }}]", minute(from), minute(until));
        let weekly = |day: &str| format!("maintenance = [{{ every = \"{day}\", from = \"02:00\", until = \"04:00\" }}]");
        let hours = |hours: i64| now.saturating_add(hours.hours());
        for (recipient, key) in [
            (FULL, "max-unfetched = 60".to_owned()),
            (NOW_AND_THEN, "max-unfetched = 20".to_owned()),
            (IN_WINDOW, window(hours(-1), hours(2))),
            (WINDOWS_TO_COME[0], window(hours(20), hours(24))),
            (WINDOWS_TO_COME[1], weekly("sunday")),
            (WINDOWS_TO_COME[2], weekly("wednesday")),
        ] {
            let begins = format!("{{ authority = \"{recipient}\"");
            let line = rules.lines().find(|line| line.trim_start().starts_with(&begins)).map(str::to_owned);
            let line = line.expect("the shipped routing.toml has a line for every authority");
            let changed = line.replace(" },", &format!(", {key} }},"));
            rules = rules.replace(&line, &changed);
        }
        fs::write(home.path().join("routing.toml"), rules).expect("the directory is ours");
        Self { home }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Returns how the broker is to run.
    pub fn options(&self, uri: &str) -> Options {
        let tokens = self.file("tokens.toml");
        write_private(&tokens, b"");
        Options::new(uri).routing(self.file("routing.toml")).env("WSB_TOKENS", &tokens.display().to_string())
    }

    /// Loads what DFDG knows of everybody, of which nobody is told, and makes a token
    /// for a vendor, which is returned.
    pub fn load(&self, broker: &Broker) -> String {
        let mut lines = Vec::new();
        for event in Citizen::all().iter().flat_map(Citizen::records) {
            lines.extend(event.body());
            lines.push(b'\n');
        }
        let file = self.file("citizens.ndjson");
        fs::write(&file, lines).expect("the directory is ours");
        broker.cli_ok(&["import", &file.display().to_string()]);
        let tokens = self.file("tokens.toml").display().to_string();
        let made = broker.cli_ok(&[
            "token",
            "create",
            "--name",
            "vendor-of-kristelig",
            "--role",
            &format!("vendor:{REJECTING}"),
            "--file",
            &tokens,
        ]);
        made.split_whitespace().find(|word| word.starts_with("wsb_")).unwrap_or_default().to_owned()
    }
}

/// What a stranger needs to know, line by line.
pub fn welcome(console: &str, token: &str, vendor_token: &str) -> Vec<String> {
    let text = format!(
        "The WSB broker is running, with a RabbitMQ of its own and traffic that is made up:
{CITIZENS} citizens who do not exist, and a dozen to two dozen events about them a second.

  Open        {console}
  Log in as   {token}
              an operator: sees everything, and may act
  or as       {vendor_token}
              the vendor of Kristelig A-kasse: sees its own queue only

What is wrong now stands on top of the first page; numbers move by themselves. This
has been arranged for you to find:

  HK A-kasse          nobody fetches from its queue: it is full, and what comes waits;
                      what waits about one of its members is parked
  Kristelig A-kasse   its vendor rejects one type of message: those are given up
  Odense              its queue has been deleted
  Aarhus              its vendor comes a quarter of each minute only
  København           an operator has paused it
  A-kassen Frie       is in a maintenance window; others have theirs later
  Din Faglige A-kasse lets deletion notices lie in its queue
  Quarantine          two messages that are no events

All other queues are emptied at once, as they should be."
    );
    text.lines().map(str::to_owned).collect()
}

/// Says what has happened since the start, in a line.
pub fn so_far(metrics: &Metrics) -> String {
    let sum = |name: &str| metrics.sum(name, &[]) as u64;
    format!(
        "{}  taken in {}, delivered {}, waiting {}, given up {}, kept from a former fund {}",
        in_copenhagen().strftime("%H:%M:%S"),
        sum("wsb_events_consumed_total"),
        metrics.sum("wsb_deliveries_total", &[("outcome", "delivered")]) as u64,
        sum("wsb_pending") + sum("wsb_retrying"),
        sum("wsb_dead"),
        sum("wsb_wrong_recipient_prevented_total"),
    )
}

/// A citizen who does not exist.
#[derive(Clone, Copy)]
struct Citizen {
    number: usize,
    fund: &'static str,
    has_moved: bool,
    kommune: &'static str,
}

/// The funds that have members here, the large ones more than once.
const FUNDS: [&str; 14] = ["053", "015", "083", "073", "086", "067", "024", "057", "017", "015", "088", "018", "053", "094"];
/// The kommuner that have residents here.
const KOMMUNER: [&str; 22] = [
    "101", "751", "461", "851", "561", "730", "621", "615", "630", "265", "657", "740", "540", "791", "607", "813", "860", "479", "147",
    "169", "400", "787",
];

impl Citizen {
    fn all() -> Vec<Self> {
        // The last few belong to the fund that lets things lie.
        let fund = |number: usize| if number < CITIZENS - 12 { FUNDS[number % FUNDS.len()] } else { "040" };
        let kommune = |number: usize| KOMMUNER[number * 5 / 7 % KOMMUNER.len()];
        (0..CITIZENS).map(|number| Self { number, fund: fund(number), has_moved: false, kommune: kommune(number) }).collect()
    }

    fn cpr(self) -> String {
        format!("010190{:04}", 1000 + self.number)
    }

    fn membership(self) -> Event {
        membership(&self.cpr(), self.fund, "2020-01-01", None)
    }

    /// What decides who is told.
    fn records(&self) -> Vec<Event> {
        let (cpr, begin) = (self.cpr(), "2020-01-01T08:00:00Z");
        vec![
            self.membership().at(begin),
            jobcenter(&cpr, &format!("{}01", self.kommune), "2020-01-01", None).at(begin),
            residence(&cpr, self.kommune, "2020-01-01", None).at(begin),
        ]
    }

    /// A record so old that it falls due within the next months: these are kept for
    /// six years from the latest change, or from their end.
    fn old_record(self) -> Event {
        let day = in_copenhagen().date().saturating_sub(6.years()).saturating_add((self.number as i64 % 300).days());
        let (cpr, at) = (self.cpr(), format!("{day}T08:00:00Z"));
        let record =
            if self.number.is_multiple_of(2) { event("Joblog") } else { event("Fravaer").period(&day.to_string(), Some(&day.to_string())) };
        record.cpr(&cpr).at(&at).content(json!({}))
    }

    fn joblog(self) -> String {
        external_id(&format!("joblog-{}", self.number))
    }

    fn told(self, kind: &str) -> Event {
        event(kind).cpr(&self.cpr()).at(&just_now()).authority("kommune", self.kommune).content(json!({}))
    }
}

/// Traffic under way.
pub struct Traffic {
    amqp: Amqp,
    uri: String,
    citizens: Vec<Citizen>,
    vendors: Vec<Vendor>,
    visitor: Option<Vendor>,
    visit_ends: Instant,
    began: Instant,
    ticks: u64,
    owed: f64,
    dice: u64,
}

impl Traffic {
    /// Has vendors begin to fetch, and arranges the trouble.
    pub fn begin(broker: &Broker, uri: &str) -> Self {
        let queue = |recipient: &str| format!("wsb.{}", recipient.replace(':', "."));
        let citizens = Citizen::all();
        let mut served: Vec<String> = FUNDS.iter().map(|fund| format!("akasse:{fund}")).collect();
        served.extend(KOMMUNER.iter().map(|kommune| format!("kommune:{kommune}")));
        served.sort();
        served.dedup();
        served.retain(|one| ![FULL, ASLEEP, REJECTING, NOW_AND_THEN, GONE].contains(&one.as_str()));
        let queues: Vec<String> = served.iter().map(|one| queue(one)).collect();
        let rejecting = VendorOptions {
            judge: Arc::new(|got| if got.kind == REJECTED { Verdict::Reject } else { Verdict::Ack }),
            ..VendorOptions::default()
        };
        let vendors =
            vec![Vendor::consume_all(uri, queues.iter().map(String::as_str)), Vendor::with(uri, [queue(REJECTING).as_str()], &rejecting)];
        let now = Instant::now();
        let mut traffic = Self {
            amqp: Amqp::connect(uri),
            uri: uri.to_owned(),
            citizens,
            vendors,
            visitor: None,
            visit_ends: now,
            began: now,
            ticks: 0,
            owed: 0.0,
            dice: 0x9e37_79b9_7f4a_7c15,
        };
        traffic.arrange(broker, &queue(GONE));
        traffic
    }

    fn arrange(&mut self, broker: &Broker, gone: &str) {
        self.amqp.delete_queue(gone);
        let pause = json!({ "why": "the vendor moves to another computer centre", "until": in_hours(2) });
        let (status, answer) = broker.api_post(&format!("/api/v1/recipients/{PAUSED}/pause"), &pause);
        assert!(status == 200, "{PAUSED} cannot be paused: {answer}");
        for (key, body) in
            [("kontaktforloeb.indkaldelse.oprettet", "this is no event"), ("plan.samtale.oprettet", "{\"specversion\":\"1.0\"}")]
        {
            self.amqp.publish("dfdg.events", key, body.as_bytes().to_vec());
        }
        // Joblogs that the fund is told of, and then of their deletion.
        let asleep: Vec<Citizen> = self.citizens.iter().copied().filter(|citizen| citizen.fund == "040").collect();
        // So old that nothing keeps them: their deletion is as the rules have it.
        let old = in_copenhagen().date().saturating_sub(6.years()).saturating_sub(10.days());
        let joblog = |citizen: &Citizen| citizen.told("Joblog").external(&citizen.joblog()).at(&format!("{old}T08:00:00Z"));
        let told: Vec<Event> = asleep.iter().map(joblog).collect();
        self.publish(&told);
        let deleted = |citizen: &Citizen| {
            let content = json!({ "Dataomraade": "joblog", "SlettetEntitet": "Joblog" });
            event("GdprSletning").cpr(&citizen.cpr()).at(&just_now()).external(&citizen.joblog()).content(content)
        };
        let mut first: Vec<Event> = self.citizens.iter().step_by(7).map(|citizen| citizen.old_record()).collect();
        first.extend((first.len()..FIRST).map(|_| self.ordinary()));
        self.publish(&first);
        until(Duration::from_secs(60), "the broker takes in the first events", || {
            broker.metrics().sum("wsb_events_consumed_total", &[]) >= (told.len() + FIRST) as f64
        });
        self.publish(&asleep.iter().map(deleted).collect::<Vec<_>>());
        let waits = format!("/api/v1/deliveries?state=retrying&recipient={FULL}&limit=1");
        let first = until_some(Duration::from_secs(60), "something waits for the queue that is full", || {
            broker.api_get(&waits).1["items"][0]["id"].as_str().map(str::to_owned)
        });
        let (status, answer) =
            broker.api_post(&format!("/api/v1/lanes/{first}/park"), &json!({ "why": "the fund asks what this is about" }));
        assert!(status == 200, "the lane cannot be parked: {answer}");
    }

    /// Publishes what is due, and has vendors come and go.
    pub fn tick(&mut self) {
        self.ticks += 1;
        let phase = self.began.elapsed().as_secs_f64() / SWELL * std::f64::consts::TAU;
        let rate = SLOWEST + (FASTEST - SLOWEST) * (1.0 - phase.cos()) / 2.0;
        self.owed += rate * TICK.as_secs_f64();
        let due = self.owed as usize;
        self.owed -= due as f64;
        let mut events: Vec<Event> = (0..due).map(|_| self.ordinary()).collect();
        if self.ticks.is_multiple_of(MOVES) {
            events.extend(self.move_somebody());
        }
        self.publish(&events);
        // Nobody reads it: what has come would only take memory.
        self.vendors.iter().chain(&self.visitor).for_each(|vendor| drop(vendor.take()));
        if self.visit_ends <= Instant::now() {
            let comes = self.visitor.is_none();
            let queue = format!("wsb.{}", NOW_AND_THEN.replace(':', "."));
            self.visitor = comes.then(|| Vendor::consume(&self.uri, &queue));
            self.visit_ends = Instant::now() + if comes { STAYS } else { AWAY };
        }
    }

    fn publish(&self, events: &[Event]) {
        self.amqp.publish_all("dfdg.events", events.iter().map(Event::message).collect::<Vec<_>>());
    }

    fn roll(&mut self, sides: usize) -> usize {
        // xorshift: it need not be good, and the same each time is easier to talk about.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 33) as usize % sides
    }

    fn ordinary(&mut self) -> Event {
        let (who, kind) = (self.roll(CITIZENS), self.roll(KINDS.len()));
        // What a vendor rejects is rare, or nothing else would be seen.
        let kind = if KINDS[kind] == REJECTED && self.roll(4) > 0 { KINDS[0] } else { KINDS[kind] };
        self.citizens[who].told(kind)
    }

    /// Somebody changes fund as of today: what waits for the former one is withdrawn.
    fn move_somebody(&mut self) -> Vec<Event> {
        let who = self.roll(CITIZENS);
        let to = FUNDS[self.roll(FUNDS.len())];
        let citizen = self.citizens[who];
        // Once is enough: a second change within a day would have to correct the first.
        if citizen.has_moved || citizen.fund == to || citizen.fund == "040" {
            return Vec::new();
        }
        let today = in_copenhagen().date();
        let yesterday = today.saturating_sub(1.day()).to_string();
        let joins = membership(&citizen.cpr(), to, &today.to_string(), None).at(&just_now());
        let leaves = citizen.membership().period("2020-01-01", Some(&yesterday)).updated().at(&just_now());
        self.citizens[who] = Citizen { fund: to, has_moved: true, ..citizen };
        vec![joins, leaves]
    }
}

fn in_copenhagen() -> DateTime {
    let copenhagen = TimeZone::get("Europe/Copenhagen").expect("time zones are built in");
    jiff::Timestamp::now().to_zoned(copenhagen).datetime()
}

fn minute(at: DateTime) -> String {
    at.strftime("%Y-%m-%dT%H:%M:00").to_string()
}

fn just_now() -> String {
    jiff::Timestamp::now().to_string()
}

fn in_hours(hours: i64) -> String {
    jiff::Timestamp::now().saturating_add(hours.hours()).expect("hours can be added").to_string()
}

fn write_private(file: &PathBuf, text: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(file, text).expect("the directory is ours");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("our own file");
}
