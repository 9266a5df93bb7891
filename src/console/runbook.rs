//! The runbook as a page: the repository's own file, so that it is the one of this
//! version and there without internet.
//!
//! Understands what that file uses of Markdown and nothing more, which tests hold. It
//! is in English only, as the log is.

use std::iter::Peekable;
use std::str::Lines;

use maud::{Markup, html};

use super::page::{Frame, page};

/// The repository's file.
const TEXT: &str = include_str!("../../docs/runbook.md");

/// A part of the text.
#[derive(Debug, PartialEq, Eq)]
enum Block<'t> {
    /// Of this level, 1 for the highest.
    Heading(usize, &'t str),
    /// Commands.
    Code(Vec<&'t str>),
    /// Rows of cells; the first is the head.
    Table(Vec<Vec<&'t str>>),
    /// Points.
    List(Vec<String>),
    /// Text.
    Paragraph(String),
}

/// Returns the page.
#[must_use]
pub fn runbook(frame: &Frame<'_>) -> String {
    let blocks = blocks(TEXT);
    let (title, rest) = blocks.split_first().map_or((None, &[][..]), |(title, rest)| (Some(title), rest));
    let content = html! {
        article.runbook lang="en" {
            @if let Some(title) = title { (shown(title)) }
            nav aria-label=(frame.texts().runbook_sections) { ul.contents {
                @for block in rest { @if let Block::Heading(2, name) = block { li { a href={ "#" (anchor(name)) } { (name) } } } }
            } }
            @for block in rest { (shown(block)) }
        }
    };
    page(frame, frame.texts().runbook_title, &content)
}

fn shown(block: &Block<'_>) -> Markup {
    match block {
        Block::Heading(1, name) if *name == "Runbook" => html! { h1 id=(anchor(name)) { (name) } },
        Block::Heading(..=2, name) => html! { h2 id=(anchor(name)) { (name) } },
        Block::Heading(_, name) => html! { h3 id=(anchor(name)) { (name) } },
        Block::Code(lines) => html! { pre { code { (lines.join("\n")) } } },
        Block::Table(rows) => table(rows),
        Block::List(points) => html! { ul { @for point in points { li { (inline(point)) } } } },
        Block::Paragraph(text) => html! { p { (inline(text)) } },
    }
}

fn table(rows: &[Vec<&str>]) -> Markup {
    let Some((head, rows)) = rows.split_first() else { return html! {} };
    let label = |column: usize| head.get(column).copied().unwrap_or_default().replace('`', "");
    html! {
        div.scroll { table {
            thead { tr { @for name in head { th scope="col" { (inline(name)) } } } }
            tbody { @for row in rows { tr {
                @for (column, cell) in row.iter().enumerate() {
                    @if column == 0 { th scope="row" data-label=(label(column)) { (inline(cell)) } }
                    @else { td data-label=(label(column)) { (inline(cell)) } }
                }
            } } }
        } }
    }
}

/// Returns where a heading is found, as GitHub has it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut lines = text.lines().peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        found.push(match line.chars().next() {
            Some('#') => {
                let name = line.trim_start_matches('#');
                Block::Heading(line.len() - name.len(), name.trim())
            }
            Some('`') if line.starts_with("```") => Block::Code(lines.by_ref().take_while(|line| !line.starts_with("```")).collect()),
            Some('|') => Block::Table(rows(line, &mut lines)),
            Some('-') if line.starts_with("- ") => Block::List(points(line, &mut lines)),
            _ => Block::Paragraph(joined(line, &mut lines)),
        });
    }
    found
}

fn rows<'t>(first: &'t str, lines: &mut Peekable<Lines<'t>>) -> Vec<Vec<&'t str>> {
    let cells = |line: &'t str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let mut found = vec![cells(first)];
    while let Some(line) = lines.next_if(|line| line.starts_with('|')) {
        if !line.starts_with("| ---") {
            found.push(cells(line));
        }
    }
    found
}

fn points<'t>(first: &'t str, lines: &mut Peekable<Lines<'t>>) -> Vec<String> {
    let mut found = vec![joined(first.trim_start_matches("- "), lines)];
    while let Some(line) = lines.next_if(|line| line.starts_with("- ")) {
        found.push(joined(line.trim_start_matches("- "), lines));
    }
    found
}

/// Returns the line with those that go on with it.
fn joined<'t>(first: &'t str, lines: &mut Peekable<Lines<'t>>) -> String {
    let mut text = first.to_owned();
    while let Some(line) = lines.next_if(|line| !line.is_empty() && !["- ", "|", "#", "```"].iter().any(|begins| line.starts_with(begins)))
    {
        text.push(' ');
        text.push_str(line.trim());
    }
    text
}

/// Shows text with what is emphasized, code, and links within the runbook. What other
/// documents say is not served, so that links to them are their words alone.
fn inline(text: &str) -> Markup {
    let Some(at) = text.find(['`', '*', '[']) else { return html! { (text) } };
    let (before, rest) = text.split_at(at);
    let (marked, after) = match marked(rest) {
        Some((marked, after)) => (marked, after),
        None => (html! { (&rest[..1]) }, &rest[1..]),
    };
    html! { (before) (marked) (inline(after)) }
}

fn marked(text: &str) -> Option<(Markup, &str)> {
    if let Some(rest) = text.strip_prefix("**") {
        let (strong, after) = rest.split_once("**")?;
        return Some((html! { strong { (inline(strong)) } }, after));
    }
    if let Some(rest) = text.strip_prefix('`') {
        let (code, after) = rest.split_once('`')?;
        return Some((html! { code { (code) } }, after));
    }
    if let Some(rest) = text.strip_prefix('*') {
        let (em, after) = rest.split_once('*')?;
        return Some((html! { em { (inline(em)) } }, after));
    }
    let (words, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (target, after) = rest.split_once(')')?;
    let link = match target.starts_with('#') {
        true => html! { a href=(target) { (inline(words)) } },
        false => inline(words),
    };
    Some((link, after))
}

/// The anchors of the sections, for tests of what links to them.
#[cfg(test)]
pub fn anchors() -> Vec<String> {
    let headings = blocks(TEXT).into_iter().filter_map(|block| match block {
        Block::Heading(_, name) => Some(anchor(name)),
        _ => None,
    });
    headings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown: Vec<String> = blocks(text).iter().map(|block| shown(block).into_string()).collect();
        assert_eq!(shown.concat(), expected);
    }

    #[test]
    fn what_the_file_uses_is_understood() {
        check(
            "# Runbook\n\n## A plain host\n### `x`, and y\n",
            "<h1 id=\"runbook\">Runbook</h1><h2 id=\"a-plain-host\">A plain host</h2><h3 id=\"x-and-y\">`x`, and y</h3>",
        );
        check("*Page.* a < `b*` and **c\nd** 3 * 4\n", "<p><em>Page.</em> a &lt; <code>b*</code> and <strong>c d</strong> 3 * 4</p>");
        check("[here](#there), [`there`](../deploy/x.yml)", "<p><a href=\"#there\">here</a>, <code>there</code></p>");
        check("Do:\n- one\n  and more\n- two\n\nafter", "<p>Do:</p><ul><li>one and more</li><li>two</li></ul><p>after</p>");
        check("```\na *b*\n\n# c\n```\nd", "<pre><code>a *b*\n\n# c</code></pre><p>d</p>");
        check(
            "| `what` | do |\n| --- | --- |\n| a | `b` |\n",
            "<div class=\"scroll\"><table><thead><tr><th scope=\"col\"><code>what</code></th><th scope=\"col\">do</th></tr></thead>\
             <tbody><tr><th scope=\"row\" data-label=\"what\">a</th><td data-label=\"do\"><code>b</code></td></tr></tbody></table></div>",
        );
    }

    /// Why a queue is paused is called the same here and on the pages that lead here.
    #[test]
    fn reasons_have_the_words_of_the_console() {
        let section = TEXT.split("## WsbQueuePaused").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
        let reasons: Vec<(&str, &str)> =
            section.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next()?.trim().split_once("`, ")).collect();
        assert_eq!(reasons.len(), 5, "{reasons:?}");
        for (reason, words) in reasons {
            assert_eq!(crate::console::Language::English.texts().word(reason), words);
        }
    }

    /// Nothing of the file is shown as the Markdown that it is, every link leads
    /// somewhere, and no anchor is there twice.
    #[test]
    fn the_file_is_shown_whole() {
        let anchors = anchors();
        for (place, anchor) in anchors.iter().enumerate() {
            assert!(!anchors[..place].contains(anchor), "two sections are {anchor}");
        }
        let page: String = blocks(TEXT).iter().map(|block| shown(block).into_string()).collect();
        for link in page.split("href=\"#").skip(1) {
            let target = link.split('"').next().unwrap_or_default();
            assert!(anchors.iter().any(|anchor| anchor == target), "a link leads to #{target}");
        }
        let mut prose = String::new();
        let mut rest = page.as_str();
        while let Some((before, code)) = rest.split_once("<code>") {
            prose.push_str(before);
            rest = code.split_once("</code>").map_or("", |(_, after)| after);
        }
        prose.push_str(rest);
        for left in ["](", "**", "`", "| --", "<p>#", "<p>1. ", "<p>> "] {
            assert!(
                !prose.contains(left),
                "{left} is left: {}",
                prose.split(left).next().unwrap_or_default().chars().rev().take(80).collect::<String>()
            );
        }
        let cells: Vec<usize> = blocks(TEXT)
            .iter()
            .filter_map(|block| match block {
                Block::Table(rows) => Some(rows),
                _ => None,
            })
            .flat_map(|rows| rows.iter().map(|row| row.len().abs_diff(rows[0].len())))
            .collect();
        assert!(!cells.is_empty() && cells.iter().all(|more| *more == 0), "a row has more or fewer cells than its head");
    }
}
