//! Replays: a trial with its numbers, the start, and how far they are.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::form::{encode, with_query};
use super::language::fill;
use super::page::{Frame, page};
use super::show::{csrf, live, may_say_why, number, pager, recipient_link, time, waits};
use super::view::{Held, Items, Replay, Selection};

/// Returns the page of what a replay would come to. `fields` are what the start
/// is to be sent with, so that it selects the same.
#[must_use]
pub fn preview(frame: &Frame<'_>, selection: &Selection, fields: &[(String, String)]) -> String {
    let texts = frame.texts();
    let language = frame.language;
    let mut by_recipient: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (recipient, count) in &selection.by_recipient.would_send {
        by_recipient.entry(recipient).or_default().0 += count;
    }
    for withdrawn in &selection.by_recipient.would_withdraw {
        by_recipient.entry(&withdrawn.recipient).or_default().1 += withdrawn.count;
    }
    let content = html! {
        h1 { (texts.preview_title) }
        p.lead { (language.count(texts.preview_matched, selection.matched)) "." }
        @if selection.matched == 0 {
            p { (texts.preview_nothing) }
            p { a.button href="/console/failures" { (texts.cancel) } }
        } @else {
            dl.totals {
                div { dt { (texts.preview_would_send) } dd { (language.number(selection.would_send)) } }
                div { dt { (texts.preview_would_withdraw) } dd { (language.number(selection.would_withdraw)) } }
                @if selection.already_claimed > 0 { div { dt { (texts.preview_claimed) } dd { (language.number(selection.already_claimed)) } } }
            }
            (counts(frame, &by_recipient))
            (held(frame, &selection.held))
            (start(frame, selection, fields))
        }
    };
    page(frame, texts.preview_title, &content)
}

fn counts(frame: &Frame<'_>, by_recipient: &BTreeMap<&str, (u64, u64)>) -> Markup {
    let texts = frame.texts();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(texts.preview_by_recipient) {
            table {
                caption { (texts.preview_by_recipient) }
                thead { tr {
                    th scope="col" { (texts.col_recipient) }
                    th.num scope="col" { (texts.col_would_send) }
                    th.num scope="col" { (texts.col_would_withdraw) }
                } }
                tbody {
                    @for (recipient, (sent, withdrawn)) in by_recipient {
                        tr {
                            th scope="row" data-label=(texts.col_recipient) { (recipient_link(frame, recipient)) }
                            td.num data-label=(texts.col_would_send) { (number(frame, *sent)) }
                            td.num data-label=(texts.col_would_withdraw) { (number(frame, *withdrawn)) }
                        }
                    }
                }
            }
        }
    }
}

/// Draws what keeps a replay from sending, by recipient.
fn held(frame: &Frame<'_>, held: &[Held]) -> Markup {
    let texts = frame.texts();
    html! {
        @if !held.is_empty() {
            div.scroll tabindex="0" role="region" aria-label=(texts.replay_held) {
                table {
                    caption { (texts.replay_held) }
                    thead { tr { th scope="col" { (texts.col_recipient) } th scope="col" { (texts.waits_for) } } }
                    tbody {
                        @for one in held {
                            tr {
                                th scope="row" data-label=(texts.col_recipient) { (recipient_link(frame, &one.recipient)) }
                                td data-label=(texts.waits_for) {
                                    (waits(frame, std::slice::from_ref(&one.wait)))
                                    @if let Some(lanes) = one.lanes { span.note { " · " (number(frame, lanes)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn start(frame: &Frame<'_>, selection: &Selection, fields: &[(String, String)]) -> Markup {
    let texts = frame.texts();
    let name = match selection.matched {
        1 => texts.start_replay_one.to_owned(),
        many => fill(texts.start_replay, &[&frame.language.number(many)]),
    };
    html! {
        form.stacked method="post" action="/console/replays" {
            (csrf(frame))
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            div { label for="rate" { (texts.rate) }
                input #rate type="number" name="rate" min="1" max="100000" aria-describedby="rate-hint" inputmode="numeric";
                p.hint #rate-hint { (texts.rate_hint) }
            }
            div { label for="canary" { (texts.canary) }
                input #canary type="number" name="canary" min="1" max="1000" aria-describedby="canary-hint" inputmode="numeric";
                p.hint #canary-hint { (texts.canary_hint) }
            }
            div { label for="why" { (texts.why_optional) }
                input #why name="why" maxlength="500" aria-describedby="why-hint" autocomplete="off";
                p.hint #why-hint { (texts.why_hint) }
            }
            div.act {
                button.primary type="submit" { (name) }
                a.button href="/console/failures" { (texts.cancel) }
            }
        }
    }
}

/// Returns a page of the list of replays; `paged` if it is not the first.
#[must_use]
pub fn all(frame: &Frame<'_>, replays: &Items<Replay>, paged: bool) -> String {
    let texts = frame.texts();
    let next = replays.next_cursor.as_deref().map(|cursor| with_query("/console/replays", &[("cursor", cursor)]));
    let content = html! {
        h1 { (texts.replays_title) }
        (live(frame, Some(5), &html! {
            div.scroll tabindex="0" role="region" aria-label=(texts.replays_title) {
                table {
                    caption.hidden { (texts.replays_title) }
                    thead { tr {
                        th scope="col" { (texts.col_replay) }
                        th scope="col" { (texts.col_state) }
                        th scope="col" { (texts.col_progress) }
                        th scope="col" { (texts.col_started) }
                        th scope="col" { (texts.col_by) }
                    } }
                    tbody {
                        @for replay in &replays.items {
                            tr {
                                th scope="row" data-label=(texts.col_replay) {
                                    a #{ "replay-" (replay.id) } href={ "/console/replays/" (encode(&replay.id)) } { (fill(texts.replay_title, &[&replay.id])) }
                                }
                                td data-label=(texts.col_state) { (stage(frame, replay)) }
                                td data-label=(texts.col_progress) { (progress(frame, replay)) }
                                td data-label=(texts.col_started) { (time(frame, &replay.started_at)) }
                                td data-label=(texts.col_by) { (replay.by.as_deref().unwrap_or("–")) }
                            }
                        }
                        @if replays.items.is_empty() { tr { td colspan="5" { (texts.replays_none) } } }
                    }
                }
            }
        }))
        (pager(frame, paged.then_some("/console/replays"), next.as_deref()))
    };
    page(frame, texts.replays_title, &content)
}

/// Returns the page of a replay; `dead` says how many are dead now of its recipient
/// and type, and whether there are more.
#[must_use]
pub fn one(frame: &Frame<'_>, replay: &Replay, dead: (u64, bool)) -> String {
    let texts = frame.texts();
    let title = fill(texts.replay_title, &[&replay.id]);
    let content = html! {
        h1 { (title) }
        (live(frame, replay.moves().then_some(1), &html! {
            p.lead role="status" { (stage(frame, replay)) " " (progress(frame, replay)) }
            dl.totals {
                div { dt { (texts.replay_sent) } dd { (frame.language.number(replay.sent)) } }
                div { dt { (texts.replay_withdrawn) } dd { (frame.language.number(replay.withdrawn)) } }
                div { dt { (texts.replay_skipped) } dd { (frame.language.number(replay.skipped)) } }
            }
            (ordered(frame, replay))
            @if replay.sent > 0 {
                p {
                    a #dead-now href=(with_query("/console/failures", &replay.dead_now())) { (texts.replay_dead_now) }
                    ": " (frame.language.number(dead.0)) @if dead.1 { "+" }
                }
            }
            @if let Some(canary) = &replay.canary {
                @let shown = |count: Option<u64>| frame.language.number(count.unwrap_or(0));
                p { (fill(texts.replay_canary, &[&canary.sent.to_string(), &shown(canary.delivered), &shown(canary.dead), &shown(canary.waiting)])) }
            }
            (held(frame, &replay.held))
            @if frame.may_replay() {
                div.act {
                    @match replay.state.as_str() {
                        "waiting-for-go" => { (wish(frame, replay, "go", texts.replay_go, "primary")) (wish(frame, replay, "stop", texts.replay_stop, "danger")) }
                        "running" | "selecting" => { (wish(frame, replay, "stop", texts.replay_stop, "danger")) }
                        "stopped" if replay.done < replay.matched => { (wish(frame, replay, "resume", texts.replay_resume, "primary")) }
                        _ => {}
                    }
                }
            }
        }))
        p { a href="/console/replays" { (texts.replays_title) } }
    };
    page(frame, &title, &content)
}

/// What was ordered, by whom and when.
fn ordered(frame: &Frame<'_>, replay: &Replay) -> Markup {
    let texts = frame.texts();
    let filter = &replay.filter;
    let word = |word: &Option<String>| word.as_deref().map(|word| texts.word(word).to_owned());
    let rows = [
        (texts.col_state, Some(texts.word(&filter.state).to_owned())),
        (texts.col_type, filter.entity.clone()),
        (texts.col_cause, word(&filter.reason)),
        (texts.col_count, (!filter.ids.is_empty()).then(|| frame.language.number(filter.ids.len() as u64))),
    ];
    html! {
        dl.facts {
            @for (name, value) in rows.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) { dt { (name) } dd { (value) } }
            @if let Some(recipient) = &filter.recipient { dt { (texts.col_recipient) } dd { (recipient_link(frame, recipient)) } }
            @if let Some(since) = &filter.since { dt { (texts.col_since) } dd { (time(frame, since)) } }
            @if let Some(until) = &filter.until { dt { (texts.col_until) } dd { (time(frame, until)) } }
            @if let Some(by) = &replay.by { dt { (texts.col_by) } dd { (by) } }
            dt { (texts.col_started) } dd { (time(frame, &replay.started_at)) }
            @if frame.who.is_some_and(|who| who.sees_all()) { dt { (texts.col_why) } dd { a href="/console/audit" { (texts.audit_title) } } }
        }
    }
}

fn wish(frame: &Frame<'_>, replay: &Replay, what: &str, name: &str, kind: &str) -> Markup {
    html! {
        form.inline method="post" action={ "/console/replays/" (encode(&replay.id)) "/" (what) } {
            (csrf(frame))
            (may_say_why(frame))
            button #{ "wish-" (what) } class=(kind) type="submit" { (name) }
        }
    }
}

fn stage(frame: &Frame<'_>, replay: &Replay) -> Markup {
    let kind = match replay.state.as_str() {
        "done" => "good",
        "failed" => "bad",
        "waiting-for-go" | "stopped" => "warn",
        _ => "plain",
    };
    html! { span class={ "badge " (kind) } { (frame.texts().word(&replay.state)) } }
}

fn progress(frame: &Frame<'_>, replay: &Replay) -> Markup {
    let texts = frame.texts();
    let words = fill(texts.replay_progress, &[&frame.language.number(replay.done), &frame.language.number(replay.matched)]);
    html! {
        progress max=(replay.matched.max(1)) value=(if replay.matched == 0 { 1 } else { replay.done }) aria-label=(texts.col_progress) { (words) }
        span.note { " " (words) }
    }
}
