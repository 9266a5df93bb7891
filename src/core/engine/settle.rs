//! The outcome of an attempt moves its delivery: delivered, retrying or dead.

use std::sync::Arc;

use super::dispatch::had_ended;
use super::{Engine, Fact, Output, uncount};
use crate::core::event::Content;
use crate::core::ids::DeliveryKey;
use crate::core::lanes::{Kept, Queue};
use crate::core::outbox::{Attempt, Death, Delivery, End, Ended, State};
use crate::core::records::{Change, Records};
use crate::core::retry::{Consequence, Outcome, class_of};
use crate::core::routing::name_told;
use crate::core::time::Moment;

impl Engine {
    /// Takes in the outcome of an attempt. One about a delivery that is not
    /// under way is of a former life of the process, and ignored.
    ///
    /// # Errors
    /// When the changes cannot be staged.
    pub fn settle<R: Records>(
        &mut self,
        key: DeliveryKey,
        outcome: Outcome,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        self.take_outcome(key, outcome, records, now, out)?;
        if !self.lanes.is_awaited(key) {
            return Ok(());
        }
        // Whoever is to get it instead gets it before anything newer.
        let failed = match self.lanes.loaded(key) {
            Some(loaded) => Some(loaded.delivery.clone()),
            None => records.delivery(key)?,
        };
        match failed.filter(|failed| !matches!(failed.state, State::Dead { .. })) {
            Some(failed) => self.withdraw_unless_entitled(&failed, records, now, out),
            None => Ok(()),
        }
    }

    fn take_outcome<R: Records>(
        &mut self,
        key: DeliveryKey,
        outcome: Outcome,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let Some(loaded) = self.lanes.loaded(key).filter(|loaded| loaded.is_in_flight()) else { return Ok(()) };
        let withdrawn = loaded.is_withdrawn();
        self.in_flight = self.in_flight.saturating_sub(1);
        out.facts.push(Fact::Attempted(outcome));
        let queue = self.lanes.queue_mut(key.recipient);
        let (failure, code) = match outcome {
            Outcome::Confirmed => {
                let Some(loaded) = queue.remove(key.seq) else { return Ok(()) };
                if !withdrawn {
                    uncount(queue.counts_mut(), &loaded.delivery.state);
                }
                if queue.succeeded(now).is_some() {
                    out.facts.push(Fact::Resumed(key.recipient));
                }
                let delivery = loaded.delivery;
                if withdrawn && let Some(ended) = records.ended(key)? {
                    // Its attempts are told with the end that it comes to.
                    had_ended(&delivery, Ended { failures: Vec::new(), delivered_before: None, ..ended }, records)?;
                }
                let (took, free) = (now.0 - delivery.first_at.0, now.0 - queue.counts_from(&delivery).0);
                self.notices.arrived(key.recipient);
                out.facts.push(Fact::Delivered(Arc::clone(name_told(&delivery.event, &self.rules)), key.recipient, took, free));
                if let Content::Deletion { area, .. } = &delivery.event.content {
                    out.facts.push(Fact::NoticeDelivered(area.clone()));
                    self.notice_arrived(key.recipient, records, now)?;
                    self.look_at_the_put_off(delivery.citizen, records, now)?;
                }
                return records.stage(Change::Finish {
                    key,
                    citizen: delivery.citizen,
                    had_row: !withdrawn && loaded.kept == Kept::InRow,
                    end: End::Delivered,
                    attempts: delivery.attempts.saturating_add(1),
                    may_hold: true,
                    event: delivery.event,
                    at: now,
                });
            }
            Outcome::NotMade if withdrawn => {
                queue.remove(key.seq);
                return Ok(());
            }
            Outcome::NotMade => {
                let Some(delivery) = queue.get(key.seq).map(|loaded| loaded.delivery.clone()) else { return Ok(()) };
                return go_on_waiting(queue, delivery, records);
            }
            Outcome::Failed { failure, code } => (failure, code),
        };
        let curve = &self.curve;
        let then = class_of(failure).then;
        let pause = match then {
            Consequence::Pause => queue.pause(failure, now, |failures| curve.probe_ms(failures)),
            // A probe that fails for whatever reason leaves the queue paused, or
            // the next one would follow at once.
            Consequence::Retry if queue.paused().is_some() => queue.pause(failure, now, |failures| curve.probe_ms(failures)),
            // Says nothing about the queue.
            Consequence::Retry | Consequence::Dead => None,
        };
        if let Some(pause) = pause {
            out.facts.push(Fact::Paused(key.recipient, pause));
        }
        let Some(loaded) = queue.get(key.seq) else { return Ok(()) };
        let delivery = loaded.delivery.clone();
        let attempt = Attempt { at: now, failure, code };
        let lane = queue.lane_of(&delivery);
        // While it is left alone no time passes.
        let is_over = queue.resting().is_none() && !queue.is_parked(&lane) && self.curve.is_over(queue.counts_from(&delivery), now);
        if withdrawn {
            queue.remove(key.seq);
        } else if then == Consequence::Dead || is_over {
            queue.remove(key.seq);
            uncount(queue.counts_mut(), &delivery.state);
            queue.counts_mut().dead += 1;
            queue.note_fresh(delivery.citizen, key.seq);
            out.facts.push(Fact::Died(Arc::clone(name_told(&delivery.event, &self.rules)), key.recipient, Death::GaveUp(failure)));
            records.stage(Change::PutDelivery(delivery.gave_up(attempt)))?;
        } else {
            if delivery.state == State::Pending {
                let counts = queue.counts_mut();
                counts.pending = counts.pending.saturating_sub(1);
                counts.retrying += 1;
            }
            let next_at = now.plus_millis(self.curve.delay_ms(delivery.attempts.saturating_add(1), &delivery.id()));
            go_on_waiting(queue, delivery.failed(attempt, next_at), records)?;
        }
        // Whatever this holds up must not rely on the journal for long: the rest
        // of the lane, or of the queue when it has just been paused.
        let behind = pause.is_none().then_some(lane);
        for seq in queue.needing_rows(behind) {
            if let Some(delivery) = queue.give_row(seq) {
                records.stage(Change::PutDelivery(delivery.clone()))?;
            }
        }
        Ok(())
    }
}

/// Puts a delivery that was under way back where it waits, with a row.
fn go_on_waiting<R: Records>(queue: &mut Queue, delivery: Delivery, records: &mut R) -> Result<(), R::Error> {
    records.stage(Change::PutDelivery(delivery.clone()))?;
    let (citizen, seq) = (delivery.citizen, delivery.key.seq);
    if queue.is_parked(&queue.lane_of(&delivery)) && !queue.is_closed() {
        queue.remove(seq);
        queue.note_fresh(citizen, seq);
    } else if queue.is_beyond(seq) {
        // Its row is new: nobody who looked for more has seen it.
        queue.remove(seq);
        queue.put_for_later(citizen, seq);
    } else {
        queue.put_back(delivery);
    }
    Ok(())
}
