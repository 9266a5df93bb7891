//! What a request says, made into values; or a problem that says where it is
//! wrong and what is expected there, without repeating what was sent: it may
//! name somebody.

use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::core::ids::Malformed;

/// The query of a request.
pub struct Query<T>(pub T);

/// The JSON body of a request.
pub struct Body<T>(pub T);

/// The JSON body of a request that may as well have none.
pub struct OptionalBody<T>(pub T);

/// The variable parts of a path.
pub struct Path<T>(pub T);

/// The body of a request as it came.
pub struct Raw(pub axum::body::Bytes);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read: Result<axum::extract::Query<T>, QueryRejection> = axum::extract::Query::from_request_parts(parts, state).await;
        match read {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(not_understood(400, "query", &rejection.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read: Result<axum::extract::Path<T>, PathRejection> = axum::extract::Path::from_request_parts(parts, state).await;
        match read {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::new(400, "path: not understood").detail("expected the id as the broker gave it, percent-encoded UTF-8")),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read: Result<axum::Json<T>, JsonRejection> = axum::Json::from_request(request, state).await;
        let rejection = match read {
            Ok(axum::Json(value)) => return Ok(Self(value)),
            Err(rejection) => rejection,
        };
        Err(match rejection {
            JsonRejection::MissingJsonContentType(_) => {
                Problem::new(415, "body: not taken for JSON").detail("send it with Content-Type: application/json")
            }
            JsonRejection::JsonSyntaxError(error) => not_understood(400, "body", &format!("not JSON: {}", plain(&error.body_text()))),
            JsonRejection::JsonDataError(error) => not_understood(422, "body", &error.body_text()),
            // Of the body itself: too large, or cut off.
            other => by_status(other.into_response().status().as_u16()),
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = Raw::from_request(Request::from_parts(parts.clone(), body), state).await?.0;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        let Body(value) = Body::from_request(Request::from_parts(parts, bytes.into()), state).await?;
        Ok(Self(value))
    }
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read: Result<_, BytesRejection> = axum::body::Bytes::from_request(request, state).await;
        read.map(Self).map_err(|rejection| by_status(rejection.into_response().status().as_u16()))
    }
}

/// Returns what a named part of a request was parsed to, or the problem that says
/// what is expected there.
pub(super) fn understood<T>(name: &str, parsed: Result<T, Malformed>) -> Result<T, Problem> {
    parsed.map_err(|malformed| Problem::new(400, format!("{name}: not understood")).detail(malformed.expected))
}

/// Returns the problem that a status alone tells of.
pub(super) fn by_status(status: u16) -> Problem {
    match status {
        405 => Problem::new(405, "this call has another method"),
        413 => Problem::new(413, "body: too large").detail(format!("send at most {} bytes", super::LARGEST_BODY)),
        415 => Problem::new(415, "body: not taken for what it is").detail("send it with the Content-Type that docs/openapi.yaml names"),
        422 => Problem::new(422, "body: not understood"),
        404 => Problem::new(404, "there is no such call"),
        500.. => Problem::new(status, "the broker could not answer"),
        _ => Problem::new(status, "the request was not understood"),
    }
}

/// Makes a problem of what serde says, as far as it says nothing of the values.
fn not_understood(status: u16, part: &str, said: &str) -> Problem {
    let said = plain(said);
    let place = said.split_once(": ").map(|(place, _)| place).filter(|place| is_name(place)).unwrap_or(part);
    Problem::new(status, format!("{place}: not understood")).detail(harmless(said))
}

/// Returns what stands behind axum's own words.
fn plain(said: &str) -> &str {
    let known = [
        "Failed to deserialize query string: ",
        "Failed to deserialize the JSON body into the target type: ",
        "Failed to parse the request body as JSON: ",
    ];
    known.iter().find_map(|words| said.strip_prefix(words)).unwrap_or(said)
}

/// Whether a place is the path of one of our own fields: no number hides in it.
fn is_name(place: &str) -> bool {
    place.len() <= 40 && place.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'))
}

/// Returns the part of a message that is made of our own words.
fn harmless(said: &str) -> String {
    for ours in ["missing field `", "duplicate field `", "expected "] {
        if let Some(at) = said.find(ours) {
            return said[at..].to_owned();
        }
    }
    let last = said.rsplit(": ").next().unwrap_or(said);
    if last.contains(['"', '`', '\'']) { "docs/openapi.yaml says what is expected".to_owned() } else { last.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_and_what_without_values() {
        let check = |said: &str, title: &str, detail: &str| {
            let problem = not_understood(400, "query", said);
            assert_eq!((problem.title(), problem.detail_text()), (title, Some(detail)), "{said}");
        };
        check(
            "Failed to deserialize query string: limit: invalid digit found in string",
            "limit: not understood",
            "invalid digit found in string",
        );
        check(
            "Failed to deserialize the JSON body into the target type: filter.since: invalid type: string \"0101901234\", expected u32 at line 1 column 9",
            "filter.since: not understood",
            "expected u32 at line 1 column 9",
        );
        check(
            "Failed to deserialize query string: 0101901234: unknown field `0101901234`, expected one of `a`, `b`",
            "query: not understood",
            "expected one of `a`, `b`",
        );
        check("missing field `why` at line 1 column 2", "query: not understood", "missing field `why` at line 1 column 2");
        check("odd `0101901234`", "query: not understood", "docs/openapi.yaml says what is expected");
    }
}
