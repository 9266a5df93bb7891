//! Errors as problem+json (RFC 9457): what, where, and how to mend it.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::writer::Gone;

const PROBLEM_JSON: &str = "application/problem+json";

/// An error of the API. Carries nothing personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: u16,
    title: String,
    detail: Option<String>,
    retry_after: Option<u64>,
}

impl Problem {
    /// Makes a problem with an HTTP status and a short title.
    pub fn new(status: u16, title: impl Into<String>) -> Self {
        Self { status, title: title.into(), detail: None, retry_after: None }
    }

    /// Adds how to mend it.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says after how many seconds it may be over.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    #[cfg(test)]
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    #[cfg(test)]
    pub(super) fn detail_text(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

impl From<Gone> for Problem {
    fn from(_: Gone) -> Self {
        Self::new(503, "the broker is shutting down")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = json!({ "type": "about:blank", "title": self.title, "status": status.as_u16() });
        if let Some(detail) = self.detail {
            body["detail"] = detail.into();
        }
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Turns errors that no call of ours has written, such as those of axum itself,
/// into problems. Their text is left out: it may repeat what was sent.
pub async fn tidy(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.starts_with(PROBLEM_JSON.as_bytes()) || kind.starts_with(b"application/json")
    });
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let mut tidied = super::extract::by_status(status.as_u16()).into_response();
    for name in [header::ALLOW, header::RETRY_AFTER] {
        if let Some(value) = response.headers().get(&name) {
            tidied.headers_mut().insert(name, value.clone());
        }
    }
    tidied
}

/// Makes the problem of a store that failed. The writer stops for the same
/// reason a moment later.
pub fn store_failed(error: &impl std::error::Error) -> Problem {
    tracing::error!(%error, "the store failed while answering a call");
    Problem::new(500, "the store failed").detail("the log of the broker says more")
}

/// Answers a path that leads nowhere.
pub async fn no_such_call() -> Problem {
    Problem::new(404, "there is no such call").detail("docs/openapi.yaml has all of them")
}

/// Answers a method that a path does not have.
pub async fn wrong_method() -> Problem {
    Problem::new(405, "this call has another method").detail("docs/openapi.yaml says which")
}
