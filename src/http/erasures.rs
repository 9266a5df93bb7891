//! `/api/v1/erasures`: a citizen forgotten on an operator's order. The number
//! comes in the body, and no answer says it again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::audit;
use super::extract::{Body, Path};
use super::problem::{Problem, store_failed};
use crate::app::now;
use crate::core::audit::Action;
use crate::core::ids::Personnummer;
use crate::core::time::Moment;
use crate::ops::{self, EraseError};

/// How long a request waits for a second person, in seconds.
const WAITS: i64 = 24 * 3600;
/// How many requests may wait.
const MOST_REQUESTS: usize = 1000;

/// How many persons an erasure takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Persons {
    /// Whoever orders it is enough.
    #[default]
    One,
    /// Another one has to confirm it.
    Two,
}

/// Requests that wait for a second person. In memory only: a number that is to be
/// forgotten is not written down, and a restart only means to ask again.
#[derive(Debug, Default)]
pub struct Erasures {
    /// How many persons it takes.
    pub persons: Persons,
    requests: Mutex<Requests>,
}

#[derive(Debug, Default)]
struct Requests {
    last: u64,
    waiting: BTreeMap<u64, Request>,
}

#[derive(Debug, Clone)]
struct Request {
    number: Personnummer,
    by: String,
    at: Moment,
}

impl Erasures {
    /// Makes it take so many persons.
    #[must_use]
    pub fn new(persons: Persons) -> Self {
        Self { persons, requests: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = now().plus_seconds(-WAITS);
        requests.waiting.retain(|_, request| request.at >= oldest);
        requests
    }
}

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    personnummer: String,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/erasures`: erases; or says what would go; or waits for a second
/// person where it takes two.
pub async fn order(State(server): State<Shared>, principal: Principal, Body(order): Body<Order>) -> Result<Json<Value>, Problem> {
    let number = ops::parse_number(&order.personnummer).ok_or_else(|| Problem::new(422, "personnummer: not one"))?;
    let deed = principal.does(Action::CitizenErased, if order.dry_run { "order" } else { "request" }).tried(true);
    if order.dry_run || server.erasures.persons == Persons::Two {
        let found = server
            .writer
            .ask(move |access| {
                let reader = access.records.reader();
                let erasure = ops::erasure(access.engine, access.records, &number)?;
                audit(access, deed).map_err(EraseError::Store)?;
                Ok((erasure, reader))
            })
            .await?;
        let (erasure, reader) = found.map_err(problem)?;
        let citizens = erasure.citizens().to_vec();
        // Through the whole journal, beside the writer.
        let counted = tokio::task::spawn_blocking(move || reader.events_about(&citizens)).await;
        let counted = counted.map_err(|_| Problem::new(500, "the journal could not be counted"))?;
        let mut answer = erasure.to_json(Some(counted.map_err(|error| store_failed(&error))?));
        answer["state"] = json!("dry-run");
        if !order.dry_run {
            let mut requests = server.erasures.lock();
            if requests.waiting.len() >= MOST_REQUESTS {
                return Err(Problem::new(429, "too many requests wait for a second person"));
            }
            requests.last += 1;
            let id = requests.last;
            requests.waiting.insert(id, Request { number, by: principal.name.to_string(), at: now() });
            tracing::info!(id, by = %principal.name, "erasure requested; it waits for a second person");
            answer["state"] = json!("requested");
            answer["id"] = json!(id);
        }
        return Ok(Json(answer));
    }
    erase(&server, number, &principal, None).await
}

/// `GET /api/v1/erasures`: what waits for a second person.
pub async fn list(State(server): State<Shared>) -> Json<Value> {
    let requests = server.erasures.lock();
    let items: Vec<Value> =
        requests.waiting.iter().map(|(id, request)| json!({ "id": id, "by": request.by, "at": request.at.to_string() })).collect();
    Json(json!({ "items": items }))
}

/// `POST /api/v1/erasures/{id}/confirm`: the second person.
pub async fn confirm(State(server): State<Shared>, principal: Principal, Path(id): Path<u64>) -> Result<Json<Value>, Problem> {
    let request = server.erasures.lock().waiting.get(&id).cloned();
    let request = request.ok_or_else(|| Problem::new(404, "no such request waits, or not any more"))?;
    if request.by == *principal.name {
        let detail = "another person confirms it, with a token of their own";
        return Err(Problem::new(403, "whoever has requested an erasure cannot confirm it").detail(detail));
    }
    erase(&server, request.number, &principal, Some((id, &request.by))).await
}

async fn erase(
    server: &Shared,
    number: Personnummer,
    principal: &Principal,
    requested: Option<(u64, &str)>,
) -> Result<Json<Value>, Problem> {
    // Never of whom.
    let about = requested.map_or_else(|| "order".to_owned(), |(id, by)| format!("request {id} of {by}"));
    let deed = principal.does(Action::CitizenErased, &about);
    let erased = server
        .writer
        .ask(move |access| {
            access.records.prepare_erasure()?;
            let erased = ops::erase(access.engine, access.records, &number, access.now, access.out);
            Ok(erased.and_then(|erased| audit(access, deed).map(|()| erased).map_err(EraseError::Store)))
        })
        .await?;
    let erased = erased.map_err(|error: std::io::Error| {
        let detail = format!("nothing was erased: {error}; see --erased-list in docs/backup.md");
        Problem::new(503, "the list of erased citizens cannot be written").detail(detail)
    })?;
    // Whoever nothing is known of has been forgotten meanwhile.
    if matches!(erased, Ok(_) | Err(EraseError::Unknown)) {
        server.erasures.lock().waiting.retain(|_, request| request.number != number);
    }
    let mut answer = erased.map_err(problem)?.to_json(None);
    // Who did it, and nothing of whom.
    tracing::info!(by = %principal.name, requested_by = requested.map(|(_, by)| by), "citizen erased by order");
    answer["state"] = json!("erased");
    Ok(Json(answer))
}

fn problem<E: std::error::Error + 'static>(error: EraseError<E>) -> Problem {
    match error {
        EraseError::Unknown => Problem::new(404, error.to_string()),
        EraseError::Store(error) => store_failed(&error),
    }
}
