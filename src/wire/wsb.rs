//! Writes a WSB: the body and the properties that the recipient gets.
//!
//! By hand rather than by serde: the order of the members is part of what
//! vendors see, and the body of an event is passed on as it stands.

use std::sync::Arc;

use super::rfc3339;
use crate::core::event::{Change, Content, Event};
use crate::core::ids::{Personnummer, Recipient, WsbId};
use crate::core::policy::{MessageType, Payload};
use crate::core::time::Moment;

/// The content type of every WSB.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The `app_id` of every WSB.
pub const APP_ID: &str = "wsb-broker";

/// One WSB about to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Wsb<'a> {
    /// The event that it tells of.
    pub event: &'a Event,
    /// Its type: that of the event or, for a deletion, that of the notice.
    pub message_type: &'a MessageType,
    /// Who gets it.
    pub recipient: Recipient,
    /// Its id.
    pub id: WsbId,
    /// When it is sent.
    pub sent: Moment,
    /// The citizen's current number; `None` for a former holder, who must not
    /// learn it.
    pub identification: Option<&'a Personnummer>,
}

impl Wsb<'_> {
    /// Returns the Aendringstype. A deletion notice is always one of deletion,
    /// however DFDG numbered the GdprSletning itself.
    #[must_use]
    pub fn change(&self) -> Change {
        match self.event.content {
            Content::Deletion { .. } => Change::Deleted,
            Content::Membership { .. }
            | Content::Jobcentre { .. }
            | Content::Residence { .. }
            | Content::NumberChange { .. }
            | Content::Death { .. }
            | Content::ContactGroup { .. }
            | Content::Plan { .. }
            | Content::HandedOver { .. }
            | Content::Other => self.event.change,
        }
    }

    /// Returns the properties of the AMQP message, for the attempt with that
    /// number, from 1.
    #[must_use]
    pub fn properties(&self, attempt: u32, replay: bool) -> WsbProperties {
        WsbProperties {
            message_id: self.id.to_string(),
            correlation_id: self.event.id.clone(),
            type_name: Arc::clone(&self.message_type.name),
            timestamp: u64::try_from(self.sent.0.div_euclid(1_000_000)).unwrap_or(0),
            recipient: self.recipient.to_string(),
            entity_id: self.message_type.entity_id,
            change_type: self.change().number(),
            attempt,
            replay,
        }
    }
}

/// The AMQP properties and headers of a WSB, apart from those that never vary
/// ([`CONTENT_TYPE`], [`APP_ID`], persistent).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WsbProperties {
    /// `message_id`: the WSB's id.
    pub message_id: String,
    /// `correlation_id`: the event's id.
    pub correlation_id: Box<str>,
    /// `type`: EntitetNavn.
    pub type_name: Arc<str>,
    /// `timestamp`: seconds since 1970.
    pub timestamp: u64,
    /// Header `wsb-recipient`: `akasse:067`.
    pub recipient: String,
    /// Header `wsb-entity-id`.
    pub entity_id: u32,
    /// Header `wsb-change-type`.
    pub change_type: u8,
    /// Header `wsb-attempt`, from 1.
    pub attempt: u32,
    /// Header `wsb-replay`.
    pub replay: bool,
}

/// Writes the body of a WSB.
#[must_use]
pub fn write_wsb(wsb: &Wsb<'_>) -> Vec<u8> {
    let event = wsb.event;
    let name = &*wsb.message_type.name;
    let mut out = Vec::with_capacity(640 + event.body.as_ref().map_or(0, |body| body.len()));
    out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":\"");
    uuid(&mut out, *wsb.id.as_bytes());
    out.extend_from_slice(b"\",\"source\":\"urn:dk:star:wsb-broker\",\"type\":");
    text(&mut out, &["dk.star.wsb.", name, ".v1"]);
    out.extend_from_slice(b",\"time\":\"");
    rfc3339::write(&mut out, wsb.sent, rfc3339::MILLISECONDS_UTC);
    out.extend_from_slice(b"\",\"datacontenttype\":\"application/json\",\"data\":{\"EntitetNavn\":");
    text(&mut out, &[name]);
    out.extend_from_slice(b",\"EntitetId\":");
    number(&mut out, wsb.message_type.entity_id);
    out.extend_from_slice(b",\"EksternIdentifier\":");
    text(&mut out, &[event.external_id.as_str()]);
    out.extend_from_slice(b",\"VersionIdentifier\":");
    match &event.version_id {
        Some(version) => text(&mut out, &[version]),
        None => out.extend_from_slice(b"null"),
    }
    if let Some(personnummer) = wsb.identification {
        out.extend_from_slice(b",\"IdentifikationstypeId\":1,\"Identifikation\":");
        text(&mut out, &[personnummer.digits()]);
    }
    out.extend_from_slice(b",\"Aendringstype\":");
    number(&mut out, u32::from(wsb.change().number()));
    out.extend_from_slice(b",\"Modtager\":");
    match wsb.recipient {
        Recipient::Akasse(code) => authority(&mut out, "akasse", code.number()),
        Recipient::Kommune(code) => authority(&mut out, "kommune", code.number()),
    }
    out.extend_from_slice(b",\"RegistrerendeMyndighed\":");
    match &event.registrar {
        Some(registrar) => {
            out.extend_from_slice(b"{\"Type\":");
            text(&mut out, &[&registrar.kind]);
            out.extend_from_slice(b",\"Kode\":");
            text(&mut out, &[&registrar.code]);
            out.push(b'}');
        }
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"Haendelsestidspunkt\":");
    text(&mut out, &[&event.registered.text]);
    match wsb.message_type.payload {
        Payload::IdOnly => {}
        Payload::Body => indhold(&mut out, event),
    }
    out.extend_from_slice(b"}}");
    out
}

/// Writes `Indhold`: of a deletion only what the notice promises, since what
/// else DFDG put there was not meant for recipients.
fn indhold(out: &mut Vec<u8>, event: &Event) {
    if let Content::Deletion { area, entity, .. } = &event.content {
        out.extend_from_slice(b",\"Indhold\":{\"Dataomraade\":");
        text(out, &[area]);
        out.extend_from_slice(b",\"SlettetEntitet\":");
        text(out, &[entity]);
        out.push(b'}');
    } else if let Some(body) = &event.body {
        out.extend_from_slice(b",\"Indhold\":");
        out.extend_from_slice(body.as_bytes());
    }
}

/// Returns the routing key under which DFDG publishes such an event:
/// `kontaktforloeb.indkaldelse.oprettet`.
#[must_use]
pub fn routing_key(message_type: &MessageType, change: Change) -> String {
    let change = match change {
        Change::Created => "oprettet",
        Change::Updated => "opdateret",
        Change::Deleted => "slettet",
    };
    format!("{}.{}.{change}", message_type.domain.name(), message_type.name.to_lowercase())
}

fn authority(out: &mut Vec<u8>, kind: &str, code: u16) {
    out.extend_from_slice(b"{\"Type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"Kode\":\"");
    out.extend([code / 100 % 10, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8));
    out.extend_from_slice(b"\"}");
}

/// Writes one JSON string of several parts, escaping what JSON demands.
pub(super) fn text(out: &mut Vec<u8>, parts: &[&str]) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    out.push(b'"');
    for part in parts {
        let mut rest = part.as_bytes();
        while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
            let (plain, from) = rest.split_at(at);
            out.extend_from_slice(plain);
            let Some((byte, after)) = from.split_first() else { break };
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
                _ => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            }
            rest = after;
        }
        out.extend_from_slice(rest);
    }
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, number: u32) {
    let mut place = 1;
    while number / place >= 10 {
        place *= 10;
    }
    while place > 0 {
        out.push(b'0' + (number / place % 10) as u8);
        place /= 10;
    }
}

fn uuid(out: &mut Vec<u8>, bytes: [u8; 16]) {
    let mut buffer = [0; 36];
    out.extend_from_slice(uuid::Uuid::from_bytes(bytes).hyphenated().encode_lower(&mut buffer).as_bytes());
}

#[cfg(test)]
mod tests;
