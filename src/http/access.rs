//! Who may call the admin API.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::problem::Problem;
use crate::config::Secret;

/// The token that admits to the admin API.
#[derive(Debug, Clone)]
pub struct Token(Secret<String>);

impl Token {
    /// Takes a token; `None` for a blank one, which would admit everybody who
    /// sends an empty header.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(Secret::new(text.to_owned())))
    }

    /// Compares in a time that depends on the length of what was sent only.
    fn is(&self, sent: &str) -> bool {
        let known = self.0.reveal().as_bytes();
        let mut differ = usize::from(known.len() != sent.len());
        for (at, byte) in sent.bytes().enumerate() {
            differ |= usize::from(byte ^ known[at % known.len()]);
        }
        differ == 0
    }
}

/// Lets a request through if it carries the token.
pub async fn admit(State(server): State<Shared>, request: Request, next: Next) -> Response {
    let Some(token) = &server.token else {
        return Problem::new(403, "the admin API is closed")
            .detail("set WSB_ADMIN_TOKEN or WSB_ADMIN_TOKEN_FILE of the broker to open it")
            .into_response();
    };
    let sent = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, sent) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(sent.trim())
    });
    match sent {
        Some(sent) if token.is(sent) => next.run(request).await,
        Some(_) => Problem::new(401, "this token is not known").into_response(),
        None => Problem::new(401, "a token is needed").detail("send it as Authorization: Bearer TOKEN").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_whole_of_itself() {
        let token = Token::new(" secret\n").expect("a token");
        assert!(token.is("secret"));
        for other in ["", "secre", "secrets", "secretsecret", "Secret", "terces"] {
            assert!(!token.is(other), "{other}");
        }
        assert!(Token::new(" \n").is_none());
        assert!(!format!("{token:?}").contains("secret"));
    }
}
