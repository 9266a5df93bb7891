//! What operators did.

use maud::html;

use super::form::with_query;
use super::page::{Frame, page};
use super::show::{clock, pager};
use super::view::{Entry, Items};

/// Returns the page.
#[must_use]
pub fn audit(frame: &Frame<'_>, log: &Items<Entry>, paged: bool) -> String {
    let texts = frame.texts();
    let next = log.next_cursor.as_deref().map(|cursor| with_query("/console/audit", &[("cursor", cursor)]));
    let content = html! {
        h1 { (texts.audit_title) }
        p.muted { (texts.audit_intro) }
        div.scroll tabindex="0" role="region" aria-label=(texts.audit_title) {
            table {
                caption.hidden { (texts.audit_title) }
                thead { tr {
                    th scope="col" { (texts.col_when) }
                    th scope="col" { (texts.col_who) }
                    th scope="col" { (texts.col_what) }
                    th scope="col" { (texts.col_about) }
                    th scope="col" { (texts.col_why) }
                } }
                tbody {
                    @for entry in &log.items {
                        tr {
                            th scope="row" data-label=(texts.col_when) { (clock(&entry.at)) }
                            td data-label=(texts.col_who) { (entry.who) span.note { " " (texts.word(&entry.role)) } }
                            td data-label=(texts.col_what) { (texts.word(&entry.action)) @if entry.dry_run { " " span.badge.plain { (texts.dry_run) } } }
                            td.about data-label=(texts.col_about) { (entry.about) }
                            td data-label=(texts.col_why) { (entry.why.as_deref().unwrap_or("–")) }
                        }
                    }
                    @if log.items.is_empty() { tr { td colspan="5" { (texts.nothing_here) } } }
                }
            }
        }
        (pager(frame, paged.then_some("/console/audit"), next.as_deref()))
    };
    page(frame, texts.audit_title, &content)
}
