//! `/api/v1/quarantine`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::{audit, reason, reason_if_any};
use super::extract::{Body, OptionalBody, Path, Query};
use super::problem::{Problem, store_failed};
use crate::core::audit::{Action, Deed};
use crate::core::engine::Consumption;
use crate::ops::{self, QuarantineError};
use crate::store::StoreError;

/// What can be asked of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/quarantine`
pub async fn list(State(server): State<Shared>, Query(page): Query<Page>) -> Result<Json<Value>, Problem> {
    let after = match page.cursor.as_deref() {
        None | Some("") => 0,
        Some(cursor) => cursor.parse().map_err(|_| Problem::new(400, "this cursor is not one of ours"))?,
    };
    let limit = page.limit.unwrap_or(100).clamp(1, ops::PAGE);
    let found = server.writer.ask(move |access| {
        let found = ops::page(access.records, after, limit)?;
        // A page ends before its limit where messages are large.
        let last = found.last().map_or(after, |message| message.id);
        let has_more = !ops::page(access.records, last, 1)?.is_empty();
        Ok::<_, StoreError>((found, has_more.then(|| last.to_string())))
    });
    let (found, next) = found.await?.map_err(|error| store_failed(&error))?;
    Ok(Json(json!({ "items": found.iter().map(ops::quarantined_json).collect::<Vec<_>>(), "next_cursor": next })))
}

/// The body of a retry; none is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    why: Option<String>,
    dry_run: bool,
}

/// `POST /api/v1/quarantine/{id}/retry`
pub async fn retry(
    State(server): State<Shared>,
    principal: Principal,
    Path(id): Path<u64>,
    OptionalBody(body): OptionalBody<Retry>,
) -> Result<Json<Value>, Problem> {
    let (why, dry_run) = (reason_if_any(body.why.as_deref())?, body.dry_run);
    let deed = Deed { why, ..principal.does(Action::QuarantineRetried, &id.to_string()) }.tried(dry_run);
    let retried = server
        .writer
        .ask(move |access| {
            let retried = match dry_run {
                true => ops::would_retry(access.engine, access.records, id, access.now)?,
                false => ops::retry(access.engine, access.records, id, &deed.who, access.now, access.out)?,
            };
            audit(access, deed).map_err(QuarantineError::Store)?;
            Ok(retried)
        })
        .await?;
    let retried = retried.map_err(problem)?;
    let outcome = match retried.consumption {
        Consumption::Routed => "routed",
        Consumption::NoRecipient => "no_recipient",
        Consumption::Duplicate => "duplicate",
        Consumption::Quarantined => "quarantined",
    };
    Ok(Json(json!({ "id": id, "entity": &*retried.entity, "outcome": outcome, "dry_run": dry_run })))
}

/// The body of a discard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discard {
    why: String,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/quarantine/{id}/discard`
pub async fn discard(
    State(server): State<Shared>,
    principal: Principal,
    Path(id): Path<u64>,
    Body(body): Body<Discard>,
) -> Result<Json<Value>, Problem> {
    let deed = principal.does(Action::QuarantineDiscarded, &id.to_string()).because(reason(&body.why)?).tried(body.dry_run);
    let discarded = server
        .writer
        .ask(move |access| {
            match body.dry_run {
                true => ops::would_discard(access.records, id)?,
                false => ops::discard(access.records, id, &deed.who, access.now)?,
            }
            audit(access, deed).map_err(QuarantineError::Store)
        })
        .await?;
    discarded.map_err(problem)?;
    if !body.dry_run {
        // The reason is a person's words and may name somebody: it is not logged.
        tracing::info!(id, "message discarded from quarantine by an operator");
    }
    Ok(Json(json!({ "id": id, "outcome": "discarded", "dry_run": body.dry_run })))
}

fn problem<E: std::error::Error + 'static>(error: QuarantineError<E>) -> Problem {
    match error {
        QuarantineError::Unknown(_) => Problem::new(404, error.to_string()),
        QuarantineError::StillNotAnEvent(_) => Problem::new(409, error.to_string()),
        QuarantineError::Store(error) => store_failed(&error),
    }
}
