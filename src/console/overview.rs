//! The first page: what is wrong now, and the recipients most in need.

use maud::{Markup, html};

use super::flow::Flowing;
use super::language::fill;
use super::page::{Frame, page};
use super::problems::{Gravity, Problem};
use super::recipients::{Row, most_troubled, table};
use super::show::{clock, live, time};

/// How many recipients stand on the first page.
const SHOWN: usize = 12;

/// Returns the page; `flowing` for those who see everything, and `backup` for those
/// who make them: when the latest was made, if any was.
#[must_use]
pub fn overview(frame: &Frame<'_>, problems: &[Problem], flowing: Option<Flowing>, backup: Option<Option<&str>>, rows: Vec<Row>) -> String {
    let texts = frame.texts();
    let all = rows.len();
    let waiting: u64 = rows.iter().map(|row| row.recipient.waiting()).sum();
    let retrying: u64 = rows.iter().map(|row| row.recipient.retrying).sum();
    let dead: u64 = rows.iter().map(|row| row.recipient.dead).sum();
    let oldest = rows.iter().map(|row| row.recipient.oldest_pending_seconds).fold(0.0, f64::max);
    let mut rows = most_troubled(rows);
    rows.truncate(SHOWN);
    let total = |value: String, name: &str| html! { div { dt { (name) } dd { (value) } } };
    let rate = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), |value| frame.language.number(value));
    let content = html! {
        h1.hidden { (texts.nav_overview) }
        (live(frame, Some(5), &html! {
            section.wrong aria-labelledby="wrong" {
                h2 #wrong { (texts.wrong_title) }
                (list(frame, problems))
            }
            dl.totals {
                @if let Some(flowing) = flowing {
                    (total(rate(flowing.taken_in), texts.total_taken_in))
                    (total(rate(flowing.delivered), texts.total_delivered))
                }
                (total(frame.language.number(waiting), texts.total_waiting))
                (total(frame.language.number(retrying), texts.total_retrying))
                (total(frame.language.number(dead), texts.total_dead))
                (total(if waiting == 0 { "–".to_owned() } else { frame.language.span(oldest) }, texts.total_oldest))
                @if let Some(flowing) = flowing { (total(frame.language.number(flowing.prevented), texts.total_prevented)) }
            }
            section {
                (table(frame, texts.recipients_first, &rows))
                @if all > SHOWN {
                    p.after { a href="/console/recipients" { (fill(texts.recipients_all, &[&frame.language.number(all as u64)])) } }
                }
            }
            @match backup {
                Some(Some(at)) => { p.asof { (latest_backup(frame, at)) } }
                Some(None) => { p.asof { (texts.backup_none) } }
                None => {}
            }
            p.asof { (fill(texts.as_of, &[frame.now.on_the_clock().get(11..).unwrap_or_default()])) span.refreshes { " · " (texts.live) }
                @if has_runbook(frame) { " · " a href="/console/runbook" { (texts.runbook_title) } }
            }
        }))
    };
    page(frame, texts.nav_overview, &content)
}

fn latest_backup(frame: &Frame<'_>, at: &str) -> Markup {
    let (before, after) = frame.texts().backup_latest.split_once("{}").unwrap_or_default();
    html! { (before) (clock(at)) " (" (time(frame, at)) ")" (after) }
}

/// It is for those who run the broker.
fn has_runbook(frame: &Frame<'_>) -> bool {
    frame.who.is_some_and(|who| who.sees_all())
}

fn list(frame: &Frame<'_>, problems: &[Problem]) -> Markup {
    let texts = frame.texts();
    if problems.is_empty() {
        let detail = if has_runbook(frame) { texts.wrong_nothing_detail } else { texts.wrong_nothing_vendor };
        return html! { div.calm { strong { (texts.wrong_nothing) } p { (detail) } } };
    }
    html! {
        ul.problems {
            @for problem in problems {
                li class=(match problem.gravity { Gravity::Bad => "bad", Gravity::Warn => "warn" }) {
                    div { strong { (problem.what) } @if !problem.detail.is_empty() { span.note { (problem.detail) } } }
                    @if let Some((path, name)) = &problem.act { a.button href=(path) aria-label={ (name) ": " (problem.what) } { (name) } }
                    @if has_runbook(frame) {
                        a.guide href={ "/console/runbook#" (problem.section) } aria-label={ (texts.act_runbook) ": " (problem.what) } { (texts.act_runbook) }
                    }
                }
            }
        }
    }
}
