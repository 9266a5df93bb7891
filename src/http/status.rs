//! Whether the process is alive, whether it works, and its numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Shared;
use super::access::Principal;
use super::problem::{Problem, store_failed};
use crate::amqp::{LinkState, Side, Waiting};
use crate::app::now;
use crate::core::time::Moment;
use crate::store::room::Missing;
use crate::telemetry::Gauges;

/// A writer that has not come round for so long is not working.
const WRITER_SILENT_MICROS: i64 = 10_000_000;

/// How the parts of the process are.
#[derive(Clone)]
pub struct Health {
    /// The connections to RabbitMQ.
    pub link: watch::Receiver<LinkState>,
    /// What waits in the queues that are consumed.
    pub waiting: watch::Receiver<Vec<Waiting>>,
    /// When the writer last came round, in microseconds since 1970.
    pub writer_seen: Arc<AtomicI64>,
    /// How much room the store's disk lacks.
    pub disk: Missing,
    /// Whether the process is on its way out.
    pub stopping: watch::Receiver<bool>,
}

impl Health {
    /// Returns what is missing for work; nothing when all is well.
    pub(super) fn missing(&self, now: Moment) -> Vec<Value> {
        let mut missing = Vec::new();
        let mut add = |what: &str, why: String| missing.push(json!({ "what": what, "why": why }));
        let link = self.link.borrow();
        for (what, side) in [("rabbitmq consuming", &link.consuming), ("rabbitmq publishing", &link.publishing)] {
            match side {
                Side::Up => {}
                Side::Starting => add(what, "the first connection to RabbitMQ is being made".to_owned()),
                Side::Down(trouble) => add(what, trouble.to_string()),
                Side::Stopped => add(what, "stopped".to_owned()),
            }
        }
        if let Some(reason) = &link.blocked {
            add("rabbitmq publishing", format!("RabbitMQ has blocked publishers: {reason}"));
        }
        let silent = now.0 - self.writer_seen.load(Ordering::Relaxed);
        if silent > WRITER_SILENT_MICROS {
            add("store", format!("no sign of life for {} s", silent / 1_000_000));
        }
        if let Some(why) = self.disk.in_words() {
            add("disk", why);
        }
        if *self.stopping.borrow() {
            add("process", "shutting down".to_owned());
        }
        missing
    }
}

/// `GET /healthz`
pub async fn healthz() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// `GET /readyz`: 200 and an empty list, or 503 and the list of what is missing.
pub async fn readyz(State(server): State<Shared>) -> Response {
    let missing = server.health.missing(now());
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Value::Array(missing))).into_response()
}

/// `GET /api/v1/who`: whose token the request carries.
pub async fn who(principal: Principal) -> Json<Value> {
    Json(json!({ "name": &*principal.name, "role": principal.role.to_string() }))
}

/// `GET /api/v1/openapi.yaml`: what there is to be called.
pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/yaml")], include_str!("../../docs/openapi.yaml"))
}

/// `GET /metrics`
pub async fn metrics(State(server): State<Shared>) -> Result<Response, Problem> {
    let asked = server.writer.ask(|access| {
        let overdue = access.engine.orders_overdue(access.records, access.now);
        (access.engine.view(access.now), access.records.size_on_disk(), overdue, access.engine.unfetched_notices(access.now))
    });
    let (queues, store_bytes, overdue, unfetched) = match tokio::time::timeout(Duration::from_secs(5), asked).await {
        Ok(answer) => {
            let (queues, store_bytes, overdue, unfetched) = answer?;
            let failed = |error| store_failed(&error);
            (queues, store_bytes.map_err(failed)?, overdue.map_err(failed)?, unfetched)
        }
        Err(_) => return Err(Problem::new(503, "the writer does not answer")),
    };
    let rules = Arc::clone(&server.rules.borrow());
    let connected = server.health.link.borrow().is_up();
    let now = now();
    let ready = server.health.missing(now).is_empty();
    let waiting: Vec<(String, u32)> =
        server.health.waiting.borrow().iter().map(|waiting| (waiting.queue.clone(), waiting.messages)).collect();
    let expiries: Vec<(&str, Moment)> = server.expiries().await.iter().map(|expiry| (expiry.certificate, expiry.at)).collect();
    let gauges = Gauges {
        queues: &queues,
        rules: &rules,
        connected,
        ready,
        waiting: &waiting,
        store_bytes,
        certificates: &expiries,
        latest_backup: server.backups.latest(),
        orders_overdue: overdue,
        unfetched: &unfetched,
        now,
    };
    let text = server.metrics.render(&gauges).map_err(|error| {
        tracing::error!(%error, "metrics");
        Problem::new(500, "the metrics could not be written")
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
