//! The course of an event, drawn as a time line and told step by step.

use maud::{Markup, html};

use super::language::fill;
use super::page::{Frame, page};
use super::show::{clock, delivery_state, id_link, recipient_link, waits};
use super::view::{Delivery, Happening, Stay, Trace, Traced};
use crate::core::time::Moment;

/// What a mark on the time line stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Decided,
    Failed,
    Delivered,
    Withdrawn,
    Dead,
    Next,
}

impl Mark {
    fn class(self) -> &'static str {
        match self {
            Self::Decided => "plain",
            Self::Failed => "warn",
            Self::Delivered => "good",
            Self::Withdrawn => "muted",
            Self::Dead => "bad",
            Self::Next => "next",
        }
    }
}

/// One step of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    at: Moment,
    mark: Mark,
    words: String,
}

/// Returns what happened with a delivery, in order.
fn steps(frame: &Frame<'_>, one: &Delivery) -> Vec<Step> {
    let mut steps: Vec<Step> = one.timeline.iter().filter_map(|happening| step(frame, happening)).collect();
    if let Some(at) = one.next_at.as_deref().and_then(|at| Moment::parse(at).ok()) {
        steps.push(Step { at, mark: Mark::Next, words: frame.texts().step_next.to_owned() });
    }
    steps
}

/// Returns the step that something that happened is; `None` for what another
/// step says as well.
fn step(frame: &Frame<'_>, happening: &Happening) -> Option<Step> {
    let texts = frame.texts();
    let at = Moment::parse(&happening.at).ok()?;
    let reason = happening.reason.as_deref().map_or("", |reason| texts.word(reason));
    let (mark, words) = match happening.what.as_str() {
        "decided" => (Mark::Decided, texts.step_taken_in.to_owned()),
        "decided-anew" => {
            let audience = happening.because.as_ref().map_or("", |because| texts.word(&because.audience));
            (Mark::Decided, fill(texts.step_decided_anew, &[audience]))
        }
        "took-over" => match happening.from.as_deref() {
            Some(from) => (Mark::Decided, fill(texts.step_took_over, &[frame.name_of(from)])),
            None => (Mark::Decided, texts.step_took_over_unknown.to_owned()),
        },
        "not-entitled" => (Mark::Withdrawn, fill(texts.step_not_entitled, &[reason])),
        "record-deleted" => (Mark::Withdrawn, texts.step_record_deleted.to_owned()),
        "may-have-been-sent" => (Mark::Withdrawn, texts.step_may_have_been_sent.to_owned()),
        "came-back" => (Mark::Failed, fill(texts.step_came_back, &[reason])),
        "replayed" => (Mark::Decided, by_replay(texts.step_replayed.to_owned(), happening)),
        "replayed-in-vain" => (Mark::Withdrawn, by_replay(fill(texts.step_replayed_in_vain, &[reason]), happening)),
        "acted" => {
            let action = happening.action.as_deref().map_or("", |action| texts.word(action));
            (Mark::Decided, happening.who.as_ref().map_or_else(|| action.to_owned(), |who| format!("{action} ({who})")))
        }
        "earlier-attempts" => (Mark::Failed, frame.language.count(texts.step_earlier, happening.count.unwrap_or(0))),
        // Told by the delivery that follows from it.
        "attempt" if happening.outcome.as_deref() == Some("confirmed") => return None,
        "attempt" => {
            let mut why = happening.outcome.as_deref().map_or("", |outcome| texts.word(outcome)).to_owned();
            if let Some(code) = happening.code.filter(|code| *code != 0) {
                why.push_str(&format!(" ({code})"));
            }
            (Mark::Failed, fill(texts.step_failed, &[&why]))
        }
        "delivered" => (Mark::Delivered, texts.step_delivered.to_owned()),
        "withdrawn" => (Mark::Withdrawn, fill(texts.step_withdrawn, &[reason])),
        "dead" => (Mark::Dead, fill(texts.step_dead, &[reason])),
        // What the API may come to tell one day is shown as it says it.
        other => (Mark::Decided, other.to_owned()),
    };
    Some(Step { at, mark, words })
}

/// Adds which replay it was, and whose, as far as that is told.
fn by_replay(words: String, happening: &Happening) -> String {
    let told: Vec<&str> = happening.replay.iter().chain(&happening.who).map(String::as_str).collect();
    if told.is_empty() { words } else { format!("{words} ({})", told.join(", ")) }
}

/// Tells the steps of one delivery.
pub(super) fn steps_of(frame: &Frame<'_>, one: &Delivery) -> Markup {
    let steps = steps(frame, one);
    html! {
        section {
            h2 { (frame.texts().trace_steps) }
            (listed(frame, &steps))
        }
    }
}

fn listed(frame: &Frame<'_>, steps: &[Step]) -> Markup {
    let began = steps.first().map_or(frame.now, |step| step.at);
    html! {
        ol.steps {
            @for step in steps {
                li class=(step.mark.class()) {
                    span.what { (step.words) }
                    span.when {
                        (clock(&step.at.to_string()))
                        @if step.at > began { span.muted { " +" (frame.language.span(step.at.seconds_since(began))) } }
                    }
                }
            }
        }
    }
}

/// Returns the page of an event.
#[must_use]
pub fn trace(frame: &Frame<'_>, trace: &Trace) -> String {
    let texts = frame.texts();
    let content = html! {
        h1 { (texts.trace_title) " " span.code { (trace.event_id) } }
        @if !trace.lying_in_quarantine.is_empty() {
            dl.facts {
                @for lying in &trace.lying_in_quarantine {
                    div { dt { (texts.trace_lies) } dd { (refused(frame, lying)) } }
                }
            }
        }
        @for event in &trace.events { (one(frame, event)) }
    };
    page(frame, texts.trace_title, &content)
}

/// Says what was wrong with a message, and when; what lies in quarantine still is
/// decided about there.
fn refused(frame: &Frame<'_>, stay: &Stay) -> Markup {
    html! {
        (clock(&stay.since))
        @if let Some(until) = stay.until.as_deref() { " – " (clock(until)) }
        @if let Some(who) = &stay.who { " (" (who) ")" }
        ": " span.note lang="en" { (stay.reason) } " "
        @if stay.until.is_none() { a href="/console/quarantine" { (frame.texts().act_quarantine) } }
    }
}

fn one(frame: &Frame<'_>, event: &Traced) -> Markup {
    let texts = frame.texts();
    let change = match event.change_type {
        1 => texts.change_1,
        2 => texts.change_2,
        _ => texts.change_3,
    };
    let lanes: Vec<(&Delivery, Vec<Step>)> = event.deliveries.iter().map(|one| (one, steps(frame, one))).collect();
    html! {
        dl.facts {
            div { dt { (texts.col_type) } dd { (event.entity) ", " (change) } }
            div { dt { (texts.trace_source) } dd.code { (event.source) } }
            @if let Some(record) = event.external_id.as_deref() { div { dt { (texts.trace_record) } dd.code { (record) } } }
            @for stay in &event.lay_in_quarantine { div { dt { (texts.trace_lay) } dd { (refused(frame, stay)) } } }
            div { dt { (texts.trace_registered) } dd { (clock(&event.registered_at)) } }
            div { dt { (texts.trace_taken_in) } dd { (clock(&event.taken_in_at)) } }
        }
        @if lanes.is_empty() {
            p { (texts.trace_no_delivery) }
        } @else {
            section {
                h2 { (texts.trace_line) }
                (drawn(frame, event, &lanes))
                p.muted { (texts.trace_scale) }
            }
            section {
                h2 { (texts.trace_steps) }
                div.lanes {
                    @for (delivery, steps) in &lanes {
                        article {
                            h3 { (recipient_link(frame, &delivery.recipient)) }
                            p { (delivery_state(frame, &delivery.state, delivery.reason.as_deref())) }
                            @if let Some(because) = &delivery.because { p.muted { (texts.delivery_because) ": " (texts.word(&because.audience)) } }
                            @if !delivery.waits_for.is_empty() { p { (texts.waits_for) ": " (waits(frame, &delivery.waits_for)) } }
                            (listed(frame, steps))
                            p { (id_link("/console/deliveries", &delivery.id)) }
                        }
                    }
                }
            }
        }
        @if !event.left_out.is_empty() {
            section {
                table {
                    caption { (texts.trace_left_out) }
                    thead { tr { th scope="col" { (texts.col_recipient) } th scope="col" { (texts.delivery_because) } th scope="col" { (texts.col_why) } } }
                    tbody {
                        @for left_out in &event.left_out {
                            tr {
                                th scope="row" data-label=(texts.col_recipient) {
                                    @if let Some(recipient) = &left_out.recipient { (recipient_link(frame, recipient)) } @else { span.muted { "–" } }
                                }
                                td data-label=(texts.delivery_because) { (texts.word(left_out.audience.as_deref().unwrap_or("–"))) }
                                td data-label=(texts.col_why) { (texts.word(&left_out.reason)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How high the drawing of one delivery is, in pixels.
const ROW: u32 = 34;

/// Distances from intake that are marked below the drawing, in seconds; every other
/// one where there is little room.
const TICKS: [f64; 8] = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 3600.0, 86_400.0];

/// Where something stands that happened `seconds` after intake, in percent of the
/// line: logarithmic, so that milliseconds and days fit on one.
fn place(seconds: f64, most: f64) -> f64 {
    let scaled = |seconds: f64| (1.0 + seconds.max(0.0) / 0.001).ln();
    100.0 * scaled(seconds.min(most)) / scaled(most.max(0.01))
}

/// Draws a line for each delivery, as wide as there is room: on a phone the name
/// stands above its line.
fn drawn(frame: &Frame<'_>, event: &Traced, lanes: &[(&Delivery, Vec<Step>)]) -> Markup {
    let texts = frame.texts();
    let began = Moment::parse(&event.taken_in_at).unwrap_or(frame.now);
    let after = |step: &Step| step.at.seconds_since(began);
    let most = lanes.iter().flat_map(|(_, steps)| steps.iter().map(after)).fold(0.01, f64::max);
    let at = |seconds: f64| format!("{:.2}%", place(seconds, most));
    let label = format!("{}: {}", texts.trace_line, frame.language.span(most));
    let ticks: Vec<f64> = TICKS.into_iter().filter(|tick| *tick <= most).collect();
    html! {
        div.timeline role="img" aria-label=(label) {
            @for (delivery, steps) in lanes {
                @let (first, last) = (steps.first().map_or(0.0, &after), steps.last().map_or(0.0, &after));
                span.name { (frame.name_of(&delivery.recipient)) }
                svg width="100%" height=(ROW) {
                    @for tick in &ticks { line.grid x1=(at(*tick)) x2=(at(*tick)) y1="0" y2=(ROW) {} }
                    line.course x1=(at(first)) x2=(at(last)) y1=(ROW / 2) y2=(ROW / 2) {}
                    @for step in steps {
                        circle class={ "mark " (step.mark.class()) } cx=(at(after(step))) cy=(ROW / 2)
                            r=(if step.mark == Mark::Failed { "4.5" } else { "6" }) { title { (step.words) " +" (frame.language.span(after(step))) } }
                    }
                }
            }
            svg.scale width="100%" height="22" {
                @for tick in &ticks { text x=(at(*tick)) y="16" text-anchor="middle" { (frame.language.span(*tick)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::assets::Assets;
    use super::super::language::Language;
    use super::super::page::{Section, Theme};
    use super::*;

    #[test]
    fn steps_stand_in_order_and_far_apart_times_fit_on_one_line() {
        let (assets, names) = (Assets::default(), BTreeMap::new());
        let frame = Frame {
            language: Language::English,
            theme: Theme::Auto,
            who: None,
            csrf: "",
            path: "",
            section: Section::Other,
            now: Moment(0),
            assets: &assets,
            notice: None,
            names: &names,
            reload: None,
        };
        let happening = |what: &str, at: &str| Happening { at: at.to_owned(), what: what.to_owned(), ..Happening::default() };
        let failed = |at: &str| Happening { outcome: Some("returned".to_owned()), code: Some(312), ..happening("attempt", at) };
        let confirmed = Happening { outcome: Some("confirmed".to_owned()), ..happening("attempt", "2026-03-19T08:00:00Z") };
        let delivery = Delivery {
            timeline: vec![
                happening("decided", "2026-03-16T08:00:00Z"),
                failed("2026-03-16T08:00:00.01Z"),
                Happening { reason: Some("expired".to_owned()), ..happening("dead", "2026-03-18T08:00:00Z") },
                Happening {
                    action: Some("replay-started".to_owned()),
                    who: Some("anna".to_owned()),
                    ..happening("acted", "2026-03-19T07:00:00Z")
                },
                Happening { replay: Some("7".to_owned()), who: Some("anna".to_owned()), ..happening("replayed", "2026-03-19T07:30:00Z") },
                confirmed,
                happening("delivered", "2026-03-19T08:00:00Z"),
            ],
            ..Delivery::default()
        };
        let told: Vec<String> = steps(&frame, &delivery).into_iter().map(|step| step.words).collect();
        let expected = [
            "Taken in and decided",
            "Attempt failed: queue missing (312)",
            "Given up: expired in the queue",
            "replay begun (anna)",
            "Replayed (7, anna)",
            "Delivered",
        ];
        assert_eq!(told, expected);
        let day = 86_400.0;
        assert_eq!(place(0.0, day), 0.0);
        assert!((place(day, day) - 100.0).abs() < 0.001);
        assert!(place(0.01, day) > 5.0, "milliseconds can be told apart beside days");
        assert!(place(1.0, 0.0).is_finite());
    }
}
