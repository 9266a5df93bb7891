//! `/api/v1/windows`: the maintenance windows of `routing.toml`, as far as they are
//! not over.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use crate::app::now;
use crate::core::policy::Window;
use crate::core::time::Moment;

/// `GET /api/v1/windows`: for each window of the recipients that the caller may see
/// the one that goes on or comes next, the soonest first.
pub async fn list(State(server): State<Shared>, principal: Principal) -> Json<Value> {
    let rules = server.rules.borrow().clone();
    let now = now();
    let mut coming: Vec<(Moment, Value)> = Vec::new();
    for rule in rules.recipients().filter(|rule| principal.sees(rule.recipient)) {
        for window in &rule.maintenance {
            let Some((from, until)) = window.next(now) else { continue };
            let item = json!({
                "recipient": rule.recipient.to_string(),
                "from": from.to_string(),
                "until": until.to_string(),
                "state": if from <= now { "now" } else { "coming" },
                "repeats": match window {
                    Window::Once { .. } => "once",
                    Window::Weekly { .. } => "weekly",
                },
            });
            coming.push((from, item));
        }
    }
    // Recipients of the same beginning stay in the order of their codes.
    coming.sort_by_key(|(from, _)| *from);
    let items: Vec<Value> = coming.into_iter().map(|(_, item)| item).collect();
    Json(json!({ "items": items }))
}
