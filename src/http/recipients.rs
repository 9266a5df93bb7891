//! `/api/v1/recipients`: how each recipient's queue is, and orders about it.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::{audit, reason_if_any};
use super::extract::{Body, OptionalBody, Path, understood};
use super::problem::{Problem, store_failed};
use crate::core::audit::{Action, Deed};
use crate::core::engine::{QueueView, RestCause, Resting, Resumed};
use crate::core::holds::Why;
use crate::core::ids::Recipient;
use crate::core::time::Moment;

/// Every recipient that the caller may see, with the state of its queue; without
/// what operators have said about it where that is a vendor.
pub async fn list(State(server): State<Shared>, principal: Principal) -> Result<Json<Value>, Problem> {
    let rules = server.rules.borrow().clone();
    let recipients: Vec<Recipient> = rules.recipients().map(|rule| rule.recipient).collect();
    let (views, resting, parked, now) = server
        .writer
        .ask(move |access| {
            let engine = &access.engine;
            let resting = recipients.into_iter().filter_map(|recipient| Some((recipient, engine.resting(recipient, access.now)?)));
            let resting = resting.collect::<HashMap<_, _>>();
            (engine.view(access.now), resting, engine.oldest_parked(access.records), access.now)
        })
        .await?;
    let parked = parked.map_err(|error| store_failed(&error))?;
    let views: HashMap<Recipient, _> = views.into_iter().map(|view| (view.recipient, view)).collect();
    let items: Vec<Value> = rules
        .recipients()
        .filter(|rule| principal.sees(rule.recipient))
        .map(|rule| {
            let view = views.get(&rule.recipient);
            let counts = view.map(|view| view.counts).unwrap_or_default();
            let (unparked, parked) = (view.and_then(|view| view.oldest), parked.get(&rule.recipient).copied());
            let seconds = |since: Option<Moment>| since.map_or(0.0, |since| now.seconds_since(since));
            let pause = Paused::of(resting.get(&rule.recipient), view);
            let why = pause.as_ref().filter(|pause| pause.by != "operator" || principal.scope().is_none()).map(|pause| pause.why);
            json!({
                "recipient": rule.recipient.to_string(),
                "name": &*rule.name,
                "queue": &*rule.queue,
                "vendor": &*rule.vendor,
                "state": if pause.is_some() { "paused" } else { "open" },
                "paused_by": pause.as_ref().map(|pause| pause.by),
                "paused_until": pause.as_ref().and_then(|pause| pause.until).map(|until| until.to_string()),
                "paused_since": pause.as_ref().map(|pause| pause.since.to_string()),
                "why": why,
                "pending": counts.pending,
                "retrying": counts.retrying,
                "dead": counts.dead,
                "oldest_pending_seconds": seconds([unparked, parked].into_iter().flatten().min()),
                "oldest_unparked_seconds": seconds(unparked),
                "lanes_blocked": view.map_or(0, |view| view.lanes_blocked),
            })
        })
        .collect();
    Ok(Json(json!({ "items": items })))
}

/// A queue that is paused, for whatever reason.
struct Paused<'a> {
    /// `operator`, `maintenance` or `failure`.
    by: &'static str,
    since: Moment,
    until: Option<Moment>,
    why: &'a str,
}

impl<'a> Paused<'a> {
    fn of(resting: Option<&'a Resting>, view: Option<&QueueView>) -> Option<Self> {
        if let Some(resting) = resting {
            let (by, why) = match &resting.cause {
                RestCause::Operator(why) => ("operator", why.as_str()),
                RestCause::Window => ("maintenance", "maintenance window"),
            };
            return Some(Self { by, since: resting.since, until: resting.until, why });
        }
        let pause = view?.pause?;
        Some(Self { by: "failure", since: pause.since, until: Some(pause.until), why: pause.cause.name() })
    }
}

/// The body of a pause.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    why: String,
    until: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/recipients/{recipient}/pause`
pub async fn pause(
    State(server): State<Shared>,
    principal: Principal,
    Path(recipient): Path<String>,
    Body(body): Body<Pause>,
) -> Result<Json<Value>, Problem> {
    let recipient = known(&server, &recipient)?;
    let why = why(&body.why)?;
    let dry_run = body.dry_run;
    let deed = principal.does(Action::QueuePaused, &recipient.to_string()).because(why.as_str()).tried(dry_run);
    let until = match body.until.as_deref().filter(|until| !until.is_empty()) {
        None => None,
        Some(text) => Some(Moment::parse(text).map_err(|malformed| Problem::new(400, "until: not understood").detail(malformed.expected))?),
    };
    let paused = server
        .writer
        .ask(move |access| {
            if until.is_some_and(|until| until <= access.now) {
                return Ok(None);
            }
            let waiting = access.engine.waiting(recipient);
            if !dry_run {
                access.engine.pause(recipient, until, why, access.records, access.now, access.out)?;
            }
            audit(access, deed).map(|()| Some(waiting))
        })
        .await?;
    match paused {
        Ok(Some(waiting)) => Ok(Json(json!({
            "recipient": recipient.to_string(),
            "state": if dry_run { "would be paused" } else { "paused" },
            "paused_until": until.map(|until| until.to_string()),
            "waiting": waiting,
        }))),
        Ok(None) => Err(Problem::new(400, "until: is past already")),
        Err(error) => Err(store_failed(&error)),
    }
}

/// The body of a resumption; none is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resume {
    why: Option<String>,
    dry_run: bool,
}

/// `POST /api/v1/recipients/{recipient}/resume`
pub async fn resume(
    State(server): State<Shared>,
    principal: Principal,
    Path(recipient): Path<String>,
    OptionalBody(body): OptionalBody<Resume>,
) -> Result<Json<Value>, Problem> {
    let recipient = known(&server, &recipient)?;
    let dry_run = body.dry_run;
    let why = reason_if_any(body.why.as_deref())?;
    let deed = Deed { why, ..principal.does(Action::QueueResumed, &recipient.to_string()) }.tried(dry_run);
    let (resumed, waiting, resting) = server
        .writer
        .ask(move |access| {
            let waiting = access.engine.waiting(recipient);
            let resumed = match dry_run {
                true => Ok(access.engine.would_resume(recipient, access.now)),
                false => access.engine.resume(recipient, access.records, access.now, access.out),
            };
            let noted = match &resumed {
                Ok(Resumed::GoesOn | Resumed::Probed) => audit(access, deed),
                // Nothing was done.
                Ok(Resumed::InWindow(_) | Resumed::NotPaused) | Err(_) => Ok(()),
            };
            (noted.and(resumed), waiting, access.engine.resting(recipient, access.now))
        })
        .await?;
    let answer = |state: &str| {
        let state = if dry_run { format!("would be {state}") } else { state.to_owned() };
        Ok(Json(json!({ "recipient": recipient.to_string(), "state": state, "waiting": waiting })))
    };
    match resumed.map_err(|error| store_failed(&error))? {
        Resumed::GoesOn | Resumed::NotPaused => answer("open"),
        Resumed::Probed => answer("probed"),
        Resumed::InWindow(until) => Err(Problem::new(409, "this recipient is in its maintenance window").detail(in_window(until, resting))),
    }
}

/// Says what keeps a recipient from going on within its window.
fn in_window(until: Moment, resting: Option<Resting>) -> String {
    let window = format!("it lasts until {until}; take it out of routing.toml to end it earlier");
    match resting {
        Some(Resting { cause: RestCause::Operator(_), until: None, .. }) => {
            format!("nothing was changed: {window}; the pause that was ordered goes on after it, until it is ended then")
        }
        Some(Resting { cause: RestCause::Operator(_), until: Some(ordered), .. }) => {
            format!("nothing was changed: {window}; the pause that was ordered goes on until {ordered}")
        }
        Some(Resting { cause: RestCause::Window, .. }) | None => window,
    }
}

/// Parses a recipient that `routing.toml` knows.
fn known(server: &Shared, text: &str) -> Result<Recipient, Problem> {
    let recipient = understood("recipient", Recipient::parse(text))?;
    match server.rules.borrow().recipient(recipient) {
        Some(_) => Ok(recipient),
        None => Err(Problem::new(404, "routing.toml has no such recipient")),
    }
}

/// Parses a reason.
pub(super) fn why(text: &str) -> Result<Why, Problem> {
    Why::parse(text).map_err(|malformed| Problem::new(400, "a reason is needed").detail(malformed.expected))
}
