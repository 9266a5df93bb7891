//! Who asks for a page, and whether a form is one of ours.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::session::{Session, Touch};
use super::{Console, Refused};
use crate::config::Role;
use crate::console::{self, Language, Theme, Who};
use crate::http::Principal;

/// The cookie of the session.
pub const SESSION: &str = "wsb_session";
/// The cookie of the language.
pub const LANGUAGE: &str = "wsb_language";
/// The cookie of the colors.
pub const THEME: &str = "wsb_theme";

/// Returns the value of a cookie.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|one| one.trim().split_once('='));
    cookies.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Returns whether the browser speaks TLS to us, or to the proxy before us. A
/// proxy that does not say so leaves the cookie without `Secure`, and nothing else.
pub fn is_secure(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// Returns whether a request that changes something was made by a page of ours.
/// Browsers say so; what says nothing is no browser, and has no cookies of one.
pub fn is_ours(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)),
        (Some(_), None) => false,
    }
}

/// How pages are to look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// The language.
    pub language: Language,
    /// The colors.
    pub theme: Theme,
}

impl Look {
    /// Returns what the cookies say, and the browser's own language without.
    pub fn of(headers: &HeaderMap) -> Self {
        let accepted = || headers.get(header::ACCEPT_LANGUAGE).and_then(|value| Language::accepted(value.to_str().ok()?));
        Self {
            language: cookie(headers, LANGUAGE).and_then(Language::parse).or_else(accepted).unwrap_or_default(),
            theme: cookie(headers, THEME).and_then(Theme::parse).unwrap_or_default(),
        }
    }
}

/// Somebody who is logged in, asking for a page.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Who, for the API.
    pub principal: Principal,
    /// Who, for pages.
    pub who: Who,
    /// What their forms carry.
    pub csrf: String,
    /// How pages are to look.
    pub look: Look,
    /// The page: path and query.
    pub path: String,
}

impl Visitor {
    fn new(session: Session, look: Look, path: String) -> Self {
        let role = match session.principal.role {
            Role::Viewer => console::Role::Viewer,
            Role::Operator => console::Role::Operator,
            Role::Vendor(recipient) => console::Role::Vendor(recipient.to_string()),
        };
        let who = Who { name: session.principal.name.to_string(), role };
        Self { principal: session.principal, who, csrf: session.csrf, look, path }
    }

    /// Returns a value of the query; nothing for one that is not there.
    pub fn asked(&self, name: &str) -> String {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        let uri = format!("/?{query}").parse().unwrap_or_default();
        let read = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        let values = read.map(|axum::extract::Query(values)| values).unwrap_or_default();
        values.into_iter().find(|(found, _)| found == name).map(|(_, value)| value).unwrap_or_default()
    }
}

impl FromRequestParts<Arc<Console>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        let refreshes = parts.headers.contains_key("hx-request");
        let touch = if refreshes { Touch::Page } else { Touch::Person };
        let sent = cookie(&parts.headers, SESSION);
        let tokens = Arc::clone(&console.server.tokens.borrow());
        let session = sent.and_then(|id| console.sessions.find(id, &tokens, touch, Instant::now()));
        match session {
            Some(session) => {
                let path = parts.uri.path_and_query().map_or("/console", |path| path.as_str()).to_owned();
                Ok(Self::new(session, Look::of(&parts.headers), path))
            }
            None => {
                let to = if sent.is_some() { "/console/login?ended" } else { "/console/login" };
                // A fragment cannot be replaced by the login: the whole page goes there.
                if refreshes {
                    Err(([("hx-redirect", to)], StatusCode::NO_CONTENT).into_response())
                } else {
                    Err(Redirect::to(to).into_response())
                }
            }
        }
    }
}

/// A form that somebody who is logged in has sent from a page of ours.
pub struct Posted {
    /// Who.
    pub visitor: Visitor,
    /// What stands in it, in order; a name may come more than once.
    pub fields: Vec<(String, String)>,
}

impl Posted {
    /// Returns the value of a field, trimmed; nothing for one that is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.trim())
    }

    /// Returns every value of a field.
    pub fn fields<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.fields.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl FromRequest<Arc<Console>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let ours = is_ours(&parts.headers);
        let visitor = Visitor::from_request_parts(&mut parts, console).await?;
        let request = Request::from_parts(parts, body);
        let refused = || Refused::form(console, &visitor).into_response();
        let read = axum::Form::<Vec<(String, String)>>::from_request(request, console).await;
        let axum::Form(fields) = read.map_err(|_| refused())?;
        let posted = Self { visitor: visitor.clone(), fields };
        // Compared by hash, so that how far they agree takes no time.
        let same = crate::config::TokenHash::of(posted.field("csrf")).is(&crate::config::TokenHash::of(&visitor.csrf));
        if ours && same { Ok(posted) } else { Err(refused()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header of the test"));
        }
        headers
    }

    #[test]
    fn a_form_comes_from_our_own_pages() {
        let check = |lines: &[(&'static str, &str)], expected: bool| assert_eq!(is_ours(&headers(lines)), expected, "{lines:?}");
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("sec-fetch-site", "cross-site"), ("origin", "http://wsb:1"), ("host", "wsb:1")], false);
        check(&[("sec-fetch-site", "none")], false);
        check(&[("origin", "https://wsb.example"), ("host", "wsb.example")], true);
        check(&[("origin", "https://evil.example"), ("host", "wsb.example")], false);
        check(&[("origin", "null"), ("host", "wsb.example")], false);
        check(&[], true);
    }

    #[test]
    fn cookies_are_found_and_the_look_follows_them() {
        let both = headers(&[("cookie", "a=1; wsb_session=x; wsb_language=en"), ("accept-language", "da")]);
        assert_eq!((cookie(&both, SESSION), cookie(&both, "b")), (Some("x"), None));
        assert_eq!(Look::of(&both).language, Language::English);
        assert_eq!(Look::of(&headers(&[("accept-language", "en-GB,en;q=0.9")])).language, Language::English);
        assert_eq!(Look::of(&headers(&[("accept-language", "de")])).language, Language::Danish);
        assert_eq!(Look::of(&headers(&[("cookie", "wsb_theme=dark")])).theme, Theme::Dark);
        assert!(is_secure(&headers(&[("x-forwarded-proto", "https")])) && !is_secure(&headers(&[])));
    }
}
