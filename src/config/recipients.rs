//! The recipients of `routing.toml`, with what `[recipient-defaults]` and
//! `[queues]` say for all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::maintenance;
use super::mistake::nearest;
use super::reader::{Entry, Firsts, Reader, Section, Span};
use crate::core::ids::Recipient;
use crate::core::policy::{RecipientRule, Subscriptions};

const KEYS: [&str; 9] =
    ["authority", "name", "queue", "vendor", "subscriptions", "valid-from", "valid-until", "max-unfetched", "maintenance"];

/// What the broker declares for itself; see the topology of `amqp`.
const OWN_NAMES: [&str; 6] =
    ["wsb.intake.tilknytning", "wsb.intake.events", "wsb.returned", "wsb.delivery", "dfdg.events", "dfdg.deletions"];

/// `x-max-length` of a queue when the file does not say.
const DEFAULT_MAX_UNFETCHED: u32 = 1000;

/// What holds for a recipient that does not say otherwise.
pub(super) struct Defaults {
    vendor: Box<str>,
    subscriptions: Subscriptions,
    max_unfetched: u32,
}

/// Reads `[recipient-defaults]` and `[queues]`.
pub(super) fn read_defaults(
    reader: &mut Reader<'_>,
    recipients: Option<&Section<'_>>,
    queues: Option<&Section<'_>>,
    types: &BTreeMap<String, bool>,
) -> Defaults {
    let mut defaults =
        Defaults { vendor: "".into(), subscriptions: Subscriptions::Only(BTreeSet::new()), max_unfetched: DEFAULT_MAX_UNFETCHED };
    if let Some(section) = queues {
        section.check_keys(reader, &["max-unfetched"]);
        defaults.max_unfetched = read_max_unfetched(reader, section).unwrap_or(defaults.max_unfetched);
    }
    if let Some(section) = recipients {
        section.check_keys(reader, &["vendor", "subscriptions"]);
        if let Some((vendor, _)) = section.text(reader, "vendor") {
            defaults.vendor = vendor.into();
        }
        if let Some(entry) = section.get("subscriptions") {
            defaults.subscriptions = read_subscriptions(reader, &entry, types);
        }
    }
    defaults
}

/// Reads all recipients; those with mistakes are left out.
pub(super) fn read(
    reader: &mut Reader<'_>,
    entries: &[Entry<'_>],
    defaults: &Defaults,
    types: &BTreeMap<String, bool>,
) -> Vec<RecipientRule> {
    let mut recipients = Vec::new();
    let mut seen = Seen::default();
    for element in entries.iter().flat_map(Entry::elements) {
        match element.table {
            Some(table) => {
                let section = Section::new(table, "this recipient", element.span);
                recipients.extend(read_recipient(reader, section, defaults, types, &mut seen));
            }
            None => element.report_kind(reader, "recipients", "tables", "such as { authority = \"akasse:067\", name = \"…\" }"),
        }
    }
    recipients
}

/// What may stand once only among all recipients.
#[derive(Default)]
struct Seen {
    authorities: Firsts<Recipient>,
    queues: Firsts<String>,
}

fn read_recipient(
    reader: &mut Reader<'_>,
    mut section: Section<'_>,
    defaults: &Defaults,
    types: &BTreeMap<String, bool>,
    seen: &mut Seen,
) -> Option<RecipientRule> {
    let authority = read_authority(reader, &section, seen);
    if let Some((recipient, _)) = &authority {
        section.what = format!("recipient {recipient}");
    }
    section.check_keys(reader, &KEYS);
    let name = section.text(reader, "name").map(|(name, _)| name);
    let vendor = section.text(reader, "vendor").map(|(vendor, _)| vendor);
    let queue = read_queue(reader, &section, authority, seen);
    let subscriptions = section.get("subscriptions").map(|entry| read_subscriptions(reader, &entry, types));
    let valid_from = section.day(reader, "valid-from");
    let valid_until = section.day(reader, "valid-until");
    if let (Some((from, _)), Some((until, span))) = (&valid_from, &valid_until)
        && from > until
    {
        let message = format!("{} ends on {until}, before it begins on {from}", section.what);
        reader.report(span, message, Some("both days count: valid-until may be the same day as valid-from or later".to_owned()));
    }
    let max_unfetched = read_max_unfetched(reader, &section);
    let maintenance = section.get("maintenance").map(|entry| maintenance::read(reader, &entry)).unwrap_or_default();
    let (recipient, queue) = queue?;
    Some(RecipientRule {
        recipient,
        name: name.map_or_else(|| recipient.to_string().into(), Into::into),
        queue: queue.into(),
        vendor: vendor.map_or_else(|| defaults.vendor.clone(), Into::into),
        subscriptions: subscriptions.unwrap_or_else(|| defaults.subscriptions.clone()),
        valid_from: valid_from.map(|(day, _)| day),
        valid_until: valid_until.map(|(day, _)| day),
        max_unfetched: max_unfetched.unwrap_or(defaults.max_unfetched),
        maintenance,
    })
}

fn read_authority(reader: &mut Reader<'_>, section: &Section<'_>, seen: &mut Seen) -> Option<(Recipient, Span)> {
    let (text, span) = section.require(reader, "authority", "authority = \"akasse:067\"")?.text(reader)?;
    let Ok(recipient) = Recipient::parse(text) else {
        let hint = "write akasse: or kommune: and its code of three digits, such as akasse:067 or kommune:860";
        reader.report(&span, format!("`authority` is {text:?}, which names none"), Some(hint.to_owned()));
        return None;
    };
    seen.authorities.claim(reader, recipient, &span, |first| format!("recipient {recipient} stands twice, first at {first}"));
    Some((recipient, span))
}

/// Returns the recipient with the name of its queue.
fn read_queue(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    authority: Option<(Recipient, Span)>,
    seen: &mut Seen,
) -> Option<(Recipient, String)> {
    let written = match section.get("queue") {
        Some(_) => Some(section.text(reader, "queue")?),
        None => None,
    };
    if let Some((queue, span)) = &written {
        check_queue_name(reader, queue, span);
    }
    let default = authority.as_ref().map(|(recipient, span)| (format!("wsb.{}.{}", recipient.kind(), recipient.code()), span.clone()));
    let (queue, span) = written.map(|(queue, span)| (queue.to_owned(), span)).or(default)?;
    // The queue of a recipient that stands twice is told of at its authority.
    seen.queues.claim(reader, queue.clone(), &span, |first| format!("queue {queue} already belongs to the recipient at {first}"));
    authority.map(|(recipient, _)| (recipient, queue))
}

fn check_queue_name(reader: &mut Reader<'_>, queue: &str, span: &Span) {
    if queue.is_empty() || queue.len() > 255 || !queue.bytes().all(|b| b.is_ascii_graphic()) {
        let hint = "write 1 to 255 visible ASCII characters without spaces, such as wsb.akasse.067";
        reader.report(span, format!("`queue` is {queue:?}, which is not a name for a queue"), Some(hint.to_owned()));
    } else if OWN_NAMES.contains(&queue) || queue.starts_with("wsb.intake.") {
        let hint = "leave `queue` out to get wsb.akasse.NNN or wsb.kommune.NNN, or choose another name";
        reader.report(span, format!("queue {queue} is one of the broker's own"), Some(hint.to_owned()));
    } else if queue.starts_with("amq.") {
        let hint = "choose a name that does not begin with amq.";
        reader.report(span, format!("queue {queue} is reserved for RabbitMQ itself"), Some(hint.to_owned()));
    }
}

fn read_max_unfetched(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<u32> {
    section.integer(reader, "max-unfetched", 1..=1_000_000).and_then(|(number, _)| u32::try_from(number).ok())
}

fn read_subscriptions(reader: &mut Reader<'_>, entry: &Entry<'_>, types: &BTreeMap<String, bool>) -> Subscriptions {
    match entry.item.as_str() {
        Some("all") => return Subscriptions::All,
        Some("none") => return Subscriptions::Only(BTreeSet::new()),
        Some(_) | None => {}
    }
    let mut names = BTreeSet::new();
    for (name, span) in entry.texts(reader) {
        match types.get(name) {
            Some(true) => {
                if !names.insert(name.into()) {
                    reader.report(&span, format!("{name} is subscribed to twice"), Some("remove one of the two".to_owned()));
                }
            }
            Some(false) => {
                let hint = "remove it: whoever is entitled to a type that is not voluntary gets it anyway";
                reader.report(&span, format!("{name} is not voluntary and cannot be subscribed to"), Some(hint.to_owned()));
            }
            None if reader.left_out(name) => {}
            None => {
                let voluntary = types.iter().filter(|(_, voluntary)| **voluntary).map(|(name, _)| name.as_str());
                let hint = match nearest(name, voluntary.chain(["all", "none"])) {
                    Some(near @ ("all" | "none")) => format!("did you mean subscriptions = \"{near}\"?"),
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "write \"all\", \"none\" or a list of types with voluntary = true".to_owned(),
                };
                reader.report(&span, format!("there is no type {name:?} to subscribe to"), Some(hint));
            }
        }
    }
    Subscriptions::Only(names)
}
