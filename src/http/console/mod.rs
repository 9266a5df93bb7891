//! The console: sessions, forms, and the calls of the admin API that pages are
//! made of.
//!
//! A page calls the API within the process, as whoever is logged in. So there is
//! one table of who may do what, one place that notes what was done, and nothing
//! that the console can do and the API cannot.

mod calendar;
mod deeds;
mod lacking;
mod pages;
mod session;
mod visit;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

use self::calendar::Counted;
use self::session::Sessions;
use self::visit::{Look, Visitor};
use super::{Principal, Shared};
use crate::app::now;
use crate::config::Role;
use crate::console::view::{Items, Recipient, Refusal};
use crate::console::{Assets, Flow, Frame, Samples, Section, flow, page, samples::Sample};

/// The largest form: a page of selected ids.
const LARGEST_FORM: usize = 256 * 1024;

/// How often queues are looked at for the last hour.
const SAMPLE_EVERY: Duration = Duration::from_secs(20);

/// The largest answer of the API that a page is made of.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// What pages may do: nothing from outside, nothing inline, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The console.
pub struct Console {
    server: Shared,
    api: Router,
    sessions: Sessions,
    samples: Mutex<Samples>,
    flow: Mutex<Flow>,
    calendar: Counted,
    assets: Assets,
}

impl Console {
    /// Returns a console over the calls of the API, without what admits to them.
    pub fn new(server: &Shared, api: Router<Shared>) -> Arc<Self> {
        Arc::new(Self {
            server: Arc::clone(server),
            api: api.with_state(Arc::clone(server)),
            sessions: Sessions::default(),
            samples: Mutex::new(Samples::starting(now(), server.dead_at_start.iter().copied())),
            flow: Mutex::default(),
            calendar: Counted::default(),
            assets: Assets::default(),
        })
    }

    /// Calls the API as somebody.
    async fn call(&self, principal: &Principal, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Refusal> {
        let unreadable = || Refusal { status: 500, ..Refusal::default() };
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut request = request.body(body).map_err(|_| unreadable())?;
        request.extensions_mut().insert(principal.clone());
        // A router refuses nothing by an error.
        let Ok(answer) = self.api.clone().oneshot(request).await;
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), LARGEST_ANSWER).await.map_err(|_| unreadable())?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let refusal: Refusal = serde_json::from_value(value).unwrap_or_default();
        Err(Refusal { status: status.as_u16(), ..refusal })
    }

    async fn read<T: DeserializeOwned>(&self, principal: &Principal, path: &str) -> Result<T, Refusal> {
        let value = self.call(principal, Method::GET, path, None).await?;
        serde_json::from_value(value).map_err(|_| Refusal { status: 500, ..Refusal::default() })
    }

    /// Reads what a page is made of.
    async fn get<T: DeserializeOwned>(&self, visitor: &Visitor, path: &str) -> Result<T, Refused> {
        self.read(&visitor.principal, path).await.map_err(|refusal| Refused::because(self, visitor, &refusal))
    }

    /// Reads what a page can do without: what the API does not have or refuses
    /// is not there.
    async fn maybe<T: DeserializeOwned>(&self, visitor: &Visitor, path: &str) -> Option<T> {
        self.read(&visitor.principal, path).await.ok()
    }

    /// Does what a form asks for.
    async fn post(&self, visitor: &Visitor, path: &str, body: &Value) -> Result<Value, Refused> {
        let done = self.call(&visitor.principal, Method::POST, path, Some(body)).await;
        done.map_err(|refusal| Refused::because(self, visitor, &refusal))
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        // A panic elsewhere leaves nothing half done.
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        // Likewise.
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been counted since the start.
    fn counted(&self) -> flow::Counted {
        let through = self.server.metrics.gone_through();
        flow::Counted {
            taken_in: through.taken_in,
            delivered: through.delivered,
            prevented: through.prevented,
            contradictory: through.contradictory,
        }
    }

    /// Makes a page for somebody who is logged in.
    fn page(&self, visitor: &Visitor, section: Section, render: impl FnOnce(&Frame<'_>) -> String) -> Response {
        let names = self.names(visitor);
        let frame = Frame {
            language: visitor.look.language,
            theme: visitor.look.theme,
            who: Some(&visitor.who),
            csrf: &visitor.csrf,
            path: &visitor.path,
            section,
            now: now(),
            assets: &self.assets,
            notice: deeds::notice(&visitor.asked("done"), visitor.look.language),
            names: &names,
            reload: matches!(section, Section::Overview | Section::Replays).then_some(30),
        };
        Html(render(&frame)).into_response()
    }

    /// Makes the page that asks for a token.
    fn login(&self, look: Look, wrong: Option<&str>) -> String {
        let names = BTreeMap::new();
        let frame = Frame {
            language: look.language,
            theme: look.theme,
            who: None,
            csrf: "",
            path: "/console/login",
            section: Section::Other,
            now: now(),
            assets: &self.assets,
            notice: None,
            names: &names,
            reload: None,
        };
        page::login(&frame, wrong)
    }

    /// What the recipients that somebody may see are called.
    fn names(&self, visitor: &Visitor) -> BTreeMap<String, String> {
        let rules = Arc::clone(&self.server.rules.borrow());
        let seen = rules.recipients().filter(|rule| visitor.principal.sees(rule.recipient));
        seen.map(|rule| (rule.recipient.to_string(), rule.name.to_string())).collect()
    }

    /// Looks at every queue from time to time, until the writer is gone.
    pub async fn sample(self: Arc<Self>) {
        let myself = Principal { name: "console".into(), role: Role::Viewer };
        loop {
            self.flow().add(now(), self.counted());
            match self.read::<Items<Recipient>>(&myself, "/recipients").await {
                Ok(recipients) => {
                    let held = recipients.items.iter().filter_map(|one| {
                        let recipient = crate::core::ids::Recipient::parse(&one.recipient).ok()?;
                        Some((recipient, Sample { waiting: one.waiting(), dead: one.dead }))
                    });
                    self.samples().add(now(), held);
                }
                Err(Refusal { status: 503, .. }) => return,
                Err(_) => {}
            }
            tokio::time::sleep(SAMPLE_EVERY).await;
        }
    }
}

/// A page that says what did not work.
pub struct Refused(Box<Response>);

impl Refused {
    fn because(console: &Console, visitor: &Visitor, refusal: &Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let page = console.page(visitor, Section::Other, |frame| page::refused(frame, refusal));
        Self(Box::new((status, page).into_response()))
    }

    /// A form that is not one of ours.
    fn form(console: &Console, visitor: &Visitor) -> Self {
        let title = visitor.look.language.texts().error_form.to_owned();
        Self::because(console, visitor, &Refusal { status: 400, title, detail: None })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// Returns every page.
pub fn router(console: &Arc<Console>) -> Router {
    Router::new()
        .route("/console", get(pages::overview))
        .route("/console/", get(|| async { Redirect::permanent("/console") }))
        .route("/console/login", get(deeds::login_page).post(deeds::login))
        .route("/console/logout", post(deeds::logout))
        .route("/console/look", post(deeds::look))
        .route("/console/search", post(deeds::search))
        .route("/console/recipients", get(pages::recipients))
        .route("/console/recipients/{recipient}", get(pages::recipient))
        .route("/console/recipients/{recipient}/resume", post(deeds::resume))
        .route("/console/pauses", get(pages::pauses).post(deeds::pause))
        .route("/console/lanes", get(pages::lanes))
        .route("/console/lanes/{id}/park", post(deeds::park))
        .route("/console/lanes/{id}/release", post(deeds::release))
        .route("/console/failures", get(pages::failures))
        .route("/console/deliveries/{id}", get(pages::delivery))
        .route("/console/deliveries/{id}/discard", post(deeds::discard))
        .route("/console/events", get(pages::trace_of_asked))
        .route("/console/events/{id}", get(pages::trace))
        .route("/console/replays", get(pages::replays).post(deeds::replay))
        .route("/console/replays/preview", post(deeds::preview))
        .route("/console/replays/{id}", get(pages::replay))
        .route("/console/replays/{id}/{wish}", post(deeds::wish))
        .route("/console/quarantine", get(pages::quarantine))
        .route("/console/quarantine/{id}/retry", post(deeds::retry))
        .route("/console/quarantine/{id}/discard", post(deeds::throw_away))
        .route("/console/gdpr", get(pages::gdpr))
        .route("/console/gdpr/notices/close", post(deeds::close_notices))
        .route("/console/gdpr/erasures/{id}/confirm", post(deeds::confirm_erasure))
        .route("/console/audit", get(pages::audit))
        .route("/console/runbook", get(pages::runbook))
        .route("/console/assets/{name}", get(asset))
        .route("/console/{*rest}", get(pages::nothing_there))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(middleware::from_fn(guard))
        .with_state(Arc::clone(console))
}

/// An embedded file. Its name changes with its content, so it may be kept.
async fn asset(State(console): State<Arc<Console>>, Path(name): Path<String>) -> Response {
    match console.assets.find(&name) {
        Some(asset) => {
            let headers = [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, asset.content).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Tells browsers what pages may do, and not to keep them.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in
        [(header::CONTENT_SECURITY_POLICY, POLICY), (header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::REFERRER_POLICY, "no-referrer")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
