//! `POST /api/v1/explain` and `POST /api/v1/import`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::audit;
use super::extract::{Query, Raw};
use super::problem::{Problem, store_failed};
use crate::app::now;
use crate::core::audit::Action;
use crate::core::time::Moment;
use crate::ops::{self, ExplainError, ImportError};
use crate::wire;

/// What can be asked of an explanation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    at: Option<String>,
}

/// Explains the decision about the event in the body, without sending it.
pub async fn explain(State(server): State<Shared>, Query(at): Query<At>, Raw(body): Raw) -> Result<Json<Value>, Problem> {
    let at = match at.at.as_deref() {
        None | Some("") => now(),
        Some(text) => Moment::parse(text).map_err(|malformed| Problem::new(400, "at: not a time").detail(malformed.expected))?,
    };
    let rules = Arc::clone(&server.rules.borrow());
    let for_json = Arc::clone(&rules);
    let explained = server.writer.ask(move |access| ops::explain(access.records, &rules, &body, at)).await?;
    match explained {
        Ok(explained) => Ok(Json(ops::explained_json(&explained, &for_json))),
        Err(error @ ExplainError::NotAnEvent(_)) => Err(Problem::new(422, error.to_string())),
        Err(ExplainError::Store(error)) => Err(store_failed(&error)),
    }
}

/// Where a batch of a first load stands in its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The number of its first line, 1 unless given.
    first: Option<usize>,
    /// Whether it is only said what it would come to.
    #[serde(default)]
    dry_run: bool,
}

/// Takes in a batch of a first load: one event a line.
pub async fn import(
    State(server): State<Shared>,
    principal: Principal,
    Query(place): Query<Place>,
    Raw(body): Raw,
) -> Result<Json<Value>, Problem> {
    let text = String::from_utf8(body.to_vec()).map_err(|_| Problem::new(400, "the body is not UTF-8"))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    if lines > ops::IMPORT_BATCH {
        return Err(Problem::new(413, "too many lines at once").detail(format!("send at most {} lines a call", ops::IMPORT_BATCH)));
    }
    let first = place.first.unwrap_or(1);
    let deed = principal.does(Action::Imported, &format!("{lines} lines from line {first}")).tried(place.dry_run);
    if place.dry_run {
        let tried = server
            .writer
            .ask(move |access| {
                let tried = ops::would_import(access.engine.rules(), access.records, numbered(&text, first))?;
                audit(access, deed).map(|()| tried)
            })
            .await?;
        let tried = tried.map_err(|error| store_failed(&error))?;
        let refused: Vec<Value> = tried.refused.iter().map(|(line, reason)| json!({ "line": line, "reason": reason })).collect();
        return Ok(Json(json!({ "taken_in": tried.taken_in, "repeats": tried.repeats, "refused": refused })));
    }
    // A store that finds no room ends the broker: what can wait is not begun.
    if let Some(why) = server.health.disk.in_words() {
        return Err(Problem::new(507, why).detail("nothing of this was taken in"));
    }
    let imported = server
        .writer
        .ask(move |access| {
            let lines = numbered(&text, first);
            let imported = ops::import(access.engine, access.records, lines, access.now, access.out);
            // The lines before a bad one are taken in all the same.
            audit(access, deed).map_err(ImportError::Store)?;
            imported
        })
        .await?;
    match imported {
        Ok(imported) => Ok(Json(json!({ "taken_in": imported.taken_in, "repeats": imported.repeats }))),
        Err(error @ ImportError::Line { .. }) => Err(Problem::new(422, error.to_string())),
        Err(ImportError::Store(error)) => Err(store_failed(&error)),
    }
}

/// Returns the lines that say something, with their numbers.
fn numbered(text: &str, first: usize) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(move |(index, line)| (first.saturating_add(index), line));
    lines.filter(|(_, line)| !line.trim().is_empty())
}

/// The limit of an event is that of the wire; kept here so that the two agree.
const _: () = assert!(super::LARGEST_BODY >= wire::MAX_BYTES);
