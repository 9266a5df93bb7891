//! Calls of the admin API of a running broker.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{PemItem, RootCerts, TlsConfig};

use super::args::Common;
use super::exit::{Exit, Failure};
use super::run::token_text;

/// A larger body is sent only once the broker has said that it wants it.
const ASK_ABOVE: usize = 16 * 1024;

/// The admin API of the running broker.
pub struct Admin {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

impl Admin {
    /// Returns the API at the address that the broker serves.
    pub fn new(common: &Common) -> Result<Self, Failure> {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).http_status_as_error(false);
        let config = match &common.http_ca {
            Some(file) => config.tls_config(trusting(file)?).build(),
            None => config.build(),
        };
        Ok(Self {
            agent: config.into(),
            base: format!("{}://{}/api/v1", scheme(common), common.http),
            token: token_text()?.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
        })
    }

    /// Returns whether a token is given, and a broker runs that knows it.
    pub fn is_known_there(&self) -> bool {
        self.token.is_some() && self.get("/who").is_ok()
    }

    /// Gets an answer.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let request = match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        self.answer(request.call())
    }

    /// Deletes, saying in JSON how, and gets an answer.
    pub fn delete(&self, path: &str, body: &[u8]) -> Result<Value, Failure> {
        let request = self.agent.delete(format!("{}{path}", self.base)).header("Content-Type", "application/json").force_send_body();
        let request = match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        self.answer(request.send(body))
    }

    /// Sends a body, and gets an answer.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Value, Failure> {
        self.post_with(path, content_type, body, &[])
    }

    /// Sends a body with further headers, and gets an answer.
    pub fn post_with(&self, path: &str, content_type: &str, body: &[u8], headers: &[(&str, &str)]) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("Content-Type", content_type);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        // A broker that refuses answers before it has read all of a large body:
        // without asking first, that would look like a broken connection.
        let request = if body.len() > ASK_ABOVE { request.header("Expect", "100-continue") } else { request };
        self.answer(request.send(body))
    }

    fn answer(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Failure> {
        let unreachable = |error: &dyn std::fmt::Display| {
            Failure::words(Exit::Unreachable, format!("the broker at {} does not answer: {error}", self.base))
        };
        let mut response = answer.map_err(|error| unreachable(&error))?;
        let status = response.status().as_u16();
        let body: Value = response.body_mut().read_json().map_err(|error| unreachable(&error))?;
        if status < 400 {
            return Ok(body);
        }
        let word = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let (title, detail) = (word("title"), word("detail"));
        let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
        match status {
            401 | 403 => Err(Failure::words(
                Exit::Refused,
                format!(
                    "the running broker refuses: {title}{detail}. This command takes its token from WSB_ADMIN_TOKEN or WSB_ADMIN_TOKEN_FILE"
                ),
            )),
            503 => Err(Failure::words(Exit::Unreachable, format!("{title}{detail}"))),
            _ => Err(Failure::words(Exit::No, format!("{title}{detail}"))),
        }
    }
}

/// Returns `https` if this broker has a certificate, or a command knows whom to
/// trust.
pub fn scheme(common: &Common) -> &'static str {
    if common.http_cert.is_some() || common.http_ca.is_some() { "https" } else { "http" }
}

fn trusting(file: &Path) -> Result<TlsConfig, Failure> {
    let refuse = |why: &dyn std::fmt::Display| Failure::words(Exit::Usage, format!("WSB_HTTP_CA: cannot use {}: {why}", file.display()));
    let text = std::fs::read(file).map_err(|error| refuse(&error))?;
    let mut trusted = Vec::new();
    for item in ureq::tls::parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| refuse(&error))? {
            trusted.push(certificate);
        }
    }
    if trusted.is_empty() {
        return Err(refuse(&"it holds no certificate in PEM form"));
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::from(trusted)).build())
}
