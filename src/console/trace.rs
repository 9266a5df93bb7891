//! The course of an event, drawn as a time line and told step by step.

use maud::{Markup, html};

use super::language::fill;
use super::page::{Frame, page};
use super::show::{clock, delivery_state, id_link, recipient_link};
use super::view::{Delivery, Trace, Traced};
use crate::core::time::Moment;

/// What a mark on the time line stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    TakenIn,
    Failed,
    Delivered,
    Withdrawn,
    Dead,
    Next,
}

impl Mark {
    fn class(self) -> &'static str {
        match self {
            Self::TakenIn => "plain",
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
    let texts = frame.texts();
    let mut steps = Vec::new();
    let mut add = |at: Option<&str>, mark: Mark, words: String| {
        if let Some(at) = at.and_then(|at| Moment::parse(at).ok()) {
            steps.push(Step { at, mark, words });
        }
    };
    add(Some(&one.first_at), Mark::TakenIn, texts.step_taken_in.to_owned());
    add(one.delivered_before.as_deref(), Mark::Delivered, texts.step_before.to_owned());
    for failure in &one.failures {
        let mut why = texts.word(&failure.outcome).to_owned();
        if failure.code != 0 {
            why.push_str(&format!(" ({})", failure.code));
        }
        add(Some(&failure.at), Mark::Failed, fill(texts.step_failed, &[&why]));
    }
    let reason = one.reason.as_deref().map_or("", |reason| texts.word(reason));
    match one.state.as_str() {
        "delivered" => add(one.last_at.as_deref(), Mark::Delivered, texts.step_delivered.to_owned()),
        "withdrawn" => add(one.last_at.as_deref(), Mark::Withdrawn, fill(texts.step_withdrawn, &[reason])),
        "dead" => add(one.last_at.as_deref(), Mark::Dead, fill(texts.step_dead, &[reason])),
        _ => {}
    }
    add(one.next_at.as_deref(), Mark::Next, texts.step_next.to_owned());
    steps.sort_by_key(|step| step.at);
    steps
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
        @for event in &trace.events { (one(frame, event)) }
    };
    page(frame, texts.trace_title, &content)
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

const WIDTH: f64 = 960.0;
const LEFT: f64 = 200.0;
const ROW: f64 = 34.0;

/// Distances from intake that are marked below the drawing, in seconds.
const TICKS: [f64; 8] = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 3600.0, 86_400.0];

/// Where something stands that happened `seconds` after intake: logarithmic, so
/// that milliseconds and days fit on one line.
fn place(seconds: f64, most: f64) -> f64 {
    let scaled = |seconds: f64| (1.0 + seconds.max(0.0) / 0.001).ln();
    LEFT + (WIDTH - LEFT - 20.0) * scaled(seconds.min(most)) / scaled(most.max(0.01))
}

fn drawn(frame: &Frame<'_>, event: &Traced, lanes: &[(&Delivery, Vec<Step>)]) -> Markup {
    let texts = frame.texts();
    let began = Moment::parse(&event.taken_in_at).unwrap_or(frame.now);
    let after = |step: &Step| step.at.seconds_since(began);
    let most = lanes.iter().flat_map(|(_, steps)| steps.iter().map(after)).fold(0.01, f64::max);
    let height = ROW * lanes.len() as f64 + 30.0;
    let label = format!("{}: {}", texts.trace_line, frame.language.span(most));
    html! {
        div.scroll tabindex="0" role="region" aria-label=(texts.trace_line) {
            svg.timeline role="img" aria-label=(label) viewBox={ "0 0 " (WIDTH) " " (height) } width=(WIDTH) height=(height) {
                @for tick in TICKS.into_iter().filter(|tick| *tick <= most) {
                    @let x = format!("{:.1}", place(tick, most));
                    line.grid x1=(x) x2=(x) y1="0" y2=(height - 24.0) {}
                    text.tick x=(x) y=(height - 8.0) text-anchor="middle" { (frame.language.span(tick)) }
                }
                @for (row, (delivery, steps)) in lanes.iter().enumerate() {
                    @let y = ROW * row as f64 + ROW / 2.0;
                    @let (first, last) = (steps.first().map_or(0.0, &after), steps.last().map_or(0.0, &after));
                    text.name x="0" y=(y + 4.5) { (frame.name_of(&delivery.recipient).chars().take(26).collect::<String>()) }
                    line.course x1=(format!("{:.1}", place(first, most))) x2=(format!("{:.1}", place(last, most))) y1=(y) y2=(y) {}
                    @for step in steps {
                        circle class={ "mark " (step.mark.class()) } cx=(format!("{:.1}", place(after(step), most))) cy=(y)
                            r=(if step.mark == Mark::Failed { "4.5" } else { "6" }) { title { (step.words) " +" (frame.language.span(after(step))) } }
                    }
                }
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
    use super::super::view::Failure;
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
            offers: Default::default(),
            reload: None,
        };
        let failure = |at: &str| Failure { at: at.to_owned(), outcome: "returned".to_owned(), code: 312 };
        let delivery = Delivery {
            first_at: "2026-03-16T08:00:00Z".to_owned(),
            failures: vec![failure("2026-03-16T08:00:00.01Z"), failure("2026-03-16T08:00:01Z")],
            state: "dead".to_owned(),
            reason: Some("returned".to_owned()),
            last_at: Some("2026-03-19T08:00:00Z".to_owned()),
            ..Delivery::default()
        };
        let told: Vec<String> = steps(&frame, &delivery).into_iter().map(|step| step.words).collect();
        let failed = "Attempt failed: queue missing (312)";
        assert_eq!(told, ["Taken in and decided", failed, failed, "Given up: queue missing"]);
        let day = 86_400.0;
        assert_eq!(place(0.0, day), LEFT);
        assert!((place(day, day) - (WIDTH - 20.0)).abs() < 0.001);
        assert!(place(0.01, day) - LEFT > 40.0, "milliseconds can be told apart beside days");
        assert!(place(1.0, 0.0).is_finite());
    }
}
