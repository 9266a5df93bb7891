//! Messages that cannot be events.

use maud::html;

use super::form::with_query;
use super::language::fill;
use super::page::{Frame, page};
use super::show::{csrf, may_say_why, must_say_why_of, pager, time};
use super::view::{Items, Quarantined};

/// Returns the page.
#[must_use]
pub fn quarantine(frame: &Frame<'_>, list: &Items<Quarantined>, paged: bool) -> String {
    let texts = frame.texts();
    let next = list.next_cursor.as_deref().map(|cursor| with_query("/console/quarantine", &[("cursor", cursor)]));
    let content = html! {
        h1 { (texts.quarantine_title) }
        p.muted { (texts.quarantine_intro) }
        div.scroll tabindex="0" role="region" aria-label=(texts.quarantine_title) {
            table {
                caption.hidden { (texts.quarantine_title) }
                thead { tr {
                    th.num scope="col" { (texts.col_number) }
                    th scope="col" { (texts.col_wrong) }
                    th scope="col" { (texts.col_came) }
                    th.num scope="col" { (texts.col_size) }
                    @if frame.may_act() { th scope="col" { (texts.actions) } }
                } }
                tbody {
                    @for one in &list.items {
                        tr {
                            th.num scope="row" data-label=(texts.col_number) { (one.id) }
                            td data-label=(texts.col_wrong) { span.code { (one.word) } span.note lang="en" { " " (one.reason) } }
                            td data-label=(texts.col_came) { (time(frame, &one.at)) }
                            td.num data-label=(texts.col_size) { (fill(texts.bytes, &[&frame.language.number(one.bytes)])) }
                            @if frame.may_act() {
                                td data-label=(texts.actions) {
                                    div.row-acts {
                                        form.inline method="post" action={ "/console/quarantine/" (one.id) "/retry" } {
                                            (csrf(frame))
                                            (may_say_why(frame))
                                            button type="submit" aria-label={ (texts.quarantine_retry) ": " (one.id) } { (texts.quarantine_retry) }
                                        }
                                        details.confirm {
                                            summary { (texts.quarantine_discard) "…" }
                                            form.inline method="post" action={ "/console/quarantine/" (one.id) "/discard" } {
                                                (csrf(frame))
                                                (must_say_why_of(frame, &one.id.to_string()))
                                                button.danger type="submit" aria-label={ (texts.quarantine_discard) ": " (one.id) } { (texts.quarantine_discard) }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    @if list.items.is_empty() { tr { td colspan="5" { (texts.quarantine_none) } } }
                }
            }
        }
        (pager(frame, paged.then_some("/console/quarantine"), next.as_deref()))
    };
    page(frame, texts.quarantine_title, &content)
}
