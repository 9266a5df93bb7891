//! Health, readiness, metrics, the admin API and the console over it. The only
//! module that names axum; what a call does is in `ops`.
//!
//! No answer carries a personnummer, and no URL takes one.

mod access;
mod admin;
mod audit;
mod backup;
mod calls;
mod console;
mod deliveries;
mod erasures;
mod extract;
mod guesses;
mod keys;
mod known;
mod lanes;
mod look;
mod problem;
mod quarantine;
mod recipients;
mod replays;
mod retention;
mod status;
#[cfg(test)]
mod tests;
mod tls;
mod windows;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use access::{Needs, Principal, Refused};
pub use backup::Backups;
pub use calls::Call;
pub use erasures::{Erasures, Persons};
pub use guesses::Guesses;
pub use look::Looking;
pub use status::Health;

use calls::Calls;

use crate::config::Tokens;
use crate::core::ids::Recipient;
use crate::core::policy::Rules;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::tls::{Certificates, Expiry, Identity};
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
    /// Erasures that wait for a second person.
    pub erasures: Erasures,
    /// How the latest backup is.
    pub backups: Backups,
    /// The read side of the store, for whatever takes long.
    pub looking: Looking,
    /// For how many days what was delivered can be sent again.
    pub replay_days: u32,
    /// What admits to the admin API; without any nothing does.
    pub tokens: watch::Receiver<Arc<Tokens>>,
    /// What is known of addresses that sent unknown ones.
    pub guesses: Guesses,
    /// The certificates that are in use.
    pub certificates: Certificates,
    /// How many were dead when the store was opened, by recipient.
    pub dead_at_start: Vec<(Recipient, u64)>,
}

impl Server {
    /// Returns until when each certificate is valid.
    async fn expiries(&self) -> Vec<Expiry> {
        let certificates = self.certificates.clone();
        // Reading files never panics; were it to, nothing would be known.
        tokio::task::spawn_blocking(move || certificates.expiries()).await.unwrap_or_default()
    }
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
    let router = router(server).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

/// As [`serve`], over TLS with certificates that may be exchanged meanwhile.
///
/// # Errors
/// When the listener fails.
pub async fn serve_tls(
    listener: TcpListener,
    identity: Identity,
    server: Server,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    // The calls know a caller by its address, whatever the way it came.
    let router = router(server).layer(axum::middleware::map_request(async |mut request: axum::extract::Request| {
        if let Some(ConnectInfo(tls::Peer(from))) = request.extensions().get::<ConnectInfo<tls::Peer>>().copied() {
            request.extensions_mut().insert(ConnectInfo(from));
            // Cookies may be kept to TLS, as behind a proxy that speaks it.
            request.headers_mut().insert("x-forwarded-proto", axum::http::HeaderValue::from_static("https"));
        }
        request
    }));
    let service = router.into_make_service_with_connect_info::<tls::Peer>();
    axum::serve(tls::TlsListener::start(listener, identity)?, service).with_graceful_shutdown(stop).await
}

fn router(server: Server) -> Router {
    let shared = Arc::new(server);
    let (api, _) = calls(&shared);
    let console = console::Console::new(&shared, api.clone());
    tokio::spawn(Arc::clone(&console).sample());
    let api =
        api.layer(DefaultBodyLimit::max(LARGEST_BODY)).layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), access::admit));
    Router::new()
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(status::metrics))
        .nest("/api/v1", api)
        .fallback(problem::no_such_call)
        .layer(axum::middleware::from_fn(problem::tidy))
        .with_state(shared)
        // Its refusals are pages, and not problems.
        .merge(console::router(&console))
}

/// Every call of the admin API, with what it needs of its caller.
fn calls(server: &Shared) -> (Router<Shared>, Vec<Call>) {
    Calls::new(server)
        .get("/who", Needs::Token, status::who)
        .get("/openapi.yaml", Needs::Token, status::openapi)
        .get("/recipients", Needs::Token, recipients::list)
        .post("/recipients/{recipient}/pause", Needs::Operator, recipients::pause)
        .post("/recipients/{recipient}/resume", Needs::Operator, recipients::resume)
        .get("/windows", Needs::Token, windows::list)
        .get("/lanes", Needs::Token, lanes::list)
        .post("/lanes/{id}/park", Needs::Operator, lanes::park)
        .post("/lanes/{id}/release", Needs::Operator, lanes::release)
        .get("/deliveries/groups", Needs::Viewer, deliveries::groups)
        .get("/deliveries", Needs::Token, deliveries::list)
        .get("/deliveries/{id}", Needs::Token, deliveries::show)
        .post("/deliveries/{id}/discard", Needs::Operator, deliveries::discard)
        .get("/events/{event_id}/trace", Needs::Token, deliveries::trace)
        .get("/replays", Needs::Token, replays::list)
        .post("/replays", Needs::Replayer, replays::start)
        .get("/replays/{id}", Needs::Token, replays::show)
        .delete("/replays/{id}", Needs::Replayer, replays::stop)
        .get("/audit", Needs::Operator, audit::list)
        .get("/audit/verify", Needs::Operator, audit::verify)
        .post("/replays/{id}/resume", Needs::Replayer, replays::resume)
        .post("/replays/{id}/go", Needs::Replayer, replays::go)
        .get("/quarantine", Needs::Viewer, quarantine::list)
        .post("/quarantine/{id}/retry", Needs::Operator, quarantine::retry)
        .post("/quarantine/{id}/discard", Needs::Operator, quarantine::discard)
        .get("/erasures", Needs::Operator, erasures::list)
        .post("/erasures", Needs::Operator, erasures::order)
        .post("/erasures/{id}/confirm", Needs::Operator, erasures::confirm)
        .get("/backup", Needs::Operator, backup::show)
        .post("/backup", Needs::Operator, backup::start)
        .post("/master-key/exchanged", Needs::Operator, keys::exchanged)
        .get("/retention/due", Needs::Viewer, retention::due)
        .get("/retention/notices", Needs::Viewer, retention::notices)
        .post("/retention/notices/close", Needs::Operator, retention::close_notices)
        .get("/retention/unexpected", Needs::Viewer, retention::unexpected)
        .post("/explain", Needs::Viewer, admin::explain)
        .post("/import", Needs::Operator, admin::import)
        .finish()
}
