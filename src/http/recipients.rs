//! `GET /api/v1/recipients`

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::problem::Problem;
use crate::app::now;
use crate::core::ids::Recipient;
use crate::core::lanes::{Pause, PauseCause};

/// Every recipient that the caller may see, with the state of its queue.
pub async fn list(State(server): State<Shared>, principal: Principal) -> Result<Json<Value>, Problem> {
    let view = server.writer.ask(|access| access.engine.view()).await?;
    let views: HashMap<Recipient, _> = view.into_iter().map(|view| (view.recipient, view)).collect();
    let rules = server.rules.borrow().clone();
    let now = now();
    let items: Vec<Value> = rules
        .recipients()
        .filter(|rule| principal.sees(rule.recipient))
        .map(|rule| {
            let view = views.get(&rule.recipient);
            let counts = view.map(|view| view.counts).unwrap_or_default();
            let pause = view.and_then(|view| view.pause);
            json!({
                "recipient": rule.recipient.to_string(),
                "name": &*rule.name,
                "queue": &*rule.queue,
                "vendor": &*rule.vendor,
                "state": if pause.is_some() { "paused" } else { "open" },
                "paused_until": pause.map(|pause| pause.until.to_string()),
                "paused_since": pause.map(|pause| pause.since.to_string()),
                "why": pause.map(why),
                "pending": counts.pending,
                "retrying": counts.retrying,
                "dead": counts.dead,
                "oldest_pending_seconds": view.and_then(|view| view.oldest).map_or(0.0, |oldest| now.seconds_since(oldest)),
                "lanes_blocked": view.map_or(0, |view| view.lanes_blocked),
            })
        })
        .collect();
    Ok(Json(json!({ "items": items })))
}

fn why(pause: Pause) -> &'static str {
    match pause.cause {
        PauseCause::Failure(failure) => failure.name(),
        PauseCause::Ordered => "ordered",
    }
}
