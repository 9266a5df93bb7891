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
use crate::amqp::{LinkState, Side, Trouble, Waiting};
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

/// One of the two connections to RabbitMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    /// The one that takes events in.
    Consuming,
    /// The one that delivers.
    Publishing,
}

/// Something that is missing for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lack {
    /// The first connection is being made.
    Connecting(Connection),
    /// There is no connection.
    Disconnected(Connection, Trouble),
    /// The connection has been ended on request.
    Stopped(Connection),
    /// RabbitMQ takes nothing; in its own words why.
    Blocked(String),
    /// The writer has not come round for so many seconds.
    WriterSilent(i64),
    /// The disk lacks room; in the words of the store, and in MiB.
    Room { why: String, mib: u64 },
    /// The process is on its way out.
    ShuttingDown,
}

impl Lack {
    /// Returns which part of the broker it is about.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Connecting(connection) | Self::Disconnected(connection, _) | Self::Stopped(connection) => match connection {
                Connection::Consuming => "rabbitmq consuming",
                Connection::Publishing => "rabbitmq publishing",
            },
            Self::Blocked(_) => "rabbitmq publishing",
            Self::WriterSilent(_) => "store",
            Self::Room { .. } => "disk",
            Self::ShuttingDown => "process",
        }
    }

    /// Says why, as the API does.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Connecting(_) => "the first connection to RabbitMQ is being made".to_owned(),
            Self::Disconnected(_, trouble) => trouble.to_string(),
            Self::Stopped(_) => "stopped".to_owned(),
            Self::Blocked(reason) => format!("RabbitMQ has blocked publishers: {reason}"),
            Self::WriterSilent(seconds) => format!("no sign of life for {seconds} s"),
            Self::Room { why, .. } => why.clone(),
            Self::ShuttingDown => "shutting down".to_owned(),
        }
    }
}

impl Health {
    /// Returns what is missing for work; nothing when all is well.
    pub(super) fn missing(&self, now: Moment) -> Vec<Lack> {
        let mut missing = Vec::new();
        let link = self.link.borrow();
        for (connection, side) in [(Connection::Consuming, &link.consuming), (Connection::Publishing, &link.publishing)] {
            match side {
                Side::Up => {}
                Side::Starting => missing.push(Lack::Connecting(connection)),
                Side::Down(trouble) => missing.push(Lack::Disconnected(connection, trouble.clone())),
                Side::Stopped => missing.push(Lack::Stopped(connection)),
            }
        }
        if let Some(reason) = &link.blocked {
            missing.push(Lack::Blocked(reason.clone()));
        }
        let silent = now.0 - self.writer_seen.load(Ordering::Relaxed);
        if silent > WRITER_SILENT_MICROS {
            missing.push(Lack::WriterSilent(silent / 1_000_000));
        }
        if let Some(why) = self.disk.in_words() {
            missing.push(Lack::Room { why, mib: self.disk.mib() });
        }
        if *self.stopping.borrow() {
            missing.push(Lack::ShuttingDown);
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
    let described: Vec<Value> = missing.iter().map(|lack| json!({ "what": lack.what(), "why": lack.why() })).collect();
    (status, Json(described)).into_response()
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
        disk_free_bytes: server.health.disk.free(),
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
