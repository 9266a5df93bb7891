//! How log lines are written.

use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. `level` is one of `error`, `warn`, `info`,
/// `debug`, `trace` and `off`. A second call changes nothing.
///
/// Of the libraries only warnings are let through, whatever the level: lapin
/// writes bodies of messages at lower ones, and returned messages with their
/// payload even as a warning, which is silenced altogether.
///
/// # Errors
/// Returns what is allowed when `level` is something else.
pub fn init_log(level: &str, format: Format) -> Result<(), &'static str> {
    let level: LevelFilter = level.parse().map_err(|_| "expected error, warn, info, debug, trace or off")?;
    let libraries = level.min(LevelFilter::from_level(Level::WARN));
    let filter = Targets::new().with_default(libraries).with_target("wsb_broker", level).with_target("lapin", LevelFilter::OFF);
    let registry = tracing_subscriber::registry();
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match format {
        Format::Text => registry.with(layer.with_ansi(ansi).with_filter(filter)).try_init(),
        Format::Json => registry.with(layer.with_ansi(false).json().flatten_event(true).with_filter(filter)).try_init(),
    };
    // Only a second start fails, and the first one still stands.
    drop(started);
    Ok(())
}
