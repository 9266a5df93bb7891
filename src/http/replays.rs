//! `/api/v1/replays`

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::audit;
use super::deliveries::Asked;
use super::extract::{Body, Path};
use super::problem::{Problem, store_failed};
use crate::app::now;
use crate::core::audit::Action;
use crate::core::ids::DeliveryKey;
use crate::ops::{self, Filter, ReplayStage, Selection};

/// How often a replay with a rate takes its next step.
const STEP: Duration = Duration::from_millis(100);

/// The body of a request for a replay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default)]
    filter: Asked,
    #[serde(default)]
    dry_run: bool,
    rate_per_second: Option<u32>,
}

/// `POST /api/v1/replays`
pub async fn start(State(server): State<Shared>, principal: Principal, Body(wanted): Body<Wanted>) -> Result<Json<Value>, Problem> {
    if wanted.rate_per_second == Some(0) {
        return Err(Problem::new(400, "rate_per_second: not understood").detail("expected a number above 0, or nothing for no limit"));
    }
    let selection = match wanted.filter.filter_for(&principal)? {
        Some(filter) => select(&server, filter).await?,
        None => Selection::default(),
    };
    let about = format!("{} of {} deliveries", wanted.filter.words(), selection.keys.len());
    let deed = principal.does(Action::ReplayStarted, &about).tried(wanted.dry_run);
    server.writer.ask(move |access| audit(access, deed)).await?.map_err(|error| store_failed(&error))?;
    if wanted.dry_run {
        return Ok(Json(selection.json(None)));
    }
    let id = server.replays.begin(selection.keys.len() as u64, wanted.rate_per_second, now(), principal.scope());
    tracing::info!(replay = id, matched = selection.keys.len(), "replay started by an operator");
    let answer = selection.json(Some(id));
    tokio::spawn(run(Shared::clone(&server), id, selection.keys, wanted.rate_per_second));
    Ok(Json(answer))
}

/// Selects page by page, so that the writer is never held up for long.
async fn select(server: &Shared, filter: Filter) -> Result<Selection, Problem> {
    let mut selection = Selection::default();
    let mut after: Option<DeliveryKey> = None;
    loop {
        let filter = filter.clone();
        let mut so_far = std::mem::take(&mut selection);
        let (so_far, next) = server
            .writer
            .ask(move |access| {
                let next = ops::select(access.engine, access.records, &filter, after, access.now, &mut so_far);
                (so_far, next)
            })
            .await?;
        selection = so_far;
        match next.map_err(|error| store_failed(&error))? {
            Some(next) => after = Some(next),
            None => return Ok(selection),
        }
    }
}

async fn run(server: Shared, id: u64, keys: Vec<DeliveryKey>, rate_per_second: Option<u32>) {
    let mut tick = tokio::time::interval(STEP);
    let began = tokio::time::Instant::now();
    let mut done = 0;
    while done < keys.len() {
        let may = match rate_per_second {
            None => ops::PAGE,
            Some(rate) => {
                tick.tick().await;
                let allowed = (began.elapsed().as_secs_f64() * f64::from(rate)) as usize;
                allowed.saturating_sub(done).min(ops::PAGE)
            }
        };
        let step: Vec<DeliveryKey> = keys.iter().skip(done).take(may).copied().collect();
        if step.is_empty() {
            continue;
        }
        done += step.len();
        let replayed = server.writer.ask(move |access| ops::replay(access.engine, access.records, &step, access.now, access.out)).await;
        match replayed {
            Ok(Ok(progress)) if server.replays.advance(id, progress) => {}
            Ok(Ok(_)) => return,
            Ok(Err(_)) | Err(_) => {
                server.replays.end(id, ReplayStage::Failed);
                return;
            }
        }
    }
    server.replays.end(id, ReplayStage::Done);
    tracing::info!(replay = id, "replay finished");
}

/// `GET /api/v1/replays`
pub async fn list(State(server): State<Shared>, principal: Principal) -> Json<Value> {
    Json(json!({ "items": server.replays.all(principal.scope()), "next_cursor": Value::Null }))
}

/// `GET /api/v1/replays/{id}`
pub async fn show(State(server): State<Shared>, principal: Principal, Path(id): Path<u64>) -> Result<Json<Value>, Problem> {
    server.replays.json(id, principal.scope()).map(Json).ok_or_else(|| Problem::new(404, "there is no such replay"))
}

/// `DELETE /api/v1/replays/{id}`
pub async fn stop(State(server): State<Shared>, principal: Principal, Path(id): Path<u64>) -> Result<Json<Value>, Problem> {
    // Nobody stops what they may not see.
    if server.replays.json(id, principal.scope()).is_some() {
        let deed = principal.does(Action::ReplayStopped, &id.to_string());
        server.writer.ask(move |access| audit(access, deed)).await?.map_err(|error| store_failed(&error))?;
        server.replays.end(id, ReplayStage::Stopped);
    }
    server.replays.json(id, principal.scope()).map(Json).ok_or_else(|| Problem::new(404, "there is no such replay"))
}
