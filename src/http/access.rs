//! Who may call the admin API, and what.
//!
//! A call declares in the router what it [`Needs`]; [`admit`] finds out whose
//! token a request carries, and [`allow`] compares the two. What a vendor sees
//! of a call that it may make is narrowed by the call itself, by
//! [`Principal::scope`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::guesses::Sent;
use super::problem::Problem;
use super::{Server, Shared};
use crate::config::Role;
use crate::core::ids::Recipient;

/// Who has called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name of the token.
    pub name: Arc<str>,
    /// What it lets its holder do.
    pub role: Role,
}

impl Principal {
    /// Returns the one recipient that the caller may see anything of; `None` for
    /// somebody who may see all.
    #[must_use]
    pub fn scope(&self) -> Option<Recipient> {
        match self.role {
            Role::Vendor(recipient) => Some(recipient),
            Role::Viewer | Role::Operator => None,
        }
    }

    /// Returns whether the caller may see what concerns this recipient.
    #[must_use]
    pub fn sees(&self, recipient: Recipient) -> bool {
        self.scope().is_none_or(|own| own == recipient)
    }
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Every call of the API lies behind `admit`, which puts it there.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::new(403, "nobody has been admitted to this call"))
    }
}

/// What a call needs of its caller. The one table of who may do what: the router
/// declares one for every call, `docs/openapi.yaml` repeats it, and the tests make
/// every call with every role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Needs {
    /// A token, whatever its role; a vendor is shown its own part.
    Token,
    /// To see everything: not a vendor.
    Viewer,
    /// To have something sent again: an operator, or a vendor for its own.
    Replayer,
    /// To change something.
    Operator,
}

impl Needs {
    /// Returns whether the role is enough.
    #[must_use]
    pub fn allows(self, role: Role) -> bool {
        match (self, role) {
            (_, Role::Operator) | (Self::Token, Role::Viewer | Role::Vendor(_)) => true,
            (Self::Viewer, Role::Viewer) | (Self::Replayer, Role::Vendor(_)) => true,
            (Self::Viewer, Role::Vendor(_)) | (Self::Replayer, Role::Viewer) => false,
            (Self::Operator, Role::Viewer | Role::Vendor(_)) => false,
        }
    }

    /// Returns the roles that are enough, as the documents name them.
    #[must_use]
    pub fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Token => &["viewer", "operator", "vendor"],
            Self::Viewer => &["viewer", "operator"],
            Self::Replayer => &["operator", "vendor"],
            Self::Operator => &["operator"],
        }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No token is known, so nobody can be admitted.
    Closed,
    /// It carries none.
    NoToken,
    /// It carries one that nobody has.
    UnknownToken,
    /// Its address has sent too many of those, and has to wait for so many seconds.
    TooMany {
        /// How long.
        seconds: u64,
    },
    /// The role of its token is not enough.
    NotAllowed,
}

impl Refused {
    /// Returns the word for it in the metrics.
    fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::NoToken => "no_token",
            Self::UnknownToken => "unknown_token",
            Self::TooMany { .. } => "too_many",
            Self::NotAllowed => "not_allowed",
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed => Self::new(403, "the admin API is closed")
                .detail("set WSB_ADMIN_TOKEN, WSB_ADMIN_TOKEN_FILE or WSB_TOKENS of the broker to open it"),
            Refused::NoToken => Self::new(401, "a token is needed").detail("send it as Authorization: Bearer TOKEN"),
            Refused::UnknownToken => Self::new(401, "this token is not known"),
            Refused::TooMany { seconds } => Self::new(429, "too many unknown tokens came from this address")
                .detail(format!("try again in {seconds} s, with the right token"))
                .retry_after(seconds),
            Refused::NotAllowed => {
                Self::new(403, "the role of this token is not enough").detail("docs/openapi.yaml says which role each call needs")
            }
        }
    }
}

impl Server {
    /// Says whose token was sent from an address. Counts what is refused.
    ///
    /// # Errors
    /// When nobody can be admitted by it.
    pub fn identify(&self, sent: Option<&str>, from: IpAddr) -> Result<Principal, Refused> {
        let identified = self.look_up(sent, from);
        if let Err(refused) = identified {
            self.metrics.refused(refused.word());
        }
        identified
    }

    fn look_up(&self, sent: Option<&str>, from: IpAddr) -> Result<Principal, Refused> {
        let tokens = Arc::clone(&self.tokens.borrow());
        if tokens.is_empty() {
            return Err(Refused::Closed);
        }
        let sent = Sent::of(sent.ok_or(Refused::NoToken)?);
        let known = || tokens.find(sent.hash());
        match self.guesses.admit(from, sent, std::time::Instant::now(), || known().is_some()) {
            Ok(true) => {}
            Ok(false) => return Err(Refused::UnknownToken),
            Err(seconds) => return Err(Refused::TooMany { seconds }),
        }
        // Asked again rather than kept: only a hash crosses into the limit.
        let token = known().ok_or(Refused::UnknownToken)?;
        Ok(Principal { name: Arc::clone(&token.name), role: token.role })
    }
}

/// Lets a request through if it carries a token that is known.
pub(super) async fn admit(State(server): State<Shared>, mut request: Request, next: Next) -> Response {
    let sent = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, sent) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(sent.trim())
    });
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::from([0; 4]), |peer| peer.0.ip());
    match server.identify(sent, from) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(refused) => Problem::from(refused).into_response(),
    }
}

/// Lets a request through whose caller may make this call.
pub(super) async fn allow(State((server, needs)): State<(Shared, Needs)>, request: Request, next: Next) -> Response {
    match request.extensions().get::<Principal>() {
        Some(principal) if needs.allows(principal.role) => next.run(request).await,
        Some(_) | None => {
            server.metrics.refused(Refused::NotAllowed.word());
            Problem::from(Refused::NotAllowed).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table, written a second time.
    #[test]
    fn who_may_do_what() {
        let vendor = Role::Vendor(Recipient::parse("akasse:067").expect("a recipient"));
        let check = |needs: Needs, viewer: bool, operator: bool, own: bool| {
            assert_eq!([Role::Viewer, Role::Operator, vendor].map(|role| needs.allows(role)), [viewer, operator, own], "{needs:?}");
            let named = |role: &str| needs.roles().contains(&role);
            assert_eq!([named("viewer"), named("operator"), named("vendor")], [viewer, operator, own], "{needs:?}");
        };
        check(Needs::Token, true, true, true);
        check(Needs::Viewer, true, true, false);
        check(Needs::Replayer, false, true, true);
        check(Needs::Operator, false, true, false);
    }

    #[test]
    fn a_vendor_sees_its_own() {
        let of = |text: &str| Recipient::parse(text).expect("a recipient");
        let principal = |role| Principal { name: "x".into(), role };
        let vendor = principal(Role::Vendor(of("akasse:067")));
        assert!(vendor.sees(of("akasse:067")) && !vendor.sees(of("kommune:067")) && !vendor.sees(of("akasse:053")));
        assert_eq!(vendor.scope(), Some(of("akasse:067")));
        for role in [Role::Viewer, Role::Operator] {
            assert!(principal(role).sees(of("kommune:860")) && principal(role).scope().is_none());
        }
    }
}
