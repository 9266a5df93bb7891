//! `/api/v1/deliveries` and `/api/v1/events/{event_id}/trace`

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::reason;
use super::extract::{Body, Path, Query, understood};
use super::known;
use super::look::look;
use super::problem::{Problem, store_failed};
use crate::core::audit::Action;
use crate::core::ids::{Recipient, WsbId};
use crate::core::records::Archive;
use crate::core::replay::{Filter, StateFilter};
use crate::core::time::Moment;
use crate::ops::{self, DiscardError, Search, Searched, Sought, Told};
use crate::store::StoreError;

/// What can be asked of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    id: Option<String>,
    #[serde(deserialize_with = "listed")]
    ids: Option<Vec<String>>,
    state: Option<String>,
    recipient: Option<String>,
    entity: Option<String>,
    reason: Option<String>,
    since: Option<String>,
    until: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// A list that is there, be it empty: `null` is none.
fn listed<'de, D: Deserializer<'de>>(list: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(list).map(Some)
}

impl Asked {
    /// Returns what is asked for within what the caller may see, checked; `None`
    /// when none of it is.
    pub fn filter_for(&self, principal: &Principal) -> Result<Option<Filter>, Problem> {
        let filter = self.filter()?;
        Ok(match principal.scope() {
            Some(own) if filter.recipient.is_some_and(|asked| asked != own) => None,
            Some(own) => Some(Filter { recipient: Some(own), ..filter }),
            None => Some(filter),
        })
    }

    /// Refuses what is there and empty: whoever sends it has found nothing to name, and
    /// does not mean everything.
    pub fn refuse_empty(&self) -> Result<(), Problem> {
        if self.ids.as_ref().is_some_and(Vec::is_empty) {
            let detail = "an empty list names nothing: send no request for it, or leave ids out to select by the rest of the filter";
            return Err(Problem::new(400, "filter.ids: empty").detail(detail));
        }
        let texts = [
            ("id", &self.id),
            ("state", &self.state),
            ("recipient", &self.recipient),
            ("entity", &self.entity),
            ("reason", &self.reason),
            ("since", &self.since),
            ("until", &self.until),
        ];
        match texts.iter().find(|(_, text)| text.as_deref() == Some("")) {
            Some((name, _)) => Err(Problem::new(400, format!("filter.{name}: empty")).detail("say which, or leave it out for all of them")),
            None => Ok(()),
        }
    }

    /// Refuses what belongs to a page of a list where there are no pages.
    pub fn refuse_paging(&self) -> Result<(), Problem> {
        let name = match (self.limit, &self.cursor) {
            (Some(_), _) => "limit",
            (None, Some(_)) => "cursor",
            (None, None) => return Ok(()),
        };
        let detail = "expected none: everything that is selected is replayed; canary sends a few at first";
        Err(Problem::new(422, format!("filter.{name}: not understood")).detail(detail.to_owned()))
    }

    /// Returns what is asked for, checked.
    fn filter(&self) -> Result<Filter, Problem> {
        let refused = |name: &str, expected: &str| Problem::new(400, format!("{name}: not understood")).detail(expected.to_owned());
        let given = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        let moment = |name: &str, text: &Option<String>| given(text).map(|text| understood(name, Moment::parse(&text))).transpose();
        let state = match given(&self.state) {
            None => None,
            Some(state) => Some(
                StateFilter::parse(&state).ok_or_else(|| refused("state", "expected pending, retrying, dead, delivered or withdrawn"))?,
            ),
        };
        let recipient = given(&self.recipient).map(|text| understood("recipient", Recipient::parse(&text))).transpose()?;
        let mut ids = Vec::new();
        for text in given(&self.id).iter().chain(self.ids.iter().flatten()) {
            ids.push(understood("id", WsbId::parse(text))?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Filter {
            ids,
            state,
            recipient,
            entity: word("entity", given(&self.entity))?,
            reason: word("reason", given(&self.reason))?,
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
        })
    }
}

/// Returns the name of a type or a reason. Kept with a replay and in the audit log,
/// where nothing long and no personnummer is to end up.
fn word(name: &str, given: Option<String>) -> Result<Option<Box<str>>, Problem> {
    let is_name = |text: &String| {
        let is_long_number = text.split(|letter: char| !letter.is_ascii_digit()).any(|digits| digits.len() > 3);
        text.chars().count() <= 64 && !is_long_number && text.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter))
    };
    match given {
        Some(text) if !is_name(&text) => {
            let expected = "expected letters, digits, - and _: at most 64, and no more than three digits in a row";
            Err(Problem::new(400, format!("{name}: not understood")).detail(expected.to_owned()))
        }
        given => Ok(given.map(Into::into)),
    }
}

/// How long a page that holds nothing yet is gone on with before it is answered.
const PATIENCE: Duration = Duration::from_millis(100);

/// Takes turns until one says that it is the last, or the time is over.
fn until_found<T, E>(patience: Duration, mut turn: impl FnMut() -> Result<(T, bool), E>) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        let (page, is_last) = turn()?;
        if is_last || begun.elapsed() >= patience {
            return Ok(page);
        }
    }
}

/// `GET /api/v1/deliveries`
pub async fn list(State(server): State<Shared>, principal: Principal, Query(asked): Query<Asked>) -> Result<Json<Value>, Problem> {
    let Some(filter) = asked.filter_for(&principal)? else { return Ok(Json(json!({ "items": [], "next_cursor": null }))) };
    known::all(&server, &principal, &filter).await?;
    let mut cursor = match asked.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
        None => None,
        Some(cursor) => Some(ops::Cursor::parse(cursor).ok_or_else(|| {
            Problem::new(400, "this cursor is not one of ours").detail("or one of an older broker: begin with the first page".to_owned())
        })?),
    };
    let limit = asked.limit.unwrap_or(100).clamp(1, ops::PAGE);
    let rules = server.rules.borrow().clone();
    let page = look(&server, move |reader| {
        until_found(PATIENCE, || {
            let page = ops::deliveries(reader, &rules, &filter, cursor, limit)?;
            let next = page["next_cursor"].as_str().and_then(ops::Cursor::parse);
            let is_last = next.is_none() || page["items"] != json!([]);
            cursor = next;
            Ok::<_, StoreError>((page, is_last))
        })
    });
    let page = page.await?.map_err(|error| store_failed(&error))?;
    Ok(Json(page))
}

/// `GET /api/v1/deliveries/{id}`
pub async fn show(State(server): State<Shared>, principal: Principal, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let id = understood("id", WsbId::parse(&id))?;
    let told = Told { only: principal.scope() };
    let shown = match sought(&server, id, told).await?.key {
        Some(key) => server.writer.ask(move |access| ops::delivery(access.engine, access.records, key, told, access.now)).await?,
        None => Ok(None),
    };
    let shown = shown.map_err(|error| store_failed(&error))?;
    shown.map(Json).ok_or_else(|| Problem::new(404, "no delivery has that id"))
}

/// Returns the delivery of an id, as far as it may be told of: the writer looks
/// into its index, and nobody waits while rows are searched for one that is older
/// than that. What may not be told is searched for like what does not exist.
pub(super) async fn sought(server: &Shared, id: WsbId, told: Told) -> Result<Sought, Problem> {
    let indexed = server.writer.ask(move |access| access.records.delivery_by_id(id)).await?;
    let indexed = indexed.map_err(|error| store_failed(&error))?.filter(|key| told.of(key.recipient));
    if indexed.is_some() {
        return Ok(Sought { id, key: indexed });
    }
    let mut search = Search::new(id, told);
    loop {
        // A turn for each page: others look meanwhile.
        match look(server, move |reader| search.page(reader)).await?.map_err(|error| store_failed(&error))? {
            Searched::Found(key) => return Ok(Sought { id, key: Some(key) }),
            Searched::NotYet(further) => search = further,
            Searched::Nowhere => return Ok(Sought { id, key: None }),
        }
    }
}

/// What can be asked of the groups.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AskedGroups {
    recipient: Option<String>,
}

/// `GET /api/v1/deliveries/groups`: the dead by cause.
pub async fn groups(State(server): State<Shared>, Query(asked): Query<AskedGroups>) -> Result<Json<Value>, Problem> {
    let recipient = asked.recipient.as_deref().filter(|text| !text.is_empty());
    let recipient = recipient.map(|text| understood("recipient", Recipient::parse(text))).transpose()?;
    if let Some(recipient) = recipient {
        known::recipient(&server, recipient).await?;
    }
    let groups = server.writer.ask(move |access| ops::delivery_groups(access.records, access.engine.rules(), recipient)).await?;
    groups.map(Json).map_err(|error| store_failed(&error))
}

/// The body of a discard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discard {
    why: String,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/deliveries/{id}/discard`
pub async fn discard(
    State(server): State<Shared>,
    principal: Principal,
    Path(id): Path<String>,
    Body(body): Body<Discard>,
) -> Result<Json<Value>, Problem> {
    let id = understood("id", WsbId::parse(&id))?;
    let deed = principal.does(Action::DeliveryDiscarded, &id.to_string()).because(reason(&body.why)?).tried(body.dry_run);
    let sought = sought(&server, id, Told::ALL).await?;
    let discarded =
        server.writer.ask(move |access| ops::discard_delivery(access.engine, access.records, sought, deed, access.now, access.out)).await?;
    match discarded {
        Ok(()) => {
            if !body.dry_run {
                // The reason is a person's words and may name somebody: it is not logged.
                tracing::info!(%id, "delivery discarded by an operator");
            }
            Ok(Json(json!({ "id": id.to_string(), "state": "withdrawn", "reason": "operator", "dry_run": body.dry_run })))
        }
        Err(error @ DiscardError::Unknown) => Err(Problem::new(404, error.to_string())),
        Err(error @ DiscardError::TooLate) => Err(Problem::new(409, error.to_string())),
        Err(DiscardError::Store(error)) => Err(store_failed(&error)),
    }
}

/// `GET /api/v1/events/{event_id}/trace`
pub async fn trace(State(server): State<Shared>, principal: Principal, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let told = Told { only: principal.scope() };
    let asked = id.clone();
    let events = server.writer.ask(move |access| ops::trace(access.engine, access.records, &asked, told, access.now)).await?;
    let events = events.map_err(|error| store_failed(&error))?;
    // What is no event yet is nobody's.
    let lying = if told.only.is_none() { lying(&server, &id).await? } else { Vec::new() };
    if events.is_empty() && lying.is_empty() {
        return Err(Problem::new(404, "no event of that id is known"));
    }
    Ok(Json(json!({ "event_id": id, "lying_in_quarantine": lying, "events": events })))
}

/// Returns the messages in quarantine that say the id of an event.
async fn lying(server: &Shared, event_id: &str) -> Result<Vec<Value>, Problem> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let event_id = event_id.to_owned();
        // A turn for each page: others look meanwhile.
        let page = look(server, move |reader| ops::lying(reader, &event_id, after)).await?;
        let (lying, last) = page.map_err(|error| store_failed(&error))?;
        found.extend(lying);
        found.truncate(ops::MOST_LYING);
        match last {
            Some(last) if found.len() < ops::MOST_LYING => after = last,
            Some(_) | None => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_holds_nothing_is_gone_on_with_for_a_while() {
        let turns = |patience, found_at| {
            let mut turns = 0;
            until_found(patience, || {
                turns += 1;
                Ok::<_, ()>((turns, turns == found_at))
            })
        };
        assert_eq!(turns(Duration::from_secs(600), 40), Ok(40));
        assert_eq!(turns(Duration::ZERO, 40), Ok(1), "an answer comes soon");
    }
}
