//! What may be attempted now, each decided again at that moment.

use std::sync::Arc;

use super::{Engine, Fact, Outgoing, Output, Stage};
use crate::core::ids::{DeliveryKey, EventSeq, Recipient};
use crate::core::lanes::Gate;
use crate::core::outbox::{Because, Death, Delivery, Ended, State, Withdrawal};
use crate::core::policy::{Audience, Audiences, MessageType};
use crate::core::records::{Admission, Change, Pruned, Records};
use crate::core::routing::{By, Chosen, LeftOut, Suppression, name_told, told_as};
use crate::core::time::{Day, Moment};
use crate::core::today::Today;
use crate::core::trace::Step;

/// What was decided about an attempt.
pub(super) enum Verdict {
    /// The recipient is entitled now.
    Send {
        permit: Box<Permit>,
        /// Who is entitled by the rules that it was told by until now, where those are
        /// others.
        besides: Vec<(Recipient, Because)>,
    },
    /// It is not.
    Withdraw {
        why: Withdrawal,
        /// How it came to that.
        lost: Loss,
        /// Who is entitled by the same rules instead.
        instead: By,
    },
}

impl Verdict {
    /// Withdraws a delivery that nobody is told instead, for now.
    fn nobody(delivery: &Delivery, why: Withdrawal) -> Self {
        let instead = By { chosen: Vec::new(), nobody: delivery.because.audiences().iter().collect() };
        Self::Withdraw { why, lost: Loss::default(), instead }
    }
}

/// How a recipient came to lose a delivery.
#[derive(Default)]
pub(super) struct Loss {
    /// Whether it had the citizen, and lost it.
    pub citizen: bool,
    /// What the decision says of it.
    pub left_out: Option<LeftOut>,
    /// The event that deleted or recalled its record before.
    pub deleted_by: Option<Arc<Admission>>,
}

impl Loss {
    /// Notes what was lost by, besides why.
    pub fn trace<R: Records>(self, delivery: &Delivery, now: Moment, records: &mut R) -> Result<(), R::Error> {
        if let Some(left_out) = self.left_out {
            trace(delivery, Step::NotEntitled(left_out), now, records)?;
        }
        if let Some(deletion) = self.deleted_by {
            let step = Step::RecordDeleted { event_id: deletion.event.id.clone(), taken_in: Some(deletion.at) };
            trace(delivery, step, now, records)?;
        }
        Ok(())
    }
}

/// Leave to send, for one attempt.
pub(super) struct Permit {
    pub because: Because,
    kind: Arc<MessageType>,
    identification: Option<crate::core::ids::Personnummer>,
}

/// How many rows of the journal are looked at, and forgotten, in one go: some
/// milliseconds, and at one go a second more than a day brings.
const PRUNED_AT_ONCE: usize = 128;

impl Engine {
    /// Returns through `out` the attempts to perform now, as many as may be
    /// under way; withdraws what nobody is entitled to any more, and what waits for
    /// a recipient that is closed. Everything
    /// staged before must have been committed and flushed; the caller commits
    /// what this stages.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn dispatch<R: Records>(&mut self, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        self.lanes.committed();
        self.journal = self.journal();
        for key in self.lanes.arrived() {
            self.lanes.go_on_after(key);
        }
        self.keep_holds(records, now, out)?;
        let day = Day::in_copenhagen(now);
        for (recipient, queue) in self.lanes.queues_mut() {
            let is_open = self.rules.recipient(recipient).is_some_and(|rule| rule.is_open(day));
            for delivery in queue.set_gate(if is_open { Gate::Open } else { Gate::Closed }) {
                records.stage(Change::PutDelivery(delivery))?;
            }
            for delivery in queue.look_whether_slow(now) {
                records.stage(Change::PutDelivery(delivery))?;
            }
            if queue.resting().is_none() && queue.lapse(now).is_some() {
                out.facts.push(Fact::Resumed(recipient));
            }
        }
        for recipient in self.lanes.in_turn() {
            let is_open = self.lanes.queue(recipient).is_some_and(|queue| !queue.is_closed());
            if is_open && !self.may_send() {
                continue;
            }
            if let Some((after, limit)) = self.lanes.queue_mut(recipient).wants() {
                let rows = records.waiting(recipient, Some(after), limit)?;
                self.lanes.queue_mut(recipient).refill(rows, limit, now);
            }
            if !is_open {
                self.clear(recipient, records, now, out)?;
                continue;
            }
            while self.has_place(recipient) {
                let Some(seq) = self.lanes.queue_mut(recipient).next(now) else { break };
                self.attempt(DeliveryKey { recipient, seq }, records, now, out)?;
            }
        }
        Ok(())
    }

    fn attempt<R: Records>(&mut self, key: DeliveryKey, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        let Some(loaded) = self.lanes.loaded(key) else { return Ok(()) };
        let verdict = self.judge(&loaded.delivery, records, now)?;
        match verdict {
            Verdict::Send { permit, besides } => {
                let of_besides = (!besides.is_empty()).then(|| loaded.delivery.clone());
                let Some(queue) = self.rules.recipient(key.recipient).map(|recipient| Arc::clone(&recipient.queue)) else { return Ok(()) };
                let Some(delivery) = self.lanes.queue_mut(key.recipient).depart(key.seq, now) else { return Ok(()) };
                let anew =
                    (permit.because.audience, &permit.because.registration) != (delivery.because.audience, &delivery.because.registration);
                delivery.because = permit.because;
                let step = anew.then(|| Step::DecidedAnew { because: delivery.because.clone() });
                let (citizen, id) = (delivery.citizen, delivery.id());
                out.attempts.push(Outgoing {
                    key,
                    id: delivery.id(),
                    event: Arc::clone(&delivery.event),
                    kind: permit.kind,
                    queue,
                    identification: permit.identification,
                    attempt: delivery.attempts.saturating_add(1),
                    replay: delivery.replays > 0,
                    decided_at: now,
                });
                self.in_flight += 1;
                if let Some(step) = step {
                    records.stage(Change::Trace { key, citizen, id, at: now, step })?;
                }
                if let Some(delivery) = of_besides {
                    self.hand_over(&delivery, besides, records, now, out)?;
                }
            }
            Verdict::Withdraw { why, lost, instead } => {
                let delivery = loaded.delivery.clone();
                self.withdraw_for(&delivery, why, lost, instead, records, now, out)?;
            }
        }
        Ok(())
    }

    /// Notes of a delivery under way that it may have to be told to others, should
    /// it fail: what is newer waits for that.
    pub(super) fn await_unless_entitled<R: Records>(
        &mut self,
        delivery: &Delivery,
        today: &Today<'_>,
        records: &mut R,
    ) -> Result<(), R::Error> {
        match self.judge_today(delivery, today, records)? {
            Verdict::Send { besides, .. } if besides.is_empty() => {}
            Verdict::Send { .. } | Verdict::Withdraw { .. } => self.lanes.await_outcome(delivery.key),
        }
        Ok(())
    }

    /// Withdraws a waiting delivery if its recipient is not entitled now.
    pub(super) fn withdraw_unless_entitled<R: Records>(
        &mut self,
        delivery: &Delivery,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let verdict = self.judge(delivery, records, now)?;
        self.withdraw_by(verdict, delivery, records, now, out)
    }

    /// Carries out what was judged about a waiting delivery that is not attempted now.
    pub(super) fn withdraw_by<R: Records>(
        &mut self,
        verdict: Verdict,
        delivery: &Delivery,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        match verdict {
            Verdict::Send { besides, .. } => self.hand_over(delivery, besides, records, now, out).map(drop),
            Verdict::Withdraw { why, lost, instead } => self.withdraw_for(delivery, why, lost, instead, records, now, out).map(drop),
        }
    }

    /// Carries out a verdict to withdraw; returns how many are told instead.
    #[expect(clippy::too_many_arguments, reason = "the verdict taken apart, and the four that every step has")]
    pub(super) fn withdraw_for<R: Records>(
        &mut self,
        delivery: &Delivery,
        why: Withdrawal,
        lost: Loss,
        instead: By,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<usize, R::Error> {
        if lost.citizen {
            out.facts.push(Fact::WrongRecipientPrevented(if delivery.replays > 0 { Stage::Replay } else { Stage::Attempt }));
        }
        self.withdraw(delivery, why, now, records, out)?;
        lost.trace(delivery, now, records)?;
        if matches!(why, Withdrawal::MembershipEnded | Withdrawal::RecipientClosed) {
            self.leave_unclaimed(delivery, &instead.nobody, now, records)?;
        }
        self.hand_over(delivery, instead.chosen, records, now, out)
    }

    /// Evaluates the audience rule on what is known now (R 2.10).
    pub(super) fn judge<R: Records>(&self, delivery: &Delivery, records: &mut R, now: Moment) -> Result<Verdict, R::Error> {
        match records.citizen(delivery.citizen)? {
            Some(citizen) => self.judge_today(delivery, &Today::of(&citizen, Day::in_copenhagen(now)), records),
            // Told to nobody: also where the rules do not tell it any more.
            None => Ok(Verdict::nobody(
                delivery,
                match told_as(&delivery.event, &self.rules) {
                    Some(_) => Withdrawal::SupersededByErasure,
                    None => Withdrawal::RecipientClosed,
                },
            )),
        }
    }

    /// As [`Engine::judge`], of one of several deliveries about a citizen.
    pub(super) fn judge_today<R: Records>(&self, delivery: &Delivery, today: &Today<'_>, records: &mut R) -> Result<Verdict, R::Error> {
        let (recipient, citizen) = (delivery.key.recipient, today.citizen());
        let is_open = self.rules.recipient(recipient).is_some_and(|rule| rule.is_open(today.day()));
        let Some(kind) = told_as(&delivery.event, &self.rules) else {
            return Ok(Verdict::nobody(delivery, Withdrawal::RecipientClosed));
        };
        // A vendor that lost what it was told as a holder held it then; and who held
        // others of the type when an unknown record was deleted may hold that.
        let is_holder = delivery.because.audience == Audience::Holders
            && (delivery.delivered_before.is_some() || self.was_unknown(&delivery.event, citizen, records)?);
        let told = is_holder.then_some(recipient);
        let decision = self.decide(&delivery.event, kind, today, told, records)?;
        if let Some(chosen) = decision.chosen.iter().find(|chosen| chosen.recipient == recipient) {
            let identification = chosen.identified.then_some(citizen.personnummer);
            let mut because = chosen.because.clone();
            let former = delivery.because.audiences().iter().filter(|audience| !because.audiences().contain(*audience)).collect();
            let By { chosen: besides, nobody } = decision.by(former, recipient);
            because.also = nobody.into_iter().fold(because.also, Audiences::with);
            let permit = Box::new(Permit { because, kind: Arc::clone(kind), identification });
            return Ok(Verdict::Send { permit, besides });
        }
        let citizen = !decision.left_out.iter().any(|left_out| {
            left_out.recipient == Some(recipient)
                && matches!(left_out.why, Suppression::Condition | Suppression::NotSubscribed | Suppression::Deceased)
        });
        let left_out = decision.left_out.iter().find(|left_out| left_out.recipient == Some(recipient)).cloned();
        let left_out = left_out.or_else(|| corrected(delivery, &decision.chosen));
        let lost = Loss { citizen, left_out, deleted_by: None };
        let instead = decision.by(delivery.because.audiences(), recipient);
        Ok(match is_open {
            true => Verdict::Withdraw { why: Withdrawal::MembershipEnded, lost, instead },
            // Nobody asked for it wrongly; whoever is responsible now is told.
            false => Verdict::Withdraw { why: Withdrawal::RecipientClosed, lost: Loss::default(), instead },
        })
    }

    /// Gives up what has waited too long without an attempt of its own, moves
    /// the low-water mark, and forgets a slice of what is older than the
    /// horizons, replays that ended long ago, and citizens of whom there is
    /// nothing left to know. To be called every now and then.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn tend<R: Records>(&mut self, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        self.keep_holds(records, now, out)?;
        self.forget_holds(records, now)?;
        for recipient in self.lanes.in_turn() {
            // Bounded: what is left over is for the next time.
            for _ in 0..crate::core::lanes::WINDOW {
                let curve = &self.curve;
                let Some(seq) = self.lanes.queue_mut(recipient).first_over(|first_at| curve.is_over(first_at, now)) else { break };
                let queue = self.lanes.queue_mut(recipient);
                let paused = queue.paused();
                let Some(loaded) = queue.remove(seq) else { break };
                let why = match loaded.delivery.state {
                    State::Retrying { last, .. } => Death::GaveUp(last),
                    // What its queue died of, it died of.
                    State::Pending | State::Dead { .. } => paused.map_or(Death::NeverAttempted, |pause| Death::GaveUp(pause.cause)),
                };
                self.bury(loaded.delivery, why, records, now, out)?;
            }
        }
        self.move_low_water(records)?;
        self.forget_replays(records, now)?;
        self.remind_of_notices(records, now, out)?;
        self.forget_unneeded(records, now, out)?;
        self.claim_by_day(records, now, out)?;
        // What is left over is for the next time: a slice delays nobody.
        let (Pruned::Done | Pruned::More) = records.prune(self.horizons.oldest(now), PRUNED_AT_ONCE)?;
        Ok(())
    }

    /// Marks a delivery that has left the window as dead.
    pub(super) fn bury<R: Records>(
        &mut self,
        delivery: Delivery,
        why: Death,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let queue = self.lanes.queue_mut(delivery.key.recipient);
        queue.note_fresh(delivery.citizen, delivery.key.seq);
        super::uncount(queue.counts_mut(), &delivery.state);
        queue.counts_mut().dead += 1;
        out.facts.push(Fact::Died(Arc::clone(name_told(&delivery.event, &self.rules)), delivery.key.recipient, why));
        records.stage(Change::PutDelivery(delivery.died(now, why)))
    }

    /// Says how far back recovery would have to read; gives rows to stragglers
    /// that would make it read too far.
    fn move_low_water<R: Records>(&mut self, records: &mut R) -> Result<(), R::Error> {
        let too_far = EventSeq(self.last_seq.0.saturating_sub(self.limits.recovery_span));
        let recipients: Vec<Recipient> =
            self.lanes.queues().filter(|(_, queue)| queue.in_journal() > 0).map(|(recipient, _)| recipient).collect();
        let mut low_water = EventSeq(self.last_seq.0 + 1);
        for recipient in recipients {
            let queue = self.lanes.queue_mut(recipient);
            while let Some(seq) = queue.oldest_in_journal() {
                if seq > too_far {
                    low_water = low_water.min(seq);
                    break;
                }
                let Some(delivery) = queue.give_row(seq) else { break };
                records.stage(Change::PutDelivery(delivery.clone()))?;
            }
        }
        if low_water > self.low_water {
            self.low_water = low_water;
            records.stage(Change::SetLowWater(low_water))?;
        }
        Ok(())
    }
}

/// Says of a recipient that nothing is known of any more that it was told by a
/// record which somebody else is told by now.
fn corrected(delivery: &Delivery, chosen: &[Chosen]) -> Option<LeftOut> {
    let (record, _) = delivery.because.registration.as_ref()?;
    let registrations = chosen.iter().filter_map(|chosen| chosen.because.registration.as_ref());
    let registration = registrations.filter(|(of, _)| of == record).max_by_key(|(_, at)| *at)?;
    Some(LeftOut {
        audience: delivery.because.audience,
        recipient: Some(delivery.key.recipient),
        why: Suppression::NotMember,
        registration: Some(registration.clone()),
    })
}

/// Notes how a delivery had ended that does not end with that.
pub(super) fn had_ended<R: Records>(delivery: &Delivery, ended: Ended, records: &mut R) -> Result<(), R::Error> {
    let at = ended.at;
    trace(delivery, Step::Ended(ended), at, records)
}

/// Notes what happened to a delivery.
pub(super) fn trace<R: Records>(delivery: &Delivery, step: Step, now: Moment, records: &mut R) -> Result<(), R::Error> {
    records.stage(Change::Trace { key: delivery.key, citizen: delivery.citizen, id: delivery.id(), at: now, step })
}
