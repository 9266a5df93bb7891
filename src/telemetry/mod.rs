//! The only place that gives facts words and numbers: Prometheus metrics and
//! log lines. No label and no line ever carries an id or personal data.

mod log;
mod metrics;

pub use log::{Format, init_log};
pub use metrics::{Gauges, Metrics, Refused};
