//! Health, readiness, metrics and the admin API. The only module that names
//! axum; what a call does is in `ops`.
//!
//! No answer carries a personnummer, and no URL takes one.

mod access;
mod admin;
mod deliveries;
mod problem;
mod quarantine;
mod recipients;
mod replays;
mod status;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use access::Token;
pub use status::Health;

use crate::core::policy::Rules;
use crate::ops::Replays;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::writer::WriterHandle;

/// The largest body of a request: a batch of an import.
const LARGEST_BODY: usize = 8 * 1024 * 1024;

/// Everything that answers are made of.
pub struct Server {
    /// The writer.
    pub writer: WriterHandle<Store>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The rules in force.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// How the parts of the process are.
    pub health: Health,
    /// The replays that have been asked for.
    pub replays: Replays,
    /// What admits to the admin API; without one nothing does.
    pub token: Option<Token>,
}

type Shared = Arc<Server>;

/// Takes the address, so that a mistake in it shows before anything else starts.
///
/// # Errors
/// When the address cannot be had.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `stop` is ready; calls under way are finished.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, server: Server, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    axum::serve(listener, router(server)).with_graceful_shutdown(stop).await
}

fn router(server: Server) -> Router {
    let shared = Arc::new(server);
    let api = Router::new()
        .route("/recipients", get(recipients::list))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/{id}", get(deliveries::show))
        .route("/deliveries/{id}/discard", post(deliveries::discard))
        .route("/replays", get(replays::list).post(replays::start))
        .route("/replays/{id}", get(replays::show).delete(replays::stop))
        .route("/events/{event_id}/trace", get(deliveries::trace))
        .route("/quarantine", get(quarantine::list))
        .route("/quarantine/{id}/retry", post(quarantine::retry))
        .route("/quarantine/{id}/discard", post(quarantine::discard))
        .route("/explain", post(admin::explain))
        .route("/import", post(admin::import))
        .fallback(problem::no_such_call)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), access::admit));
    Router::new()
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(status::metrics))
        .nest("/api/v1", api)
        .fallback(problem::no_such_call)
        .with_state(shared)
}
