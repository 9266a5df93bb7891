//! The page of a search that has found nothing. What has been found has a page
//! of its own.

use maud::html;

use super::page::{Frame, page};

/// Returns the page; `why` says why nothing was found. What was searched for is
/// not repeated: it may name somebody.
#[must_use]
pub fn nothing(frame: &Frame<'_>, why: &str) -> String {
    let texts = frame.texts();
    let content = html! {
        h1 { (texts.search_title) }
        p.notice.warn role="status" { (why) }
        p { a href="/console" { (texts.back) } }
    };
    page(frame, texts.search_title, &content)
}
