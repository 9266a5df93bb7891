//! The `[[type]]` tables of `routing.toml`: message types, their audiences and
//! the conditions of those.

use std::collections::BTreeMap;

use toml_edit::Value;

use super::mistake::nearest;
use super::reader::{Element, Entry, Firsts, Reader, Section, Span};
use crate::core::event::PlanKind;
use crate::core::policy::{Audience, AudienceRule, Condition, Domain, MessageType, Payload};

const KEYS: [&str; 8] = ["name", "entity-id", "domain", "payload", "voluntary", "after-death", "audiences", "notice-for"];

/// The types whose content the broker itself understands, and the domain in
/// which it looks for them: in another one an event that changes who may receive
/// would no longer overtake what waits.
const FIXED_DOMAINS: [(&str, Domain); 9] = [
    ("Akassemedlemskab", Domain::Tilknytning),
    ("Jobcentertilknytning", Domain::Tilknytning),
    ("Bopaelskommune", Domain::Tilknytning),
    ("Personnummerskift", Domain::Tilknytning),
    ("PersonDoed", Domain::Tilknytning),
    ("Kontaktgruppe", Domain::Kontaktforloeb),
    ("Plan", Domain::Plan),
    ("GdprSletning", Domain::Gdpr),
    ("RigsarkivAflevering", Domain::Gdpr),
];

/// The types of a file, those with mistakes left out.
pub(super) struct Types {
    pub(super) valid: Vec<MessageType>,
    /// Every name, of types with mistakes too, and whether the type may be
    /// subscribed to: so that one mistake is not reported again at each recipient.
    pub(super) voluntary: BTreeMap<String, bool>,
}

/// Reads all types.
pub(super) fn read(reader: &mut Reader<'_>, entries: &[Entry<'_>]) -> Types {
    let mut types = Types { valid: Vec::new(), voluntary: BTreeMap::new() };
    let mut seen = Seen::default();
    for element in entries.iter().flat_map(Entry::elements) {
        match element.table {
            Some(table) => {
                let section = Section::new(table, "this type", element.span);
                types.valid.extend(read_type(reader, section, &mut seen, &mut types.voluntary));
            }
            None => element.report_kind(reader, "type", "tables", "each beginning with [[type]]"),
        }
    }
    add_implied_notices(&mut types.valid);
    types
}

/// What may stand once only among all types.
#[derive(Default)]
struct Seen {
    names: Firsts<String>,
    entity_ids: Firsts<i64>,
    areas: Firsts<String>,
}

fn read_type(
    reader: &mut Reader<'_>,
    mut section: Section<'_>,
    seen: &mut Seen,
    voluntary_names: &mut BTreeMap<String, bool>,
) -> Option<MessageType> {
    let name = read_name(reader, &section, seen);
    if let Some(name) = name {
        section.what = format!("type {name}");
    }
    section.check_keys(reader, &KEYS);
    let entity_id = read_entity_id(reader, &section, seen);
    let domain = read_domain(reader, &section, name);
    let payload = read_payload(reader, &section);
    let voluntary = match section.get("voluntary") {
        Some(_) => section.flag(reader, "voluntary"),
        None => Some(false),
    };
    if let Some(name) = name {
        voluntary_names.insert(name.to_owned(), voluntary.unwrap_or(true));
    }
    let after_death = section.flag(reader, "after-death");
    let audiences = section.get("audiences").map(|entry| read_audiences(reader, &section, &entry, name)).unwrap_or_default();
    let notice_for = section.get("notice-for").map(|entry| read_notice_for(reader, &entry, domain, seen)).unwrap_or_default();
    let domain = domain?;
    Some(MessageType {
        name: name?.into(),
        entity_id: entity_id?,
        domain,
        payload: payload?,
        voluntary: voluntary?,
        after_death: after_death.unwrap_or(domain == Domain::Gdpr),
        audiences,
        notice_for,
    })
}

fn read_name<'d>(reader: &mut Reader<'_>, section: &Section<'d>, seen: &mut Seen) -> Option<&'d str> {
    let (name, span) = section.require(reader, "name", "name = \"Indkaldelse\"")?.text(reader)?;
    let fits = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fits {
        let hint = "write EntitetNavn as it stands in the events: 1 to 64 letters a-z, A-Z, digits or _";
        reader.report(&span, format!("`name` is {name:?}, which is not an EntitetNavn"), Some(hint.to_owned()));
        return None;
    }
    seen.names.claim(reader, name.to_owned(), &span, |first| format!("type {name} is declared twice, first at {first}"));
    Some(name)
}

fn read_entity_id(reader: &mut Reader<'_>, section: &Section<'_>, seen: &mut Seen) -> Option<u32> {
    // The header wsb-entity-id is a signed 32-bit integer.
    let entry = section.require(reader, "entity-id", "entity-id = 90000")?;
    let (id, span) = entry.integer(reader, 1..=i64::from(i32::MAX))?;
    seen.entity_ids.claim(reader, id, &span, |first| format!("entity-id {id} of {} is already used at {first}", section.what));
    u32::try_from(id).ok()
}

fn read_domain(reader: &mut Reader<'_>, section: &Section<'_>, name: Option<&str>) -> Option<Domain> {
    let (text, span) = section.require(reader, "domain", "domain = \"kontaktforloeb\"")?.text(reader)?;
    let domain = Domain::parse(text);
    if domain.is_none() {
        report_unknown(reader, &span, "domain", text, Domain::ALL.map(Domain::name));
    }
    let fixed = FIXED_DOMAINS.iter().find(|(fixed, _)| Some(*fixed) == name).map(|(_, domain)| *domain);
    if let (Some(domain), Some(fixed)) = (domain, fixed)
        && domain != fixed
    {
        let hint = format!("write domain = \"{}\": that is where the broker looks for events of this type", fixed.name());
        reader.report(&span, format!("{} cannot be of the domain {text}", section.what), Some(hint));
    }
    domain
}

fn read_payload(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Payload> {
    if section.get("payload").is_none() {
        return Some(Payload::IdOnly);
    }
    let (text, span) = section.text(reader, "payload")?;
    match text {
        "id-only" | "id_only" => Some(Payload::IdOnly),
        "body" => Some(Payload::Body),
        _ => {
            report_unknown(reader, &span, "payload", text, ["id-only", "body"]);
            None
        }
    }
}

fn read_notice_for(reader: &mut Reader<'_>, entry: &Entry<'_>, domain: Option<Domain>, seen: &mut Seen) -> Vec<Box<str>> {
    if domain.is_some_and(|domain| domain != Domain::Gdpr) {
        let hint = "remove `notice-for`, or write domain = \"gdpr\"";
        reader.report(&entry.span, "only a type of the domain gdpr can be a deletion notice".to_owned(), Some(hint.to_owned()));
    }
    let mut areas = Vec::new();
    for (area, span) in entry.texts(reader) {
        let fits = !area.is_empty() && area.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            let hint = "write the id of a retention rule: letters a-z, digits and -, such as joblog-dokument";
            reader.report(&span, format!("`notice-for` names {area:?}, which is not a data area"), Some(hint.to_owned()));
            continue;
        }
        seen.areas.claim(reader, area.to_owned(), &span, |first| format!("data area {area} already has its notice, at {first}"));
        areas.push(area.into());
    }
    areas
}

/// Makes `GdprSletAndenLog` the notice for `anden-log` when it does not say what
/// it is for and no other type claims that area: the names follow one pattern,
/// and a notice that is forgotten is one that nobody misses.
fn add_implied_notices(types: &mut [MessageType]) {
    for at in 0..types.len() {
        let Some(words) = types[at].name.strip_prefix("GdprSlet").filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase())) else {
            continue;
        };
        let mut area = String::new();
        for c in words.chars() {
            if c.is_ascii_uppercase() && !area.is_empty() {
                area.push('-');
            }
            area.push(c.to_ascii_lowercase());
        }
        let claimed = types.iter().any(|t| t.notice_for.iter().any(|claimed| **claimed == *area));
        if types[at].domain == Domain::Gdpr && types[at].notice_for.is_empty() && !claimed {
            types[at].notice_for.push(area.into());
        }
    }
}

fn read_audiences(reader: &mut Reader<'_>, section: &Section<'_>, entry: &Entry<'_>, name: Option<&str>) -> Vec<AudienceRule> {
    let mut rules: Vec<(AudienceRule, Span)> = Vec::new();
    for element in entry.elements() {
        let Some(rule) = read_audience(reader, &section.what, &element, name) else { continue };
        match rules.iter().find(|(earlier, _)| *earlier == rule) {
            Some((_, first)) => {
                let first = reader.place(first);
                let message = format!("{} names {} twice, first at {first}", section.what, rule.audience.name());
                reader.report(&element.span, message, Some("remove one, or give them different conditions".to_owned()));
            }
            None => rules.push((rule, element.span)),
        }
    }
    rules.into_iter().map(|(rule, _)| rule).collect()
}

fn read_audience(reader: &mut Reader<'_>, what: &str, element: &Element<'_>, name: Option<&str>) -> Option<AudienceRule> {
    if let Some(text) = element.value.and_then(Value::as_str) {
        return parse_audience(reader, text, &element.span).map(|audience| AudienceRule { audience, conditions: Vec::new() });
    }
    let Some(table) = element.table else {
        element.report_kind(reader, "audiences", "names", "such as \"akasse-own-members\", or { to = \"…\", when = { … } }");
        return None;
    };
    let section = Section::new(table, format!("an audience of {what}"), element.span.clone());
    section.check_keys(reader, &["to", "when"]);
    let audience = section
        .require(reader, "to", "to = \"akasse-own-members\"")
        .and_then(|entry| entry.text(reader))
        .and_then(|(text, span)| parse_audience(reader, text, &span));
    let conditions = section.get("when").map(|entry| read_conditions(reader, what, &entry, name)).unwrap_or_default();
    Some(AudienceRule { audience: audience?, conditions })
}

fn parse_audience(reader: &mut Reader<'_>, text: &str, span: &Span) -> Option<Audience> {
    let audience = Audience::parse(&text.replace('_', "-"));
    if audience.is_none() {
        report_unknown(reader, span, "audience", text, Audience::ALL.map(Audience::name));
    }
    audience
}

fn read_conditions(reader: &mut Reader<'_>, what: &str, entry: &Entry<'_>, name: Option<&str>) -> Vec<Condition> {
    const EXAMPLE: &str = "such as { contact-group = [1] }";
    let Some(table) = entry.item.as_table_like() else {
        entry.report_kind(reader, "a table of conditions", EXAMPLE);
        return Vec::new();
    };
    let section = Section::new(table, format!("a condition of {what}"), entry.span.clone());
    section.check_keys(reader, &["contact-group", "contact-group-shift", "plan"]);
    if table.is_empty() {
        reader.report(&entry.span, "`when` has no condition".to_owned(), Some(format!("remove `when`, or write one, {EXAMPLE}")));
    }
    let mut conditions = Vec::new();
    if let Some(entry) = section.get("contact-group") {
        conditions.push(Condition::ContactGroupIn(read_groups(reader, &entry)));
    }
    if let Some(entry) = section.get("contact-group-shift") {
        if name.is_some_and(|name| name != "Kontaktgruppe") {
            let hint = "write `contact-group` to ask for the group that the citizen is in when it is sent";
            let message = format!("`contact-group-shift` can never hold for {what}: only Kontaktgruppe events tell of a shift");
            reader.report(&entry.span, message, Some(hint.to_owned()));
        }
        conditions.push(Condition::ContactGroupShift(read_groups(reader, &entry)));
    }
    if let Some(entry) = section.get("plan") {
        conditions.push(Condition::PlanIn(read_plans(reader, &entry)));
    }
    conditions
}

fn read_groups(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<i64> {
    let elements = entry.elements();
    report_empty(reader, entry, elements.len());
    let mut groups = Vec::new();
    for element in elements {
        match element.value.and_then(Value::as_integer) {
            Some(group @ 0..=99_999) => groups.push(group),
            Some(group) => {
                let message = format!("`{}` names {group}, which is no contact group", entry.key);
                reader.report(&element.span, message, Some("allowed: 0 to 99999".to_owned()));
            }
            None => element.report_kind(reader, entry.key, "whole numbers", "such as [1, 13, 25]"),
        }
    }
    groups
}

fn read_plans(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<PlanKind> {
    report_empty(reader, entry, entry.elements().len());
    let mut plans = Vec::new();
    for (text, span) in entry.texts(reader) {
        match PlanKind::parse(text) {
            Some(plan) => plans.push(plan),
            None => report_unknown(reader, &span, "plan", text, PlanKind::ALL.map(|(name, _)| name)),
        }
    }
    plans
}

fn report_empty(reader: &mut Reader<'_>, entry: &Entry<'_>, len: usize) {
    if len == 0 {
        let message = format!("`{}` is empty, so the condition can never hold", entry.key);
        reader.report(&entry.span, message, Some("name at least one value, or remove the condition".to_owned()));
    }
}

/// Reports a word that is none of the allowed ones.
fn report_unknown<const N: usize>(reader: &mut Reader<'_>, span: &Span, noun: &str, word: &str, allowed: [&str; N]) {
    let all = allowed.join(", ");
    let hint = match nearest(word, allowed) {
        Some(near) => format!("did you mean \"{near}\"? allowed: {all}"),
        None => format!("allowed: {all}"),
    };
    reader.report(span, format!("unknown {noun} {word:?}"), Some(hint));
}
