//! Lanes: what waits for one recipient about one citizen, in order, behind a delivery
//! that is being retried or because somebody has parked it.

use maud::{Markup, html};

use super::form::encode;
use super::page::{Frame, page};
use super::show::{csrf, id_link, maybe_time, must_say_why_of, next_time, number, recipient_link};
use super::view::{Items, Lane};

/// Returns the page.
#[must_use]
pub fn lanes(frame: &Frame<'_>, lanes: &Items<Lane>) -> String {
    let texts = frame.texts();
    let (parked, blocked): (Vec<&Lane>, Vec<&Lane>) = lanes.items.iter().partition(|lane| lane.is_parked());
    let content = html! {
        h1 { (texts.lanes_title) }
        p.muted { (texts.lanes_intro) }
        section { (parked_table(frame, &parked)) }
        section { (blocked_table(frame, &blocked)) }
    };
    page(frame, texts.lanes_title, &content)
}

/// Draws lanes that somebody has parked, with how to let them go on.
pub(super) fn parked_table(frame: &Frame<'_>, lanes: &[&Lane]) -> Markup {
    let texts = frame.texts();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(texts.lanes_parked) {
            table {
                caption { (texts.lanes_parked) }
                thead { tr {
                    th scope="col" { (texts.col_recipient) }
                    th scope="col" { (texts.lanes_head) }
                    th scope="col" { (texts.col_why) }
                    th scope="col" { (texts.col_since) }
                    th.num scope="col" { (texts.col_waiting) }
                    @if frame.may_act() { th scope="col" { (texts.actions) } }
                } }
                tbody {
                    @for lane in lanes {
                        tr {
                            th scope="row" data-label=(texts.col_recipient) { (recipient_link(frame, &lane.recipient)) }
                            td data-label=(texts.lanes_head) { (head(lane)) }
                            td data-label=(texts.col_why) { (lane.why.as_deref().unwrap_or("–")) }
                            td data-label=(texts.col_since) { (maybe_time(frame, lane.parked_since.as_deref())) }
                            td.num data-label=(texts.col_waiting) { (number(frame, lane.waiting)) }
                            @if frame.may_act() { td data-label=(texts.actions) { (release(frame, lane)) } }
                        }
                    }
                    @if lanes.is_empty() { tr { td colspan="6" { (texts.lanes_none_parked) } } }
                }
            }
        }
    }
}

fn blocked_table(frame: &Frame<'_>, lanes: &[&Lane]) -> Markup {
    let texts = frame.texts();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(texts.lanes_blocked_title) {
            table {
                caption { (texts.lanes_blocked_title) }
                thead { tr {
                    th scope="col" { (texts.col_recipient) }
                    th scope="col" { (texts.lanes_head) }
                    th scope="col" { (texts.col_cause) }
                    th scope="col" { (texts.col_next) }
                    th.num scope="col" { (texts.col_waiting) }
                } }
                tbody {
                    @for lane in lanes {
                        tr {
                            th scope="row" data-label=(texts.col_recipient) { (recipient_link(frame, &lane.recipient)) }
                            td data-label=(texts.lanes_head) { (head(lane)) }
                            td data-label=(texts.col_cause) { (texts.word(lane.reason.as_deref().unwrap_or("–"))) }
                            td data-label=(texts.col_next) { (next_time(frame, lane.next_at.as_deref())) }
                            td.num data-label=(texts.col_waiting) { (number(frame, lane.waiting)) }
                        }
                    }
                    @if lanes.is_empty() { tr { td colspan="5" { (texts.nothing_here) } } }
                }
            }
        }
    }
}

fn head(lane: &Lane) -> Markup {
    html! {
        @match &lane.head {
            Some(id) => { (id_link("/console/deliveries", id)) @if let Some(entity) = &lane.entity { " " (entity) } }
            None => { span.muted { "–" } }
        }
    }
}

fn release(frame: &Frame<'_>, lane: &Lane) -> Markup {
    let texts = frame.texts();
    html! {
        @if let Some(id) = lane.id() {
            details.confirm {
                summary { (texts.lane_release) "…" }
                form.inline method="post" action={ "/console/lanes/" (encode(id)) "/release" } {
                    (csrf(frame))
                    (must_say_why_of(frame, id))
                    button.primary type="submit" aria-label={ (texts.lane_release) ": " (id) } { (texts.lane_release) }
                }
            }
        }
    }
}
