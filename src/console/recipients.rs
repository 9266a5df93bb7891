//! Recipients: all of them with how their queues are, and one by itself.

use maud::{Markup, html};

use super::form::{encode, with_query};
use super::language::fill;
use super::page::{Frame, page};
use super::samples::MINUTES;
use super::show::{clock, csrf, live, may_say_why, maybe_time, must_say_why, number, queue_state, time};
use super::spark::sparkline;
use super::view::{Delivery, Items, Recipient, Window};

/// A recipient with its last hour.
#[derive(Debug, Clone)]
pub struct Row {
    /// The recipient.
    pub recipient: Recipient,
    /// What waited at each minute.
    pub hour: [Option<u64>; MINUTES],
}

/// Sorts recipients by how much they need somebody, and then by what waits.
#[must_use]
pub fn most_troubled(mut rows: Vec<Row>) -> Vec<Row> {
    let need = |recipient: &Recipient| {
        let late = recipient.oldest_unparked_seconds > 60.0;
        (recipient.is_failing(), recipient.dead > 0, late, recipient.is_paused(), recipient.waiting())
    };
    // Stable: the order of routing.toml within what is equal.
    rows.sort_by_key(|row| std::cmp::Reverse(need(&row.recipient)));
    rows
}

/// What somebody looks for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// A part of name, code or vendor.
    pub text: String,
    /// `troubled`, `paused` or nothing.
    pub state: String,
}

impl Wanted {
    fn lets_through(&self, recipient: &Recipient) -> bool {
        let text = self.text.trim().to_lowercase();
        let named = [&recipient.name, &recipient.recipient, &recipient.vendor, &recipient.queue];
        let state = match self.state.as_str() {
            "paused" => recipient.is_paused(),
            "troubled" => recipient.is_paused() || recipient.dead > 0 || recipient.oldest_unparked_seconds > 60.0,
            _ => true,
        };
        state && (text.is_empty() || named.iter().any(|name| name.to_lowercase().contains(&text)))
    }
}

/// Returns the page of all recipients.
#[must_use]
pub fn all(frame: &Frame<'_>, rows: Vec<Row>, wanted: &Wanted) -> String {
    let texts = frame.texts();
    let rows: Vec<Row> = rows.into_iter().filter(|row| wanted.lets_through(&row.recipient)).collect();
    let states = [("", texts.all), ("troubled", texts.state_troubled), ("paused", texts.state_ordered)];
    let content = html! {
        h1 { (texts.recipients_title) }
        form.filters method="get" action="/console/recipients" {
            div { label for="q" { (texts.filter_text) } input #q name="q" value=(wanted.text) maxlength="100"; }
            div {
                label for="state" { (texts.filter_state) }
                select #state name="state" { @for (value, name) in states { option value=(value) selected[value == wanted.state] { (name) } } }
            }
            button type="submit" { (texts.filter) }
        }
        (live(frame, Some(10), &table(frame, texts.recipients_title, &rows)))
    };
    page(frame, texts.recipients_title, &content)
}

/// Draws a table of recipients.
pub(super) fn table(frame: &Frame<'_>, caption: &str, rows: &[Row]) -> Markup {
    let texts = frame.texts();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table.recipients {
                caption { (caption) }
                thead { tr {
                    th scope="col" { (texts.col_recipient) }
                    th scope="col" { (texts.col_state) }
                    th.num scope="col" { (texts.col_waiting) }
                    th.num scope="col" { (texts.col_oldest) }
                    th.num scope="col" { (texts.col_dead) }
                    th scope="col" { (texts.col_hour) }
                } }
                tbody {
                    @for row in rows { (line(frame, row)) }
                    @if rows.is_empty() { tr { td colspan="6" { (texts.nothing_here) } } }
                }
            }
        }
    }
}

fn line(frame: &Frame<'_>, row: &Row) -> Markup {
    let texts = frame.texts();
    let recipient = &row.recipient;
    let dead = with_query("/console/failures", &[("recipient", &recipient.recipient)]);
    html! {
        tr {
            th scope="row" data-label=(texts.col_recipient) {
                a #{ "r-" (recipient.recipient.replace(':', "-")) } href={ "/console/recipients/" (encode(&recipient.recipient)) } { (recipient.name) }
                span.note { " " span.code { (recipient.recipient) } @if recipient.has_vendor() { " · " (recipient.vendor) } }
            }
            td data-label=(texts.col_state) { (queue_state(frame, recipient)) }
            td.num data-label=(texts.col_waiting) { (number(frame, recipient.waiting())) }
            td.num data-label=(texts.col_oldest) {
                @if recipient.waiting() == 0 { span.muted { "–" } } @else { (frame.language.span(recipient.oldest_pending_seconds)) }
            }
            td.num data-label=(texts.col_dead) {
                @if recipient.dead == 0 { span.muted { "0" } } @else { a.bad href=(dead) { (frame.language.number(recipient.dead)) } }
            }
            td.hour data-label=(texts.col_hour) { (sparkline(&row.hour, recipient.waiting(), frame.language)) }
        }
    }
}

/// Returns the page of one recipient.
#[must_use]
pub fn one(frame: &Frame<'_>, row: &Row, retrying: &Items<Delivery>, dead: &Items<Delivery>) -> String {
    let texts = frame.texts();
    let recipient = &row.recipient;
    let path = |state: &str| with_query("/console/failures", &[("recipient", &recipient.recipient), ("state", state)]);
    let content = html! {
        h1 { (recipient.name) " " span.code { (recipient.recipient) } }
        (live(frame, Some(10), &html! {
            dl.facts {
                div { dt { (texts.col_state) } dd { (queue_state(frame, recipient)) } }
                div { dt { (texts.col_waiting) } dd { (frame.language.number(recipient.waiting())) } }
                div { dt { (texts.col_oldest) } dd { (frame.language.span(recipient.oldest_pending_seconds)) } }
                div { dt { (texts.col_dead) } dd { (frame.language.number(recipient.dead)) } }
                div { dt { (texts.lanes_blocked) } dd { (frame.language.number(recipient.lanes_blocked)) } }
                div { dt { (texts.queue) } dd.code { (recipient.queue) } }
                div { dt { (texts.col_vendor) } dd { (recipient.vendor) } }
                div { dt { (texts.col_hour) } dd { (sparkline(&row.hour, recipient.waiting(), frame.language)) } }
            }
        }))
        @if frame.may_act() { (act(frame, recipient)) }
        section {
            (super::failures::short_table(frame, texts.dead_list, &dead.items))
            @if dead.next_cursor.is_some() { p.after { a href=(path("dead")) { (texts.details) ": " (texts.dead_list) } } }
        }
        section {
            (super::failures::short_table(frame, texts.waiting_list, &retrying.items))
            // Not listed: they are on their way, and another page finds them.
            @if recipient.pending > 0 {
                p.after { a href=(path("pending")) { (fill(texts.waiting_first, &[&frame.language.number(recipient.pending)])) } }
            }
            @if retrying.next_cursor.is_some() { p.after { a href=(path("retrying")) { (texts.details) ": " (texts.waiting_list) } } }
        }
    };
    page(frame, &recipient.name, &content)
}

fn act(frame: &Frame<'_>, recipient: &Recipient) -> Markup {
    let texts = frame.texts();
    html! {
        section.act aria-label=(texts.actions) {
            @if recipient.is_paused() {
                form.inline method="post" action={ "/console/recipients/" (encode(&recipient.recipient)) "/resume" } {
                    (csrf(frame))
                    (may_say_why(frame))
                    button.primary type="submit" { (resume_word(frame, recipient)) }
                    @if recipient.is_full() { span { (texts.call_vendor) } }
                    @if let Some(since) = recipient.paused_since.as_deref() { span.muted { (texts.col_since) ": " (time(frame, since)) } }
                }
            }
            @if !recipient.is_paused() || recipient.is_failing() {
                a.button href={ (with_query("/console/pauses", &[("recipient", &recipient.recipient)])) "#begin" } { (texts.pause_now) "…" }
            }
        }
    }
}

/// What the button is called that ends a pause, or has a queue tried that does not work.
fn resume_word(frame: &Frame<'_>, recipient: &Recipient) -> &'static str {
    if recipient.is_failing() { frame.texts().resume_probe } else { frame.texts().resume_now }
}

/// Returns the page of pauses: who is paused now, and how to begin and end one.
#[must_use]
pub fn pauses(frame: &Frame<'_>, recipients: &[Recipient], windows: &[Window], chosen: &str) -> String {
    let texts = frame.texts();
    let paused: Vec<&Recipient> = recipients.iter().filter(|one| one.is_paused()).collect();
    let by = |one: &Recipient| match one.paused_by.as_deref() {
        Some("operator") => texts.by_operator,
        Some("maintenance") => texts.by_maintenance,
        _ => texts.by_failure,
    };
    let may_act = frame.may_act();
    let content = html! {
        h1 { (texts.maintenance_title) }
        div.scroll tabindex="0" role="region" aria-label=(texts.maintenance_now) {
            table {
                caption { (texts.maintenance_now) }
                thead { tr {
                    th scope="col" { (texts.col_recipient) }
                    th scope="col" { (texts.col_by) }
                    th scope="col" { (texts.col_why) }
                    th scope="col" { (texts.col_since) }
                    th scope="col" { (texts.col_until) }
                    th.num scope="col" { (texts.col_waiting) }
                    @if may_act { th scope="col" { (texts.actions) } }
                } }
                tbody {
                    @for one in &paused {
                        tr {
                            th scope="row" data-label=(texts.col_recipient) { (super::show::recipient_link(frame, &one.recipient)) }
                            td data-label=(texts.col_by) { (by(one)) }
                            td data-label=(texts.col_why) { (texts.word(one.why.as_deref().unwrap_or_default())) }
                            td data-label=(texts.col_since) { (maybe_time(frame, one.paused_since.as_deref())) }
                            td data-label=(texts.col_until) { (maybe_time(frame, one.paused_until.as_deref())) }
                            td.num data-label=(texts.col_waiting) { (number(frame, one.waiting())) }
                            @if may_act {
                                td data-label=(texts.actions) {
                                    @if one.paused_by.as_deref() != Some("maintenance") {
                                        form.inline method="post" action={ "/console/recipients/" (encode(&one.recipient)) "/resume" } {
                                            (csrf(frame))
                                            (may_say_why(frame))
                                            button type="submit" aria-label={ (resume_word(frame, one)) ": " (one.name) } { (resume_word(frame, one)) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    @if paused.is_empty() { tr { td colspan="7" { (texts.maintenance_none) } } }
                }
            }
        }
        section { (coming(frame, windows)) }
        @if may_act { (begin(frame, recipients, chosen)) }
    };
    page(frame, texts.maintenance_title, &content)
}

/// Draws the maintenance windows that go on or are to come.
fn coming(frame: &Frame<'_>, windows: &[Window]) -> Markup {
    let texts = frame.texts();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(texts.windows_title) {
            table {
                caption { (texts.windows_title) }
                thead { tr {
                    th scope="col" { (texts.col_recipient) }
                    th scope="col" { (texts.windows_from) }
                    th scope="col" { (texts.col_until) }
                    th scope="col" { (texts.windows_begins) }
                    th scope="col" { (texts.windows_repeats) }
                } }
                tbody {
                    @for window in windows {
                        tr {
                            th scope="row" data-label=(texts.col_recipient) { (super::show::recipient_link(frame, &window.recipient)) }
                            td data-label=(texts.windows_from) { (clock(&window.from)) }
                            td data-label=(texts.col_until) { (clock(&window.until)) }
                            td data-label=(texts.windows_begins) {
                                @if window.state == "now" { span.badge.warn { (texts.windows_now) } } @else { (time(frame, &window.from)) }
                            }
                            td data-label=(texts.windows_repeats) { (if window.repeats == "weekly" { texts.windows_weekly } else { texts.windows_once }) }
                        }
                    }
                    @if windows.is_empty() { tr { td colspan="5" { (texts.windows_none) } } }
                }
            }
        }
    }
}

fn begin(frame: &Frame<'_>, recipients: &[Recipient], chosen: &str) -> Markup {
    let texts = frame.texts();
    html! {
        section #begin {
            h2 { (texts.maintenance_begin) }
            p.muted { (texts.maintenance_intro) }
            form.stacked method="post" action="/console/pauses" {
                (csrf(frame))
                div { label for="recipient" { (texts.col_recipient) }
                    select #recipient name="recipient" required {
                        option value="" { "–" }
                        @for one in recipients { option value=(one.recipient) selected[one.recipient == chosen] { (one.name) " (" (one.recipient) ")" } }
                    }
                }
                div { label for="hours" { (texts.maintenance_for) }
                    select #hours name="hours" {
                        @for hours in [1_u64, 2, 4, 8, 24] { option value=(hours) selected[hours == 2] { (frame.language.count(texts.maintenance_hours, hours)) } }
                        option value="" { (texts.maintenance_forever) }
                    }
                }
                (must_say_why(frame))
                button.primary type="submit" { (texts.pause_now) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, waiting: u64, dead: u64, state: &str) -> Row {
        let recipient = Recipient {
            recipient: format!("akasse:{name}"),
            name: name.to_owned(),
            state: state.to_owned(),
            pending: waiting,
            dead,
            ..Recipient::default()
        };
        Row { recipient, hour: [None; MINUTES] }
    }

    #[test]
    fn those_in_need_come_first() {
        let rows = vec![row("calm", 0, 0, "open"), row("busy", 9, 0, "open"), row("dead", 0, 1, "open"), row("failing", 0, 0, "paused")];
        let names: Vec<String> = most_troubled(rows).into_iter().map(|row| row.recipient.name).collect();
        assert_eq!(names, ["failing", "dead", "busy", "calm"]);
    }

    #[test]
    fn whose_queue_is_full_is_to_be_called() {
        use super::super::assets::Assets;
        use super::super::language::Language;
        use super::super::page::{Role, Section, Theme, Who};

        let (assets, names) = (Assets::default(), std::collections::BTreeMap::new());
        let who = Who { name: "anna".to_owned(), role: Role::Operator };
        let shown = |paused_by: &str, why: &str| {
            let frame = Frame {
                language: Language::English,
                theme: Theme::Auto,
                who: Some(&who),
                csrf: "",
                path: "",
                section: Section::Recipients,
                now: crate::core::time::Moment(0),
                assets: &assets,
                notice: None,
                names: &names,
                reload: None,
            };
            let mut row = row("Lederne", 1, 0, "paused");
            row.recipient.paused_by = Some(paused_by.to_owned());
            row.recipient.why = Some(why.to_owned());
            one(&frame, &row, &Items::default(), &Items::default()).contains("its vendor does not fetch, and has to be called")
        };
        assert!(shown("failure", "nacked"));
        assert!(!shown("failure", "returned"), "nobody has to fetch from a queue that is gone");
        assert!(!shown("operator", "nacked"), "an operator may give any reason");
    }

    #[test]
    fn a_filter_looks_at_name_code_and_state() {
        let check = |text: &str, state: &str, expected: bool| {
            let wanted = Wanted { text: text.to_owned(), state: state.to_owned() };
            assert_eq!(wanted.lets_through(&row("Lederne", 0, 1, "open").recipient), expected, "{text} {state}");
        };
        check("", "", true);
        check("LEDER", "", true);
        check("akasse:led", "troubled", true);
        check("x", "", false);
        check("", "paused", false);
    }
}
