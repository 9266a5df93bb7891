//! `/api/v1/lanes`: lanes that are stuck or parked. A lane is addressed by the id
//! of a delivery that waits in it: its own name would hold a citizen.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::audit;
use super::deliveries::sought;
use super::extract::{Body, OptionalBody, Path, Query, understood};
use super::problem::{Problem, store_failed};
use super::recipients::why;
use crate::core::audit::{Action, Deed};
use crate::core::engine::{LaneOrder, LaneView};
use crate::core::ids::{Recipient, WsbId};
use crate::core::outbox::State as Stand;
use crate::core::policy::Rules;
use crate::core::routing::name_told;
use crate::ops::{self, LaneError, Told};
use crate::store::{Store, StoreError};
use crate::writer::Access;

/// What can be asked of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    recipient: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/lanes`: a vendor is shown its own, without what operators have said
/// about them.
pub async fn list(State(server): State<Shared>, principal: Principal, Query(asked): Query<Asked>) -> Result<Json<Value>, Problem> {
    let recipient = asked.recipient.as_deref().filter(|text| !text.is_empty());
    let recipient = recipient.map(|text| understood("recipient", Recipient::parse(text))).transpose()?;
    let own = principal.scope();
    if recipient.is_some_and(|recipient| !principal.sees(recipient)) {
        return Ok(Json(json!({ "items": [] })));
    }
    let recipient = own.or(recipient);
    let limit = asked.limit.unwrap_or(100).clamp(1, ops::PAGE);
    let views = server.writer.ask(move |access| access.engine.lane_views(recipient, limit, access.records)).await?;
    let views = views.map_err(|error| store_failed(&error))?;
    let rules = server.rules.borrow().clone();
    Ok(Json(json!({ "items": views.iter().map(|view| item(view, &rules, own.is_none())).collect::<Vec<_>>() })))
}

/// Describes a lane; `sees_all` to somebody who may read what operators said.
fn item(view: &LaneView, rules: &Rules, sees_all: bool) -> Value {
    let said = view.parked.as_ref().filter(|_| sees_all);
    let head = view.head.as_ref();
    let next_at = head.and_then(|head| match &head.state {
        Stand::Retrying { next_at, .. } => Some(next_at.to_string()),
        Stand::Pending | Stand::Dead { .. } => None,
    });
    let failure = head.and_then(|head| head.failures.last());
    json!({
        "head": head.map(|head| head.id().to_string()),
        "recipient": view.recipient.to_string(),
        "domain": view.lane.domain.name(),
        "state": if view.parked.is_some() { "parked" } else { "blocked" },
        "waiting": view.waiting,
        "entity": head.map(|head| name_told(&head.event, rules).to_string()),
        "attempts": head.map(|head| head.attempts),
        "reason": failure.map(|attempt| attempt.failure.name()),
        "code": failure.map(|attempt| attempt.code),
        "first_at": head.map(|head| head.first_at.to_string()),
        "next_at": next_at,
        "parked_since": view.parked.as_ref().map(|parked| parked.since.to_string()),
        "parked_by": view.parked.as_ref().and_then(|parked| parked.named).map(|id| id.to_string()),
        "why": said.map(|parked| parked.why.as_str()),
    })
}

/// The body of an order to park.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Park {
    why: String,
    #[serde(default)]
    dry_run: bool,
}

/// The body of an order to release; none is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Release {
    why: Option<String>,
    dry_run: bool,
}

/// `POST /api/v1/lanes/{id}/park`
pub async fn park(
    State(server): State<Shared>,
    principal: Principal,
    Path(id): Path<String>,
    Body(body): Body<Park>,
) -> Result<Json<Value>, Problem> {
    let id = wsb_id(&id)?;
    let why = why(&body.why)?;
    let dry_run = body.dry_run;
    let deed = principal.does(Action::LaneParked, &id.to_string()).because(why.as_str()).tried(dry_run);
    let sought = sought(&server, id, Told::ALL).await?;
    let order = server
        .writer
        .ask(move |access| {
            let order = match dry_run {
                true => ops::would_park(access.engine, access.records, sought),
                false => ops::park_lane(access.engine, access.records, sought, why, access.now),
            };
            noted(access, order, deed)
        })
        .await?;
    answer(order, if dry_run { "would be parked" } else { "parked" })
}

/// `POST /api/v1/lanes/{id}/release`
pub async fn release(
    State(server): State<Shared>,
    principal: Principal,
    Path(id): Path<String>,
    OptionalBody(body): OptionalBody<Release>,
) -> Result<Json<Value>, Problem> {
    let id = wsb_id(&id)?;
    let dry_run = body.dry_run;
    let mut deed = principal.does(Action::LaneReleased, &id.to_string()).tried(dry_run);
    if let Some(text) = body.why.as_deref() {
        deed = deed.because(why(text)?.as_str());
    }
    let sought = sought(&server, id, Told::ALL).await?;
    let order = server
        .writer
        .ask(move |access| {
            let order = match dry_run {
                true => ops::would_release(access.engine, access.records, sought),
                false => ops::release_lane(access.engine, access.records, sought, access.now),
            };
            noted(access, order, deed)
        })
        .await?;
    answer(order, if dry_run { "would be released" } else { "released" })
}

type Ordered = Result<LaneOrder, LaneError<StoreError>>;

/// Notes an order that is carried out.
fn noted(access: &mut Access<'_, Store>, order: Ordered, deed: Deed) -> Ordered {
    if matches!(order, Ok(LaneOrder::Done)) {
        audit(access, deed).map_err(LaneError::Store)?;
    }
    order
}

fn wsb_id(text: &str) -> Result<WsbId, Problem> {
    understood("id", WsbId::parse(text))
}

fn answer<E: std::error::Error + 'static>(order: Result<LaneOrder, LaneError<E>>, state: &str) -> Result<Json<Value>, Problem> {
    match order {
        Ok(LaneOrder::Done | LaneOrder::AlreadySo) => Ok(Json(json!({ "state": state }))),
        Ok(LaneOrder::NotWaiting) => Err(Problem::new(409, "this delivery does not wait: it is dead or has ended")),
        Ok(LaneOrder::TooMany) => Err(Problem::new(409, "too many lanes are parked: pause the recipient instead")),
        Err(error @ LaneError::Unknown) => Err(Problem::new(404, error.to_string())),
        Err(LaneError::Store(error)) => Err(store_failed(&error)),
    }
}
