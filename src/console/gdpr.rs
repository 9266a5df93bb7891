//! What falls due by month and data area, and what is overdue.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::language::fill;
use super::page::{Frame, page};
use super::show::{csrf, id_link, must_say_why_of, number, recipient_link, time};
use super::view::{Due, ErasureRequest, Unexpected, Unfetched};
use crate::core::time::Day;

/// How many records of an area fall due in a month, by what is with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Nothing keeps them.
    pub due: u64,
    /// Their deletion has been ordered.
    pub ordered: u64,
    /// They wait for something else.
    pub blocked: u64,
}

impl Count {
    fn sum(self) -> u64 {
        self.due + self.ordered + self.blocked
    }
}

/// What falls due. As large as months and areas are many, however many records
/// there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    /// By month (`2033-01`) and area.
    pub months: BTreeMap<(String, String), Count>,
    /// What fell due before the day of the count, by area.
    pub overdue: BTreeMap<String, Count>,
}

impl Calendar {
    /// Counts a record in, as of a day.
    pub fn add(&mut self, due: &Due, today: &str) {
        let month = due.due.get(..7).unwrap_or(&due.due).to_owned();
        let count = match due.due.as_str() < today {
            true => self.overdue.entry(due.rule.clone()).or_default(),
            false => self.months.entry((month, due.rule.clone())).or_default(),
        };
        *match due.state.as_str() {
            "ordered" => &mut count.ordered,
            "blocked" => &mut count.blocked,
            _ => &mut count.due,
        } += 1;
    }
}

/// What a person has to look into.
#[derive(Debug, Clone, Default)]
pub struct ToDo {
    /// Whose notices lie unfetched.
    pub unfetched: Vec<Unfetched>,
    /// Erasures that wait for a second person.
    pub erasures: Vec<ErasureRequest>,
    /// Deletions that the rules did not expect, the newest first.
    pub unexpected: Vec<Unexpected>,
}

/// Returns the page; `calendar` is `None` while it is being counted for the first
/// time. It reaches until the day `until`.
#[must_use]
pub fn gdpr(frame: &Frame<'_>, to_do: &ToDo, calendar: Option<&Calendar>, until: &str) -> String {
    let texts = frame.texts();
    let content = html! {
        h1 { (texts.gdpr_title) }
        p.muted { (texts.gdpr_intro) }
        (erasures(frame, &to_do.erasures))
        (unfetched(frame, &to_do.unfetched))
        (unexpected(frame, &to_do.unexpected))
        @match calendar {
            None => { p.notice.warn role="status" { (texts.gdpr_counting) } }
            Some(calendar) => {
                (overdue(frame, &calendar.overdue))
                @if calendar.months.is_empty() { p { (fill(texts.gdpr_none, &[until])) } } @else { (months(frame, calendar)) }
            }
        }
    };
    page(frame, texts.gdpr_title, &content)
}

fn unfetched(frame: &Frame<'_>, unfetched: &[Unfetched]) -> Markup {
    let texts = frame.texts();
    html! {
        @if !unfetched.is_empty() {
            section {
                div.scroll tabindex="0" role="region" aria-label=(texts.gdpr_unfetched) { table {
                    caption { (texts.gdpr_unfetched) }
                    thead { tr {
                        th scope="col" { (texts.col_recipient) }
                        th scope="col" { (texts.gdpr_since) }
                        th.num scope="col" { (texts.gdpr_notices) }
                        th.num scope="col" { (texts.gdpr_reminded) }
                        @if frame.may_act() { th scope="col" { (texts.actions) } }
                    } }
                    tbody {
                        @for one in unfetched {
                            tr {
                                th scope="row" data-label=(texts.col_recipient) { (recipient_link(frame, &one.recipient)) }
                                td data-label=(texts.gdpr_since) { (one.since) }
                                td.num data-label=(texts.gdpr_notices) { (number(frame, one.notices)) }
                                td.num data-label=(texts.gdpr_reminded) {
                                    @match one.reminded_after_days {
                                        Some(days) => { (number(frame, u64::from(days))) }
                                        None => { span.muted { "–" } }
                                    }
                                }
                                @if frame.may_act() { td data-label=(texts.actions) { (close(frame, one)) } }
                            }
                        }
                    }
                } }
                p.muted { (texts.gdpr_unfetched_intro) }
            }
        }
    }
}

/// Takes a recipient's pile off the list: its vendor has dealt with the notices in
/// another way.
fn close(frame: &Frame<'_>, pile: &Unfetched) -> Markup {
    let texts = frame.texts();
    let id = format!("notices-{}", pile.recipient.replace(':', "-"));
    html! {
        details.confirm {
            summary { (texts.gdpr_close) "…" }
            form.stacked method="post" action="/console/gdpr/notices/close" {
                (csrf(frame))
                input type="hidden" name="recipient" value=(pile.recipient);
                div { label for={ (id) "-until" } { (texts.gdpr_close_until) }
                    input id={ (id) "-until" } type="date" name="until" required
                        value=(Day::in_copenhagen(frame.now).to_string()) min=(pile.since);
                }
                div { (must_say_why_of(frame, &id)) }
                button.danger type="submit" aria-label={ (texts.gdpr_close) ": " (frame.name_of(&pile.recipient)) } { (texts.gdpr_close) }
            }
        }
    }
}

/// Erasures that wait for a second person: who asked, and never about whom.
fn erasures(frame: &Frame<'_>, requests: &[ErasureRequest]) -> Markup {
    let texts = frame.texts();
    let is_own = |request: &ErasureRequest| frame.who.is_some_and(|who| who.name == request.by);
    html! {
        @if !requests.is_empty() {
            section {
                div.scroll tabindex="0" role="region" aria-label=(texts.erasures_title) { table {
                    caption { (texts.erasures_title) }
                    thead { tr {
                        th.num scope="col" { (texts.col_number) }
                        th scope="col" { (texts.col_by) }
                        th scope="col" { (texts.col_when) }
                        th scope="col" { (texts.actions) }
                    } }
                    tbody {
                        @for request in requests {
                            tr {
                                th.num scope="row" data-label=(texts.col_number) { (request.id) }
                                td data-label=(texts.col_by) { (request.by) }
                                td data-label=(texts.col_when) { (time(frame, &request.at)) }
                                td data-label=(texts.actions) {
                                    @if is_own(request) { span.muted { (texts.erasure_own) } } @else {
                                        details.confirm {
                                            summary { (texts.erasure_confirm) "…" }
                                            form.inline method="post" action={ "/console/gdpr/erasures/" (request.id) "/confirm" } {
                                                (csrf(frame))
                                                button.danger type="submit" aria-label={ (texts.erasure_for_good) ": " (request.id) } {
                                                    (texts.erasure_for_good)
                                                }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                } }
                p.muted { (texts.erasures_intro) }
            }
        }
    }
}

fn unexpected(frame: &Frame<'_>, unexpected: &[Unexpected]) -> Markup {
    let texts = frame.texts();
    html! {
        @if !unexpected.is_empty() {
            section {
                div.scroll tabindex="0" role="region" aria-label=(texts.gdpr_unexpected) {
                    table {
                        caption { (texts.gdpr_unexpected) }
                        thead { tr {
                            th scope="col" { (texts.col_when) }
                            th scope="col" { (texts.col_area) }
                            th scope="col" { (texts.col_type) }
                            th scope="col" { (texts.col_why) }
                            th scope="col" { (texts.col_event) }
                        } }
                        tbody {
                            @for one in unexpected {
                                tr {
                                    th scope="row" data-label=(texts.col_when) { (time(frame, &one.at)) }
                                    td data-label=(texts.col_area) { (one.area) }
                                    td data-label=(texts.col_type) { (one.entity) }
                                    td data-label=(texts.col_why) { (texts.word(&format!("deletion-{}", one.why))) }
                                    td data-label=(texts.col_event) {
                                        @match &one.event_id {
                                            Some(id) => { (id_link("/console/events", id)) }
                                            None => { (texts.gdpr_erased_since) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn overdue(frame: &Frame<'_>, overdue: &BTreeMap<String, Count>) -> Markup {
    let texts = frame.texts();
    html! {
        @if !overdue.is_empty() {
            section {
                div.scroll tabindex="0" role="region" aria-label=(texts.gdpr_overdue) { table {
                    caption { (texts.gdpr_overdue) }
                    thead { tr {
                        th scope="col" { (texts.col_area) }
                        th.num scope="col" { (texts.gdpr_due) }
                        th.num scope="col" { (texts.gdpr_ordered) }
                        th.num scope="col" { (texts.gdpr_blocked) }
                    } }
                    tbody {
                        @for (area, count) in overdue {
                            tr {
                                th scope="row" data-label=(texts.col_area) { (area) }
                                td.num data-label=(texts.gdpr_due) { (number(frame, count.due)) }
                                td.num data-label=(texts.gdpr_ordered) { (number(frame, count.ordered)) }
                                td.num data-label=(texts.gdpr_blocked) { (number(frame, count.blocked)) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

fn months(frame: &Frame<'_>, calendar: &Calendar) -> Markup {
    let texts = frame.texts();
    let months: BTreeSet<&str> = calendar.months.keys().map(|(month, _)| month.as_str()).collect();
    let areas: BTreeSet<&str> = calendar.months.keys().map(|(_, area)| area.as_str()).collect();
    let of = |month: &str, area: &str| calendar.months.get(&(month.to_owned(), area.to_owned())).copied().unwrap_or_default().sum();
    html! {
        section {
            div.scroll tabindex="0" role="region" aria-label=(texts.gdpr_caption) {
                table.calendar {
                    caption { (texts.gdpr_caption) }
                    thead { tr {
                        th scope="col" { (texts.col_area) }
                        @for month in &months { th.num scope="col" { (month) } }
                        th.num scope="col" { (texts.gdpr_sum) }
                    } }
                    tbody {
                        @for area in &areas {
                            tr {
                                th scope="row" data-label=(texts.col_area) { (area) }
                                @for month in &months { td.num data-label=(month) { (number(frame, of(month, area))) } }
                                td.num data-label=(texts.gdpr_sum) { (frame.language.number(months.iter().map(|month| of(month, area)).sum())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_overdue_or_in_a_month() {
        let mut calendar = Calendar::default();
        for (due, rule, state) in [
            ("2032-03-16", "joblog", "due"),
            ("2032-03-17", "joblog", "due"),
            ("2032-03-31", "joblog", "blocked"),
            ("2032-04-01", "fravaer", "ordered"),
            ("2031-01-01", "joblog", "ordered"),
        ] {
            calendar.add(&Due { rule: rule.to_owned(), due: due.to_owned(), state: state.to_owned() }, "2032-03-17");
        }
        assert_eq!(calendar.overdue["joblog"], Count { due: 1, ordered: 1, blocked: 0 });
        assert_eq!(calendar.months[&("2032-03".to_owned(), "joblog".to_owned())], Count { due: 1, ordered: 0, blocked: 1 });
        assert_eq!(calendar.months[&("2032-04".to_owned(), "fravaer".to_owned())].sum(), 1);
    }
}
