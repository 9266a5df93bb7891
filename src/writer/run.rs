//! The writer's loop: take a group, decide, commit, flush, perform.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inbox::{Calm, Group, Inbox, Input, Received, Ticket, Wanted};
use crate::core::engine::{Advanced, Engine, Fact, Manner, Outgoing, OutgoingOrder, Output, TakenBack, Traffic};
use crate::core::records::{Archive, Quarantined};
use crate::core::time::Moment;
use crate::store::Watchdog;

/// A store that commits what has been staged.
pub trait Commit: Archive + Send + 'static {
    /// Commits what has been staged as one group. `durable` waits until it
    /// survives a power loss; otherwise that comes with a later group.
    ///
    /// # Errors
    /// When it cannot be written: the process has to end, since nobody knows
    /// what is stored.
    fn commit(&mut self, durable: bool) -> Result<(), Self::Error>;

    /// Returns whether anything has been staged since the last commit.
    fn has_staged(&self) -> bool;

    /// Returns whether some of it can only be read once it is committed. The
    /// rest is the ends of deliveries that had no row.
    fn has_staged_rows(&self) -> bool;

    /// Returns how many changes have ever been staged: whoever compares two
    /// answers knows whether some were in between.
    fn changes(&self) -> u64;
}

/// What the writer lets happen once a group is durable. Every effect may be
/// performed twice.
pub trait Effects: Send + 'static {
    /// Acknowledges this message and every earlier one of its queue and
    /// connection.
    fn acknowledge(&mut self, through: Ticket);
    /// Performs attempts that were decided at that time, and soon, or else not at all; their
    /// outcomes come back through the inbox.
    fn attempt(&mut self, attempts: Vec<Outgoing>, decided: Instant);
    /// Publishes deletion orders likewise.
    fn order(&mut self, orders: Vec<OutgoingOrder>, decided: Instant);
    /// Counts and tells what happened.
    fn report(&mut self, facts: &[Fact]);
    /// Counts a commit.
    fn committed(&mut self, took: Duration, events: usize);
    /// Has it found out whether all that changes who may receive is heard: the answer comes
    /// through the inbox, once for all that is asked until then.
    fn ask_whether_heard(&mut self);
    /// Returns whether there is room on the disk for taking in more.
    fn has_room(&mut self) -> bool;
    /// Returns the time.
    fn now(&mut self) -> Moment;
}

/// The boxed effects that the loop performs.
pub type Outlet = Box<dyn Effects>;

/// What a job on the writer may use.
pub struct Access<'a, C: Commit> {
    /// The deciding part.
    pub engine: &'a mut Engine,
    /// What is stored; changes are committed with the group.
    pub records: &'a mut C,
    /// The facts of the group.
    pub out: &'a mut Output,
    /// Now.
    pub now: Moment,
}

/// How the loop paces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many messages a group holds at the most.
    pub group: usize,
    /// How long finished deliveries may wait for the next group to become
    /// durable with; a crash before that repeats them.
    pub linger: Duration,
    /// How long after the beginning of a group outcomes alone wait for company. Ordinary
    /// messages bring theirs along, see [`crate::amqp::Ahead`].
    pub pace: Duration,
    /// How often the engine looks after what nobody asks about.
    pub tend_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { group: 512, linger: Duration::from_millis(50), pace: Duration::from_millis(3), tend_every: Duration::from_secs(1) }
    }
}

/// While many citizens are to be forgotten: a slice of them this often, unless
/// events are piling up.
const FORGET_EVERY: Duration = Duration::from_millis(100);
/// Where groups take long, on a slow disk or a busy machine, they wait for company
/// as long as they took, and never longer than this after their beginning.
const LONGEST_WAIT: Duration = Duration::from_millis(25);
/// Nothing else happens while the events of a group are taken in. Where one takes long,
/// because a great deal is known of its citizen, fewer are taken at a time.
const LONGEST_INTAKE: Duration = Duration::from_millis(250);
/// What waits is attempted only if all that changes who may receive was heard no longer ago than
/// this when a group begins: an attempt is decided by what is known, also where that lies in a
/// queue yet.
const FRESH: Duration = Duration::from_millis(50);
/// And no longer ago than this when the attempts of the group are decided, which is after its flush.
const STILL_FRESH: Duration = Duration::from_millis(100);
/// Where every flush takes longer, because changes come all the time, so many groups are too late;
/// the next one is not.
const TOO_LATE: u32 = 2;
/// Events that filled a group, or were left over, count as piling up for so long.
const CROWDED_FOR: Duration = Duration::from_millis(500);

/// Runs until the inbox is closed; returns the store. `watchdog` ends the
/// process when a turn does not come to its end.
///
/// # Errors
/// When the store fails: whatever had not been acknowledged by then comes again.
pub fn run<C: Commit>(
    mut engine: Engine,
    mut records: C,
    inbox: &Arc<Inbox<C>>,
    mut outlet: Outlet,
    watchdog: &Watchdog,
    settings: Settings,
) -> Result<C, C::Error> {
    // Before anything goes out.
    engine.start(&mut records)?;
    if records.has_staged() {
        records.commit(true)?;
    }
    let mut dirty_since: Option<Instant> = None;
    let mut tended = Instant::now();
    let mut calm = Calm::until(tended);
    let mut forgot = Instant::now();
    let mut crowded_at: Option<Instant> = None;
    let mut most = settings.group;
    let mut took_before = Duration::ZERO;
    let mut asked: Option<Instant> = None;
    let mut too_late = 0;
    loop {
        // With an answer under way there is nothing to be done before it.
        engine.set_heard(asked.is_none());
        let mut deadline = deadline(&engine, outlet.now(), dirty_since, tended, settings);
        let crowded = crowded_at.is_some_and(|at| at.elapsed() < CROWDED_FOR);
        if engine.is_forgetting() && !crowded {
            deadline = deadline.min(forgot + FORGET_EVERY);
        }
        let on_disk = outlet.has_room();
        let wanted = match (on_disk, engine.has_room() && asked.is_none()) {
            (true, true) => Wanted::All,
            (true, false) => Wanted::Urgent,
            // What is under way goes on: its outcomes take little, and free more.
            (false, _) => Wanted::Nothing,
        };
        let group = inbox.take(most, wanted, calm, deadline);
        let began = Instant::now();
        // Until the end of the turn: any of it may be a store call that hangs.
        let _watched = watchdog.watch("a group of changes");
        let closed = group.closed;
        asked = asked.filter(|asked| group.heard_at.is_none_or(|at| at < *asked));
        let heard_at = group.heard_at.filter(|at| began - *at < FRESH);
        engine.set_heard(heard_at.is_some());
        if group.left_over || group.ordinary.len() >= settings.group {
            crowded_at = Some(began);
        }
        let crowded = crowded_at.is_some_and(|at| began - at < CROWDED_FOR);
        engine.set_traffic(match (on_disk, crowded) {
            (false, _) => Traffic::StandsStill,
            (true, true) => Traffic::PilesUp,
            (true, false) => Traffic::Flows,
        });
        let mut turn = Turn::default();
        turn.decide(group, &mut engine, &mut records, outlet.now())?;
        most = match turn.took {
            took if took > LONGEST_INTAKE => (most / 2).max(1),
            _ => (most * 2).min(settings.group),
        };
        if tended.elapsed() >= settings.tend_every {
            tended = Instant::now();
            forgot = tended;
            engine.tend(&mut records, outlet.now(), &mut turn.out)?;
        } else if engine.is_forgetting() && !crowded && forgot.elapsed() >= FORGET_EVERY {
            forgot = Instant::now();
            engine.forget_unneeded(&mut records, outlet.now(), &mut turn.out)?;
        }
        let replayed = engine.advance_replays(&mut records, outlet.now(), &mut turn.out)? == Advanced::Some;
        if closed {
            engine.stop(&mut records)?;
        }
        let durable = turn.events > 0
            || replayed
            || turn.out.must_last()
            || !turn.replies.is_empty()
            || closed
            || dirty_since.is_some_and(|since| since.elapsed() >= settings.linger);
        if durable || records.has_staged_rows() {
            records.commit(durable)?;
            outlet.committed(began.elapsed(), turn.events);
            dirty_since = if durable { None } else { dirty_since.or(Some(began)) };
        } else if records.has_staged() {
            // The ends of deliveries without a row come with the next group.
            dirty_since = dirty_since.or(Some(began));
        }
        for ticket in turn.tickets {
            outlet.acknowledge(ticket);
        }
        for reply in turn.replies {
            reply();
        }
        if closed {
            outlet.report(&turn.out.facts);
            return Ok(records);
        }
        let grew_old = heard_at.is_some_and(|at| at.elapsed() >= STILL_FRESH) && too_late < TOO_LATE;
        let is_heard = heard_at.is_some() && !grew_old;
        too_late = if is_heard { 0 } else { too_late + u32::from(grew_old) };
        engine.set_heard(is_heard);
        let decided = Instant::now();
        let before = records.changes();
        engine.dispatch(&mut records, outlet.now(), &mut turn.out)?;
        engine.clockwork(&mut records, outlet.now(), &mut turn.out)?;
        if records.changes() != before {
            // Withdrawals, and deliveries in their place: those are attempted by
            // this very dispatch, so they must be durable before it goes out. So
            // must deletion orders be.
            records.commit(true)?;
            dirty_since = None;
        }
        outlet.report(&turn.out.facts);
        if !turn.out.attempts.is_empty() {
            outlet.attempt(turn.out.attempts, decided);
        }
        if !turn.out.orders.is_empty() {
            outlet.order(turn.out.orders, decided);
        }
        if !is_heard && asked.is_none() && has_something_to_send(&mut engine, outlet.now()) {
            asked = Some(Instant::now());
            outlet.ask_whether_heard();
        }
        let took = began.elapsed();
        let rest = rest([took_before, took]);
        // A change that is taken meanwhile would let the answer grow old, where the disk is slow.
        let changes = asked.map_or(began, |asked| asked + FRESH);
        calm = Calm { changes, messages: began + rest, outcomes: began + rest.max(settings.pace) };
        took_before = took;
    }
}

/// Returns how long after its beginning a group is the last one, by how long it and the
/// one before it took: one that took long by itself, for a flush that did, has held up
/// everybody already.
fn rest(took: [Duration; 2]) -> Duration {
    let [before, now] = took;
    (2 * before.min(now)).min(LONGEST_WAIT)
}

/// Returns whether something would be sent if all was heard.
fn has_something_to_send(engine: &mut Engine, now: Moment) -> bool {
    engine.set_heard(true);
    next_wake(engine).is_some_and(|wake| wake <= now)
}

/// Returns the next instant at which the engine may have something to do of its own accord.
fn next_wake(engine: &Engine) -> Option<Moment> {
    [engine.next_wake(), engine.clockwork_wake(), engine.replays_wake()].into_iter().flatten().min()
}

fn deadline(engine: &Engine, now: Moment, dirty_since: Option<Instant>, tended: Instant, settings: Settings) -> Instant {
    let mut deadline = tended + settings.tend_every;
    if let Some(since) = dirty_since {
        deadline = deadline.min(since + settings.linger);
    }
    if let Some(wake) = next_wake(engine) {
        deadline = deadline.min(Instant::now() + Duration::from_secs_f64(wake.seconds_since(now)));
    }
    deadline
}

/// One group on its way through.
#[derive(Default)]
struct Turn {
    out: Output,
    tickets: Vec<Ticket>,
    replies: Vec<Box<dyn FnOnce() + Send>>,
    events: usize,
    /// How long it took to take in the events, without what follows from all of them.
    took: Duration,
}

impl Turn {
    fn decide<C: Commit>(&mut self, group: Group<C>, engine: &mut Engine, records: &mut C, now: Moment) -> Result<(), C::Error> {
        if let Some(connected) = group.connected {
            engine.set_connected(connected);
        }
        for (key, outcome) in group.outcomes {
            engine.settle(key, outcome, records, now, &mut self.out)?;
        }
        for (token, outcome) in group.order_outcomes {
            engine.settle_order(token, outcome, records, now, &mut self.out)?;
        }
        for request in group.requests {
            let reply = request(&mut Access { engine: &mut *engine, records: &mut *records, out: &mut self.out, now });
            self.replies.push(reply);
        }
        let began = Instant::now();
        // Whatever changes who may receive comes first (R 2.10, rule 3).
        for received in group.urgent.into_iter().chain(group.ordinary) {
            self.take_in(received, engine, records, now)?;
        }
        self.took = began.elapsed();
        engine.follow_up(records, now, &mut self.out)
    }

    fn take_in<C: Commit>(&mut self, received: Received, engine: &mut Engine, records: &mut C, now: Moment) -> Result<(), C::Error> {
        self.events += 1;
        match received.input {
            Input::Event(event) => {
                engine.take_in(*event, Manner::News, records, now, &mut self.out)?;
            }
            Input::NotAnEvent(message) => {
                let message = Quarantined { id: records.next_quarantine_id(), at: now, ..*message };
                engine.quarantine(message, records, &mut self.out)?;
            }
            Input::Returned { wsb, why, otherwise } => {
                let reason = match engine.take_back(&wsb, why, records, now, &mut self.out)? {
                    TakenBack::Known => None,
                    TakenBack::Unknown => Some(otherwise.reason.clone()),
                    TakenBack::Doubtful(doubt) => Some(doubt.reason().into()),
                };
                if let Some(reason) = reason {
                    let message = Quarantined { id: records.next_quarantine_id(), at: now, reason, ..*otherwise };
                    engine.quarantine(message, records, &mut self.out)?;
                }
            }
        }
        // Multiple: the newest of each queue and connection stands for all.
        let ticket = received.ticket;
        match self.tickets.iter_mut().find(|other| (other.queue, other.epoch) == (ticket.queue, ticket.epoch)) {
            Some(other) => other.tag = other.tag.max(ticket.tag),
            None => self.tickets.push(ticket),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::engine::Limits;
    use crate::core::ids::EventSeq;
    use crate::core::policy::{RetryPolicy, Rules};
    use crate::core::records::Records;
    use crate::store::{Options, Store};
    use crate::writer::WriterHandle;

    /// Nothing goes out.
    struct Nothing;

    impl Effects for Nothing {
        fn acknowledge(&mut self, _: Ticket) {}
        fn attempt(&mut self, _: Vec<Outgoing>, _: Instant) {}
        fn order(&mut self, _: Vec<OutgoingOrder>, _: Instant) {}
        fn ask_whether_heard(&mut self) {}
        fn report(&mut self, _: &[Fact]) {}
        fn committed(&mut self, _: Duration, _: usize) {}
        fn has_room(&mut self) -> bool {
            true
        }
        fn now(&mut self) -> Moment {
            Moment(0)
        }
    }

    #[test]
    fn the_mark_of_a_stop_in_order_is_gone_while_the_writer_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        let live = || {
            let mut store = Store::open(&Options::new(dir.path().join("data"))).expect("a store");
            let mut engine = Engine::new(Arc::new(Rules::new(Vec::new(), Vec::new(), RetryPolicy::default())), Limits::default());
            engine.recover(&mut store).expect("readable");
            Commit::commit(&mut store, true).expect("written");
            let inbox = Inbox::new();
            let writer = WriterHandle::new(&inbox);
            let running = std::thread::spawn(move || {
                run(engine, store, &inbox, Box::new(Nothing), &Watchdog::start(), Settings::default()).expect("the store works")
            });
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let meanwhile = runtime.block_on(writer.ask(|access| access.records.stopped().expect("readable")));
            writer.close();
            let mut store = running.join().expect("it ends");
            (meanwhile.expect("the writer runs"), store.stopped().expect("readable"))
        };
        for _ in 0..2 {
            assert_eq!(live(), (None, Some(EventSeq(0))));
        }
    }

    #[test]
    fn groups_rest_as_long_as_they_take_and_one_slow_one_lengthens_nothing() {
        let [quick, slow, very_slow] = [1, 8, 80].map(Duration::from_millis);
        assert_eq!(rest([quick, quick]), 2 * quick);
        assert_eq!(rest([slow, slow]), 2 * slow);
        assert_eq!(rest([quick, slow]), 2 * quick);
        assert_eq!(rest([slow, very_slow]), 2 * slow);
        assert_eq!(rest([very_slow, very_slow]), LONGEST_WAIT);
    }
}
