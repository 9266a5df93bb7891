//! What each page is made of.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;

use super::visit::Visitor;
use super::{Console, Refused, calendar, lacking};
use crate::app::now;
use crate::console::form::{encode, with_query};
use crate::console::problems::{Certificate, Situation, problems};
use crate::console::recipients::Row;
use crate::console::view::{Backup, Delivery, Entry, ErasureRequest, Group, Items, Lane, Quarantined, Recipient, Refusal, Replay};
use crate::console::view::{Trace, Unexpected, Unfetched, Window};
use crate::console::{Section, failures, gdpr as gdpr_page, overview as overview_page, quarantine as quarantine_page};
use crate::console::{
    audit as audit_page, lanes as lanes_page, recipients as recipient_pages, replays as replay_pages, runbook as runbook_page,
    trace as trace_page,
};
use crate::core::ids;
use crate::core::time::{Day, Moment};
use crate::tls::Expiry;

/// How many messages in quarantine the first page counts.
const COUNTED: u64 = 100;
/// How many deliveries a page shows.
const PAGE: &str = "50";

type Page = Result<Response, Refused>;
type Shown = State<Arc<Console>>;

impl Console {
    fn row(&self, recipient: Recipient, now: Moment) -> Row {
        let of = ids::Recipient::parse(&recipient.recipient).ok();
        let hour = of.map_or([None; 60], |of| self.samples().waiting(of, now));
        Row { recipient, hour }
    }

    fn died(&self, recipients: &[Recipient], now: Moment) -> u64 {
        let samples = self.samples();
        let of = |one: &Recipient| ids::Recipient::parse(&one.recipient).map_or(0, |of| samples.died(of, one.dead, now));
        recipients.iter().map(of).sum()
    }
}

/// What is wrong, and how everything is.
pub async fn overview(State(console): Shown, visitor: Visitor) -> Page {
    let now = now();
    let recipients: Items<Recipient> = console.get(&visitor, "/recipients").await?;
    let replays: Items<Replay> = console.maybe(&visitor, "/replays?limit=500").await.unwrap_or_default();
    let mut situation = Situation {
        recipients: &recipients.items,
        died: console.died(&recipients.items, now),
        died_since: console.samples().since(now).map(|since| since.on_the_clock().get(11..16).unwrap_or_default().to_owned()),
        replays: &replays.items,
        ..Situation::default()
    };
    // Of operators only; `Some(None)` where there was none.
    let mut latest_backup: Option<Option<String>> = None;
    if visitor.who.sees_all() {
        let quarantine: Items<Quarantined> = console.maybe(&visitor, &format!("/quarantine?limit={COUNTED}")).await.unwrap_or_default();
        situation.quarantine = (quarantine.items.len() as u64, quarantine.next_cursor.is_some());
        let overdue = console.server.writer.ask(|access| access.engine.orders_overdue(access.records, access.now)).await;
        situation.overdue = overdue.ok().and_then(Result::ok).unwrap_or(0);
        let parked = console.server.writer.ask(|access| access.engine.lanes_parked()).await;
        situation.parked = parked.map_or(0, |parked| parked as u64);
        let notices: Items<Unfetched> = console.maybe(&visitor, "/retention/notices").await.unwrap_or_default();
        situation.unfetched = notices.items.into_iter().filter(|of| of.of_former_days > 0).map(|of| of.recipient).collect();
        // Operators only are told of these two.
        let erasures: Items<ErasureRequest> = console.maybe(&visitor, "/erasures").await.unwrap_or_default();
        situation.erasures = erasures.items.len() as u64;
        let backup: Option<Backup> = console.maybe(&visitor, "/backup").await;
        latest_backup = backup.as_ref().map(|backup| backup.latest_at.clone());
        let latest = latest_backup.iter().flatten().find_map(|at| Moment::parse(at).ok());
        situation.latest_backup = latest.map(|at| (Day::in_copenhagen(at).to_string(), now.seconds_since(at)));
        situation.backup_failed = backup.filter(|backup| backup.state == "failed").map(|backup| backup.why.unwrap_or_default());
        let certificate = |of: Expiry| Certificate {
            whose: of.whose,
            day: Day::in_copenhagen(of.at).to_string(),
            seconds_left: of.at.seconds_since(now),
        };
        situation.certificates = console.server.expiries().await.into_iter().map(certificate).collect();
        situation.intake = console.server.health.waiting.borrow().iter().map(|of| (of.queue.to_string(), u64::from(of.messages))).collect();
        situation.contradictory = console.flow().contradictory_in_an_hour(now, console.counted());
        situation.routing_refused = console.server.metrics.routing_is_refused();
        situation.tokens_refused = console.server.metrics.tokens_are_refused();
        let missing = console.server.health.missing(now);
        situation.missing = missing.iter().map(|lack| lacking::shown(lack, visitor.look.language)).collect();
    }
    let flowing = visitor.who.sees_all().then(|| console.flow().per_minute(now, console.counted()));
    let problems = problems(&situation, visitor.look.language);
    let rows = recipients.items.iter().map(|one| console.row(one.clone(), now)).collect();
    Ok(console.page(&visitor, Section::Overview, |frame| {
        overview_page::overview(frame, &problems, flowing, latest_backup.as_ref().map(Option::as_deref), rows)
    }))
}

/// Every recipient.
pub async fn recipients(State(console): Shown, visitor: Visitor) -> Page {
    let now = now();
    let recipients: Items<Recipient> = console.get(&visitor, "/recipients").await?;
    let rows = recipients.items.into_iter().map(|one| console.row(one, now)).collect();
    let wanted = recipient_pages::Wanted { text: visitor.asked("q"), state: visitor.asked("state") };
    Ok(console.page(&visitor, Section::Recipients, |frame| recipient_pages::all(frame, rows, &wanted)))
}

/// One recipient.
pub async fn recipient(State(console): Shown, Path(recipient): Path<String>, visitor: Visitor) -> Page {
    let recipients: Items<Recipient> = console.get(&visitor, "/recipients").await?;
    let Some(found) = recipients.items.into_iter().find(|one| one.recipient == recipient) else {
        return Err(nothing(&console, &visitor));
    };
    let of = |state: &str| with_query("/deliveries", &[("state", state), ("recipient", &recipient), ("limit", "10")]);
    let retrying: Items<Delivery> = console.get(&visitor, &of("retrying")).await?;
    let dead: Items<Delivery> = console.get(&visitor, &of("dead")).await?;
    let row = console.row(found, now());
    Ok(console.page(&visitor, Section::Recipients, |frame| recipient_pages::one(frame, &row, &retrying, &dead)))
}

/// Pauses and maintenance windows.
pub async fn pauses(State(console): Shown, visitor: Visitor) -> Page {
    let recipients: Items<Recipient> = console.get(&visitor, "/recipients").await?;
    let windows: Items<Window> = console.get(&visitor, "/windows").await?;
    let chosen = visitor.asked("recipient");
    Ok(console.page(&visitor, Section::Maintenance, |frame| recipient_pages::pauses(frame, &recipients.items, &windows.items, &chosen)))
}

/// Lanes that wait, those that are parked first.
pub async fn lanes(State(console): Shown, visitor: Visitor) -> Page {
    let lanes: Items<Lane> = console.get(&visitor, "/lanes").await?;
    Ok(console.page(&visitor, Section::Lanes, |frame| lanes_page::lanes(frame, &lanes)))
}

/// Failed deliveries, by cause and as a list.
pub async fn failures(State(console): Shown, visitor: Visitor) -> Page {
    let mut wanted = failures::Wanted {
        state: visitor.asked("state"),
        recipient: visitor.asked("recipient"),
        entity: visitor.asked("entity"),
        reason: visitor.asked("reason"),
        since: visitor.asked("since"),
        until: visitor.asked("until"),
    };
    if wanted.state.is_empty() {
        wanted.state = "dead".to_owned();
    }
    let cursor = visitor.asked("cursor");
    let (since, until) = (on_the_clock(&wanted.since), on_the_clock(&wanted.until));
    let mut values = wanted.values();
    for (name, value) in &mut values {
        match *name {
            "since" => *value = &since,
            "until" => *value = &until,
            _ => {}
        }
    }
    let mut values = values.to_vec();
    values.extend([("cursor", cursor.as_str()), ("limit", PAGE)]);
    let list: Items<Delivery> = console.get(&visitor, &with_query("/deliveries", &values)).await?;
    let groups: Option<Items<Group>> =
        console.maybe(&visitor, &with_query("/deliveries/groups", &[("recipient", &wanted.recipient)])).await;
    let mut entities: Vec<String> = console.server.rules.borrow().message_types().map(|kind| kind.name.to_string()).collect();
    entities.sort_unstable();
    let groups = groups.map(|groups| groups.items);
    Ok(console.page(&visitor, Section::Failures, |frame| {
        failures::failures(frame, &wanted, groups.as_deref(), &list, &entities, !cursor.is_empty())
    }))
}

/// Returns an instant of what a field of local time holds, for the API; what is
/// no time is passed on, so that the API says so.
pub fn on_the_clock(text: &str) -> String {
    Moment::parse_on_the_clock(text).map_or_else(|_| text.to_owned(), |at| at.to_string())
}

/// One delivery.
pub async fn delivery(State(console): Shown, Path(id): Path<String>, visitor: Visitor) -> Page {
    let one: Delivery = console.get(&visitor, &format!("/deliveries/{}", encode(&id))).await?;
    Ok(console.page(&visitor, Section::Failures, |frame| failures::delivery(frame, &one)))
}

/// The course of an event.
pub async fn trace(State(console): Shown, Path(id): Path<String>, visitor: Visitor) -> Page {
    course(&console, &visitor, &id).await
}

/// The same, of an id that no path can hold.
pub async fn trace_of_asked(State(console): Shown, visitor: Visitor) -> Page {
    let id = visitor.asked("id");
    course(&console, &visitor, &id).await
}

async fn course(console: &Arc<Console>, visitor: &Visitor, id: &str) -> Page {
    let trace: Trace = console.get(visitor, &format!("/events/{}/trace", encode(id))).await?;
    Ok(console.page(visitor, Section::Other, |frame| trace_page::trace(frame, &trace)))
}

/// Every replay.
pub async fn replays(State(console): Shown, visitor: Visitor) -> Page {
    let cursor = visitor.asked("cursor");
    let replays: Items<Replay> = console.get(&visitor, &with_query("/replays", &[("cursor", &cursor), ("limit", PAGE)])).await?;
    Ok(console.page(&visitor, Section::Replays, |frame| replay_pages::all(frame, &replays, !cursor.is_empty())))
}

/// One replay.
pub async fn replay(State(console): Shown, Path(id): Path<String>, visitor: Visitor) -> Page {
    let replay: Replay = console.get(&visitor, &format!("/replays/{}", encode(&id))).await?;
    let dead: Option<Items<Delivery>> = console.maybe(&visitor, &with_query("/deliveries", &replay.dead_now())).await;
    let dead = dead.unwrap_or_default();
    let dead = (dead.items.len() as u64, dead.next_cursor.is_some());
    Ok(console.page(&visitor, Section::Replays, |frame| replay_pages::one(frame, &replay, dead)))
}

/// Messages that cannot be events.
pub async fn quarantine(State(console): Shown, visitor: Visitor) -> Page {
    let cursor = visitor.asked("cursor");
    let list: Items<Quarantined> = console.get(&visitor, &with_query("/quarantine", &[("cursor", &cursor), ("limit", PAGE)])).await?;
    Ok(console.page(&visitor, Section::Quarantine, |frame| quarantine_page::quarantine(frame, &list, !cursor.is_empty())))
}

/// What falls due.
pub async fn gdpr(State(console): Shown, visitor: Visitor) -> Page {
    if !visitor.who.sees_all() {
        return Err(forbidden(&console, &visitor));
    }
    let today = Day::in_copenhagen(now());
    let until = in_a_year(today).to_string();
    let calendar = calendar::calendar(&console, &today.to_string(), &until).await;
    let unfetched: Items<Unfetched> = console.get(&visitor, "/retention/notices").await?;
    let unexpected: Items<Unexpected> = console.get(&visitor, &format!("/retention/unexpected?limit={PAGE}")).await?;
    // For operators only, who may confirm them.
    let erasures: Items<ErasureRequest> = console.maybe(&visitor, "/erasures").await.unwrap_or_default();
    let to_do = gdpr_page::ToDo { unfetched: unfetched.items, erasures: erasures.items, unexpected: unexpected.items };
    Ok(console.page(&visitor, Section::Gdpr, |frame| gdpr_page::gdpr(frame, &to_do, calendar.as_deref(), &until)))
}

/// A year is what fits on a screen, and what can be planned for.
fn in_a_year(day: Day) -> Day {
    Day::from_number(day.number() + 365).unwrap_or(day)
}

/// What operators did.
pub async fn audit(State(console): Shown, visitor: Visitor) -> Page {
    let cursor = visitor.asked("cursor");
    let path = with_query("/audit", &[("order", "newest"), ("cursor", &cursor), ("limit", PAGE)]);
    let log: Items<Entry> = console.get(&visitor, &path).await?;
    Ok(console.page(&visitor, Section::Audit, |frame| audit_page::audit(frame, &log, !cursor.is_empty())))
}

/// What to do when, for those who run the broker.
pub async fn runbook(State(console): Shown, visitor: Visitor) -> Page {
    if !visitor.who.sees_all() {
        return Err(forbidden(&console, &visitor));
    }
    Ok(console.page(&visitor, Section::Other, runbook_page::runbook))
}

/// A page that is not there.
pub async fn nothing_there(State(console): Shown, visitor: Visitor) -> Refused {
    nothing(&console, &visitor)
}

fn nothing(console: &Console, visitor: &Visitor) -> Refused {
    Refused::because(console, visitor, &Refusal { status: 404, ..Refusal::default() })
}

fn forbidden(console: &Console, visitor: &Visitor) -> Refused {
    Refused::because(console, visitor, &Refusal { status: 403, ..Refusal::default() })
}
