//! Errors as problem+json (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::writer::Gone;

/// An error of the API. Carries nothing personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: u16,
    title: String,
    detail: Option<String>,
}

impl Problem {
    /// Makes a problem with an HTTP status and a short title.
    pub fn new(status: u16, title: impl Into<String>) -> Self {
        Self { status, title: title.into(), detail: None }
    }

    /// Adds how to mend it.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
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
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// Makes the problem of a store that failed. The writer stops for the same
/// reason a moment later.
pub fn store_failed(error: &impl std::error::Error) -> Problem {
    tracing::error!(%error, "the store failed while answering a call");
    Problem::new(500, "the store failed").detail("the log of the broker says more")
}

/// Answers a path that leads nowhere.
pub async fn no_such_call() -> Problem {
    Problem::new(404, "there is no such call")
}

/// Answers a method that a path does not have.
pub async fn wrong_method() -> Problem {
    Problem::new(405, "this call has another method")
}
