//! The operator console: pages of HTML, made of what the admin API answers.
//! Rendering only. Who may look, and how a page gets its content, is in `http`.
//!
//! Whatever is shown passes through maud, which escapes it. No page loads
//! anything from outside, and everything essential works without JavaScript.

pub mod assets;
pub mod audit;
pub mod failures;
pub mod flow;
pub mod form;
pub mod gdpr;
pub mod lanes;
pub mod language;
pub mod overview;
pub mod page;
pub mod problems;
pub mod quarantine;
pub mod recipients;
pub mod replays;
pub mod runbook;
pub mod samples;
pub mod search;
mod show;
mod spark;
pub mod texts;
pub mod trace;
pub mod view;

pub use assets::Assets;
pub use flow::Flow;
pub use language::Language;
pub use page::{Frame, Role, Section, Theme, Who};
pub use samples::Samples;
