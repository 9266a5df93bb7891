//! Deletion notices that lie unfetched: counted when they are confirmed, looked
//! after when somebody has looked into the queue, and told of on the days of the
//! ladder of reminders.

use super::{Engine, Fact, Output};
use crate::core::ids::Recipient;
use crate::core::notices::Unfetched;
use crate::core::records::{Change, Records};
use crate::core::time::{Day, Moment};

/// Whether something is done or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// Only what would be done is told.
    Tried,
    /// It is done.
    InEarnest,
}

impl Engine {
    /// Finds out what a former life has left lying.
    pub(super) fn recover_notices<R: Records>(&mut self, records: &mut R) -> Result<(), R::Error> {
        for (recipient, day, lying) in records.notices()? {
            self.notices.recover(recipient, day, lying);
        }
        Ok(())
    }

    /// Notes that a notice was confirmed, as the latest publish to its queue.
    pub(super) fn notice_arrived<R: Records>(&mut self, recipient: Recipient, records: &mut R, now: Moment) -> Result<(), R::Error> {
        let under_way = self.lanes.queue(recipient).map_or(0, |queue| u64::from(queue.under_way()));
        let day = Day::in_copenhagen(now);
        let lying = self.notices.notice_arrived(recipient, day, under_way);
        records.stage(Change::PutNotices { recipient, day, lying })
    }

    /// Returns whose queues are to be looked into, each with what is to be said to
    /// [`Engine::notices_looked_at`] after the look.
    #[must_use]
    pub fn notices_to_look_at(&self) -> Vec<(Recipient, u64)> {
        self.notices.to_look_at().collect()
    }

    /// Takes in how many messages lay in a recipient's queue when it was looked
    /// into, some time after [`Engine::notices_to_look_at`] had said `confirmed`.
    ///
    /// # Errors
    /// When the changes cannot be staged.
    pub fn notices_looked_at<R: Records>(
        &mut self,
        recipient: Recipient,
        confirmed: u64,
        depth: u64,
        records: &mut R,
    ) -> Result<(), R::Error> {
        for day in self.notices.looked_at(recipient, confirmed, depth) {
            records.stage(Change::DropNotices { recipient, day })?;
        }
        Ok(())
    }

    /// Closes the piles of a recipient's notices of the days until `until`, unless it
    /// is only tried; returns which, and how many notices of each.
    ///
    /// # Errors
    /// When the changes cannot be staged.
    pub fn close_notices<R: Records>(
        &mut self,
        recipient: Recipient,
        until: Day,
        trial: Trial,
        records: &mut R,
    ) -> Result<Vec<(Day, u64)>, R::Error> {
        match trial {
            Trial::Tried => Ok(self.notices.until(recipient, until)),
            Trial::InEarnest => {
                let closed = self.notices.close(recipient, until);
                for (day, _) in &closed {
                    records.stage(Change::DropNotices { recipient, day: *day })?;
                }
                Ok(closed)
            }
        }
    }

    /// Returns every recipient with notices that it has not fetched, as far as is
    /// known.
    #[must_use]
    pub fn unfetched_notices(&self, now: Moment) -> Vec<Unfetched> {
        self.notices.unfetched(Day::in_copenhagen(now))
    }

    /// Tells of notices that have lain for as long as a rung of the ladder says.
    pub(super) fn remind_of_notices<R: Records>(&mut self, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        for (reminder, lying) in self.notices.remind(Day::in_copenhagen(now)) {
            records.stage(Change::PutNotices { recipient: reminder.recipient, day: reminder.day, lying })?;
            out.facts.push(Fact::NoticesUnfetched(reminder));
        }
        Ok(())
    }
}
