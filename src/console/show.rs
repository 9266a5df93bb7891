//! Small parts that several pages share.

use maud::{Markup, html};

use super::form::{encode, id_path};
use super::page::Frame;
use super::view;
use crate::core::time::Moment;

/// Shows the part of a page that refreshes itself every so many seconds. It carries
/// the time it is of, for when nothing comes any more.
pub fn live(frame: &Frame<'_>, every: Option<u32>, content: &Markup) -> Markup {
    let trigger = every.map(|seconds| format!("every {seconds}s"));
    html! {
        div #live tabindex="-1" data-as-of=(frame.now.on_the_clock()) hx-get=[every.map(|_| frame.path)] hx-trigger=[trigger] hx-select="#live" hx-swap="outerHTML" {
            (content)
        }
    }
}

/// Shows an instant as its distance from now; the clock time stands with it.
pub fn time(frame: &Frame<'_>, text: &str) -> Markup {
    match Moment::parse(text) {
        Ok(at) => html! { time datetime=(text) title=(at.on_the_clock()) { (frame.language.ago(at, frame.now)) } },
        Err(_) => html! { (text) },
    }
}

/// Shows an instant as the clock shows it.
pub fn clock(text: &str) -> Markup {
    match Moment::parse(text) {
        Ok(at) => html! { time datetime=(text) { (at.on_the_clock()) } },
        Err(_) => html! { (text) },
    }
}

/// Shows an instant that may be missing.
pub fn maybe_time(frame: &Frame<'_>, text: Option<&str>) -> Markup {
    text.map_or_else(|| html! { span.muted { "–" } }, |text| time(frame, text))
}

/// Shows when something is tried next; what is due already waits for its queue.
pub fn next_time(frame: &Frame<'_>, text: Option<&str>) -> Markup {
    let due = text.and_then(|text| Moment::parse(text).ok()).is_some_and(|at| at <= frame.now);
    if due {
        html! { span.muted { (frame.texts().when_tried) } }
    } else {
        maybe_time(frame, text)
    }
}

/// Shows a number, a zero as something to pass over.
pub fn number(frame: &Frame<'_>, value: u64) -> Markup {
    let text = frame.language.number(value);
    if value == 0 {
        html! { span.muted { (text) } }
    } else {
        html! { (text) }
    }
}

/// Shows the state of a queue.
pub fn queue_state(frame: &Frame<'_>, recipient: &view::Recipient) -> Markup {
    let texts = frame.texts();
    if !recipient.is_paused() {
        return html! { span.badge.good { (texts.state_open) } };
    }
    let why = recipient.why.as_deref().unwrap_or_default();
    let until = recipient.paused_until.as_deref().and_then(|until| Moment::parse(until).ok()).map(|at| frame.language.ago(at, frame.now));
    let (kind, word, next) = match recipient.paused_by.as_deref() {
        Some("operator") => ("warn", texts.state_ordered, texts.until),
        Some("maintenance") => ("warn", texts.state_window, texts.until),
        _ => ("bad", texts.state_failing, texts.probed_next),
    };
    html! {
        span class={ "badge " (kind) } { (word) }
        span.note {
            " " (texts.word(why))
            @if let Some(until) = until { " · " (super::language::fill(next, &[&until])) }
        }
    }
}

/// Shows the state of a delivery.
pub fn delivery_state(frame: &Frame<'_>, state: &str, reason: Option<&str>) -> Markup {
    let texts = frame.texts();
    let kind = match state {
        "delivered" => "good",
        "dead" => "bad",
        "retrying" => "warn",
        _ => "plain",
    };
    html! {
        span class={ "badge " (kind) } { (texts.word(state)) }
        @if let Some(reason) = reason { span.note { " " (texts.word(reason)) } }
    }
}

/// Shows what a delivery waits for just now.
pub fn waits(frame: &Frame<'_>, waits: &[view::Wait]) -> Markup {
    let texts = frame.texts();
    let one = |wait: &view::Wait| {
        let words = match wait.what.as_str() {
            "outcome" => texts.wait_outcome,
            "connection" => texts.wait_connection,
            "pause" => texts.state_ordered,
            "maintenance-window" => texts.state_window,
            "probe" => texts.state_failing,
            "release" => texts.wait_release,
            "behind" => texts.wait_behind,
            "others" => texts.wait_others,
            "retry" => texts.step_next,
            // What the API may come to tell one day is shown as it says it.
            other => other,
        };
        let until = wait.until.as_deref().and_then(|until| Moment::parse(until).ok()).map(|at| frame.language.ago(at, frame.now));
        let next = match wait.what.as_str() {
            "probe" => texts.probed_next,
            "retry" => "{}",
            _ => texts.until,
        };
        html! {
            (words)
            @if let Some(reason) = wait.reason.as_deref() { ": " (texts.word(reason)) }
            @if let Some(why) = wait.why.as_deref() { ": " (why) }
            @if let Some(id) = wait.id.as_deref() { " " (id_link("/console/deliveries", id)) }
            @if let Some(until) = until { span.note { " · " (super::language::fill(next, &[&until])) } }
        }
    };
    html! { @for (place, wait) in waits.iter().enumerate() { @if place > 0 { br; } (one(wait)) } }
}

/// Links to a recipient, by its name where it is known.
pub fn recipient_link(frame: &Frame<'_>, recipient: &str) -> Markup {
    html! {
        a href={ "/console/recipients/" (encode(recipient)) } { (frame.name_of(recipient)) }
        " " span.code { (recipient) }
    }
}

/// Shows an id, shortened in the middle of the page but whole for copying.
pub fn id_link(path: &str, id: &str) -> Markup {
    let short: String = id.chars().take(13).collect();
    html! { a.id href=(id_path(path, id)) title=(id) { (short) @if short.len() < id.len() { "…" } } }
}

/// The hidden field that shows that a form is ours.
pub fn csrf(frame: &Frame<'_>) -> Markup {
    html! { input type="hidden" name="csrf" value=(frame.csrf); }
}

/// The field of a form that has to say why, in a row of its own, with what a reason is.
pub fn must_say_why(frame: &Frame<'_>) -> Markup {
    let texts = frame.texts();
    html! {
        div.wide { label for="why" { (texts.why) }
            input #why name="why" required maxlength="200" aria-describedby="why-hint" autocomplete="off";
            p.hint #why-hint { (texts.why_hint) }
        }
    }
}

/// The same for one of many forms of a page: `id` tells it apart.
pub fn must_say_why_of(frame: &Frame<'_>, id: &str) -> Markup {
    let texts = frame.texts();
    html! {
        label for={ "why-" (id) } { (texts.why) }
        input id={ "why-" (id) } name="why" required maxlength="200" autocomplete="off" title=(texts.why_hint);
    }
}

/// The field of a form that may say why; it need not be filled in.
pub fn may_say_why(frame: &Frame<'_>) -> Markup {
    let texts = frame.texts();
    html! {
        input name="why" maxlength="500" autocomplete="off" aria-label=(texts.why_optional) placeholder=(texts.why_optional) title=(texts.why_hint);
    }
}

/// Links to the other pages of a list.
pub fn pager(frame: &Frame<'_>, first: Option<&str>, next: Option<&str>) -> Markup {
    let texts = frame.texts();
    html! {
        @if first.is_some() || next.is_some() {
            nav.pager aria-label=(texts.next_page) {
                @if let Some(first) = first { a.button href=(first) { (texts.first_page) } }
                @if let Some(next) = next { a.button rel="next" href=(next) { (texts.next_page) } }
            }
        }
    }
}
