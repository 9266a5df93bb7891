//! `/api/v1/master-key/exchanged`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::audit;
use super::extract::Body;
use super::problem::{Problem, store_failed};
use crate::core::audit::Action;

/// What was done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchanged {
    step: Step,
}

/// The steps of an exchange.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    Admitted,
    Finished,
    Undone,
}

/// `POST /api/v1/master-key/exchanged`: notes what `rotate-key` has done beside the
/// broker, which reads no key again. What is noted is that somebody said so.
pub async fn exchanged(State(server): State<Shared>, principal: Principal, Body(done): Body<Exchanged>) -> Result<Json<Value>, Problem> {
    let about = match done.step {
        Step::Admitted => "a further key is admitted too",
        Step::Finished => "only the present key is kept",
        Step::Undone => "the exchange is undone: only the former key is kept",
    };
    let deed = principal.does(Action::KeyRotated, about);
    let noted = server.writer.ask(move |access| audit(access, deed)).await?;
    noted.map_err(|error| store_failed(&error))?;
    Ok(Json(json!({ "noted": about })))
}
