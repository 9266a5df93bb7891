//! `wsb-broker run`, and what other commands need of the same settings.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::args::{Common, RunArguments};
use super::exit::{Exit, Failure};
use super::open::store_options;
use crate::amqp::Target;
use crate::app::{self, RunError, Settings};
use crate::config::{self, LoadError, Sources, Tokens};
use crate::core::policy::{Horizons, Rules};
use crate::http::Persons;
use crate::telemetry::{self, Format};
use crate::tls::{ClientFiles, ServerFiles};

pub fn run(common: &Common, arguments: &RunArguments) -> Result<Exit, Failure> {
    start_log(common)?;
    let mut store = store_options(common);
    store.cache_bytes = arguments.store_cache_mib * 1024 * 1024;
    store.least_free = arguments.min_free_mib * 1024 * 1024;
    let settings = Settings {
        target: target(common)?,
        store,
        sources: sources(common),
        http: common.http,
        http_tls: http_tls(common)?,
        horizons: Horizons { duplicates_days: arguments.keep_duplicates_days, traces_days: arguments.keep_traces_days },
        replay_days: arguments.replay_days,
        admin: token_text()?.as_deref().map(Tokens::of_admin).unwrap_or_default(),
        tokens: arguments.tokens.clone(),
        least_free: arguments.min_free_mib * 1024 * 1024,
        erasure: if arguments.erase_two_persons { Persons::Two } else { Persons::One },
        shutdown: Duration::from_secs(arguments.shutdown_seconds),
    };
    runtime()?.block_on(app::run(settings)).map_err(failure)?;
    Ok(Exit::Ok)
}

fn failure(error: RunError) -> Failure {
    let exit = match &error {
        // Its cause is in its own words already.
        RunError::Routing(refused) => return Failure::words(exit_of(refused), error),
        RunError::Tokens(_) => return Failure::words(Exit::No, error),
        RunError::Store(_) | RunError::Refused(_) => Exit::Refused,
        RunError::Other(_) => Exit::Unreachable,
    };
    Failure::new(exit, error)
}

/// Starts logging as the environment asks.
pub fn start_log(common: &Common) -> Result<(), Failure> {
    let format = match std::env::var("WSB_LOG_FORMAT").as_deref() {
        Ok("json") => Format::Json,
        Ok("" | "text") | Err(_) => Format::Text,
        Ok(_) => return Err(Failure::words(Exit::Usage, "WSB_LOG_FORMAT: expected text or json")),
    };
    telemetry::init_log(&common.log, format).map_err(|expected| Failure::words(Exit::Usage, format!("--log, WSB_LOG: {expected}")))
}

/// Returns the text of the admin token.
pub fn token_text() -> Result<Option<String>, Failure> {
    if let Ok(token) = std::env::var("WSB_ADMIN_TOKEN") {
        return Ok(Some(token));
    }
    let Some(path) = std::env::var_os("WSB_ADMIN_TOKEN_FILE") else { return Ok(None) };
    let path = Path::new(&path);
    std::fs::read_to_string(path)
        .map(Some)
        .map_err(|error| Failure::words(Exit::Usage, format!("WSB_ADMIN_TOKEN_FILE: cannot read {}: {error}", path.display())))
}

/// Returns the runtime of a command. Two workers do what has to wait; the
/// store has a thread of its own.
pub fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::words(Exit::Refused, format!("cannot start: {error}")))
}

fn http_tls(common: &Common) -> Result<Option<ServerFiles>, Failure> {
    let files = ServerFiles::new(common.http_cert.clone(), common.http_key.clone());
    files.map_err(|problem| Failure::words(Exit::Usage, format!("WSB_HTTP_CERT, WSB_HTTP_KEY: {problem}")))
}

/// Returns where RabbitMQ is.
pub fn target(common: &Common) -> Result<Target, Failure> {
    let usage = |trouble| Failure::new(Exit::Usage, trouble);
    let files = ClientFiles::new(common.amqp_ca.clone(), common.amqp_cert.clone(), common.amqp_key.clone());
    let files = files.map_err(|problem| Failure::words(Exit::Usage, format!("WSB_AMQP_CERT, WSB_AMQP_KEY: {problem}")))?;
    Target::parse(&common.amqp_uri).and_then(|target| target.with_tls(files)).map_err(usage)
}

/// Returns where the rules are.
pub fn sources(common: &Common) -> Sources {
    Sources { routing: common.routing.clone(), retention: common.retention.clone() }
}

/// Returns the rules.
pub fn load_rules(common: &Common) -> Result<Rules, Failure> {
    config::load_rules(&sources(common)).map_err(|error| Failure::words(exit_of(&error), error.rendered().trim_end()))
}

/// Returns how to end for a file that is not accepted.
pub fn exit_of(error: &LoadError) -> Exit {
    match error {
        LoadError::Invalid { .. } => Exit::No,
        LoadError::Missing { .. } | LoadError::Unreadable { .. } => Exit::Usage,
    }
}
