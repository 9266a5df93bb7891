//! What falls due, counted beside the pages: a store of millions of records is
//! gone through now and then, and not for everybody who looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Console;
use crate::config::Role;
use crate::console::form::encode;
use crate::console::gdpr::Calendar;
use crate::console::view::{Due, Items};
use crate::http::Principal;

/// How long a count is good enough.
const FRESH: Duration = Duration::from_secs(600);
/// How long a page waits for the first count.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two pages, so that whatever else asks the writer gets its turn.
const BREATH: Duration = Duration::from_millis(2);

/// The latest count.
#[derive(Default)]
pub struct Counted(Mutex<State>);

#[derive(Default)]
struct State {
    latest: Option<(Instant, Arc<Calendar>)>,
    under_way: bool,
}

impl Counted {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> Option<Arc<Calendar>> {
        self.lock().latest.as_ref().map(|(_, calendar)| Arc::clone(calendar))
    }

    /// Returns whether somebody should count now, and notes that somebody does.
    fn begin(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let fresh = state.latest.as_ref().is_some_and(|(at, _)| now.saturating_duration_since(*at) < FRESH);
        if fresh || state.under_way {
            return false;
        }
        state.under_way = true;
        true
    }

    fn end(&self, now: Instant, calendar: Option<Calendar>) {
        let mut state = self.lock();
        state.under_way = false;
        if let Some(calendar) = calendar {
            state.latest = Some((now, Arc::new(calendar)));
        }
    }
}

/// Returns the latest count of what falls due until a day; has it counted anew
/// when it is old. `None` while the first count is under way.
pub async fn calendar(console: &Arc<Console>, today: &str, until: &str) -> Option<Arc<Calendar>> {
    if console.calendar.begin(Instant::now()) {
        let (counting, today, until) = (Arc::clone(console), today.to_owned(), until.to_owned());
        let count = tokio::spawn(async move {
            let counted = count(&counting, &today, &until).await;
            counting.calendar.end(Instant::now(), counted);
        });
        // It goes on by itself when nobody waits any more.
        let _ = tokio::time::timeout(PATIENCE, count).await;
    }
    console.calendar.latest()
}

async fn count(console: &Console, today: &str, until: &str) -> Option<Calendar> {
    let myself = Principal { name: "console".into(), role: Role::Viewer };
    let mut calendar = Calendar::default();
    let mut cursor = String::new();
    loop {
        let path = format!("/retention/due?as_of={until}&cursor={}", encode(&cursor));
        let page: Items<Due> = console.read(&myself, &path).await.ok()?;
        for due in &page.items {
            calendar.add(due, today);
        }
        match page.next_cursor {
            Some(next) => cursor = next,
            None => return Some(calendar),
        }
        tokio::time::sleep(BREATH).await;
    }
}
