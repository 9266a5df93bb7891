//! `/api/v1/retention`: what is due, deletions that were not expected, and notices that
//! lie unfetched.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::{audit, reason};
use super::extract::{self, Query, understood};
use super::problem::{Problem, store_failed};
use crate::app::now;
use crate::core::audit::Action;
use crate::core::engine::Trial;
use crate::core::ids::{EventSeq, Recipient};
use crate::core::records::Archive;
use crate::core::time::Day;
use crate::ops::{self, DueCursor, DuePage};
use crate::store::StoreError;

/// What can be asked of what is due.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    as_of: Option<String>,
    /// Asks for one page, and says where it begins; empty for the first.
    cursor: Option<String>,
}

/// So many records are gathered to be put in order; what is more would take memory
/// that the broker needs for other things.
const IN_ORDER: usize = 200_000;

/// What would be due on a day, and what is blocked by what: everything as one
/// array, by day, and from [`IN_ORDER`] on written as it is read; or page by page
/// when a cursor is sent. The writer looks at a few hundred citizens at a time, and
/// does other things between.
pub async fn due(State(server): State<Shared>, Query(asked): Query<Asked>) -> Result<Response, Problem> {
    let as_of = day_or_today("as_of", asked.as_of.as_deref())?;
    if let Some(cursor) = asked.cursor.as_deref() {
        let after = match cursor {
            "" => None,
            cursor => Some(DueCursor::parse(cursor).ok_or_else(|| Problem::new(400, "this cursor is not one of ours"))?),
        };
        let page = page(&server, as_of, after).await?;
        let items: Vec<Value> = page.items.iter().map(ops::due_json).collect();
        let next = page.next.map(|next| next.to_string());
        return Ok(Json(json!({ "items": items, "next_cursor": next })).into_response());
    }
    // The first page before the answer begins, so that a failure still has a status.
    let mut first = page(&server, as_of, None).await?;
    while let Some(after) = first.next.filter(|_| first.items.len() < IN_ORDER) {
        let more = page(&server, as_of, Some(after)).await?;
        first.items.extend(more.items);
        first.next = more.next;
    }
    first.items.sort_unstable();
    let pages = stream::unfold(Next::First(server, as_of, first), |next| async move {
        let (server, as_of, page, mut text) = match next {
            Next::First(server, as_of, page) => (server, as_of, page, String::from("[")),
            Next::After(server, as_of, after, separator) => match self::page(&server, as_of, Some(after)).await {
                Ok(page) => (server, as_of, page, separator.to_owned()),
                // Cut short on purpose: an array without its end is no answer.
                Err(_) => return None,
            },
            Next::Done => return None,
        };
        let items: Vec<String> = page.items.iter().map(|due| ops::due_json(due).to_string()).collect();
        let is_empty = items.is_empty();
        if is_empty && text == "," {
            text.clear();
        }
        text.push_str(&items.join(","));
        let next = match page.next {
            Some(after) => {
                let separator = if text.is_empty() || text == "[" { "" } else { "," };
                Next::After(server, as_of, after, separator)
            }
            None => {
                text.push(']');
                Next::Done
            }
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), next))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pages)).into_response())
}

/// `GET /api/v1/retention/notices`: who has deletion notices lying unfetched, as
/// far as is known.
pub async fn notices(State(server): State<Shared>) -> Result<Json<Value>, Problem> {
    let unfetched = server.writer.ask(|access| access.engine.unfetched_notices(access.now)).await?;
    Ok(Json(ops::unfetched_json(&unfetched)))
}

/// Returns the day that is asked about: without one today in Copenhagen.
fn day_or_today(name: &str, asked: Option<&str>) -> Result<Day, Problem> {
    match asked {
        None | Some("") => Ok(Day::in_copenhagen(now())),
        Some(text) => Day::parse(text).map_err(|malformed| Problem::new(400, format!("{name}: not a day")).detail(malformed.expected)),
    }
}

/// The body of an order to close piles of notices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    recipient: String,
    why: String,
    until: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/retention/notices/close`: an operator knows that the vendor has dealt
/// with notices that seem to lie unfetched. Nothing is taken out of any queue.
pub async fn close_notices(
    State(server): State<Shared>,
    principal: Principal,
    extract::Body(body): extract::Body<Close>,
) -> Result<Json<Value>, Problem> {
    let recipient = understood("recipient", Recipient::parse(&body.recipient))?;
    let why = reason(&body.why)?;
    let until = day_or_today("until", body.until.as_deref())?;
    let dry_run = body.dry_run;
    let deed = principal.does(Action::NoticesClosed, &format!("{recipient} until {until}")).because(why).tried(dry_run);
    let trial = if dry_run { Trial::Tried } else { Trial::InEarnest };
    let closed = server
        .writer
        .ask(move |access| {
            let closed = access.engine.close_notices(recipient, until, trial, access.records)?;
            if !closed.is_empty() {
                audit(access, deed)?;
            }
            Ok::<_, StoreError>(closed)
        })
        .await?;
    let closed = closed.map_err(|error| store_failed(&error))?;
    if closed.is_empty() {
        return Err(Problem::new(404, "no notices lie unfetched there").detail(format!("of {recipient}, delivered until {until}")));
    }
    Ok(Json(json!({
        "recipient": recipient.to_string(),
        "state": if dry_run { "would be closed" } else { "closed" },
        "notices": closed.iter().map(|(_, notices)| notices).sum::<u64>(),
        "days": closed.iter().map(|(day, notices)| json!({ "day": day.to_string(), "notices": notices })).collect::<Vec<_>>(),
    })))
}

/// What can be asked of unexpected deletions.
#[derive(Debug, Deserialize)]
pub struct Page {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/retention/unexpected`: deletions that the rules did not expect, the
/// newest first.
pub async fn unexpected(State(server): State<Shared>, Query(page): Query<Page>) -> Result<Json<Value>, Problem> {
    let before = match page.cursor.as_deref() {
        None | Some("") => None,
        Some(cursor) => Some(EventSeq(cursor.parse().map_err(|_| Problem::new(400, "this cursor is not one of ours"))?)),
    };
    let limit = page.limit.unwrap_or(100).clamp(1, ops::PAGE);
    let found = server.writer.ask(move |access| access.records.unexpected_page(before, limit)).await?;
    let found = found.map_err(|error| store_failed(&error))?;
    let next = (found.len() == limit).then(|| found.last().map(|last| last.seq.0.to_string())).flatten();
    Ok(Json(json!({ "items": found.iter().map(ops::unexpected_json).collect::<Vec<_>>(), "next_cursor": next })))
}

/// What of the array is still to be written.
enum Next {
    First(Shared, Day, DuePage),
    After(Shared, Day, DueCursor, &'static str),
    Done,
}

async fn page(server: &Shared, as_of: Day, after: Option<DueCursor>) -> Result<DuePage, Problem> {
    let schedule = Arc::clone(server.rules.borrow().schedule());
    let page = server.writer.ask(move |access| ops::due_page(access.records, &schedule, as_of, after)).await?;
    page.map_err(|error| store_failed(&error))
}
