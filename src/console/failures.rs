//! Failed deliveries: by cause, as a list with filters, and one by itself.

use maud::{Markup, html};

use super::form::{encode, id_path, with_query};
use super::page::{Frame, page};
use super::show::{clock, csrf, delivery_state, id_link, maybe_time, must_say_why, next_time, pager, recipient_link, time, waits};
use super::view::{Delivery, Group, Items};

/// What somebody looks for, as it stands in the address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `dead` unless told otherwise.
    pub state: String,
    /// To whom.
    pub recipient: String,
    /// EntitetNavn.
    pub entity: String,
    /// Why.
    pub reason: String,
    /// Decided at or after: what a field of local time holds.
    pub since: String,
    /// Decided before.
    pub until: String,
}

impl Wanted {
    /// Returns the names and values that make an address of it.
    #[must_use]
    pub fn values(&self) -> [(&'static str, &str); 6] {
        [
            ("state", &self.state),
            ("recipient", &self.recipient),
            ("entity", &self.entity),
            ("reason", &self.reason),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    fn address(&self) -> String {
        with_query("/console/failures", &self.values())
    }
}

/// The states that can be asked for.
const STATES: [&str; 5] = ["dead", "retrying", "pending", "delivered", "withdrawn"];

/// Reasons for which deliveries fail.
const REASONS: [&str; 10] = [
    "nacked",
    "returned",
    "timeout",
    "connection",
    "refused",
    "never-attempted",
    "rejected-by-recipient",
    "delivery-limit",
    "expired",
    "overflow",
];

/// Returns the page. `entities` are the types that can be asked for.
#[must_use]
pub fn failures(
    frame: &Frame<'_>,
    wanted: &Wanted,
    groups: Option<&[Group]>,
    list: &Items<Delivery>,
    entities: &[String],
    paged: bool,
) -> String {
    let texts = frame.texts();
    let next = list.next_cursor.as_deref().map(|cursor| {
        let mut values = wanted.values().to_vec();
        values.push(("cursor", cursor));
        with_query("/console/failures", &values)
    });
    let first = paged.then(|| wanted.address());
    let content = html! {
        h1 { (texts.failures_title) }
        @if let Some(groups) = groups { (by_cause(frame, groups)) }
        section {
            (filters(frame, wanted, entities))
            (bulk(frame, wanted, list))
            (pager(frame, first.as_deref(), next.as_deref()))
        }
    };
    page(frame, texts.failures_title, &content)
}

/// How many groups are shown; the largest come first.
const GROUPS: usize = 20;

fn by_cause(frame: &Frame<'_>, groups: &[Group]) -> Markup {
    let texts = frame.texts();
    html! {
        section {
            div.scroll tabindex="0" role="region" aria-label=(texts.groups_title) {
                table {
                    caption { (texts.groups_title) }
                    thead { tr {
                        th scope="col" { (texts.col_cause) }
                        th scope="col" { (texts.col_recipient) }
                        th scope="col" { (texts.col_type) }
                        th.num scope="col" { (texts.col_count) }
                        th scope="col" { (texts.col_first) }
                        th scope="col" { (texts.col_last) }
                    } }
                    tbody {
                        @for group in groups.iter().take(GROUPS) {
                            @let values = [("state", "dead"), ("recipient", &group.recipient), ("entity", &group.entity), ("reason", &group.reason)];
                            tr {
                                th scope="row" data-label=(texts.col_cause) {
                                    a href=(with_query("/console/failures", &values)) { (texts.word(&group.reason)) }
                                    @if group.code != 0 { span.note { " " (group.code) } }
                                }
                                td data-label=(texts.col_recipient) { (recipient_link(frame, &group.recipient)) }
                                td data-label=(texts.col_type) { (group.entity) }
                                td.num data-label=(texts.col_count) { (frame.language.number(group.count)) }
                                td data-label=(texts.col_first) { (time(frame, &group.first_at)) }
                                td data-label=(texts.col_last) { (time(frame, &group.last_at)) }
                            }
                        }
                        @if groups.is_empty() { tr { td colspan="6" { (texts.nothing_here) } } }
                    }
                }
            }
            @if groups.len() > GROUPS {
                p.muted { (frame.language.count(texts.more_groups, (groups.len() - GROUPS) as u64)) }
            }
        }
    }
}

fn filters(frame: &Frame<'_>, wanted: &Wanted, entities: &[String]) -> Markup {
    let texts = frame.texts();
    let of_all = frame.who.is_some_and(|who| who.sees_all());
    html! {
        form.filters method="get" action="/console/failures" {
            div { label for="state" { (texts.filter_state) }
                select #state name="state" { @for state in STATES { option value=(state) selected[state == wanted.state] { (texts.word(state)) } } }
            }
            @if of_all {
                div { label for="recipient" { (texts.col_recipient) }
                    select #recipient name="recipient" {
                        option value="" { (texts.all) }
                        @for (recipient, name) in frame.names { option value=(recipient) selected[*recipient == wanted.recipient] { (name) } }
                    }
                }
            }
            div { label for="entity" { (texts.col_type) }
                select #entity name="entity" {
                    option value="" { (texts.all) }
                    @for entity in entities { option value=(entity) selected[*entity == wanted.entity] { (entity) } }
                }
            }
            div { label for="reason" { (texts.col_cause) }
                select #reason name="reason" {
                    option value="" { (texts.all) }
                    @for reason in REASONS { option value=(reason) selected[reason == wanted.reason] { (texts.word(reason)) } }
                }
            }
            div { label for="since" { (texts.since) } input #since type="datetime-local" name="since" value=(wanted.since); }
            div { label for="until" { (texts.to) } input #until type="datetime-local" name="until" value=(wanted.until); }
            button type="submit" { (texts.filter) }
        }
    }
}

/// The list within the form that selects from it.
fn bulk(frame: &Frame<'_>, wanted: &Wanted, list: &Items<Delivery>) -> Markup {
    let texts = frame.texts();
    let may_replay = frame.may_replay() && matches!(wanted.state.as_str(), "dead" | "delivered");
    html! {
        form method="post" action="/console/replays/preview" data-bulk=[may_replay.then_some("")] {
            (csrf(frame))
            @for (name, value) in wanted.values() { input type="hidden" name=(name) value=(value); }
            (table(frame, texts.list_title, &list.items, may_replay))
            @if list.items.is_empty() && list.next_cursor.is_some() { p.muted { (texts.more_may_follow) } }
            @if may_replay && !list.items.is_empty() {
                div.act {
                    button type="submit" name="what" value="selected" { (texts.replay_selected) }
                    button.primary type="submit" name="what" value="all" { (texts.replay_all) }
                }
            }
        }
    }
}

/// Draws a list of deliveries without anything to select.
pub(super) fn short_table(frame: &Frame<'_>, caption: &str, deliveries: &[Delivery]) -> Markup {
    table(frame, caption, deliveries, false)
}

fn table(frame: &Frame<'_>, caption: &str, deliveries: &[Delivery], select: bool) -> Markup {
    let texts = frame.texts();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr {
                    @if select { th.check scope="col" { label { input type="checkbox" data-all disabled; span.hidden { (texts.select_all) } } } }
                    th scope="col" { (texts.col_id) }
                    th scope="col" { (texts.col_recipient) }
                    th scope="col" { (texts.col_type) }
                    th scope="col" { (texts.col_state) }
                    th.num scope="col" { (texts.col_attempts) }
                    th scope="col" { (texts.first_at) }
                    th scope="col" { (texts.last_at) }
                } }
                tbody {
                    @for one in deliveries {
                        tr {
                            @if select {
                                td.check data-label=(texts.col_select) {
                                    label { input type="checkbox" name="id" value=(one.id); span.hidden { (texts.col_select) " " (one.id) } }
                                }
                            }
                            th scope="row" data-label=(texts.col_id) { (id_link("/console/deliveries", &one.id)) }
                            td data-label=(texts.col_recipient) { (frame.name_of(&one.recipient)) }
                            td data-label=(texts.col_type) { (one.entity) }
                            td data-label=(texts.col_state) { (delivery_state(frame, &one.state, one.reason.as_deref())) }
                            td.num data-label=(texts.col_attempts) { (one.attempts) }
                            td data-label=(texts.first_at) { (time(frame, &one.first_at)) }
                            td data-label=(texts.last_at) { (maybe_time(frame, one.last_at.as_deref())) }
                        }
                    }
                    @if deliveries.is_empty() { tr { td colspan="8" { (texts.nothing_here) } } }
                }
            }
        }
    }
}

/// Returns the page of one delivery.
#[must_use]
pub fn delivery(frame: &Frame<'_>, one: &Delivery) -> String {
    let texts = frame.texts();
    let row = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    let content = html! {
        h1 { (texts.delivery_title) " " span.code { (one.id) } }
        dl.facts {
            (row(texts.col_state, delivery_state(frame, &one.state, one.reason.as_deref())))
            (row(texts.col_recipient, recipient_link(frame, &one.recipient)))
            (row(texts.col_type, html! { (one.entity) }))
            (row(texts.col_attempts, html! { (one.attempts) }))
            (row(texts.first_at, html! { (clock(&one.first_at)) }))
            @if let Some(last) = one.last_at.as_deref() { (row(texts.last_at, html! { (clock(last)) })) }
            @if let Some(next) = one.next_at.as_deref() { (row(texts.next_at, next_time(frame, Some(next)))) }
            @if !one.waits_for.is_empty() { (row(texts.waits_for, waits(frame, &one.waits_for))) }
            @if one.replays > 0 { (row(texts.replays_count, html! { (one.replays) })) }
            @if let Some(because) = &one.because {
                (row(texts.delivery_because, html! { (texts.word(&because.audience)) }))
                @if let Some(registration) = &because.registration {
                    (row(texts.delivery_registration, html! { span.code { (registration.external_id) } ", " (clock(&registration.registered_at)) }))
                }
                (row(texts.delivery_day, html! { (because.day) }))
            }
        }
        p { a.button href=(id_path("/console/events", &one.event_id)) { (texts.see_trace) } }
        (super::trace::steps_of(frame, one))
        @if frame.may_replay() && matches!(one.state.as_str(), "dead" | "delivered") {
            form.act method="post" action="/console/replays/preview" {
                (csrf(frame))
                input type="hidden" name="what" value="selected";
                input type="hidden" name="state" value=(one.state);
                input type="hidden" name="id" value=(one.id);
                button.primary type="submit" { (texts.replay_one) }
            }
        }
        @if frame.may_act() && matches!(one.state.as_str(), "dead" | "retrying" | "pending") {
            form.stacked method="post" action={ "/console/deliveries/" (encode(&one.id)) "/discard" } {
                (csrf(frame))
                (must_say_why(frame))
                div.act {
                    button.danger type="submit" { (texts.discard) }
                    @if one.state != "dead" {
                        button type="submit" formaction={ "/console/lanes/" (encode(&one.id)) "/park" } { (texts.lane_park) }
                    }
                }
                @if one.state != "dead" { p.hint { (texts.lane_park_hint) } }
            }
        }
    };
    page(frame, texts.delivery_title, &content)
}
