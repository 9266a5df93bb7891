//! What forms do. Each is answered with a page to go to, so that showing it again
//! does nothing again; only a trial of a replay is a page itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::Form;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::pages::on_the_clock;
use super::visit::{LANGUAGE, Look, Posted, SESSION, THEME, Visitor, cookie, is_ours, is_secure};
use super::{Console, Refused};
use crate::app::now;
use crate::config::TokenHash;
use crate::console::form::{encode, id_path, may_be_number, with_query};
use crate::console::view::{Delivery, Refusal, Selection, Trace};
use crate::console::{Language, Section, Theme, replays as replay_pages, search as search_page};
use crate::core::audit::Action;
use crate::http::Refused as NotAdmitted;
use crate::http::audit::audit;

type Done = Result<Response, Refused>;
type Shown = State<Arc<Console>>;

/// Returns what a page says that one is sent to after a deed.
pub fn notice(done: &str, language: Language) -> Option<&'static str> {
    let texts = language.texts();
    match done {
        "paused" => Some(texts.done_paused),
        "resumed" => Some(texts.done_resumed),
        "stopped" => Some(texts.done_stopped),
        "started" => Some(texts.done_started),
        "released" => Some(texts.done_released),
        "discarded" => Some(texts.done_discarded),
        "retried" => Some(texts.done_retried),
        "thrown" => Some(texts.done_thrown),
        "parked" => Some(texts.done_parked),
        "let-go" => Some(texts.done_let_go),
        "closed" => Some(texts.done_closed),
        "erased" => Some(texts.done_erased),
        // It stands in the address, so it may be anything.
        _ => None,
    }
}

fn go(path: &str, done: &str) -> Response {
    Redirect::to(&with_query(path, &[("done", done)])).into_response()
}

/// The page that asks for a token.
pub async fn login_page(State(console): Shown, RawQuery(query): RawQuery, headers: HeaderMap) -> Html<String> {
    let look = Look::of(&headers);
    let texts = look.language.texts();
    let wrong = match query.as_deref() {
        Some("ended") => Some(texts.login_ended),
        Some("out") => Some(texts.logged_out),
        _ => None,
    };
    Html(console.login(look, wrong))
}

/// What the login sends.
#[derive(Deserialize)]
pub struct Login {
    #[serde(default)]
    token: String,
}

/// Begins a session.
pub async fn login(
    State(console): Shown,
    peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    Form(sent): Form<Login>,
) -> Response {
    let look = Look::of(&headers);
    let texts = look.language.texts();
    let again = |status: u16, why: &str| {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
        (status, Html(console.login(look, Some(why)))).into_response()
    };
    if !is_ours(&headers) {
        return again(403, texts.error_form);
    }
    let token = sent.token.trim();
    let from = peer.map_or(IpAddr::from([0; 4]), |axum::Extension(ConnectInfo(peer))| peer.ip());
    let principal = match console.server.identify((!token.is_empty()).then_some(token), from) {
        Ok(principal) => principal,
        Err(NotAdmitted::Closed) => return again(403, texts.login_closed),
        Err(NotAdmitted::NoToken) => return again(401, texts.login_missing),
        Err(NotAdmitted::UnknownToken | NotAdmitted::NotAllowed) => return again(401, texts.login_unknown),
        Err(NotAdmitted::TooMany { seconds }) => {
            let why = crate::console::language::fill(texts.login_too_many, &[&seconds.to_string()]);
            return ([(header::RETRY_AFTER, seconds.to_string())], again(429, &why)).into_response();
        }
    };
    let deed = principal.does(Action::SignedIn, "console");
    let noted = console.server.writer.ask(move |access| audit(access, deed)).await;
    let begun = console.sessions.begin(principal, TokenHash::of(token), Instant::now());
    let (Ok(Ok(())), Ok(id)) = (noted, begun) else { return again(503, texts.error_later) };
    let secure = if is_secure(&headers) { "; Secure" } else { "" };
    // No age: it goes with the browser, and is over here before that.
    let cookie = format!("{SESSION}={}; Path=/console; HttpOnly; SameSite=Strict{secure}", id.reveal());
    ([(header::SET_COOKIE, cookie)], Redirect::to("/console")).into_response()
}

/// Ends the session.
pub async fn logout(State(console): Shown, headers: HeaderMap, _: Posted) -> Response {
    if let Some(id) = cookie(&headers, SESSION) {
        console.sessions.end(id);
    }
    let gone = format!("{SESSION}=; Path=/console; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, gone)], Redirect::to("/console/login?out")).into_response()
}

/// How pages are to look.
#[derive(Deserialize)]
pub struct Chosen {
    language: Option<String>,
    theme: Option<String>,
    back: Option<String>,
}

/// Changes how pages look. Needs no session: there is nothing to protect.
pub async fn look(headers: HeaderMap, Form(chosen): Form<Chosen>) -> Response {
    let secure = if is_secure(&headers) { "; Secure" } else { "" };
    let keep = |name: &str, value: &str| {
        (header::SET_COOKIE, format!("{name}={value}; Path=/console; Max-Age=31536000; SameSite=Strict; HttpOnly{secure}"))
    };
    let mut response = Redirect::to(own_page(chosen.back.as_deref())).into_response();
    let language = chosen.language.as_deref().and_then(Language::parse).map(|language| keep(LANGUAGE, language.code()));
    let theme = chosen.theme.as_deref().and_then(Theme::parse).map(|theme| keep(THEME, theme.word()));
    for (name, value) in [language, theme].into_iter().flatten() {
        if let Ok(value) = value.parse() {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// Returns a page of ours to go back to, whatever was sent.
fn own_page(back: Option<&str>) -> &str {
    let is_page = |back: &&str| {
        let ours = *back == "/console" || back.starts_with("/console/") || back.starts_with("/console?");
        ours && back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    back.filter(is_page).unwrap_or("/console")
}

/// Finds what an id stands for. What was searched for gets into an address only
/// once something is known by it.
pub async fn search(State(console): Shown, posted: Posted) -> Response {
    let visitor = &posted.visitor;
    let texts = visitor.look.language.texts();
    let id = posted.field("id");
    let nothing = |why: &str| console.page(visitor, Section::Other, |frame| search_page::nothing(frame, why));
    if id.is_empty() {
        return nothing(texts.search_empty);
    }
    if may_be_number(id) {
        return nothing(texts.search_number);
    }
    if console.maybe::<Trace>(visitor, &format!("/events/{}/trace", encode(id))).await.is_some() {
        return Redirect::to(&id_path("/console/events", id)).into_response();
    }
    if console.maybe::<Delivery>(visitor, &format!("/deliveries/{}", encode(id))).await.is_some() {
        return Redirect::to(&format!("/console/deliveries/{}", encode(id))).into_response();
    }
    nothing(texts.search_nothing)
}

/// Begins a pause.
pub async fn pause(State(console): Shown, posted: Posted) -> Done {
    let mut body = json!({ "why": posted.field("why") });
    if let Ok(hours) = posted.field("hours").parse::<u16>() {
        body["until"] = now().plus_seconds(3600 * i64::from(hours)).to_string().into();
    }
    let path = format!("/recipients/{}/pause", encode(posted.field("recipient")));
    console.post(&posted.visitor, &path, &body).await?;
    Ok(go("/console/pauses", "paused"))
}

/// Ends a pause, or has a queue tried that does not work.
pub async fn resume(State(console): Shown, Path(recipient): Path<String>, posted: Posted) -> Done {
    let body = json!({ "why": posted.field("why") });
    console.post(&posted.visitor, &format!("/recipients/{}/resume", encode(&recipient)), &body).await?;
    Ok(go(&format!("/console/recipients/{}", encode(&recipient)), "resumed"))
}

/// Gives a delivery up for good.
pub async fn discard(State(console): Shown, Path(id): Path<String>, posted: Posted) -> Done {
    let body = json!({ "why": posted.field("why") });
    console.post(&posted.visitor, &format!("/deliveries/{}/discard", encode(&id)), &body).await?;
    Ok(go(&format!("/console/deliveries/{}", encode(&id)), "discarded"))
}

/// Holds the lane in which a delivery waits.
pub async fn park(State(console): Shown, Path(id): Path<String>, posted: Posted) -> Done {
    let body = json!({ "why": posted.field("why") });
    console.post(&posted.visitor, &format!("/lanes/{}/park", encode(&id)), &body).await?;
    Ok(go("/console/lanes", "parked"))
}

/// Lets a parked lane go on.
pub async fn release(State(console): Shown, Path(id): Path<String>, posted: Posted) -> Done {
    let body = json!({ "why": posted.field("why") });
    console.post(&posted.visitor, &format!("/lanes/{}/release", encode(&id)), &body).await?;
    Ok(go("/console/lanes", "let-go"))
}

/// Takes deletion notices off the list that a vendor has dealt with in another way.
pub async fn close_notices(State(console): Shown, posted: Posted) -> Done {
    let body = json!({ "recipient": posted.field("recipient"), "until": posted.field("until"), "why": posted.field("why") });
    console.post(&posted.visitor, "/retention/notices/close", &body).await?;
    Ok(go("/console/gdpr", "closed"))
}

/// Confirms an erasure as the second person.
pub async fn confirm_erasure(State(console): Shown, Path(id): Path<u64>, posted: Posted) -> Done {
    console.post(&posted.visitor, &format!("/erasures/{id}/confirm"), &json!({})).await?;
    Ok(go("/console/gdpr", "erased"))
}

/// Returns the filter that a form asks for, as the API takes it, and the fields
/// that make the same filter again; `None` when nothing was selected.
fn filter(posted: &Posted) -> Option<(Value, Vec<(String, String)>)> {
    let mut filter = Map::new();
    let mut fields = vec![("what".to_owned(), posted.field("what").to_owned())];
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            filter.insert(name.to_owned(), value.into());
        }
    };
    fields.push(("state".to_owned(), posted.field("state").to_owned()));
    add("state", posted.field("state").to_owned());
    if posted.field("what") == "selected" {
        let ids: Vec<&str> = posted.fields("id").filter(|id| !id.is_empty()).collect();
        fields.extend(ids.iter().map(|id| ("id".to_owned(), (*id).to_owned())));
        match ids.as_slice() {
            [] => return None,
            [id] => add("id", (*id).to_owned()),
            many => drop(filter.insert("ids".to_owned(), json!(many))),
        }
    } else {
        for name in ["recipient", "entity", "reason"] {
            add(name, posted.field(name).to_owned());
            fields.push((name.to_owned(), posted.field(name).to_owned()));
        }
        for name in ["since", "until"] {
            add(name, on_the_clock(posted.field(name)));
            fields.push((name.to_owned(), posted.field(name).to_owned()));
        }
    }
    Some((Value::Object(filter), fields))
}

fn nothing_selected(console: &Console, visitor: &Visitor) -> Refused {
    let title = visitor.look.language.texts().nothing_selected.to_owned();
    Refused::because(console, visitor, &Refusal { status: 400, title, detail: None })
}

/// Tries a replay out: nothing is sent.
pub async fn preview(State(console): Shown, posted: Posted) -> Done {
    let Some((filter, fields)) = filter(&posted) else { return Err(nothing_selected(&console, &posted.visitor)) };
    let tried = console.post(&posted.visitor, "/replays", &json!({ "filter": filter, "dry_run": true })).await?;
    let selection: Selection = serde_json::from_value(tried).unwrap_or_default();
    Ok(console.page(&posted.visitor, Section::Replays, |frame| replay_pages::preview(frame, &selection, &fields)))
}

/// Begins a replay.
pub async fn replay(State(console): Shown, posted: Posted) -> Done {
    let Some((filter, _)) = filter(&posted) else { return Err(nothing_selected(&console, &posted.visitor)) };
    let mut body = json!({ "filter": filter, "why": posted.field("why") });
    for (field, name) in [("rate", "rate_per_second"), ("canary", "canary")] {
        if let Ok(number) = posted.field(field).parse::<u32>() {
            body[name] = number.into();
        }
    }
    let begun = console.post(&posted.visitor, "/replays", &body).await?;
    let selection: Selection = serde_json::from_value(begun).unwrap_or_default();
    match selection.id {
        Some(id) => Ok(go(&format!("/console/replays/{}", encode(&id)), "started")),
        None => Ok(Redirect::to("/console/replays").into_response()),
    }
}

/// Stops a replay, has its rest sent, or goes on with one that was stopped.
pub async fn wish(State(console): Shown, Path((id, wish)): Path<(String, String)>, posted: Posted) -> Done {
    let visitor = &posted.visitor;
    let path = format!("/replays/{}", encode(&id));
    let body = json!({ "why": posted.field("why") });
    let done = match wish.as_str() {
        "stop" => {
            let stopped = console.call(&visitor.principal, axum::http::Method::DELETE, &path, Some(&body)).await;
            stopped.map_err(|refusal| Refused::because(&console, visitor, &refusal))?;
            "stopped"
        }
        "go" | "resume" => {
            console.post(visitor, &format!("{path}/{wish}"), &body).await?;
            "released"
        }
        _ => return Err(Refused::because(&console, visitor, &Refusal { status: 404, ..Refusal::default() })),
    };
    Ok(go(&format!("/console{path}"), done))
}

/// Takes a message in again.
pub async fn retry(State(console): Shown, Path(id): Path<u64>, posted: Posted) -> Done {
    let body = json!({ "why": posted.field("why") });
    console.post(&posted.visitor, &format!("/quarantine/{id}/retry"), &body).await?;
    Ok(go("/console/quarantine", "retried"))
}

/// Discards a message.
pub async fn throw_away(State(console): Shown, Path(id): Path<u64>, posted: Posted) -> Done {
    let body = json!({ "why": posted.field("why") });
    console.post(&posted.visitor, &format!("/quarantine/{id}/discard"), &body).await?;
    Ok(go("/console/quarantine", "thrown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_back_to_our_own_pages_only() {
        let check = |back: &str, expected: &str| assert_eq!(own_page(Some(back)), expected, "{back}");
        check("/console", "/console");
        check("/console/failures?state=dead", "/console/failures?state=dead");
        check("/console?done=paused", "/console?done=paused");
        for elsewhere in ["https://evil.example", "//evil.example", "/consolex", "/console/\\evil", "/console/ x\r\nset-cookie: a", ""] {
            check(elsewhere, "/console");
        }
        assert_eq!(own_page(None), "/console");
    }
}
