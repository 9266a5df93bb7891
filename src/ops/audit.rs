//! The audit log of what operators do: written in the group of what is done,
//! read in pages, checked as a whole.

use serde_json::{Value, json};

use crate::core::audit::{Deed, Entry, Extent, Hash, Inspection, Order, Soundness};
use crate::core::holds::LONGEST_WHY;
use crate::core::ids::{DeliveryKey, WsbId};
use crate::core::records::{Archive, Change, Records};
use crate::core::time::Moment;
use crate::core::trace::Step;

/// Notes what somebody does, to be committed with it: either both are stored or
/// neither is.
///
/// # Errors
/// When the change cannot be staged.
pub fn note<R: Records>(records: &mut R, at: Moment, deed: Deed) -> Result<(), R::Error> {
    records.stage(Change::Audit { at, deed })
}

/// As [`note`], of what is done to one delivery: its trace tells of it too.
///
/// # Errors
/// When the changes cannot be staged.
pub fn note_about<R: Archive>(records: &mut R, at: Moment, deed: Deed, key: DeliveryKey, id: WsbId) -> Result<(), R::Error> {
    let citizen = match records.delivery(key)? {
        Some(row) => Some(row.citizen),
        None => records.admission(key.seq)?.map(|admission| admission.citizen),
    };
    if let Some(citizen) = citizen {
        let step = Step::Acted { action: deed.action, who: deed.who.clone() };
        records.stage(Change::Trace { key, citizen, id, at, step })?;
    }
    note(records, at, deed)
}

/// Why a reason cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhyRefused {
    /// It says nothing.
    #[error("a reason is needed")]
    Missing,
    /// It is too long, or not a line of text.
    #[error("a reason is one line of at most {LONGEST_WHY} characters")]
    NotALine,
    /// It holds what may be a personnummer.
    #[error("a reason names nobody by number: the log keeps it longer than anything about a citizen")]
    NamesSomebody,
}

/// Checks the words of a person for why something is done.
///
/// # Errors
/// Refuses nothing, too much, and anything that looks like a personnummer.
pub fn reason(text: &str) -> Result<&str, WhyRefused> {
    let text = text.trim();
    if text.is_empty() {
        return Err(WhyRefused::Missing);
    }
    if text.chars().count() > LONGEST_WHY || text.chars().any(char::is_control) {
        return Err(WhyRefused::NotALine);
    }
    if holds_number(text) { Err(WhyRefused::NamesSomebody) } else { Ok(text) }
}

/// Returns whether ten digits stand in a row, or six and four with a space or
/// hyphen between.
fn holds_number(text: &str) -> bool {
    let mut run = 0;
    let mut gap = false;
    for c in text.chars() {
        match c {
            '0'..='9' => run += 1,
            ' ' | '-' | '\u{2010}' | '\u{2011}' | '\u{2013}' if run == 6 && !gap => {
                gap = true;
                continue;
            }
            _ => {
                run = 0;
                gap = false;
            }
        }
        if run == 10 {
            return true;
        }
    }
    false
}

/// Which entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Done at or after.
    pub since: Option<Moment>,
    /// Done before.
    pub until: Option<Moment>,
}

/// How many entries one call looks at, at the most.
const LOOKED_AT: usize = 5_000;

/// Returns a page of entries that come after the place `after` in that order. A
/// page may hold fewer than `limit` although there are more.
///
/// # Errors
/// When the store cannot be read.
pub fn audit_page<R: Archive>(
    records: &mut R,
    filter: AuditFilter,
    order: Order,
    after: Option<u64>,
    limit: usize,
) -> Result<Value, R::Error> {
    let mut items = Vec::new();
    let mut after = after;
    let mut looked_at = 0;
    loop {
        let page = records.audit_page(order, after, super::PAGE)?;
        let more = page.len() == super::PAGE;
        for entry in page {
            after = Some(entry.seq);
            looked_at += 1;
            if filter.since.is_none_or(|since| since <= entry.at) && filter.until.is_none_or(|until| entry.at < until) {
                items.push(audit_json(&entry));
            }
            if items.len() >= limit || looked_at >= LOOKED_AT {
                return Ok(json!({ "items": items, "next_cursor": after.map(|after| after.to_string()) }));
            }
        }
        if !more {
            return Ok(json!({ "items": items, "next_cursor": null }));
        }
    }
}

/// Describes an entry.
#[must_use]
pub fn audit_json(entry: &Entry) -> Value {
    let hex = |hash: &Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let Deed { who, role, action, about, why, dry_run } = &entry.deed;
    json!({
        "seq": entry.seq,
        "at": entry.at.to_string(),
        "who": &**who,
        "role": &**role,
        "action": action.name(),
        "about": &**about,
        "why": why.as_deref(),
        "dry_run": dry_run,
        "former": hex(&entry.former),
        "hash": hex(&entry.hash),
    })
}

/// Returns where the log begins and ends.
///
/// # Errors
/// When the store cannot be read.
pub fn audit_extent<R: Archive>(records: &mut R) -> Result<Extent, R::Error> {
    records.audit_extent()
}

/// Looks at some more of the log, up to the place `newest`; returns whether that
/// has been reached.
///
/// # Errors
/// When the store cannot be read.
pub fn inspect<R: Archive>(records: &mut R, inspection: &mut Inspection, after: &mut Option<u64>, newest: u64) -> Result<bool, R::Error> {
    let page = records.audit_page(Order::OldestFirst, *after, super::PAGE)?;
    for entry in page.iter().take_while(|entry| entry.seq <= newest) {
        inspection.look(entry);
        *after = Some(entry.seq);
    }
    Ok(page.len() < super::PAGE || *after >= Some(newest))
}

/// Says whether the whole log is as it was written. For a store that nobody
/// writes to meanwhile.
///
/// # Errors
/// When the store cannot be read.
pub fn verify_audit<R: Archive>(records: &mut R) -> Result<Soundness, R::Error> {
    let extent = records.audit_extent()?;
    let mut inspection = Inspection::of(extent);
    let mut after = None;
    while !inspect(records, &mut inspection, &mut after, extent.newest)? {}
    Ok(inspection.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_and_names_nobody_by_number() {
        for good in
            ["a test", "  the vendor asked for it (case 12345-678) ", "2026-03-16 08:00, 5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91", "123456789"]
        {
            assert_eq!(reason(good), Ok(good.trim()));
        }
        for nothing in ["", "  ", "\n"] {
            assert_eq!(reason(nothing), Err(WhyRefused::Missing));
        }
        for number in ["0101901234", "cpr 010190-1234.", "a0101901234b", "010190 1234", "12345678901", "010190–1234"] {
            assert_eq!(reason(number), Err(WhyRefused::NamesSomebody), "{number}");
        }
        assert_eq!(reason("two\nlines"), Err(WhyRefused::NotALine));
        assert_eq!(reason("a\0b"), Err(WhyRefused::NotALine));
        assert_eq!(reason(&"x".repeat(501)), Err(WhyRefused::NotALine));
    }
}
