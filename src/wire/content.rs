//! `Indhold`: what of it the broker acts on, and what of it is kept.

use std::sync::Arc;

use super::object::{Field, Unreadable, members};
use super::refusal::{Reason, Refusal};
use crate::core::event::{Change, Content, PlanKind};
use crate::core::ids::{Akassekode, ExternalId, Jobcenterkode, Kommunekode, Malformed, Personnummer};
use crate::core::policy::{MessageType, Payload, Rules};
use crate::core::time::Day;

pub(super) const UNKNOWN_AUTHORITY: &str = "expected the code of a kommune or a-kasse that routing.toml declares";

const PATH: &str = "data.Indhold";
const PREFIX: usize = "data.Indhold.".len();

/// How deep a kept body may nest. Receivers' parsers give up somewhere; known
/// bodies need three levels.
const MAX_DEPTH: usize = 32;

/// What the content belongs to.
pub(super) struct Subject<'r> {
    pub(super) message_type: &'r Arc<MessageType>,
    pub(super) change: Change,
    pub(super) rules: &'r Rules,
}

impl Subject<'_> {
    /// Checks that the types whose period decides who may receive say when it
    /// begins: a membership from "some day" would be a guess.
    pub(super) fn check_start(&self, field: &Field<'_>, start: Option<Day>) -> Result<(), Refusal> {
        match &*self.message_type.name {
            "Akassemedlemskab" | "Jobcentertilknytning" | "Bopaelskommune" => self.needed(field, start).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Reads what the broker acts on.
    pub(super) fn content(&self, indhold: &Field<'_>) -> Result<Content, Refusal> {
        let json = match indhold.json() {
            Some(json) if json.starts_with('{') => json,
            Some(_) => return Err(indhold.refuse(Reason::MalformedField, "expected an object")),
            None => "{}",
        };
        match &*self.message_type.name {
            "Akassemedlemskab" => {
                let [code] = read(json, &["data.Indhold.Akassekode"])?;
                let fund = self.needed(&code, code.parsed(Reason::MalformedCode, Akassekode::parse)?)?;
                self.known(&code, fund.is_none_or(|fund| self.rules.knows_fund(fund)))?;
                Ok(Content::Membership { fund })
            }
            "Jobcentertilknytning" => {
                let [code] = read(json, &["data.Indhold.Jobcenterkode"])?;
                let jobcentre = self.needed(&code, code.parsed(Reason::MalformedCode, Jobcenterkode::parse)?)?;
                self.known(&code, jobcentre.is_none_or(|jobcentre| self.rules.knows_kommune(jobcentre.kommune())))?;
                Ok(Content::Jobcentre { jobcentre })
            }
            "Bopaelskommune" => {
                let [code] = read(json, &["data.Indhold.Kommunekode"])?;
                let kommune = self.needed(&code, code.parsed(Reason::MalformedCode, Kommunekode::parse)?)?;
                self.known(&code, kommune.is_none_or(|kommune| self.rules.knows_kommune(kommune)))?;
                Ok(Content::Residence { kommune })
            }
            "Personnummerskift" => {
                let [new] = read(json, &["data.Indhold.NytPersonnummer"])?;
                Ok(Content::NumberChange { new: self.needed(&new, new.parsed(Reason::MalformedPersonnummer, Personnummer::parse_new)?)? })
            }
            "PersonDoed" => {
                let [on] = read(json, &["data.Indhold.Doedsdato"])?;
                Ok(Content::Death { on: self.needed(&on, on.parsed(Reason::MalformedField, Day::parse)?)? })
            }
            "Kontaktgruppe" => {
                const EXPECTED: &str = "expected a whole number";
                let [group, former] = read(json, &["data.Indhold.KontaktgruppeTypeId", "data.Indhold.TidligereKontaktgruppeTypeId"])?;
                Ok(Content::ContactGroup {
                    group: self.needed(&group, group.integer(Reason::MalformedCode, EXPECTED)?)?,
                    former: former.integer(Reason::MalformedCode, EXPECTED)?,
                })
            }
            "Plan" => {
                let [kind, later] = read(json, &["data.Indhold.Plantype", "data.Indhold.SenereVersion"])?;
                Ok(Content::Plan {
                    kind: self.needed(&kind, kind.parsed(Reason::MalformedCode, plan_kind)?)?,
                    later_version: later.parsed(Reason::MalformedField, ExternalId::parse)?,
                })
            }
            "GdprSletning" => self.deletion(json),
            "RigsarkivAflevering" => {
                let [area] = read(json, &["data.Indhold.Dataomraade"])?;
                let said = self.needed(&area, area.parsed(Reason::MalformedField, word)?)?;
                said.as_deref().map_or(Ok(()), |said| self.known_area(&area, said))?;
                Ok(Content::HandedOver { area: said })
            }
            // The set of types is open: routing.toml adds to it.
            _ => Ok(Content::Other),
        }
    }

    /// Reads a deletion. What was deleted must be said whatever the
    /// Aendringstype is: there is nothing that the broker could do without.
    fn deletion(&self, json: &str) -> Result<Content, Refusal> {
        let [area, entity, ground] = read(json, &["data.Indhold.Dataomraade", "data.Indhold.SlettetEntitet", "data.Indhold.Grundlag"])?;
        let area = self.area(&area)?;
        let entity = self.always(&entity, entity.parsed(Reason::MalformedField, word)?)?;
        let after_death = ground.parsed(Reason::MalformedCode, |text| match text {
            "afdoed" => Ok(true),
            "alder" => Ok(false),
            _ => Err(Malformed { expected: "expected alder or afdoed" }),
        })?;
        Ok(Content::Deletion { area, entity, after_death: after_death.unwrap_or(false) })
    }

    /// Reads a data area. One that nothing covers is mistyped, or has yet to be declared:
    /// whatever came of it would be lost without a word.
    fn area(&self, field: &Field<'_>) -> Result<Box<str>, Refusal> {
        let area = self.always(field, field.parsed(Reason::MalformedField, word)?)?;
        self.known_area(field, &area)?;
        Ok(area)
    }

    fn known_area(&self, field: &Field<'_>, area: &str) -> Result<(), Refusal> {
        if self.rules.notice(area).is_some() || self.rules.schedule().rule(area).is_some() {
            return Ok(());
        }
        let expected = "unknown data area, expected one that a notice of routing.toml or a rule of retention.toml covers";
        Err(field.refuse(Reason::UnknownDataArea, expected))
    }

    /// Returns the `Indhold` to keep, as compact JSON.
    pub(super) fn body(&self, indhold: &Field<'_>, content: &Content) -> Result<Option<Box<str>>, Refusal> {
        let kept = self.message_type.payload == Payload::Body || matches!(content, Content::Deletion { .. });
        match indhold.json().filter(|_| kept) {
            Some(json) => compact(json).map(Some),
            None => Ok(None),
        }
    }

    /// Refuses an absent value, except in a recall, which may come without what
    /// it recalls.
    fn needed<T>(&self, field: &Field<'_>, value: Option<T>) -> Result<Option<T>, Refusal> {
        match self.change {
            Change::Deleted => Ok(value),
            Change::Created | Change::Updated => self.always(field, value).map(Some),
        }
    }

    fn always<T>(&self, field: &Field<'_>, value: Option<T>) -> Result<T, Refusal> {
        value.ok_or_else(|| field.refuse(Reason::MissingField, format!("required for {}", self.message_type.name)))
    }

    fn known(&self, field: &Field<'_>, is_known: bool) -> Result<(), Refusal> {
        if is_known { Ok(()) } else { Err(field.refuse(Reason::UnknownAuthority, UNKNOWN_AUTHORITY)) }
    }
}

pub(super) fn read<'a, const N: usize>(json: &'a str, paths: &[&'static str; N]) -> Result<[Field<'a>; N], Refusal> {
    members(json, PREFIX, paths).map_err(|unreadable| match unreadable {
        Unreadable::Json(_) => Refusal::new(Reason::MalformedField, PATH, "expected an object"),
        Unreadable::Repeated(path) => Refusal::new(Reason::MalformedField, path, "expected once, stands there more than once"),
    })
}

/// Parses a name of DFDG's that is not one of a closed list. Plain, so that it
/// can stand in a queue name, a metric or a message as it is.
pub(super) fn word(text: &str) -> Result<Box<str>, Malformed> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'.';
    if text.is_empty() || text.len() > 64 || !text.bytes().all(is_plain) {
        return Err(Malformed { expected: "expected 1 to 64 letters a-z, digits, hyphens, dots or underscores" });
    }
    Ok(text.into())
}

fn plan_kind(text: &str) -> Result<PlanKind, Malformed> {
    PlanKind::parse(text).ok_or(Malformed { expected: "expected Jobplan, UddannelsesplanMedJobmaal, Uddannelsesplan or AndenPlan" })
}

/// Returns JSON, which has been read once, without the space between its
/// tokens. Refuses what receivers' parsers might choke on although the grammar
/// allows it: depth, escapes that stand for half a character, and numbers that
/// no double holds.
fn compact(json: &str) -> Result<Box<str>, Refusal> {
    let refuse = |expected| Refusal::new(Reason::MalformedField, PATH, expected);
    let mut out = String::with_capacity(json.len());
    let mut depth = 0_usize;
    let mut is_plain = true;
    let mut rest = json;
    while let Some(first) = rest.bytes().next() {
        let len = match first {
            b'"' => string_len(rest),
            b'{' | b'[' | b'}' | b']' | b',' | b':' => 1,
            b' ' | b'\t' | b'\r' | b'\n' => 0,
            _ => rest.bytes().take_while(|byte| !matches!(byte, b'}' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n')).count(),
        };
        let (token, after) = rest.split_at(len);
        match first {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => is_plain &= !token.contains("\\u"),
            b'-' | b'0'..=b'9' => is_plain &= len <= MAX_PLAIN_NUMBER && !token.contains(['e', 'E']),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(refuse("expected at most 32 levels"));
        }
        out.push_str(token);
        rest = if len == 0 { rest.get(1..).unwrap_or_default() } else { after };
    }
    // Reading it in full would cost a body as much as all the rest of its event, hence only where there may be a reason.
    if !is_plain && serde_json::from_str::<serde_json::Value>(&out).is_err() {
        return Err(refuse("expected texts without lone surrogates, and numbers in range"));
    }
    Ok(out.into())
}

/// How long a number without an exponent may be and be in range for certain.
const MAX_PLAIN_NUMBER: usize = 300;

/// Returns the length of the JSON string that `json` begins with, quotes included.
fn string_len(json: &str) -> usize {
    let mut escaped = false;
    let closing = json.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    closing.map_or(json.len(), |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_drops_only_the_space_between_tokens() {
        let check = |json: &str, expected: &str| assert_eq!(compact(json).as_deref(), Ok(expected));
        check("{}", "{}");
        check("{ \"a b\" :\t[ 1 ,\r\n 2.50e3, true ] , \"\\\" \\\\\" : { } }", "{\"a b\":[1,2.50e3,true],\"\\\" \\\\\":{}}");
        check("{\"æ \\u00e6\": \"\\ud83d\\ude00 \"}", "{\"æ \\u00e6\":\"\\ud83d\\ude00 \"}");
    }

    #[test]
    fn compact_refuses_what_receivers_may_choke_on() {
        let check = |json: &str, expected: &str| assert_eq!(compact(json).map_err(|r| r.to_string()), Err(expected.to_owned()));
        check("{\"a\":\"\\ud83d\"}", "malformed-field: data.Indhold: expected texts without lone surrogates, and numbers in range");
        check("[-1E999]", "malformed-field: data.Indhold: expected texts without lone surrogates, and numbers in range");
        check(&format!("{}{}", "[".repeat(33), "]".repeat(33)), "malformed-field: data.Indhold: expected at most 32 levels");
        assert!(compact(&format!("{}{}", "[".repeat(32), "]".repeat(32))).is_ok());
    }
}
