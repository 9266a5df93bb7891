//! What the measurements of the store share: made-up numbers, and ordinary events
//! with nothing in them.

use std::error::Error;

use wsb_broker::core::event::{Change as Happened, Content, Event, Registered};
use wsb_broker::core::ids::{EventMark, ExternalId, Personnummer};
use wsb_broker::core::time::Moment;

/// Returns the made-up personnummer of a citizen, of whom there may be many
/// millions.
pub fn number(at: u64) -> String {
    format!("{:02}{:02}{:06}", at % 28 + 1, at / 28 % 12 + 1, at / 336)
}

/// Returns an event that says nothing but that a record was updated.
pub fn event(id: &str, entity: &str, external_id: &str, personnummer: Personnummer, at: Moment) -> Result<Event, Box<dyn Error>> {
    let source = "urn:dk:star:dfdg:kontaktforloeb";
    Ok(Event {
        mark: EventMark::of(source, id),
        source: source.into(),
        id: id.into(),
        entity: entity.into(),
        change: Happened::Updated,
        registered: Registered { at, text: at.to_string().into() },
        external_id: ExternalId::parse(external_id)?,
        version_id: None,
        personnummer,
        registrar: None,
        start: None,
        end: None,
        content: Content::Other,
        details: None,
        body: None,
    })
}
