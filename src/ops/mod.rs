//! One function per use case of an operator, over the engine and what is
//! stored. The API runs them on the writer; commands that open the store
//! themselves run them directly. Each is short: pages and batches are bounded.

mod audit;
mod deliveries;
mod erase;
mod explain;
mod import;
mod lanes;
mod list;
mod quarantine;
mod replay;
mod retention;
mod trace;

pub use audit::{AuditFilter, WhyRefused, audit_extent, audit_json, audit_page, inspect, note, note_about, reason, verify_audit};
pub use deliveries::{DiscardError, discard_delivery};
pub use erase::{EraseError, Erasure, erase, erasure, parse_number};
pub use explain::{ExplainError, Explained, explain, explained_json};
pub use import::{ImportError, Imported, Tried, import, would_import};
pub use lanes::{LaneError, delivery_groups, park_lane, release_lane, would_park, would_release};
pub use list::{Cursor, deliveries};
pub use quarantine::{QuarantineError, Retried, discard, page, quarantined_json, retry, would_discard, would_retry};
pub use replay::{
    Canaries, Candidates, Named, Page, PageError, TooMany, canaries, held_json, keys_of, order_words, replay_json, selected_json, sent_to,
    surveyed_json,
};
pub use retention::{Calendar, DUE_CITIZENS, Due, DueCursor, DuePage, Month, due_json, due_page, unexpected_json, unfetched_json};
pub use trace::{MOST_LYING, Search, Searched, Sought, Told, delivery, lying, trace};

/// The most that one page may hold.
pub const PAGE: usize = 500;

/// The most lines that one batch of an import may hold.
pub const IMPORT_BATCH: usize = 2_000;
