//! Deletion notices that a recipient has not fetched yet, as far as can be seen
//! from outside of its queue.
//!
//! A queue is first in, first out: a notice has left it when no more messages lie
//! there than have surely arrived after it, or none at all. What a vendor rejects
//! leaves out of turn, and is told. What is not known
//! exactly is taken for unfetched: what may have arrived without a confirm, what
//! others put there, what was under way beside the notice, and, after a restart,
//! whatever lay there before. What a consumer holds without having
//! acknowledged it does not lie in the queue: it counts as fetched.
//!
//! Kept by recipient and day, not one by one: a night of deletions sends millions,
//! and reminders count in days. Nothing of this leads to a citizen.

use std::collections::BTreeMap;

use super::ids::Recipient;
use super::time::Day;

/// After how many days an operator is reminded of notices that nobody fetched.
pub const REMINDERS: [u32; 4] = [3, 9, 14, 21];

/// The notices that were delivered to one recipient on one day, of which the
/// last, at least, has not been fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lying {
    /// How many were delivered on that day.
    pub notices: u64,
    /// After how many days somebody was last reminded; 0 before that.
    pub reminded: u32,
}

/// One recipient as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfetched {
    /// Who.
    pub recipient: Recipient,
    /// The day on which the oldest of them was delivered.
    pub since: Day,
    /// How many there are at the most, those of today included.
    pub notices: u64,
    /// How many there are at the most of former days.
    pub of_former_days: u64,
    /// After how many days somebody was last reminded of the oldest; 0 before that.
    pub reminded: u32,
}

/// That somebody is to be reminded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reminder {
    /// Who has not fetched.
    pub recipient: Recipient,
    /// The day on which the notices were delivered.
    pub day: Day,
    /// How many of that day there are at the most.
    pub notices: u64,
    /// After how many days: one of [`REMINDERS`].
    pub after: u32,
}

/// What is known of one recipient's queue.
#[derive(Debug, Clone, Default)]
struct Queue {
    /// Confirmed publishes in this life of the process.
    confirmed: u64,
    days: BTreeMap<Day, Pile>,
    /// How many messages lay in the queue when it was last looked at.
    depth: Option<u64>,
}

/// The notices of a day, and where the last of them lies.
#[derive(Debug, Clone, Copy, Default)]
struct Pile {
    lying: Lying,
    /// How many publishes had been confirmed with it; none of this life for one of
    /// a former life.
    confirmed: u64,
    /// What was confirmed beyond so many has surely arrived after it.
    before: u64,
}

/// Every recipient's notices.
#[derive(Debug, Clone, Default)]
pub struct Notices(BTreeMap<Recipient, Queue>);

impl Notices {
    /// Takes in what a former life has left.
    pub fn recover(&mut self, recipient: Recipient, day: Day, lying: Lying) {
        self.0.entry(recipient).or_default().days.insert(day, Pile { lying, ..Pile::default() });
    }

    /// Notes that a publish was confirmed.
    pub fn arrived(&mut self, recipient: Recipient) {
        self.0.entry(recipient).or_default().confirmed += 1;
    }

    /// Notes that the publish confirmed last was a notice, and that so many others
    /// to its queue are under way, which may have arrived before it; returns what is
    /// to be stored for the day.
    pub fn notice_arrived(&mut self, recipient: Recipient, today: Day, under_way: u64) -> Lying {
        let queue = self.0.entry(recipient).or_default();
        let pile = queue.days.entry(today).or_default();
        pile.lying.notices += 1;
        pile.confirmed = queue.confirmed;
        // It is the last of the day, whatever was thought of those before it.
        pile.before = pile.before.max(queue.confirmed + under_way);
        pile.lying
    }

    /// Notes that a message has left the queue out of turn, as one that the vendor
    /// rejects does: it may have arrived after a notice that lies there still.
    pub fn came_back(&mut self, recipient: Recipient) {
        let piles = self.0.get_mut(&recipient).into_iter().flat_map(|queue| queue.days.values_mut());
        piles.for_each(|pile| pile.before += 1);
    }

    /// Returns whose queues are to be looked at, each with how many publishes have
    /// been confirmed until now. To be asked before the look: what arrives in
    /// between then counts as lying there.
    pub fn to_look_at(&self) -> impl Iterator<Item = (Recipient, u64)> + '_ {
        self.0.iter().filter(|(_, queue)| !queue.days.is_empty()).map(|(recipient, queue)| (*recipient, queue.confirmed))
    }

    /// Takes in that so many messages lay in the queue, looked at after
    /// [`Notices::to_look_at`] had said `confirmed`. Returns the days of which
    /// everything has been fetched.
    pub fn looked_at(&mut self, recipient: Recipient, confirmed: u64, depth: u64) -> Vec<Day> {
        let Some(queue) = self.0.get_mut(&recipient) else { return Vec::new() };
        queue.depth = Some(depth);
        let has_left = |pile: &Pile| {
            let was_there = pile.confirmed <= confirmed;
            was_there && (depth == 0 || pile.before.saturating_add(depth) <= confirmed)
        };
        let fetched: Vec<Day> = queue.days.iter().filter(|(_, pile)| has_left(pile)).map(|(day, _)| *day).collect();
        fetched.iter().for_each(|day| {
            queue.days.remove(day);
        });
        fetched
    }

    /// Returns what lies unfetched in a recipient's queue of the days until `until`.
    pub fn until(&self, recipient: Recipient, until: Day) -> Vec<(Day, u64)> {
        let days = self.0.get(&recipient).into_iter().flat_map(|queue| queue.days.range(..=until));
        days.map(|(day, pile)| (*day, pile.lying.notices)).collect()
    }

    /// Closes the piles of the days until `until`: an operator knows that the vendor has
    /// dealt with them. What is delivered afterwards begins a pile of its own.
    pub fn close(&mut self, recipient: Recipient, until: Day) -> Vec<(Day, u64)> {
        let closed = self.until(recipient, until);
        if let Some(queue) = self.0.get_mut(&recipient) {
            queue.days.retain(|day, _| *day > until);
        }
        closed
    }

    /// Returns whom somebody is to be reminded of today, each once, and notes that
    /// it has been done.
    pub fn remind(&mut self, today: Day) -> Vec<(Reminder, Lying)> {
        let mut due = Vec::new();
        for (recipient, queue) in &mut self.0 {
            for (day, Pile { lying, .. }) in &mut queue.days {
                let lain = u32::try_from(today.number().saturating_sub(day.number())).unwrap_or(0);
                let Some(after) = REMINDERS.into_iter().rfind(|after| *after <= lain && *after > lying.reminded) else { continue };
                lying.reminded = after;
                due.push((Reminder { recipient: *recipient, day: *day, notices: lying.notices, after }, *lying));
            }
        }
        due
    }

    /// Returns every recipient with notices that have not been fetched, as far as
    /// is known.
    #[must_use]
    pub fn unfetched(&self, today: Day) -> Vec<Unfetched> {
        let of = |(recipient, queue): (&Recipient, &Queue)| {
            let (since, oldest) = queue.days.first_key_value()?;
            let all: u64 = queue.days.values().map(|pile| pile.lying.notices).sum();
            let former: u64 = queue.days.range(..today).map(|(_, pile)| pile.lying.notices).sum();
            // No more than lay there: of former days none come any more.
            let most = queue.depth.unwrap_or(u64::MAX);
            Some(Unfetched {
                recipient: *recipient,
                since: *since,
                notices: all,
                of_former_days: former.min(most),
                reminded: oldest.lying.reminded,
            })
        };
        self.0.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{day, recipient};
    use super::*;

    const A: &str = "akasse:067";

    fn shown(notices: &Notices, today: &str) -> Vec<(String, u64, u64, u32)> {
        let line = |of: Unfetched| (of.since.to_string(), of.notices, of.of_former_days, of.reminded);
        notices.unfetched(day(today)).into_iter().map(line).collect()
    }

    /// `.` an ordinary publish, `n` a notice.
    fn arrive(notices: &mut Notices, what: &str, today: &str) {
        for one in what.chars() {
            notices.arrived(recipient(A));
            if one == 'n' {
                notices.notice_arrived(recipient(A), day(today), 0);
            }
        }
    }

    #[test]
    fn a_notice_has_left_when_no_more_lies_there_than_came_after_it() {
        for (came, depth, is_fetched) in [
            ("n", 1, false),
            ("n", 0, true),
            ("..n", 1, false),
            ("..n..", 3, false),
            ("..n..", 2, true),
            ("n.n.", 2, false),
            ("n.n.", 1, true),
            // Others have put something there too, or a confirm was lost.
            ("n.", 5, false),
        ] {
            let mut notices = Notices::default();
            arrive(&mut notices, came, "2026-03-16");
            let confirmed = notices.to_look_at().next().map(|(_, confirmed)| confirmed);
            assert_eq!(confirmed, Some(came.len() as u64));
            // What arrives during the look does not count as fetched.
            arrive(&mut notices, "..", "2026-03-16");
            let fetched = notices.looked_at(recipient(A), came.len() as u64, depth);
            assert_eq!(!fetched.is_empty(), is_fetched, "{came} {depth}");
            assert_eq!(shown(&notices, "2026-03-16").is_empty(), is_fetched, "{came} {depth}");
        }
    }

    #[test]
    fn what_was_under_way_beside_a_notice_may_lie_before_it() {
        let mut notices = Notices::default();
        notices.arrived(recipient(A));
        // Two others are under way, and one of them is confirmed afterwards.
        notices.notice_arrived(recipient(A), day("2026-03-16"), 2);
        notices.arrived(recipient(A));
        assert_eq!(notices.looked_at(recipient(A), 2, 1), [], "the notice may be what lies there");
        arrive(&mut notices, "..", "2026-03-16");
        assert_eq!(notices.looked_at(recipient(A), 4, 1), [day("2026-03-16")]);
        // The other one failed: where nothing lies, nothing of it lies.
        notices.notice_arrived(recipient(A), day("2026-03-16"), 2);
        assert_eq!(notices.looked_at(recipient(A), 3, 0), [], "it came after that");
        assert_eq!(notices.looked_at(recipient(A), 4, 0), [day("2026-03-16")]);
    }

    /// The vendor held the notice, rejected what came after it, and put the notice back.
    #[test]
    fn what_came_back_says_nothing_about_a_notice_before_it() {
        let mut notices = Notices::default();
        arrive(&mut notices, "n...", "2026-03-16");
        notices.came_back(recipient(A));
        assert_eq!(notices.looked_at(recipient(A), 4, 3), [], "the notice and two others");
        assert_eq!(notices.looked_at(recipient(A), 4, 2), [day("2026-03-16")]);
        notices.recover(recipient(A), day("2026-03-10"), Lying { notices: 7, reminded: 3 });
        notices.came_back(recipient(A));
        assert_eq!(notices.looked_at(recipient(A), 4, 4), []);
        assert_eq!(notices.looked_at(recipient(A), 4, 0), [day("2026-03-10")], "an empty queue holds none");
    }

    #[test]
    fn days_end_each_by_itself() {
        let mut notices = Notices::default();
        arrive(&mut notices, "n.n", "2026-03-16");
        arrive(&mut notices, ".n", "2026-03-17");
        assert_eq!(shown(&notices, "2026-03-17"), [("2026-03-16".to_owned(), 3, 2, 0)]);
        assert_eq!(notices.looked_at(recipient(A), 5, 3), []);
        assert_eq!(notices.looked_at(recipient(A), 5, 2), [day("2026-03-16")]);
        assert_eq!(shown(&notices, "2026-03-17"), [("2026-03-17".to_owned(), 1, 0, 0)]);
        assert_eq!(shown(&notices, "2026-03-18"), [("2026-03-17".to_owned(), 1, 1, 0)]);
        assert_eq!(notices.looked_at(recipient(A), 5, 0), [day("2026-03-17")]);
        assert_eq!(notices.to_look_at().count(), 0);
    }

    #[test]
    fn after_a_restart_what_lay_there_must_have_left() {
        let mut notices = Notices::default();
        notices.recover(recipient(A), day("2026-03-10"), Lying { notices: 7, reminded: 3 });
        assert_eq!(notices.looked_at(recipient(A), 0, 1), []);
        arrive(&mut notices, "....", "2026-03-16");
        assert_eq!(notices.looked_at(recipient(A), 4, 5), []);
        assert_eq!(notices.looked_at(recipient(A), 4, 4), [day("2026-03-10")]);
    }

    #[test]
    fn an_operator_closes_piles_until_a_day_and_later_ones_stay() {
        let mut notices = Notices::default();
        arrive(&mut notices, "nn", "2026-03-16");
        arrive(&mut notices, "n", "2026-03-17");
        arrive(&mut notices, "n", "2026-03-18");
        assert_eq!(notices.close(recipient("akasse:053"), day("2026-03-18")), []);
        let piles = [(day("2026-03-16"), 2), (day("2026-03-17"), 1)];
        assert_eq!(notices.until(recipient(A), day("2026-03-17")), piles);
        assert_eq!(notices.close(recipient(A), day("2026-03-17")), piles);
        assert_eq!(notices.close(recipient(A), day("2026-03-17")), [], "once");
        assert_eq!(shown(&notices, "2026-03-18"), [("2026-03-18".to_owned(), 1, 0, 0)]);
        arrive(&mut notices, "n", "2026-03-17");
        assert_eq!(shown(&notices, "2026-03-18"), [("2026-03-17".to_owned(), 2, 1, 0)]);
    }

    #[test]
    fn reminders_climb_a_ladder_and_none_is_given_twice() {
        let mut notices = Notices::default();
        arrive(&mut notices, "nn", "2026-03-01");
        let mut told = Vec::new();
        for today in 1..=31 {
            let today = day(&format!("2026-03-{today:02}"));
            told.extend(notices.remind(today).into_iter().map(|(reminder, lying)| {
                assert_eq!(lying, Lying { notices: 2, reminded: reminder.after });
                (today.to_string(), reminder.after, reminder.notices)
            }));
            assert_eq!(notices.remind(today), [], "once a day is enough");
        }
        let expected = [("2026-03-04", 3), ("2026-03-10", 9), ("2026-03-15", 14), ("2026-03-22", 21)];
        assert_eq!(told, expected.map(|(day, after)| (day.to_owned(), after, 2)));
        // Nobody was there for some weeks: the latest is told, and not all.
        let mut notices = Notices::default();
        notices.recover(recipient(A), day("2026-03-01"), Lying { notices: 1, reminded: 3 });
        assert_eq!(notices.remind(day("2026-04-20")).len(), 1);
        assert_eq!(shown(&notices, "2026-04-20")[0].3, 21);
    }
}
