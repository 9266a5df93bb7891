//! `make demo`: a story on real traffic, told so that a stranger understands it.
//!
//! A RabbitMQ node, the broker as a process of its own and plain AMQP consumers
//! in the vendors' place. Everything that the story claims is checked against
//! what was worked out beforehand, without the broker's code: a mismatch ends it
//! with exit code 1. `KEEP=1` keeps everything up afterwards.

#[path = "../../tests/rig/mod.rs"]
mod rig;

mod cast;
mod ledger;
mod page;
mod stage;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use cast::{AALBORG, AKADEMIKERNE, Cast, Days, HJORRING, HK, LEDERNE, QUEUES, just_now, of_fund, of_kommune};
use ledger::{Told, about, membership_told};
use page::Page;
use rig::{Event, Message, Metrics, event, jobcenter, membership};
use stage::{Stage, Stuck, WINDOW};

fn main() -> ExitCode {
    // The rig panics when something of it does not work. A reader of the demo
    // needs the sentence, not the place in the source.
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("something broke");
        eprintln!("\n  The demo cannot go on: {text}\n");
        std::process::exit(1);
    }));
    let begin = Instant::now();
    let page = Page::new();
    page.title("The WSB broker: who may know");
    page.gap();
    page.say(
        "In Denmark an unemployed citizen belongs to a municipality (kommune) and often to an unemployment insurance fund \
         (a-kasse). Both read and write in DFDG, the shared registry. When something about a citizen changes there, DFDG sends \
         short messages, WSBs: \"this has changed, come and read\". Each authority has a queue for them.",
    );
    page.gap();
    page.say(
        "In March 2026 it became known that an a-kasse had received WSBs about somebody who was no longer its member. This \
         broker decides who is told from the membership that is in force at the moment of sending, and from nothing else.",
    );
    let mut story = match Stage::rabbitmq() {
        Ok(node) => Story { page, stage: Stage::prepare(node), cast: Cast::new(), days: Days::now(), moved: String::new(), wrong: 0 },
        Err(message) => {
            eprintln!("\n{message}\n");
            return ExitCode::FAILURE;
        }
    };
    let told = story.tell();
    let took = begin.elapsed().as_secs_f64();
    if let Err(Stuck(why)) = told {
        story.page.gap();
        let (what, details) = why.split_once('\n').unwrap_or((&why, ""));
        story.page.fails(what);
        story.page.verbatim(details);
        story.wrong += 1;
    } else if std::env::var("KEEP").is_ok_and(|keep| !keep.is_empty() && keep != "0") {
        story.keep();
    }
    let (page, wrong) = (story.page, story.wrong);
    let ended = story.stage.end();
    if let Err(Stuck(why)) = &ended {
        page.fails(why);
    }
    page.gap();
    if wrong > 0 || ended.is_err() {
        page.fails("The demo failed: not everything above is as it must be.");
        return ExitCode::FAILURE;
    }
    page.say(&format!("Every line with a mark was checked against what had been worked out beforehand. {took:.0} s in all."));
    page.gap();
    ExitCode::SUCCESS
}

struct Story {
    page: Page,
    stage: Stage,
    cast: Cast,
    days: Days,
    /// An event that waited for A's former fund when A moved on.
    moved: String,
    wrong: usize,
}

impl Story {
    fn tell(&mut self) -> Result<(), Stuck> {
        self.setting();
        let before = self.stage.broker.metrics();
        self.ordinary_morning()?;
        self.transfer()?;
        self.late_and_recalled()?;
        let former = self.former_member()?;
        self.activities()?;
        self.rubbish()?;
        let after = self.stage.wait_still()?;
        self.what_arrived(&after);
        self.what_was_prevented(&former);
        self.what_moved(&before, &after);
        self.killed()?;
        self.one_message();
        self.where_next();
        Ok(())
    }

    /// Notes whether a claim is true.
    fn check(&mut self, holds: bool, claim: &str) {
        if holds {
            self.page.holds(claim);
        } else {
            self.page.fails(claim);
            self.wrong += 1;
        }
    }

    fn setting(&mut self) {
        self.page.chapter("The setting");
        let (stage, page) = (&mut self.stage, &self.page);
        let events = self.cast.first_load(&self.days);
        let lines: Vec<u8> = events.iter().flat_map(|event| [event.body(), vec![b'\n']].concat()).collect();
        stage.write("citizens.ndjson", &lines);
        page.say(&format!(
            "{} citizens who do not exist, members of three a-kasser and living in three kommuner. What DFDG knows of them is \
             loaded before the start; nobody is told of that.",
            self.cast.len()
        ));
        page.gap();
        page.command("wsb-broker import citizens.ndjson");
        let file = stage.home().join("citizens.ndjson").display().to_string();
        page.verbatim(&stage.cli(&["import", &file]));
        page.command("wsb-broker run");
        let begin = Instant::now();
        stage.broker.start_again();
        let took = begin.elapsed().as_secs_f64();
        stage.open_vendors();
        page.gap();
        let whose = if stage.node.is_private() { "a private RabbitMQ node" } else { "the RabbitMQ of WSB_AMQP_URI" };
        page.say(&format!(
            "The broker is ready after {took:.1} s, on {whose}. It has declared a queue for each of the 119 authorities of the \
             shipped routing.toml. Six of them have a part here, and a plain AMQP consumer empties each, as its vendor would. \
             One line of the file is changed: Lederne's queue may hold {WINDOW} unfetched messages instead of 1000."
        ));
    }

    fn ordinary_morning(&mut self) -> Result<(), Stuck> {
        self.page.chapter("An ordinary morning");
        const TYPES: [&str; 9] = [
            "Indkaldelse",
            "Frist",
            "Samtale",
            "Fravaer",
            "Joblog",
            "Tilmelding",
            "BevillingAfYdelse",
            "FagprofessionelKontakt",
            "YderligeInfoOmFravaer",
        ];
        let told: Vec<Told> = (0..3)
            .flat_map(|round| {
                self.cast.ordinary.iter().enumerate().map(move |(n, citizen)| about(citizen, TYPES[(n + round * 4) % TYPES.len()]))
            })
            .collect();
        let (events, wsbs) = (told.len(), told.iter().map(|one| one.to.len()).sum::<usize>());
        let begin = Instant::now();
        self.stage.publish(told);
        self.stage.wait_arrived(&[])?;
        let took = begin.elapsed();
        self.page.say(&format!(
            "DFDG publishes {events} events of nine types. A deadline (Frist) concerns the kommune only, most others the a-kasse too."
        ));
        self.page.gap();
        let claim = format!("{wsbs} WSBs lie with whom they concern, {} ms after the first event was published", took.as_millis());
        self.check(self.stage.ledger.is_complete(&[]), &claim);
        Ok(())
    }

    fn transfer(&mut self) -> Result<(), Stuck> {
        self.page.chapter("Citizen A changes a-kasse, in the middle of it");
        self.page.say(&format!(
            "Lederne's vendor stops for maintenance, and its queue fills up to the limit of about {WINDOW}. What comes then waits in \
             the broker, where it can still be stopped. Everybody else's traffic goes on."
        ));
        self.page.gap();
        let lederne = of_fund(LEDERNE);
        self.stage.close_vendor(LEDERNE);
        // RabbitMQ notices the limit a little late: a wave may pass whole.
        let is_full = |metrics: &Metrics| metrics.sum("wsb_queue_paused", &[("recipient", "akasse:067")]) > 0.5;
        for entity in ["Samtale", "Joblog", "Fravaer", "Tilmelding"] {
            let members = self.cast.ordinary.iter().filter(|citizen| citizen.fund == Some(LEDERNE));
            let wave: Vec<Told> = members.map(|citizen| about(citizen, entity)).collect();
            self.stage.publish(wave);
            self.stage.wait_taken_in()?;
            if self.stage.soon(is_full) {
                break;
            }
        }
        self.stage.wait_metrics("Lederne's queue is full", is_full)?;

        let types = ["Indkaldelse", "Samtale", "Fravaer", "Joblog", "Persongruppemarkering", "Tilmelding"];
        let mut traffic = Vec::new();
        let mut about_a = Vec::new();
        for (n, citizen) in self.cast.ordinary.iter().enumerate() {
            traffic.push(about(citizen, types[n % types.len()]));
            if n % 40 == 20 {
                let told = about(&self.cast.a, types[about_a.len() % types.len()]);
                about_a.push(told.event.event_id().to_owned());
                traffic.push(told);
            }
        }
        self.stage.publish(traffic);
        let metrics = self.stage.wait_taken_in()?;
        let waiting = |metrics: &Metrics| {
            let of = |name| metrics.sum(name, &[("recipient", "akasse:067")]);
            of("wsb_pending") + of("wsb_retrying")
        };
        let waiting_before = waiting(&metrics);
        self.stage.wait_arrived(&[&lederne])?;
        self.stage.collect();
        let page = &self.page;
        page.say(&format!(
            "{waiting_before} WSBs wait for Lederne, {} of them about citizen A. Now DFDG registers that A has moved to Akademikernes \
             as of today.",
            about_a.len()
        ));
        page.gap();

        let a = &mut self.cast.a;
        (a.fund, a.former) = (Some(AKADEMIKERNE), Some(LEDERNE));
        let a = self.cast.a.clone();
        let joins = membership(&a.cpr, AKADEMIKERNE, &self.days.ago(0), None);
        let leaves = membership(&a.cpr, LEDERNE, "2020-01-01", Some(&self.days.ago(1))).updated();
        let told = vec![
            membership_told(joins, &a.cpr, &[AKADEMIKERNE]).kept_from(LEDERNE),
            membership_told(leaves, &a.cpr, &[LEDERNE, AKADEMIKERNE]),
        ];
        let akademikerne = of_fund(AKADEMIKERNE);
        self.stage.ledger.redirect(&lederne, &akademikerne, &about_a);
        let begin = Instant::now();
        self.stage.publish(told);
        self.stage.wait_arrived(&[&lederne])?;
        let took = begin.elapsed();
        let after: Vec<Told> = types.iter().map(|entity| about(&a, entity)).collect();
        let after_ids: Vec<String> = after.iter().map(|told| told.event.event_id().to_owned()).collect();
        self.stage.publish(after);
        self.stage.wait_arrived(&[&lederne])?;

        self.moved.clone_from(&about_a[0]);
        let moved = about_a.iter().all(|id| self.stage.ledger.has(&akademikerne, id));
        let claim = format!(
            "the {} WSBs about A were withdrawn from Lederne's backlog and reached Akademikernes, {} ms after the registration",
            about_a.len(),
            took.as_millis()
        );
        self.check(moved, &claim);

        self.stage.reopen_vendor(LEDERNE);
        self.stage.wait_arrived(&[])?;
        let ledger = &self.stage.ledger;
        let alone = after_ids.iter().all(|id| ledger.has(&akademikerne, id) && !ledger.has(&lederne, id));
        let heard_of_a: Vec<&str> = ledger
            .in_queue(&lederne)
            .filter(|message| message.field("Identifikation") == *a.cpr)
            .map(|message| message.kind.as_str())
            .collect();
        let only_that = heard_of_a == ["Akassemedlemskab"];
        self.check(alone, "six further events about A went to Akademikernes alone");
        self.check(only_that, "Lederne's vendor is back: everything about its members has come, about A only that the membership ended");
        Ok(())
    }

    fn late_and_recalled(&mut self) -> Result<(), Stuck> {
        self.page.chapter("Registered late, and taken back");
        self.page.say(
            "Citizen B left Lederne three days ago; it is registered today. From now on B's a-kasse is nobody, whatever was true \
             when something happened.",
        );
        let b = self.cast.b.clone();
        let heard = about(&b, "Samtale");
        let heard_id = heard.event.event_id().to_owned();
        self.stage.publish(vec![heard]);
        self.stage.wait_arrived(&[])?;
        let leaves = membership(&b.cpr, LEDERNE, "2020-01-01", Some(&self.days.ago(3))).updated();
        self.stage.publish(vec![membership_told(leaves, &b.cpr, &[LEDERNE])]);
        self.stage.wait_arrived(&[])?;
        let b = &mut self.cast.b;
        (b.fund, b.former) = (None, Some(LEDERNE));
        let after = about(b, "Samtale").with(|event| event.updated());
        let after_id = after.event.event_id().to_owned();
        self.stage.publish(vec![after]);
        self.stage.wait_taken_in()?;
        self.stage.wait_arrived(&[])?;
        let lederne = of_fund(LEDERNE);
        self.page.gap();
        let holds = self.stage.ledger.has(&lederne, &heard_id) && !self.stage.ledger.has(&lederne, &after_id);
        self.check(holds, "the interview (Samtale) before the registration reached Lederne, the change to it afterwards did not");
        self.page.gap();

        self.page.say(
            "A week ago citizen C was moved from HK to Lederne by mistake. Now the registration is recalled (Aendringstype 3), and \
             C is HK's member again, as if nothing had been.",
        );
        let c = self.cast.c.clone();
        let mistaken = about(&c, "Joblog");
        let mistaken_id = mistaken.event.event_id().to_owned();
        self.stage.publish(vec![mistaken]);
        self.stage.wait_arrived(&[])?;
        let recall = membership(&c.cpr, LEDERNE, &self.days.ago(7), None).deleted();
        self.stage.publish(vec![membership_told(recall, &c.cpr, &[LEDERNE, HK])]);
        self.stage.wait_arrived(&[])?;
        let c = &mut self.cast.c;
        (c.fund, c.former) = (Some(HK), Some(LEDERNE));
        let after = about(c, "Joblog");
        let after_id = after.event.event_id().to_owned();
        self.stage.publish(vec![after]);
        self.stage.wait_taken_in()?;
        self.stage.wait_arrived(&[])?;
        let ledger = &self.stage.ledger;
        let holds = ledger.has(&lederne, &mistaken_id) && ledger.has(&of_fund(HK), &after_id) && !ledger.has(&lederne, &after_id);
        self.page.gap();
        self.check(holds, "before the recall Lederne was told, after it HK and only HK");
        Ok(())
    }

    fn former_member(&mut self) -> Result<Vec<Told>, Stuck> {
        self.page.chapter("The three messages of March 2026");
        self.page.say(
            "The release note of DFDG of March 2026 (2.10) names three types that had reached the a-kasse of a former member: \
             Jobcentertilknytning, FagprofessionelKontakt and Persongruppemarkering. Citizen F left Lederne half a year ago.",
        );
        self.page.gap();
        let f = self.cast.f.clone();
        let told = || {
            let code = format!("{HJORRING}03");
            vec![
                about(&f, "Jobcentertilknytning").with(|told| {
                    let record = jobcenter(&f.cpr, &format!("{HJORRING}01"), "2020-01-01", None);
                    told.updated().external(record.record_id()).period("2020-01-01", None).content(json!({ "Jobcenterkode": code }))
                }),
                about(&f, "FagprofessionelKontakt"),
                about(&f, "Persongruppemarkering"),
            ]
        };
        self.stage.publish(told());
        self.stage.wait_taken_in()?;
        self.stage.wait_arrived(&[])?;
        let lederne = of_fund(LEDERNE);
        let got = self.stage.ledger.in_queue(&lederne).filter(|message| message.field("Identifikation") == *f.cpr).count();
        self.check(got == 0, "the kommune got all three; no a-kasse got any, and each prevention is counted");
        self.page.gap();
        self.page.say(
            "F's jobcentre code ends in 03, a branch that nobody has announced. Branches come without notice: the broker goes by \
             the kommune in the first three digits, and Hjørring is never unknown (2.11 of the same note).",
        );
        Ok(told())
    }

    fn activities(&mut self) -> Result<(), Stuck> {
        self.page.chapter("Not everything is the a-kasse's business");
        self.page.say(
            "A fund may know of an activity only under a plan aimed at a job. Citizen D has another kind of plan, then gets a \
             Jobplan; both times an activity is registered.",
        );
        self.page.gap();
        let d = &mut self.cast.d;
        let without = about(d, "Aktivitet");
        let plan = about(d, "Plan").with(|event| event.period(&self.days.ago(0), None).content(json!({ "Plantype": "Jobplan" })));
        d.plan_for_fund = true;
        let with = about(d, "Aktivitet");
        let (without_id, with_id) = (without.event.event_id().to_owned(), with.event.event_id().to_owned());
        self.stage.publish(vec![without, plan, with]);
        self.stage.wait_taken_in()?;
        self.stage.wait_arrived(&[])?;
        let hk = of_fund(HK);
        let holds = !self.stage.ledger.has(&hk, &without_id) && self.stage.ledger.has(&hk, &with_id);
        self.check(holds, "without the Jobplan only the kommune heard of D's activity, with it HK as well");
        self.page.gap();

        self.page.say(
            "Citizen E belongs to Hjørring, but takes part in a course that Aalborg runs and registers. Who registers is not who \
             receives.",
        );
        self.page.gap();
        let registered = about(&self.cast.e, "Aktivitet").with(|event| event.updated().authority("kommune", AALBORG));
        let id = registered.event.event_id().to_owned();
        self.stage.publish(vec![registered]);
        self.stage.wait_taken_in()?;
        self.stage.wait_arrived(&[])?;
        let named = self.stage.ledger.in_queue(&of_kommune(HJORRING)).any(|message| {
            message.correlation_id == id && message.field("RegistrerendeMyndighed") == json!({ "Type": "kommune", "Kode": AALBORG })
        });
        let holds = named && !self.stage.ledger.has(&of_kommune(AALBORG), &id);
        self.check(holds, "Hjørring was told, with Aalborg named as the one who registered; Aalborg was not");
        Ok(())
    }

    fn rubbish(&mut self) -> Result<(), Stuck> {
        self.page.chapter("Rubbish");
        self.page.say(
            "What cannot be understood is neither forwarded nor lost: it is stored, sealed, with the reason, and can be taken in \
             again once the reason is gone.",
        );
        self.page.gap();
        let citizen = &self.cast.ordinary[0].cpr;
        let wrong = [
            ("kontaktforloeb.frist.oprettet", b"{ \"specversion\": \"1.0\", ".to_vec()),
            ("ydelse.hemmeligt.oprettet", event("Hemmeligt").domain("ydelse").cpr(citizen).body()),
            ("plan.aktivitet.oprettet", event("Aktivitet").cpr(citizen).period("2026-03-16", Some("2026-03-01")).content(json!({})).body()),
            ("joblog.joblog.oprettet", event("Joblog").cpr("3102901234").content(json!({})).body()),
            ("tilknytning.akassemedlemskab.oprettet", membership(citizen, "999", "2026-03-16", None).body()),
        ];
        self.stage.ledger.expect_nothing(wrong.len());
        for (key, body) in wrong.clone() {
            self.stage.amqp.publish("dfdg.events", key, body);
        }
        let next = about(&self.cast.ordinary[0], "Frist");
        self.stage.publish(vec![next]);
        self.stage.wait_taken_in()?;
        self.stage.wait_arrived(&[])?;
        let listed = self.stage.cli(&["quarantine", "list"]);
        self.page.command("wsb-broker quarantine list");
        self.page.verbatim(&listed);
        self.page.gap();
        let reasons = ["not-json", "unknown-entity", "ends-before-start", "malformed-personnummer", "unknown-authority"];
        let holds = reasons.iter().all(|reason| listed.contains(reason)) && listed.lines().count() == 1 + wrong.len();
        self.check(holds, "all five are there, each with its reason; the next event behind them got through");
        Ok(())
    }

    fn what_arrived(&mut self, metrics: &Metrics) {
        self.page.chapter("What arrived");
        self.page.say("Every queue of the story, read by a plain AMQP consumer, against what the story says it must hold:");
        self.page.gap();
        let mut rows = vec![["queue", "authority", "must get", "got", "of types"].map(str::to_owned).to_vec()];
        for (queue, name) in QUEUES {
            let got: Vec<&Message> = self.stage.ledger.in_queue(queue).collect();
            let types: std::collections::BTreeSet<&str> = got.iter().map(|message| message.kind.as_str()).collect();
            let row = [
                queue.to_owned(),
                name.to_owned(),
                self.stage.ledger.awaited_in(queue).to_string(),
                got.len().to_string(),
                types.len().to_string(),
            ];
            rows.push(row.to_vec());
        }
        self.page.table(2, &rows);
        self.page.gap();
        let difference = self.stage.ledger.compare();
        for mistake in difference.mistakes.iter().take(20) {
            self.page.fails(mistake);
        }
        let ledger = &self.stage.ledger;
        let (awaited, arrived, repeats) = (ledger.awaited(), ledger.arrived(), ledger.repeats());
        let claim =
            format!("compared message by message: {arrived} of {awaited} there, none too many, none with a wrong recipient or citizen");
        self.check(difference.mistakes.is_empty() && arrived == awaited, &claim);
        let delivered = metrics.sum("wsb_deliveries_total", &[("outcome", "delivered")]) as usize;
        self.check(delivered == arrived, &format!("the broker counts {delivered} as delivered, hence the other 113 queues got nothing"));
        if repeats > 0 {
            self.page.say(&format!("{repeats} came twice, with the same message_id: delivery is at least once."));
        }
    }

    fn what_was_prevented(&mut self, former: &[Told]) {
        self.page.chapter("What was prevented, and why");
        self.page.say("Every decision can be asked for its reasons. An event like the third about F, the former member:");
        self.page.gap();
        let explained = self.stage.explain(&former[2].event);
        self.page.command("wsb-broker explain --event persongruppemarkering-f.json");
        self.page.verbatim(&explained);
        self.page.gap();
        let left_out = |text: &str, who: &str| text.split("not sent to").nth(1).is_some_and(|rest| rest.contains(who));
        let holds = left_out(&explained, "akasse:067") && explained.contains("not_member");
        self.check(holds, "Lederne is left out because it is not F's fund any more");

        self.page.gap();
        self.page.say("Citizen C, whose move to Lederne was recalled:");
        self.page.gap();
        let told = about(&self.cast.c, "Joblog");
        let explained = self.stage.explain(&told.event);
        self.page.command("wsb-broker explain --event joblog-c.json");
        self.page.verbatim(&explained);
        self.page.gap();
        let holds = left_out(&explained, "akasse:067") && !left_out(&explained, "akasse:053") && explained.contains("akasse:053");
        self.check(holds, "HK is told by the registration that stands, Lederne is not by the one that was recalled");

        self.page.gap();
        self.page.say("And everything that happened with one of the events that waited for Lederne when A moved on:");
        self.page.gap();
        let traced = self.stage.cli(&["trace", &self.moved]);
        self.page.command(&format!("wsb-broker trace {}", self.moved));
        self.page.verbatim(&traced);
        self.page.gap();
        let holds = traced.contains("akasse:067: withdrawn (membership-ended)") && traced.contains("akasse:086: delivered");
        self.check(holds, "withdrawn from Lederne because the membership ended, delivered to Akademikernes instead");
    }

    fn what_moved(&mut self, before: &Metrics, after: &Metrics) {
        self.page.chapter("The metrics that moved");
        let moved = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
        let rows = [
            ("wsb_events_consumed_total", vec![("outcome", "routed")]),
            ("wsb_events_consumed_total", vec![("outcome", "quarantined")]),
            ("wsb_deliveries_total", vec![("outcome", "delivered"), ("recipient_type", "akasse")]),
            ("wsb_deliveries_total", vec![("outcome", "delivered"), ("recipient_type", "kommune")]),
            ("wsb_deliveries_total", vec![("outcome", "withdrawn"), ("recipient_type", "akasse")]),
            ("wsb_delivery_attempts_total", vec![("outcome", "nacked")]),
            ("wsb_deliveries_suppressed_total", vec![("reason", "not_member")]),
            ("wsb_deliveries_suppressed_total", vec![("reason", "condition")]),
            ("wsb_wrong_recipient_prevented_total", vec![("stage", "decision")]),
            ("wsb_wrong_recipient_prevented_total", vec![("stage", "attempt")]),
        ];
        let mut table = vec![vec!["metric".to_owned(), "by".to_owned()]];
        for (name, labels) in &rows {
            let text: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
            table.push(vec![format!("{name}{{{}}}", text.join(",")), format!("{}", moved(name, labels))]);
        }
        let commits = moved("wsb_commit_batch_events_count", &[]);
        table.push(vec!["wsb_commit_batch_events_count".to_owned(), format!("{commits}")]);
        self.page.table(1, &table);
        self.page.gap();
        let events = self.stage.ledger.published() as f64;
        if commits > 0.0 {
            self.page.say(&format!("{events} events were made durable by {commits} flushes: {:.0} at a time.", events / commits));
            self.page.gap();
        }
        let prevented = moved("wsb_wrong_recipient_prevented_total", &[]);
        let claim = format!(
            "{prevented} times somebody who had lost the citizen was kept from hearing of it, exactly as often as the story needed it"
        );
        self.check(prevented as usize == self.stage.ledger.forbidden(), &claim);
        let settled = moved("wsb_events_consumed_total", &[]) as usize == self.stage.ledger.published();
        self.check(settled, "every published event is accounted for, and nothing waits");
    }

    fn killed(&mut self) -> Result<(), Stuck> {
        self.page.chapter("Killed, with kill -9");
        let told: Vec<Told> =
            self.cast.ordinary.iter().flat_map(|citizen| [about(citizen, "Tilmelding"), about(citizen, "Joblog")]).collect();
        let (events, wsbs) = (told.len(), told.iter().map(|one| one.to.len()).sum::<usize>());
        let before = self.stage.ledger.arrived();
        self.stage.publish(told);
        self.stage.wait_some(before + wsbs / 10)?;
        self.stage.broker.kill9();
        self.stage.collect();
        let so_far = self.stage.ledger.arrived() - before;
        let begin = Instant::now();
        self.stage.broker.start_again();
        let ready = begin.elapsed().as_secs_f64();
        self.stage.wait_arrived(&[])?;
        self.stage.wait_idle()?;
        self.page.say(&format!(
            "{events} more events; when {so_far} of {wsbs} WSBs have been read from the queues, the process is killed, with more of them \
             published and their confirms not yet on disk. It is started again on what is on disk, and ready after {ready:.1} s.",
        ));
        self.page.gap();
        let mistakes = self.stage.ledger.compare().mistakes;
        for mistake in mistakes.iter().take(20) {
            self.page.fails(mistake);
        }
        let ledger = &self.stage.ledger;
        let (repeats, only_those) = (ledger.repeats(), ledger.arrived() == ledger.awaited());
        let claim = format!("all {wsbs} are there: nothing is lost, and the {repeats} that came once more have the id of the first time");
        self.check(mistakes.is_empty() && only_those, &claim);
        Ok(())
    }

    fn one_message(&mut self) {
        self.page.chapter("One WSB, as a vendor gets it");
        let queue = of_fund(AKADEMIKERNE);
        let is_a = |message: &&Message| message.field("Identifikation") == *self.cast.a.cpr && message.kind == "Indkaldelse";
        let found = self.stage.ledger.in_queue(&queue).find(is_a).cloned();
        let Some(message) = found else {
            self.check(false, "Akademikernes has an Indkaldelse about A");
            return;
        };
        self.page.say("Citizen A's call to an interview, in Akademikernes' queue. Thin on purpose: who and what, never the content.");
        self.page.gap();
        let mut rows = vec![vec!["property".to_owned(), "value".to_owned()]];
        let timestamp = message.timestamp.unwrap_or_default().to_string();
        let mode = message.delivery_mode.unwrap_or_default().to_string();
        for (name, value) in [
            ("exchange, routing key", &format!("{}, {}", message.exchange, message.routing_key)),
            ("message_id", &message.id),
            ("correlation_id", &message.correlation_id),
            ("type", &message.kind),
            ("content_type", &message.content_type),
            ("app_id", &message.app_id),
            ("delivery_mode", &mode),
            ("timestamp", &timestamp),
        ] {
            rows.push(vec![name.to_owned(), value.clone()]);
        }
        rows.extend(message.headers.iter().map(|(name, value)| vec![format!("header {name}"), value.to_string()]));
        self.page.table(2, &rows);
        self.page.gap();
        self.page.json(&String::from_utf8_lossy(&message.body));
        self.page.gap();
        self.page.say("The personnummer is made up: its owner would be born on 1 January 1990 and does not exist.");
    }

    fn where_next(&mut self) {
        self.page.chapter("Where to look next");
        let places = [
            ("README.md", "run it for real: settings, key file, RabbitMQ permissions"),
            ("routing.toml", "who gets what; docs/routing.md explains the keys"),
            ("docs/vendor-guide.md", "for whoever empties a queue"),
            ("docs/architecture.md", "the code: the path of a message, and what is deliberately absent"),
            ("KEEP=1 make demo", "the same, and it stays up for you to try things"),
        ];
        self.page.list(&places.map(|(place, what)| vec![place.to_owned(), what.to_owned()]));
    }

    /// Keeps everything up until Ctrl-C, and shows what arrives.
    fn keep(&mut self) {
        self.page.chapter("Everything stays up until Ctrl-C");
        let (broker, node) = (&self.stage.broker, &self.stage.node);
        let more: Vec<Event> = ["Samtale", "Persongruppemarkering", "Indkaldelse"]
            .iter()
            .flat_map(|entity| [about(&self.cast.a, entity).event, about(&self.cast.f, entity).event])
            .collect();
        let event_file = self.stage.write("event.json", &about(&self.cast.f, "Persongruppemarkering").event.body());
        let lines: Vec<u8> = more.iter().flat_map(|event| [event.body(), vec![b'\n']].concat()).collect();
        let more_file = self.stage.write("more.ndjson", &lines);
        let program = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.parent()?.join("wsb-broker")));
        let program = program.map_or_else(|| "wsb-broker".to_owned(), |path| path.display().to_string());
        let http = broker.url("");
        let address = http.trim_start_matches("http://");
        self.page.say("In a browser, the console; log in with the token:");
        self.page.gap();
        println!("    {http}/console");
        println!("    {}", broker.token());
        self.page.gap();
        self.page.say("In another terminal:");
        self.page.gap();
        for line in [
            format!("export WSB_AMQP_URI={}", node.uri()),
            format!("export WSB_HTTP={address} WSB_ADMIN_TOKEN={}", broker.token()),
            format!("export WSB_DATA_DIR={}", broker.data_dir().display()),
            format!("export WSB_ROUTING={}", self.stage.home().join("routing.toml").display()),
            format!("alias wsb-broker={program}"),
            String::new(),
            format!("wsb-broker explain --event {}", event_file.display()),
            format!("wsb-broker events publish {}", more_file.display()),
            format!("wsb-broker trace {}", self.moved),
            "wsb-broker recipients list".to_owned(),
            "wsb-broker quarantine list".to_owned(),
            format!("curl {http}/readyz"),
            format!("curl -s {http}/metrics | grep prevented"),
            format!("curl -s -H 'Authorization: Bearer {}' {http}/api/v1/recipients", broker.token()),
        ] {
            // Not dimmed and not wrapped: it is to be copied.
            println!("{}", if line.is_empty() { line } else { format!("    {line}") });
        }
        self.page.gap();
        self.page.say("What arrives in the six queues from now on:");
        self.page.gap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // The thread ends with the process, or with the first Ctrl-C.
        std::thread::spawn(move || {
            rig::block(async {
                // Without a signal handler there is no way to stop but to kill;
                // the leash cleans up then too.
                let _ = tokio::signal::ctrl_c().await;
            });
            stopped.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            for message in self.stage.watch() {
                self.page.verbatim(&format!("{}  {:<16}  {:<24} {}", &just_now()[11..19], message.queue, message.kind, message.id));
            }
            if let Some(status) = self.stage.broker.exited() {
                self.page.fails(&format!("the broker ended: {status}"));
                self.wrong += 1;
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.page.gap();
        self.page.say("stopping");
    }
}
