//! `/api/v1/audit`, and the one way in which a call notes what its caller does.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::extract::{Query, understood};
use super::problem::{Problem, store_failed};
use crate::core::audit::{Action, Deed, Inspection, Order, Soundness};
use crate::core::time::Moment;
use crate::ops::{self, AuditFilter, WhyRefused};
use crate::store::{Store, StoreError};
use crate::writer::Access;

impl Principal {
    /// Returns what the caller does, to be completed and given to [`audit`].
    #[must_use]
    pub fn does(&self, action: Action, about: &str) -> Deed {
        Deed::new(&self.name, &self.role.to_string(), action, about)
    }
}

/// Notes what is done, in the job of the writer that does it and once it has
/// succeeded: both are committed together, before the call is answered.
///
/// ```ignore
/// let deed = principal.does(Action::QueuePaused, &recipient.to_string()).because(why);
/// server.writer.ask(move |access| { …; audit(access, deed) }).await
/// ```
///
/// # Errors
/// When the store fails.
pub fn audit(access: &mut Access<'_, Store>, deed: Deed) -> Result<(), StoreError> {
    ops::note(access.records, access.now, deed)
}

/// Checks the words for why something is done. They are never logged.
///
/// # Errors
/// A problem that says what a reason is.
pub fn reason(text: &str) -> Result<&str, Problem> {
    ops::reason(text).map_err(|refused| match refused {
        WhyRefused::Missing => Problem::new(400, refused.to_string()).detail("say it as {\"why\": \"…\"}"),
        WhyRefused::NotALine | WhyRefused::NamesSomebody => Problem::new(400, "why: not taken").detail(refused.to_string()),
    })
}

/// The body of an order that may say why it is given, and may only be tried; none
/// is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MayBeTried {
    pub(super) why: Option<String>,
    pub(super) dry_run: bool,
}

/// Checks the words for why something is done that need not be explained: an empty
/// text says nothing.
///
/// # Errors
/// A problem that says what a reason is.
pub fn reason_if_any(why: Option<&str>) -> Result<Option<Box<str>>, Problem> {
    let why = why.filter(|why| !why.trim().is_empty());
    why.map(|why| reason(why).map(Into::into)).transpose()
}

/// What can be asked of the log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    since: Option<String>,
    until: Option<String>,
    order: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/audit`
pub async fn list(State(server): State<Shared>, Query(asked): Query<Asked>) -> Result<Json<Value>, Problem> {
    let moment = |name: &str, text: &Option<String>| match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => understood(name, Moment::parse(text)).map(Some),
    };
    let filter = AuditFilter { since: moment("since", &asked.since)?, until: moment("until", &asked.until)? };
    let order = match asked.order.as_deref() {
        None | Some("" | "oldest") => Order::OldestFirst,
        Some("newest") => Order::NewestFirst,
        Some(_) => return Err(Problem::new(400, "order: not understood").detail("expected oldest or newest")),
    };
    let after = match asked.cursor.as_deref() {
        None | Some("") => None,
        Some(cursor) => Some(cursor.parse().map_err(|_| Problem::new(400, "this cursor is not one of ours"))?),
    };
    let limit = asked.limit.unwrap_or(100).clamp(1, ops::PAGE);
    let page = server.writer.ask(move |access| ops::audit_page(access.records, filter, order, after, limit)).await?;
    Ok(Json(page.map_err(|error| store_failed(&error))?))
}

/// `GET /api/v1/audit/verify`: whether the log is as it was written.
pub async fn verify(State(server): State<Shared>) -> Result<Json<Value>, Problem> {
    let extent = server.writer.ask(|access| ops::audit_extent(access.records)).await?.map_err(|error| store_failed(&error))?;
    let mut inspection = Inspection::of(extent);
    let mut after = None;
    // Page by page, so that the writer is never held up for long. What is added
    // meanwhile is not looked at.
    loop {
        let (step, place) = (inspection, after);
        let (step, place, over) = server
            .writer
            .ask(move |access| {
                let (mut step, mut place) = (step, place);
                let over = ops::inspect(access.records, &mut step, &mut place, extent.newest);
                (step, place, over)
            })
            .await?;
        (inspection, after) = (step, place);
        if over.map_err(|error| store_failed(&error))? {
            break;
        }
    }
    Ok(Json(match inspection.end() {
        Soundness::Sound { entries } => json!({ "sound": true, "entries": entries, "broken_at": null }),
        Soundness::Broken { at } => json!({ "sound": false, "entries": null, "broken_at": at }),
    }))
}
