//! `retention.toml` as a whole: the rules, the pension ages, and the pace of
//! orders.
//!
//! `docs/retention.md` is its reference for operators; a key that is added here
//! is added there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::mistake::{Mistake, nearest};
use super::reader::{Entry, Firsts, Reader, Section, Span as Place};
use crate::core::event::Owner;
use crate::core::policy::Rules;
use crate::core::schedule::{Condition, DECEASED, Pace, PensionAges, Rule, Schedule, Span, Start};
use crate::core::time::Day;

/// What the file is called in messages.
pub(super) const FILE: &str = "retention.toml";

/// The rules that are in force without a file of one's own.
pub(super) const BUILT_IN: &str = include_str!("../../retention.toml");

const KEYS: [&str; 13] = [
    "id",
    "area",
    "entities",
    "when",
    "unless",
    "from",
    "period",
    "overlapping",
    "latest-version",
    "oldest-first",
    "handover",
    "notice",
    "source",
];

/// The members of Indhold that a rule may depend on.
const MEMBERS: [&str; 4] = ["Ejer", "FravaerTypeId", "Virksomhedsrettet", "Besvaret"];

/// The longest period that may be asked for, in years.
const LONGEST_YEARS: u16 = 200;

/// The one type of which there are later versions: `Indhold.SenereVersion`.
const VERSIONED: &str = "Plan";

/// Known types whose records consist of no others; whoever declares a type of
/// their own knows whether it has `Indhold.Elementer`.
const WITHOUT_ELEMENTS: [&str; 23] = [
    "JoblogDokument",
    "Joblog",
    "AndenLog",
    "Persongruppemarkering",
    "Helbredsbegraensning",
    "Tilmelding",
    "Kontaktgruppe",
    "Personkategori",
    "Dialogbesked",
    "HuskeserviceAbonnement",
    "Fravaer",
    "YderligeInfoOmFravaer",
    "Samtale",
    "Jobsoegningskrav",
    "Plan",
    "Aktivitet",
    "Integrationskontrakt",
    "BevillingAfYdelse",
    "Efterloensbevis",
    "Dagpengetaeller",
    "Ydelseskort",
    "EoesDagpenge",
    "Feriedagpenge",
];

/// Makes a schedule of the text of a `retention.toml`.
///
/// # Errors
/// Every mistake of the text, in the order of the file; never an empty list.
pub fn parse_retention(text: &str) -> Result<Schedule, Vec<Mistake>> {
    let mut reader = Reader::new(FILE, text);
    let Some(document) = reader.parse() else { return Err(reader.into_mistakes()) };
    let root = Section::new(document.as_table(), FILE, 0..0);
    root.check_keys(&mut reader, &["rule", "rules", "pension-ages", "orders"]);
    let entries = read_lists(&mut reader, &root);
    let rules = read_rules(&mut reader, &entries);
    let needs_ages = entries.iter().flat_map(Entry::elements).any(|element| {
        element.table.and_then(|table| table.get("from")).and_then(toml_edit::Item::as_str) == Some(Start::PensionAge.name())
    });
    let ages = read_pension_ages(&mut reader, &root, needs_ages);
    let pace = read_pace(&mut reader, &root);
    let mistakes = reader.into_mistakes();
    if mistakes.is_empty() { Ok(Schedule::new(rules, ages, pace)) } else { Err(mistakes) }
}

/// Returns the lists under `rule` and `rules`; either may be used, and both.
fn read_lists<'d>(reader: &mut Reader<'_>, root: &Section<'d>) -> Vec<Entry<'d>> {
    const HINT: &str = "begin each rule with [[rule]]";
    let mut usable = Vec::new();
    for entry in ["rule", "rules"].iter().filter_map(|name| root.get(name)) {
        if entry.item.is_array() || entry.item.is_array_of_tables() {
            usable.push(entry);
        } else {
            entry.report_kind(reader, "a list of tables", HINT);
            return usable;
        }
    }
    if usable.iter().all(|entry| entry.elements().is_empty()) && !reader.left_out("rule") {
        reader.report(&(0..0), "the file declares no rules".to_owned(), Some(HINT.to_owned()));
    }
    usable
}

/// What was read of a rule, with places for what is checked among all rules.
struct Read<'d> {
    rule: Option<Rule>,
    id: Option<&'d str>,
    entities: Vec<(&'d str, Place)>,
    overlapping: Vec<(&'d str, Place)>,
    conditions: Vec<Condition>,
    span: Place,
}

fn read_rules(reader: &mut Reader<'_>, entries: &[Entry<'_>]) -> Vec<Rule> {
    let mut read = Vec::new();
    let mut ids = Firsts::default();
    for element in entries.iter().flat_map(Entry::elements) {
        match element.table {
            Some(table) => read.push(read_rule(reader, Section::new(table, "this rule", element.span), &mut ids)),
            None => element.report_kind(reader, "rule", "tables", "each beginning with [[rule]]"),
        }
    }
    check_overlapping(reader, &read);
    check_circles(reader, &read);
    check_conflicts(reader, &read);
    read.into_iter().filter_map(|read| read.rule).collect()
}

fn read_rule<'d>(reader: &mut Reader<'_>, mut section: Section<'d>, ids: &mut Firsts<String>) -> Read<'d> {
    let id = read_id(reader, &section, ids);
    if let Some(id) = id {
        section.what = format!("rule {id}");
    }
    section.check_keys(reader, &KEYS);
    let area = read_words(reader, &section, "area", "area = \"Fraværsforhold\"");
    let start = read_start(reader, &section, id);
    let entities = read_entities(reader, &section, id);
    check_elements(reader, &section, start, &entities);
    let conditions = read_conditions(reader, &section);
    let period = section.require(reader, "period", "period = \"P6Y\"").and_then(|entry| entry.text(reader));
    let period = period.and_then(|(text, span)| read_period(reader, text, &span));
    let overlapping = section.get("overlapping").map(|entry| names(reader, &entry)).unwrap_or_default();
    let latest = read_latest(reader, &section, &entities);
    let oldest_first = section.flag(reader, "oldest-first");
    let handover = section.flag(reader, "handover");
    let notice = section.text(reader, "notice");
    if let Some((name, span)) = &notice
        && !is_entity(name)
    {
        reader.report(span, format!("`notice` is {name:?}, which is not an EntitetNavn"), Some(ENTITY_HINT.to_owned()));
    }
    let source = read_words(reader, &section, "source", "source = \"N:Joblog\"");
    let owned = |names: &[(&str, Place)]| names.iter().map(|(name, _)| Arc::from(*name)).collect();
    let rule = (|| {
        Some(Rule {
            id: id?.into(),
            area: area?.into(),
            entities: owned(&entities),
            when: conditions.clone(),
            from: start?,
            period: period?,
            overlapping: owned(&overlapping),
            latest_waits_for_group: latest,
            oldest_first: oldest_first.unwrap_or(false),
            handover: handover.unwrap_or(false),
            notice: notice.map(|(name, _)| name.into()),
            source: source?.into(),
        })
    })();
    Read { rule, id, entities, overlapping, conditions, span: section.span }
}

/// Reads a text that says something.
fn read_words<'d>(reader: &mut Reader<'_>, section: &Section<'d>, key: &str, example: &str) -> Option<&'d str> {
    let (text, span) = section.require(reader, key, example)?.text(reader)?;
    if text.trim().is_empty() {
        reader.report(&span, format!("`{key}` of {} is empty", section.what), Some(format!("write for example {example}")));
        return None;
    }
    Some(text)
}

fn read_id<'d>(reader: &mut Reader<'_>, section: &Section<'d>, ids: &mut Firsts<String>) -> Option<&'d str> {
    let (id, span) = section.require(reader, "id", "id = \"fravaer\"")?.text(reader)?;
    let fits = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        let hint = "write the data area's name on the wire: 1 to 64 letters a-z, digits and -, such as joblog-dokument";
        reader.report(&span, format!("`id` is {id:?}, which is not a data area"), Some(hint.to_owned()));
        return None;
    }
    ids.claim(reader, id.to_owned(), &span, |first| format!("rule {id} stands twice, first at {first}"));
    Some(id)
}

fn read_start(reader: &mut Reader<'_>, section: &Section<'_>, id: Option<&str>) -> Option<Start> {
    let (text, span) = section.require(reader, "from", "from = \"end\"")?.text(reader)?;
    let Some(start) = Start::parse(&text.replace('_', "-")) else {
        let all = Start::ALL.map(Start::name).join(", ");
        let hint = match nearest(text, Start::ALL.map(Start::name)) {
            Some(near) => format!("did you mean \"{near}\"? allowed: {all}"),
            None => format!("allowed: {all}"),
        };
        reader.report(&span, format!("`from` is {text:?}, which no period runs from"), Some(hint));
        return None;
    };
    if let Some(id) = id
        && (start == Start::Death) != (id == DECEASED)
    {
        let (message, hint) = if id == DECEASED {
            (format!("rule {DECEASED} cannot run from {text:?}"), "write from = \"death\": the rule is about everybody who has died")
        } else {
            (format!("rule {id} cannot run from the death"), "only rule afdoed does, and it covers every record of the dead")
        };
        reader.report(&span, message, Some(hint.to_owned()));
    }
    Some(start)
}

const ENTITY_HINT: &str = "write EntitetNavn as it stands in the events: 1 to 64 letters a-z, A-Z, digits or _";
const DECLARE_HINT: &str = "correct the name, or declare the type in routing.toml: without `audiences` nobody is told";

fn is_entity(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Returns the names of a list, those that cannot be an EntitetNavn reported.
fn names<'d>(reader: &mut Reader<'_>, entry: &Entry<'d>) -> Vec<(&'d str, Place)> {
    let mut found: Vec<(&str, Place)> = Vec::new();
    for (name, span) in entry.texts(reader) {
        if !is_entity(name) {
            reader.report(&span, format!("`{}` names {name:?}, which is not an EntitetNavn", entry.key), Some(ENTITY_HINT.to_owned()));
        } else if found.iter().any(|(other, _)| *other == name) {
            reader.report(&span, format!("`{}` names {name} twice", entry.key), Some("remove one of the two".to_owned()));
        } else {
            found.push((name, span));
        }
    }
    found
}

fn read_entities<'d>(reader: &mut Reader<'_>, section: &Section<'d>, id: Option<&str>) -> Vec<(&'d str, Place)> {
    if id == Some(DECEASED) {
        if let Some(entry) = section.get("entities") {
            let hint = "remove `entities`: the rule covers every record of the dead";
            reader.report(&entry.span, format!("rule {DECEASED} names types"), Some(hint.to_owned()));
        }
        return Vec::new();
    }
    let Some(entry) = section.require(reader, "entities", "entities = [\"Fravaer\"]") else { return Vec::new() };
    let names = names(reader, &entry);
    if entry.elements().is_empty() {
        reader.report(&entry.span, format!("{} covers no type", section.what), Some("name at least one EntitetNavn".to_owned()));
    }
    names
}

/// Reads `when` and `unless`.
fn read_conditions(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (key, holds) in [("when", true), ("unless", false)] {
        let Some(entry) = section.get(key) else { continue };
        let Some(table) = entry.item.as_table_like() else {
            entry.report_kind(reader, "a table of conditions", "such as { FravaerTypeId = [68, 69] }");
            continue;
        };
        if table.is_empty() {
            let hint = format!("remove `{key}`, or write one, such as {{ FravaerTypeId = [68, 69] }}");
            reader.report(&entry.span, format!("`{key}` has no condition"), Some(hint));
        }
        let members = Section::new(table, format!("a condition of {}", section.what), entry.span).exact();
        members.check_keys(reader, &MEMBERS);
        conditions.extend(read_owner(reader, &members, holds));
        if let Some(entry) = members.get("FravaerTypeId") {
            let types = read_numbers(reader, &entry);
            conditions.push(if holds { Condition::AbsenceIn(types) } else { Condition::AbsenceNotIn(types) });
        }
        conditions.extend(members.flag(reader, "Virksomhedsrettet").map(|with| Condition::WithCompany(with == holds)));
        conditions.extend(members.flag(reader, "Besvaret").map(|answered| Condition::Answered(answered == holds)));
    }
    conditions
}

fn read_owner(reader: &mut Reader<'_>, members: &Section<'_>, holds: bool) -> Option<Condition> {
    let (text, span) = members.text(reader, "Ejer")?;
    let Some(owner) = Owner::parse(text) else {
        reader.report(&span, format!("`Ejer` is {text:?}, which owns nothing"), Some("allowed: kommunal, statslig".to_owned()));
        return None;
    };
    let other = if owner == Owner::State { Owner::Municipal } else { Owner::State };
    Some(Condition::OwnedBy(if holds { owner } else { other }))
}

fn read_numbers(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<i64> {
    let elements = entry.elements();
    if elements.is_empty() {
        let message = format!("`{}` is empty, so the condition says nothing", entry.key);
        reader.report(&entry.span, message, Some("name at least one value, or remove the condition".to_owned()));
    }
    let mut numbers = Vec::new();
    for element in elements {
        match element.value.and_then(toml_edit::Value::as_integer) {
            Some(number) => numbers.push(number),
            None => element.report_kind(reader, entry.key, "whole numbers", "such as [68, 69]"),
        }
    }
    numbers
}

/// Reads a period of ISO 8601: years, months and days.
fn read_period(reader: &mut Reader<'_>, text: &str, span: &Place) -> Option<Span> {
    let parsed = parse_period(text);
    match parsed {
        Some(period) if period.years <= LONGEST_YEARS && period.months <= 12 * LONGEST_YEARS => Some(period),
        Some(_) => {
            reader.report(span, format!("`period` is {text}, which is out of range"), Some("at most 200 years".to_owned()));
            None
        }
        None => {
            let hint = "write a calendar period of ISO 8601: P6Y, P6M, P10Y6M, P30D; P0D for at once";
            reader.report(span, format!("`period` is {text:?}, which is not a calendar period"), Some(hint.to_owned()));
            None
        }
    }
}

fn parse_period(text: &str) -> Option<Span> {
    let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty())?;
    let mut period = Span::default();
    let parts = [('Y', &mut period.years), ('M', &mut period.months), ('D', &mut period.days)];
    for (unit, part) in parts {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        if let Some(after) = after.strip_prefix(unit) {
            *part = number.parse().ok()?;
            rest = after;
        }
    }
    rest.is_empty().then_some(period)
}

/// Reports a period that runs from the last element of what consists of none.
fn check_elements(reader: &mut Reader<'_>, section: &Section<'_>, start: Option<Start>, entities: &[(&str, Place)]) {
    if start != Some(Start::LastElement) {
        return;
    }
    for (name, span) in entities.iter().filter(|(name, _)| WITHOUT_ELEMENTS.contains(name)) {
        let from = Start::LastElement.name();
        let message = format!("{name} has no Elementer, so no period of {} runs from \"{from}\"", section.what);
        reader.report(span, message, Some("let the period run from another day, or name MinPlanVersion".to_owned()));
    }
}

fn read_latest(reader: &mut Reader<'_>, section: &Section<'_>, entities: &[(&str, Place)]) -> bool {
    const ALLOWED: &str = "waits-for-open-contact-group";
    let Some((text, span)) = section.text(reader, "latest-version") else { return false };
    let known = text.replace('_', "-") == ALLOWED;
    if !known {
        reader.report(&span, format!("`latest-version` is {text:?}"), Some(format!("allowed: \"{ALLOWED}\"; or remove it")));
    }
    for (name, _) in entities.iter().filter(|(name, _)| *name != VERSIONED) {
        let message = format!("`latest-version` says nothing of {name}, which has no later versions");
        reader.report(&span, message, Some(format!("only {VERSIONED} has (Indhold.SenereVersion): remove it")));
    }
    known
}

/// Reports a wait for records that no rule ever deletes: it would never end.
fn check_overlapping(reader: &mut Reader<'_>, read: &[Read<'_>]) {
    let covered: Vec<&str> = read.iter().flat_map(|read| read.entities.iter().map(|(name, _)| *name)).collect();
    for (name, span) in read.iter().flat_map(|read| &read.overlapping) {
        if !covered.contains(name) && !reader.left_out(name) {
            let hint = match nearest(name, covered.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "name a type that has a rule of its own".to_owned(),
            };
            reader.report(
                span,
                format!("`overlapping` names {name}, which no rule covers: it would be waited for without end"),
                Some(hint),
            );
        }
    }
}

/// Reports records that would wait for one another: none of them would ever go.
/// Each circle is reported once, where it closes.
fn check_circles(reader: &mut Reader<'_>, read: &[Read<'_>]) {
    let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for rule in read {
        for (awaited, span) in &rule.overlapping {
            let closes = rule.entities.iter().find_map(|(name, _)| Some((*name, way(&waits, awaited, name)?)));
            let Some((name, way)) = closes else {
                for (name, _) in &rule.entities {
                    waits.entry(*name).or_default().insert(*awaited);
                }
                continue;
            };
            let message = if way.len() == 1 {
                format!(
                    "`overlapping` names {awaited}, which the rule itself covers: two that overlap would wait for each other without end"
                )
            } else {
                let back = way[1..].join(", which waits for ");
                format!(
                    "`overlapping` names {awaited}, which waits for {back}: where they overlap, {name} and {awaited} would wait without end"
                )
            };
            reader.report(span, message, Some("remove one of the waits".to_owned()));
        }
    }
}

/// Returns how one type comes to wait for another, both included.
fn way<'d>(waits: &BTreeMap<&'d str, BTreeSet<&'d str>>, from: &'d str, to: &str) -> Option<Vec<&'d str>> {
    let mut ways = VecDeque::from([vec![from]]);
    let mut seen = BTreeSet::from([from]);
    while let Some(way) = ways.pop_front() {
        let last = *way.last()?;
        if last == to {
            return Some(way);
        }
        for next in waits.get(last).into_iter().flatten().filter(|next| seen.insert(*next)) {
            ways.push_back(way.iter().copied().chain([*next]).collect());
        }
    }
    None
}

/// Says where a rule cites neither of the two papers that rules come from: what a period rests on
/// is to be found again. A broker runs without, since it decides nothing.
pub(super) fn uncited(text: &str) -> Vec<Mistake> {
    let is_place = |rest: &str| !rest.starts_with(char::is_alphanumeric) && (rest.is_empty() || rest.contains(char::is_alphanumeric));
    let cites = |text: &str| text.strip_prefix(['N', 'R']).is_some_and(is_place);
    let hint = "write for example source = \"N:Joblog\": N is the newsletter on release 2025-4, R the release note of March 2026";
    let (mut reader, mut uncited) = (Reader::new(FILE, text), Reader::new(FILE, text));
    let Some(document) = reader.parse() else { return Vec::new() };
    let root = Section::new(document.as_table(), FILE, 0..0);
    for table in read_lists(&mut reader, &root).iter().flat_map(Entry::elements).filter_map(|element| element.table) {
        let section = Section::new(table, "this rule", 0..0);
        let id = section.text(&mut reader, "id").map_or("without an id", |(id, _)| id);
        // An empty one is reported as such.
        if let Some((source, span)) =
            section.text(&mut reader, "source").filter(|(source, _)| !source.trim().is_empty() && !cites(source.trim()))
        {
            uncited.report(&span, format!("`source` of rule {id} is {source:?}, which cites neither N nor R"), Some(hint.to_owned()));
        }
    }
    uncited.into_mistakes()
}

/// Where a text does not fit `routing.toml`.
#[derive(Debug, Default)]
pub(super) struct Misfits {
    /// What is named and not declared there: a new type is declared, without audiences
    /// if nobody is told, or its events are quarantined and the rule never applies.
    pub undeclared: Vec<Mistake>,
    /// What the two say differently, which may be meant.
    pub notes: Vec<Mistake>,
}

/// Says where a text does not fit `routing.toml`, each with its place.
pub(super) fn misfits(text: &str, rules: &Rules) -> Misfits {
    let (mut reader, mut undeclared) = (Reader::new(FILE, text), Reader::new(FILE, text));
    let Some(document) = reader.parse() else { return Misfits::default() };
    let root = Section::new(document.as_table(), FILE, 0..0);
    for element in read_lists(&mut reader, &root).iter().flat_map(Entry::elements) {
        let Some(table) = element.table else { continue };
        let section = Section::new(table, "this rule", element.span);
        let id = section.text(&mut reader, "id").map(|(id, _)| id);
        let rule = format!("rule {}", id.unwrap_or("without an id"));
        let covered = section.get("entities").map(|entry| names(&mut reader, &entry)).unwrap_or_default();
        for (entity, span) in covered.iter().filter(|(entity, _)| rules.message_type(entity).is_none()) {
            let message = format!("{rule} covers {entity}, which routing.toml does not declare: its period never begins");
            undeclared.report(span, message, Some(DECLARE_HINT.to_owned()));
        }
        let (said, span) = section.text(&mut reader, "notice").map_or((None, section.span.clone()), |(name, span)| (Some(name), span));
        let told_as = id.and_then(|id| rules.notice(id)).map(|notice| &*notice.name);
        let message = match (said, told_as) {
            (said, told_as) if said == told_as => continue,
            (Some(said), _) if rules.message_type(said).is_none() => {
                let message = format!("{rule} says that {said} follows, which routing.toml does not declare: nobody is told");
                undeclared.report(&span, message, Some(DECLARE_HINT.to_owned()));
                continue;
            }
            (Some(said), None) => format!("{rule} says that {said} follows, and routing.toml that no notice does"),
            (Some(said), Some(told_as)) => format!("{rule} says that {said} follows, and routing.toml that {told_as} does"),
            (None, told_as) => {
                format!("{rule} says that no notice follows, and routing.toml that {} does", told_as.unwrap_or_default())
            }
        };
        reader.report(&span, message, None);
    }
    Misfits { undeclared: undeclared.into_mistakes(), notes: reader.into_mistakes() }
}

/// Reports two rules that would cover the same record.
fn check_conflicts(reader: &mut Reader<'_>, read: &[Read<'_>]) {
    for (at, later) in read.iter().enumerate() {
        for (name, span) in &later.entities {
            let earlier = read[..at].iter().find(|earlier| {
                earlier.id != later.id
                    && earlier.entities.iter().any(|(other, _)| other == name)
                    && !exclude_each_other(&earlier.conditions, &later.conditions)
            });
            if let Some(earlier) = earlier {
                let first = reader.place(&earlier.span);
                let which = earlier.id.unwrap_or("another rule");
                let message = format!("{name} is already covered by {which} at {first}, and no condition tells the two apart");
                reader.report(span, message, Some("give them conditions of which one at the most holds".to_owned()));
            }
        }
    }
}

/// Whether no record can meet the conditions of both.
fn exclude_each_other(one: &[Condition], other: &[Condition]) -> bool {
    one.iter().any(|one| {
        other.iter().any(|other| match (one, other) {
            (Condition::OwnedBy(one), Condition::OwnedBy(other)) => one != other,
            (Condition::WithCompany(one), Condition::WithCompany(other)) | (Condition::Answered(one), Condition::Answered(other)) => {
                one != other
            }
            (Condition::AbsenceIn(one), Condition::AbsenceIn(other)) => one.iter().all(|absence| !other.contains(absence)),
            (Condition::AbsenceIn(some), Condition::AbsenceNotIn(none)) | (Condition::AbsenceNotIn(none), Condition::AbsenceIn(some)) => {
                some.iter().all(|absence| none.contains(absence))
            }
            // Conditions on different members, or that leave others out, may hold together.
            (
                Condition::OwnedBy(_)
                | Condition::WithCompany(_)
                | Condition::Answered(_)
                | Condition::AbsenceIn(_)
                | Condition::AbsenceNotIn(_),
                _,
            ) => false,
        })
    })
}

fn read_pension_ages(reader: &mut Reader<'_>, root: &Section<'_>, needed: bool) -> PensionAges {
    const HINT: &str = "write pension-ages = [ { born-until = 1953-12-31, years = 65 }, …, { years = 70 } ]";
    let Some(entry) = root.get("pension-ages") else {
        if needed {
            let message = "a period runs from the pension age, and the file has no `pension-ages`".to_owned();
            reader.report(&(0..0), message, Some(HINT.to_owned()));
        }
        return PensionAges::default();
    };
    let mut until: Vec<(Day, Span)> = Vec::new();
    let mut otherwise = None;
    for element in entry.elements() {
        let Some(table) = element.table else {
            element.report_kind(reader, entry.key, "tables", "such as { born-until = 1953-12-31, years = 65 }");
            continue;
        };
        let section = Section::new(table, "this pension age", element.span);
        section.check_keys(reader, &["born-until", "years", "months"]);
        let born = section.day(reader, "born-until");
        section.require(reader, "years", "years = 67");
        let years = section.integer(reader, "years", 40..=100);
        let months = section.integer(reader, "months", 0..=11);
        let part = |part: Option<(i64, Place)>| part.and_then(|(part, _)| u16::try_from(part).ok()).unwrap_or(0);
        let age = Span { years: part(years), months: part(months), days: 0 };
        match born {
            Some((day, span)) => {
                if let Some((before, _)) = until.last()
                    && day <= *before
                {
                    let message = format!("`born-until` is {day}, which is not after {before} of the line before");
                    reader.report(&span, message, Some("put the ages in order of birth".to_owned()));
                }
                until.push((day, age));
            }
            None if section.get("born-until").is_some() => {}
            None if otherwise.is_some() => {
                let message = "two pension ages have no `born-until`".to_owned();
                reader.report(&section.span, message, Some("only the last line has none: it is for everybody born later".to_owned()));
            }
            None => otherwise = Some(age),
        }
    }
    if otherwise.is_none() {
        let message = "no pension age without `born-until`: whoever is born later has none".to_owned();
        reader.report(&entry.span, message, Some("end the list with a line such as { years = 70 }".to_owned()));
    }
    PensionAges::new(until, otherwise.unwrap_or_default())
}

fn read_pace(reader: &mut Reader<'_>, root: &Section<'_>) -> Pace {
    let mut pace = Pace::default();
    let Some(entry) = root.get("orders") else { return pace };
    let Some(table) = entry.item.as_table_like() else {
        entry.report_kind(reader, "a table", "beginning with a line [orders]");
        return pace;
    };
    let section = Section::new(table, "[orders]", entry.span);
    section.check_keys(reader, &["per-second", "overdue-after-days"]);
    if let Some((number, _)) = section.integer(reader, "per-second", 1..=1_000_000) {
        pace.per_second = u32::try_from(number).unwrap_or(pace.per_second);
    }
    if let Some((number, _)) = section.integer(reader, "overdue-after-days", 1..=365) {
        pace.overdue_after_days = u16::try_from(number).unwrap_or(pace.overdue_after_days);
    }
    pace
}
