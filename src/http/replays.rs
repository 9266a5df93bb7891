//! `/api/v1/replays`

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::{MayBeTried, audit, reason_if_any};
use super::deliveries::Asked;
use super::extract::{Body, OptionalBody, Path, Query};
use super::known;
use super::look::look;
use super::problem::{Problem, store_failed};
use crate::app::now;
use crate::core::audit::{Action, Deed};
use crate::core::engine::{Begun, Engine, Survey, Wish};
use crate::core::ids::Recipient;
use crate::core::replay::{Filter, MOST_CANARIES, MOST_IDS, MOST_SELECTED, Order, Refused, Replay, ReplayId, Source, Stage, Tally};
use crate::core::time::Moment;
use crate::ops::{self, Canaries, Candidates, Page, PageError, Told, TooMany};
use crate::store::StoreError;

/// The header by which a request names itself: a repeat of it is not another one.
const REQUEST_NAME: &str = "idempotency-key";

/// How often a repeated request looks whether the first one has been answered.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The body of a request for a replay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default)]
    filter: Asked,
    #[serde(default)]
    dry_run: bool,
    rate_per_second: Option<u32>,
    canary: Option<u32>,
    why: Option<String>,
}

/// `POST /api/v1/replays`
pub async fn start(
    State(server): State<Shared>,
    principal: Principal,
    headers: HeaderMap,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Value>, Problem> {
    wanted.filter.refuse_paging()?;
    wanted.filter.refuse_empty()?;
    let Some(filter) = wanted.filter.filter_for(&principal)? else {
        return Ok(Json(ops::selected_json(None, &Tally::new(), 0, json!([]))));
    };
    known::all(&server, &principal, &filter).await?;
    let scope = principal.scope();
    let order = order(filter, &wanted, &principal, request_name(&headers)?)?;
    let range = range(&order, server.replay_days, now())?;
    let why = reason_if_any(wanted.why.as_deref())?;
    let words = ops::order_words(&order);
    if wanted.dry_run {
        let found = survey(&server, order, range).await?;
        let about = format!("{words} deliveries={}", found.tally.values().sum::<u64>());
        let deed = Deed { why, ..principal.does(Action::ReplayStarted, &about) }.tried(true);
        let recipients = ops::sent_to(&found.tally);
        let noted = server
            .writer
            .ask(move |access| audit(access, deed).map(|()| ops::held_json(access.engine, &recipients, Told { only: scope }, access.now)))
            .await?;
        return Ok(Json(ops::surveyed_json(&found, scope, noted.map_err(|error| store_failed(&error))?)));
    }
    let begun = server
        .writer
        .ask(move |access| {
            let begun = access.engine.begin_replay(order, access.records, access.now)?;
            if let Begun::New(id) = &begun {
                audit(access, Deed { why, ..principal.does(Action::ReplayStarted, &format!("{id}: {words}")) })?;
            }
            Ok(begun)
        })
        .await?;
    let replay = match begun.map_err(|error: StoreError| store_failed(&error))? {
        Begun::New(id) => {
            // On a task of its own: whoever asked may go away meanwhile, and what
            // was begun must come to an end.
            let selecting = tokio::spawn(select(Shared::clone(&server), id, range));
            selecting.await.map_err(|_| Problem::new(500, "the selection did not come to an end"))??
        }
        Begun::Known(replay) => frozen(&server, replay.id).await?,
        Begun::NameTaken => {
            return Err(Problem::new(422, "Idempotency-Key: not understood").detail("it was sent with another request before"));
        }
    };
    let recipients = ops::sent_to(&replay.tally);
    let held = server.writer.ask(move |access| ops::held_json(access.engine, &recipients, Told { only: scope }, access.now)).await?;
    Ok(Json(ops::selected_json(Some(replay.id), &replay.tally, replay.already_claimed, held)))
}

fn request_name(headers: &HeaderMap) -> Result<Option<Box<str>>, Problem> {
    let Some(value) = headers.get(REQUEST_NAME) else { return Ok(None) };
    let name = value.to_str().ok().filter(|name| (1..=128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()));
    let refused = || Problem::new(400, "Idempotency-Key: not understood").detail("expected 1 to 128 visible ASCII characters");
    name.map(|name| Some(name.into())).ok_or_else(refused)
}

fn order(filter: Filter, wanted: &Wanted, principal: &Principal, request: Option<Box<str>>) -> Result<Order, Problem> {
    let refused = |name: &str, expected: String| Problem::new(400, format!("{name}: not understood")).detail(expected);
    if wanted.rate_per_second == Some(0) {
        return Err(refused("rate_per_second", "expected a number above 0, or nothing for no limit".to_owned()));
    }
    if wanted.canary.is_some_and(|canary| canary == 0 || canary > MOST_CANARIES) {
        return Err(refused("canary", format!("expected a number from 1 to {MOST_CANARIES}, or nothing")));
    }
    if filter.ids.len() > MOST_IDS {
        return Err(refused("ids", format!("expected at most {MOST_IDS} of them")));
    }
    let source = Source::of(&filter).map_err(|error| Problem::new(400, "state: not understood").detail(error.to_string()))?;
    if source == Source::Delivered {
        if filter.ids.is_empty() && (filter.recipient.is_none() || filter.since.is_none()) {
            let expected = "what was delivered is sent again to one recipient and from a time on: give recipient and since, or ids";
            return Err(Problem::new(400, "filter: too wide").detail(expected));
        }
        if filter.reason.is_some() {
            return Err(refused("reason", "what was delivered has none".to_owned()));
        }
    }
    Ok(Order {
        filter,
        source,
        rate_per_second: wanted.rate_per_second,
        canary: wanted.canary,
        by: (*principal.name).into(),
        scope: principal.scope(),
        request,
    })
}

/// Returns the time within which what was delivered can be sent again.
fn range(order: &Order, days: u32, now: Moment) -> Result<(Moment, Moment), Problem> {
    let horizon = now.plus_seconds(-86_400 * i64::from(days));
    let since = order.filter.since.unwrap_or(horizon);
    if order.source == Source::Delivered && since < horizon {
        let detail = format!("what was delivered can be sent again for {days} days (--replay-days): since {horizon} at the earliest");
        return Err(Problem::new(400, "since: too long ago").detail(detail));
    }
    Ok((since, order.filter.until.unwrap_or(now)))
}

/// Returns what matches, to be looked up page by page.
async fn candidates(server: &Shared, order: &Order, (since, until): (Moment, Moment)) -> Result<Candidates, Problem> {
    let filter = order.filter.clone();
    let rules = server.rules.borrow().clone();
    let named = if filter.ids.is_empty() {
        None
    } else {
        let ids = filter.ids.clone();
        let keys = server.writer.ask(move |access| ops::keys_of(access.records, &ids)).await?;
        Some(keys.map_err(|error| store_failed(&error))?)
    };
    Ok(match (order.source, named) {
        (Source::Dead, Some(named)) if named.all_known => Candidates::dead(rules, filter, Some(named.keys)),
        (Source::Dead, _) => Candidates::dead(rules, filter, None),
        (Source::Delivered, Some(named)) => {
            Candidates::delivered_of(rules, Filter { since: Some(since), until: Some(until), ..filter }, named.keys)
        }
        // Refused before where there is no recipient.
        (Source::Delivered, None) => match filter.recipient {
            Some(recipient) => Candidates::delivered(rules, filter, recipient, since, until),
            None => Candidates::delivered_of(rules, filter, Vec::new()),
        },
    })
}

/// Returns the next page, looked up beside the writer.
async fn page(server: &Shared, mut candidates: Candidates) -> Result<(Candidates, Option<Page>), Problem> {
    let (candidates, page) = look(server, move |reader| {
        let page = candidates.page(reader, now());
        (candidates, page)
    })
    .await?;
    match page {
        Ok(page) => Ok((candidates, page)),
        Err(PageError::TooMany(error)) => Err(Problem::new(422, error.to_string())),
        Err(PageError::Store(error)) => Err(store_failed(&error)),
    }
}

async fn survey(server: &Shared, order: Order, range: (Moment, Moment)) -> Result<Survey, Problem> {
    let mut candidates = candidates(server, &order, range).await?;
    let order = Arc::new(order);
    let mut survey = Survey::default();
    loop {
        let (rest, found) = page(server, candidates).await?;
        let Some(found) = found else { return Ok(survey) };
        candidates = rest;
        let order = Arc::clone(&order);
        let mut so_far = std::mem::take(&mut survey);
        so_far.already_claimed += found.under_way;
        survey = server
            .writer
            .ask(move |access| access.engine.survey(&order, &found.rows, access.records, access.now, &mut so_far).map(|()| so_far))
            .await?
            .map_err(|error| store_failed(&error))?;
    }
}

/// Selects page by page, so that the writer is never held up for long, and
/// freezes the selection; gives it up when it cannot be completed.
async fn select(server: Shared, id: ReplayId, range: (Moment, Moment)) -> Result<Arc<Replay>, Problem> {
    let selected = select_all(&server, id, range).await;
    if selected.is_err() {
        // Should the writer be gone, the next start forgets it too.
        drop(server.writer.ask(move |access| access.engine.abandon(id, access.records)).await);
    }
    selected
}

async fn select_all(server: &Shared, id: ReplayId, range: (Moment, Moment)) -> Result<Arc<Replay>, Problem> {
    let gone = || Problem::new(500, "the replay is gone");
    let replay = server.writer.ask(move |access| access.engine.replay(id).cloned()).await?.ok_or_else(gone)?;
    let mut candidates = candidates(server, &replay.order, range).await?;
    loop {
        let (rest, found) = page(server, candidates).await?;
        let Some(found) = found else { break };
        candidates = rest;
        let Page { rows, under_way } = found;
        let selected = server.writer.ask(move |access| access.engine.select(id, &rows, under_way, access.records, access.now)).await?;
        if selected.map_err(|error| store_failed(&error))? > MOST_SELECTED {
            return Err(Problem::new(422, TooMany.to_string()));
        }
    }
    let frozen = server.writer.ask(move |access| access.engine.freeze(id, access.records, access.now, access.out)).await?;
    frozen.map_err(|error| store_failed(&error))?.ok_or_else(gone)
}

/// Waits until a replay that was asked for before has been selected.
async fn frozen(server: &Shared, id: ReplayId) -> Result<Arc<Replay>, Problem> {
    loop {
        let replay = server.writer.ask(move |access| access.engine.replay(id).cloned()).await?;
        match replay {
            Some(replay) if replay.stage != Stage::Selecting => return Ok(replay),
            Some(_) => tokio::time::sleep(LOOK_AGAIN).await,
            None => return Err(Problem::new(409, "the first request of this name was given up; send it again")),
        }
    }
}

/// Whether somebody may see a replay: a vendor sees those it has asked for.
fn is_shown(replay: &Replay, scope: Option<Recipient>) -> bool {
    replay.stage != Stage::Selecting && (scope.is_none() || replay.order.scope == scope)
}

/// What can be asked of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/replays`: the newest first.
pub async fn list(State(server): State<Shared>, principal: Principal, Query(asked): Query<Listed>) -> Result<Json<Value>, Problem> {
    let scope = principal.scope();
    let before = match asked.cursor.as_deref() {
        None | Some("") => None,
        Some(cursor) => Some(cursor.parse().map(ReplayId).map_err(|_| Problem::new(400, "this cursor is not one of ours"))?),
    };
    let limit = asked.limit.unwrap_or(100).clamp(1, ops::PAGE);
    let (described, next) = server
        .writer
        .ask(move |access| {
            let is_older = |replay: &Replay| before.is_none_or(|before| replay.id < before);
            let mut shown = access.engine.replays().rev().filter(|replay| is_older(replay) && is_shown(replay, scope));
            let page: Vec<&Arc<Replay>> = shown.by_ref().take(limit).collect();
            let next = shown.next().and(page.last()).map(|last| last.id.to_string());
            // What has become of canaries is looked up for one at a time.
            let described = |replay: &Arc<Replay>| ops::replay_json(replay, None, held(access.engine, replay, scope, access.now));
            (page.into_iter().map(described).collect::<Vec<_>>(), next)
        })
        .await?;
    Ok(Json(json!({ "items": described, "next_cursor": next })))
}

/// `GET /api/v1/replays/{id}`
pub async fn show(State(server): State<Shared>, principal: Principal, Path(id): Path<u64>) -> Result<Json<Value>, Problem> {
    let scope = principal.scope();
    let found = server
        .writer
        .ask(move |access| {
            let replay = access.engine.replay(ReplayId(id)).filter(|replay| is_shown(replay, scope)).cloned()?;
            let held = held(access.engine, &replay, scope, access.now);
            Some(ops::canaries(access.records, &replay).map(|canaries| (replay, canaries, held)))
        })
        .await?;
    describe(found)
}

/// Says what keeps a replay from going on just now.
fn held(engine: &Engine, replay: &Replay, scope: Option<Recipient>, now: Moment) -> Value {
    let left = match replay.stage {
        Stage::Running | Stage::WaitingForGo => replay.lots.iter().filter(|lot| lot.next().is_some()).map(|lot| lot.recipient).collect(),
        Stage::Selecting | Stage::Stopped { .. } | Stage::Done { .. } => Vec::new(),
    };
    ops::held_json(engine, &left, Told { only: scope }, now)
}

type Found = Option<Result<(Arc<Replay>, Canaries, Value), StoreError>>;

fn describe(found: Found) -> Result<Json<Value>, Problem> {
    let found = found.ok_or_else(|| Problem::new(404, "there is no such replay"))?;
    let (replay, canaries, held) = found.map_err(|error| store_failed(&error))?;
    Ok(Json(ops::replay_json(&replay, Some(canaries), held)))
}

/// `DELETE /api/v1/replays/{id}`
pub async fn stop(
    State(server): State<Shared>,
    principal: Principal,
    Path(id): Path<u64>,
    OptionalBody(body): OptionalBody<MayBeTried>,
) -> Result<Json<Value>, Problem> {
    wish(&server, &principal, id, Wish::Stop, body).await
}

/// `POST /api/v1/replays/{id}/resume`
pub async fn resume(
    State(server): State<Shared>,
    principal: Principal,
    Path(id): Path<u64>,
    OptionalBody(body): OptionalBody<MayBeTried>,
) -> Result<Json<Value>, Problem> {
    wish(&server, &principal, id, Wish::Resume, body).await
}

/// `POST /api/v1/replays/{id}/go`
pub async fn go(
    State(server): State<Shared>,
    principal: Principal,
    Path(id): Path<u64>,
    OptionalBody(body): OptionalBody<MayBeTried>,
) -> Result<Json<Value>, Problem> {
    wish(&server, &principal, id, Wish::Go, body).await
}

async fn wish(server: &Shared, principal: &Principal, id: u64, wish: Wish, body: MayBeTried) -> Result<Json<Value>, Problem> {
    let (id, scope, dry_run) = (ReplayId(id), principal.scope(), body.dry_run);
    let action = match wish {
        Wish::Stop => Action::ReplayStopped,
        Wish::Resume => Action::ReplayResumed,
        Wish::Go => Action::ReplayReleased,
    };
    let deed = Deed { why: reason_if_any(body.why.as_deref())?, ..principal.does(action, &id.to_string()) }.tried(dry_run);
    let done = server
        .writer
        .ask(move |access| {
            // Nobody moves what they may not see.
            access.engine.replay(id).filter(|replay| is_shown(replay, scope))?;
            let wished = match dry_run {
                true => Ok(access.engine.would_wish(id, wish, access.now)),
                false => access.engine.wish(id, wish, access.records, access.now, access.out),
            };
            match wished {
                Ok(Some(Ok(replay))) => {
                    let held = held(access.engine, &replay, scope, access.now);
                    Some(Ok(audit(access, deed).and_then(|()| Ok((Arc::clone(&replay), ops::canaries(access.records, &replay)?, held)))))
                }
                Ok(Some(Err(refused))) => Some(Err(refused)),
                Ok(None) => None,
                Err(error) => Some(Ok(Err(error))),
            }
        })
        .await?;
    match done {
        Some(Err(refused)) => Err(conflict(refused)),
        Some(Ok(found)) => describe(Some(found)),
        None => describe(None),
    }
}

fn conflict(refused: Refused) -> Problem {
    Problem::new(409, refused.to_string())
}
