//! Makes an event of a message, or says why it cannot be one.
//!
//! Fields are checked in a fixed order (envelope, EntitetNavn, `type`, then the
//! rest of `data`), so that one message always has the same refusal.

use std::borrow::Cow;
use std::sync::Arc;

use super::content::{self, Subject};
use super::object::{Field, Unreadable, members};
use super::refusal::{Reason, Refusal};
use super::rfc3339;
use crate::core::event::{Change, Content, Event, Registered, Registrar};
use crate::core::ids::{Akassekode, EventMark, ExternalId, Kommunekode, Personnummer};
use crate::core::policy::{MessageType, Rules};
use crate::core::time::Day;

/// The most bytes that an event may have: 256 KiB.
pub const MAX_BYTES: usize = 262_144;

/// The most bytes of a CloudEvents `id`: it travels on as the AMQP correlation
/// id, which holds no more.
const MAX_ID: usize = 255;

const MAX_SOURCE: usize = 1024;

const ENVELOPE: [&str; 7] = ["specversion", "id", "source", "type", "time", "datacontenttype", "data"];

const DATA_PREFIX: usize = "data.".len();
const DATA: [&str; 9] = [
    "data.EntitetNavn",
    "data.Aendringstype",
    "data.EksternIdentifier",
    "data.VersionIdentifier",
    "data.Personnummer",
    "data.RegistrerendeMyndighed",
    "data.Startdato",
    "data.Slutdato",
    "data.Indhold",
];

const REGISTRAR_PREFIX: usize = "data.RegistrerendeMyndighed.".len();
const REGISTRAR: [&str; 2] = ["data.RegistrerendeMyndighed.Type", "data.RegistrerendeMyndighed.Kode"];

/// Makes an event of the bytes of a message.
///
/// Members that are not known are ignored; `null` counts as absent.
///
/// # Errors
/// Refuses whatever the contract quarantines, with the field and what was
/// expected there; see [`Reason`].
pub fn parse_event(bytes: &[u8], rules: &Rules) -> Result<Event, Refusal> {
    let text = utf8(bytes)?;
    let envelope = Envelope::read(text)?;
    let [entity, change, external, version_id, personnummer, registrar, start, end, indhold] = members(envelope.data, DATA_PREFIX, &DATA)
        .map_err(|unreadable| match unreadable {
        // The whole message has been read as JSON once, so what is wrong here is not its syntax.
        Unreadable::Json(_) => Refusal::new(Reason::NotCloudEvent, "data", "expected an object"),
        Unreadable::Repeated(path) => repeated(Reason::MalformedField, path),
    })?;

    let message_type = declared_type(&entity, rules)?;
    if !envelope.is_of(&message_type.name) {
        return Err(Refusal::new(Reason::NotCloudEvent, "type", format!("expected dk.star.dfdg.{}.v1", message_type.name)));
    }
    let change = required(
        &change,
        change
            .integer(Reason::MalformedCode, EXPECTED_CHANGE)?
            .map(|number| Change::from_number(number).ok_or_else(|| change.refuse(Reason::MalformedCode, EXPECTED_CHANGE))),
    )??;
    let external_id = required(&external, external.parsed(Reason::MalformedField, ExternalId::parse)?)?;
    let version_id: Option<Box<str>> = version_id.parsed(Reason::MalformedField, ExternalId::parse)?.map(|id| id.as_str().into());
    let personnummer = required(&personnummer, personnummer.parsed(Reason::MalformedPersonnummer, Personnummer::parse_new)?)?;
    let registrar = registrar.json().map(|json| read_registrar(json, rules)).transpose()?;
    let start_day = start.parsed(Reason::MalformedField, Day::parse)?;
    let end_day = end.parsed(Reason::MalformedField, Day::parse)?;
    if let (Some(start), Some(end_day)) = (start_day, end_day)
        && end_day < start
    {
        return Err(end.refuse(Reason::EndsBeforeStart, "expected a Slutdato on or after Startdato"));
    }
    let subject = Subject { message_type, change, rules };
    subject.check_start(&start, start_day)?;
    let content = subject.content(&indhold)?;
    let (kind, code) = registrar.as_ref().map(|registrar| (&*registrar.kind, &*registrar.code)).unwrap_or_default();
    let deleted = if let Content::Deletion { entity, .. } = &content { entity } else { "" };
    let shown = [
        ("id", &*envelope.id, Reason::NotCloudEvent),
        ("source", &*envelope.source, Reason::NotCloudEvent),
        ("data.EksternIdentifier", external_id.as_str(), Reason::MalformedField),
        ("data.VersionIdentifier", version_id.as_deref().unwrap_or_default(), Reason::MalformedField),
        ("data.RegistrerendeMyndighed.Type", kind, Reason::MalformedField),
        ("data.RegistrerendeMyndighed.Kode", code, Reason::MalformedCode),
        ("data.Indhold.SlettetEntitet", deleted, Reason::MalformedField),
    ];
    names_nobody(&shown, &personnummer)?;
    if let Content::NumberChange { new: Some(new) } = &content {
        names_nobody(&shown, new)?;
    }
    let details = subject.details(&indhold)?.map(Box::new);
    let body = subject.body(&indhold, &content)?;

    Ok(Event {
        mark: EventMark::of(&envelope.source, &envelope.id),
        source: envelope.source.into(),
        id: envelope.id.into(),
        entity: Arc::clone(&message_type.name),
        change,
        registered: envelope.registered,
        external_id,
        version_id,
        personnummer,
        registrar,
        start: start_day,
        end: end_day,
        content,
        details,
        body,
    })
}

/// Refuses what would carry the event's own personnummer out of `data`, into answers,
/// addresses and logs, or to a recipient that is not to learn whom a WSB is about. Other digits may be anything, and are not guessed at.
fn names_nobody(shown: &[(&'static str, &str, Reason)], personnummer: &Personnummer) -> Result<(), Refusal> {
    let digits = personnummer.digits();
    let (day, serial) = digits.split_at(6);
    let is_around = |text: &str, at: usize| text[..at].ends_with(day) && text[at + 1..].starts_with(serial);
    let holds_it = |text: &str| text.contains(digits) || text.match_indices('-').any(|(at, _)| is_around(text, at));
    match shown.iter().find(|(_, text, _)| holds_it(text)) {
        Some((path, _, reason)) => Err(Refusal::new(*reason, path, "expected one without the personnummer of the event")),
        None => Ok(()),
    }
}

/// Returns the `source` and `id` of a message that says both as an event does, whatever
/// else is wrong with it.
#[must_use]
pub fn read_identity(bytes: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let [source, id] = members(text, 0, &["source", "id"]).ok()?;
    let source = attribute(&source, MAX_SOURCE, "").ok()?;
    let id = attribute(&id, MAX_ID, "").ok()?;
    Some((source.into_owned(), id.into_owned()))
}

const EXPECTED_CHANGE: &str = "expected 1, 2 or 3";

fn utf8(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.len() > MAX_BYTES {
        return Err(Refusal::new(Reason::OverSize, "", "expected at most 256 KiB"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Refusal::new(Reason::NotJson, "", format!("expected UTF-8, ends being so after byte {}", error.valid_up_to())))?;
    if text.starts_with('\u{feff}') {
        return Err(Refusal::new(Reason::NotJson, "", "begins with a byte order mark, which JSON does not allow"));
    }
    Ok(text)
}

/// What the envelope says, checked, with `data` still unread.
struct Envelope<'a> {
    id: Cow<'a, str>,
    source: Cow<'a, str>,
    type_name: Cow<'a, str>,
    registered: Registered,
    data: &'a str,
}

impl<'a> Envelope<'a> {
    fn read(text: &'a str) -> Result<Self, Refusal> {
        let [version, id, source, type_name, time, content_type, data] =
            members(text, 0, &ENVELOPE).map_err(|unreadable| match unreadable {
                Unreadable::Json(error) => not_json(&error),
                Unreadable::Repeated(path) => repeated(Reason::NotCloudEvent, path),
            })?;
        if version.text().as_deref() != Some("1.0") {
            return Err(version.refuse(Reason::NotCloudEvent, "expected \"1.0\""));
        }
        let id = attribute(&id, MAX_ID, "expected a text of 1 to 255 bytes without control characters")?;
        let source = attribute(&source, MAX_SOURCE, "expected a text of 1 to 1024 bytes without control characters")?;
        let type_name = attribute(&type_name, MAX_SOURCE, "expected a text such as dk.star.dfdg.Indkaldelse.v1")?;
        let registered =
            time.parsed(Reason::NotCloudEvent, rfc3339::registered)?.ok_or_else(|| time.refuse(Reason::NotCloudEvent, "required"))?;
        if content_type.json().is_some() && !content_type.text().is_some_and(|text| is_json_type(&text)) {
            return Err(content_type.refuse(Reason::NotCloudEvent, "expected application/json, or none"));
        }
        let data = data.json().ok_or_else(|| data.refuse(Reason::NotCloudEvent, "required"))?;
        Ok(Self { id, source, type_name, registered, data })
    }

    /// Returns whether `type` is that of events of this EntitetNavn.
    fn is_of(&self, entity: &str) -> bool {
        self.type_name.strip_prefix("dk.star.dfdg.").and_then(|rest| rest.strip_suffix(".v1")) == Some(entity)
    }
}

/// Returns the text of an attribute that every CloudEvent has. Without control
/// characters: `source` and `id` are joined by a NUL where they are compared.
fn attribute<'a>(field: &Field<'a>, max: usize, expected: &'static str) -> Result<Cow<'a, str>, Refusal> {
    if field.json().is_none() {
        return Err(field.refuse(Reason::NotCloudEvent, "required"));
    }
    field
        .text()
        .filter(|text| !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control))
        .ok_or_else(|| field.refuse(Reason::NotCloudEvent, expected))
}

/// Returns whether a media type is JSON; parameters such as `charset` may follow.
fn is_json_type(text: &str) -> bool {
    text.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn declared_type<'r>(entity: &Field<'_>, rules: &'r Rules) -> Result<&'r Arc<MessageType>, Refusal> {
    if entity.json().is_none() {
        return Err(entity.refuse(Reason::MissingField, "required"));
    }
    let declared = entity
        .text()
        .and_then(|name| rules.message_type(&name))
        .ok_or_else(|| entity.refuse(Reason::UnknownEntity, "expected an EntitetNavn that routing.toml declares"))?;
    // Were these taken as events, a notice could be sent about a record that was never deleted.
    if !declared.notice_for.is_empty() {
        return Err(entity.refuse(Reason::UnknownEntity, "expected GdprSletning: deletion notices are made from it, not taken in"));
    }
    Ok(declared)
}

fn read_registrar(json: &str, rules: &Rules) -> Result<Registrar, Refusal> {
    let [kind, code] = members(json, REGISTRAR_PREFIX, &REGISTRAR).map_err(|unreadable| match unreadable {
        Unreadable::Json(_) => Refusal::new(Reason::MalformedField, "data.RegistrerendeMyndighed", "expected an object"),
        Unreadable::Repeated(path) => repeated(Reason::MalformedField, path),
    })?;
    let kind_text = required(&kind, kind.parsed(Reason::MalformedField, content::word)?)?;
    let known = match &*kind_text {
        "akasse" => code.parsed(Reason::MalformedCode, Akassekode::parse)?.is_none_or(|code| rules.knows_fund(code)),
        "kommune" => code.parsed(Reason::MalformedCode, Kommunekode::parse)?.is_none_or(|code| rules.knows_kommune(code)),
        // Other authorities register too, and no table says which: STAR itself, for one.
        _ => true,
    };
    if !known {
        return Err(code.refuse(Reason::UnknownAuthority, content::UNKNOWN_AUTHORITY));
    }
    let code = required(&code, code.parsed(Reason::MalformedCode, content::word)?)?;
    Ok(Registrar { kind: kind_text, code })
}

fn required<T>(field: &Field<'_>, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| field.refuse(Reason::MissingField, "required"))
}

fn repeated(reason: Reason, path: &'static str) -> Refusal {
    Refusal::new(reason, path, "expected once, stands there more than once")
}

/// Says where the syntax breaks. serde's own words are passed on for mistakes of
/// syntax only: those are constants, while others quote the message.
fn not_json(error: &serde_json::Error) -> Refusal {
    use serde_json::error::Category;
    match error.classify() {
        Category::Syntax | Category::Eof => Refusal::new(Reason::NotJson, "", error.to_string()),
        Category::Data | Category::Io => Refusal::new(Reason::NotCloudEvent, "", "expected a JSON object"),
    }
}

#[cfg(test)]
mod tests;
