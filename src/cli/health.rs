//! `wsb-broker health`: for container engines and supervisors, which have no
//! other program to ask with.

use std::time::Duration;

use ureq::tls::TlsConfig;

use super::args::{Common, HealthArguments};
use super::exit::{Exit, Failure};

/// Longer than a scrape may take; a container engine's own limit is 30 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the broker how it is.
pub fn health(common: &Common, arguments: &HealthArguments) -> Result<Exit, Failure> {
    let (scheme, path) = (super::admin::scheme(common), if arguments.ready { "readyz" } else { "healthz" });
    let url = format!("{scheme}://{}/{path}", common.http);
    // Whoever answers at this machine's own address is told nothing, hence need
    // not prove who it is.
    let tls = TlsConfig::builder().disable_verification(true).build();
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).tls_config(tls).build();
    let agent: ureq::Agent = config.into();
    let unreachable =
        |error: ureq::Error| Failure::words(Exit::Unreachable, format!("the broker at {} does not answer: {error}", common.http));
    let mut response = agent.get(url).call().map_err(unreachable)?;
    let text = response.body_mut().read_to_string().map_err(unreachable)?;
    answer_line!("{}", text.trim_end());
    Ok(if response.status().is_success() { Exit::Ok } else { Exit::No })
}
