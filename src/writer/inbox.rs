//! The way into the writer: events that change who may receive ahead of all
//! others, bounded, and drained in groups.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::run::{Access, Commit};
use crate::core::engine::CameBack;
use crate::core::event::Event;
use crate::core::ids::DeliveryKey;
use crate::core::outbox::Death;
use crate::core::records::Quarantined;
use crate::core::retry::Outcome;

/// The writer has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the writer has stopped")]
pub struct Gone;

/// Which message to acknowledge once its event is durable. What the numbers
/// mean is for whoever gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The queue that it came from.
    pub queue: u8,
    /// The consumer that it came to.
    pub epoch: u64,
    /// Its number there.
    pub tag: u64,
}

/// What a message turned out to be.
#[derive(Debug)]
pub enum Input {
    /// An event.
    Event(Box<Event>),
    /// Something else. Its `id` and `at` are given by the writer.
    NotAnEvent(Box<Quarantined>),
    /// A WSB that the recipient's queue gave back.
    Returned {
        /// Which.
        wsb: CameBack,
        /// Why.
        why: Death,
        /// What goes to quarantine if nothing is known of it.
        otherwise: Box<Quarantined>,
    },
}

/// A message from an intake queue.
#[derive(Debug)]
pub struct Received {
    /// What it is.
    pub input: Input,
    /// What to acknowledge.
    pub ticket: Ticket,
}

/// Something to be done by the writer: returns what is to be done once the group
/// is durable.
pub type Request<C> = Box<dyn FnOnce(&mut Access<'_, C>) -> Box<dyn FnOnce() + Send> + Send>;

/// How many ordinary messages may wait here. RabbitMQ's prefetch bounds them too.
const ORDINARY: usize = 4096;

struct Waiting<C: Commit> {
    urgent: VecDeque<Received>,
    ordinary: VecDeque<Received>,
    outcomes: Vec<(DeliveryKey, Outcome)>,
    order_outcomes: Vec<(u64, Outcome)>,
    requests: VecDeque<Request<C>>,
    connected: Option<bool>,
    heard_at: Option<Instant>,
    poked: bool,
    closed: bool,
    /// What the writer waits for: what can wait need not wake it.
    gathering: Gathering,
}

/// A group that is not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gathering {
    Nothing,
    Outcomes,
    Messages,
}

impl<C: Commit> Waiting<C> {
    /// Whether something must not wait for company.
    fn presses(&self) -> bool {
        !self.requests.is_empty() || self.connected.is_some() || self.poked || self.closed
    }
}

/// So many messages or outcomes are company enough.
const COMPANY: usize = 256;

/// What waits for the writer. Shared by all who send to it.
pub struct Inbox<C: Commit> {
    waiting: Mutex<Waiting<C>>,
    arrived: Condvar,
    room: Notify,
}

/// Which messages the writer takes now; the others wait, and RabbitMQ keeps what
/// comes after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    /// Those that change who may receive: too much is under way for others.
    Urgent,
    /// None: there is no room on the disk.
    Nothing,
}

/// Until when what does not press waits for company.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calm {
    /// What changes who may receive: past, but where the answer is waited for whether there is more.
    pub(super) changes: Instant,
    /// Ordinary messages, and what is there when they are taken.
    pub(super) messages: Instant,
    /// Outcomes alone.
    pub(super) outcomes: Instant,
}

impl Calm {
    /// Nothing waits longer than until then.
    pub(super) fn until(at: Instant) -> Self {
        Self { changes: at, messages: at, outcomes: at }
    }
}

/// What the writer takes at once.
pub(super) struct Group<C: Commit> {
    pub(super) urgent: Vec<Received>,
    pub(super) ordinary: Vec<Received>,
    pub(super) outcomes: Vec<(DeliveryKey, Outcome)>,
    pub(super) order_outcomes: Vec<(u64, Outcome)>,
    pub(super) requests: Vec<Request<C>>,
    pub(super) connected: Option<bool>,
    /// When all that changes who may receive had been heard last, if all of it has been taken.
    pub(super) heard_at: Option<Instant>,
    pub(super) closed: bool,
    /// Whether more ordinary messages wait here than were taken.
    pub(super) left_over: bool,
}

impl<C: Commit> Inbox<C> {
    /// Returns an empty inbox.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::new(Waiting {
                urgent: VecDeque::new(),
                ordinary: VecDeque::new(),
                outcomes: Vec::new(),
                order_outcomes: Vec::new(),
                requests: VecDeque::new(),
                connected: None,
                heard_at: None,
                poked: false,
                closed: false,
                gathering: Gathering::Nothing,
            }),
            arrived: Condvar::new(),
            room: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<C>> {
        // A panic elsewhere leaves the queues as they are; nothing is half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut Waiting<C>)) {
        let mut waiting = self.lock();
        change(&mut waiting);
        let awake = waiting.gathering == Gathering::Nothing || waiting.presses() || waiting.outcomes.len() >= COMPANY;
        drop(waiting);
        if awake {
            self.arrived.notify_one();
        }
    }

    /// Waits for what is next, at most until `deadline`; takes everything but
    /// messages, of which it takes those that are wanted, as many as fill up a
    /// group of `most`.
    ///
    /// Until `calm`, ordinary messages and outcomes wait for company: a group of
    /// one costs the disk as much as a group of hundreds.
    pub(super) fn take(&self, most: usize, wanted: Wanted, calm: Calm, deadline: Instant) -> Group<C> {
        let (room_for_urgent, room) = match wanted {
            Wanted::All => (true, true),
            Wanted::Urgent => (true, false),
            Wanted::Nothing => (false, false),
        };
        let mut waiting = self.lock();
        loop {
            let ordinary = if room { waiting.ordinary.len() } else { 0 };
            let outcomes = waiting.outcomes.len() + waiting.order_outcomes.len();
            let presses = waiting.presses() || ordinary.max(outcomes) >= COMPANY;
            let (gathering, until) = match (ordinary, outcomes) {
                (0, 0) => (Gathering::Nothing, deadline),
                (0, _) => (Gathering::Outcomes, calm.outcomes.min(deadline)),
                _ => (Gathering::Messages, calm.messages.min(deadline)),
            };
            let has_changes = room_for_urgent && !waiting.urgent.is_empty();
            let until = if has_changes { until.min(calm.changes) } else { until };
            let now = Instant::now();
            if presses || now >= until {
                break;
            }
            waiting.gathering = gathering;
            waiting = self.arrived.wait_timeout(waiting, until - now).unwrap_or_else(PoisonError::into_inner).0;
            waiting.gathering = Gathering::Nothing;
        }
        let urgent = if room_for_urgent { waiting.urgent.len().min(most) } else { 0 };
        let ordinary = if room { waiting.ordinary.len().min(most - urgent) } else { 0 };
        waiting.poked = false;
        let group = Group {
            urgent: waiting.urgent.drain(..urgent).collect(),
            ordinary: waiting.ordinary.drain(..ordinary).collect(),
            outcomes: std::mem::take(&mut waiting.outcomes),
            order_outcomes: std::mem::take(&mut waiting.order_outcomes),
            requests: waiting.requests.drain(..).collect(),
            connected: waiting.connected.take(),
            heard_at: waiting.heard_at.filter(|_| waiting.urgent.is_empty()),
            closed: waiting.closed,
            left_over: !waiting.ordinary.is_empty(),
        };
        drop(waiting);
        if ordinary > 0 || urgent > 0 {
            self.room.notify_waiters();
        }
        group
    }
}

/// A cheap handle of the writer.
pub struct WriterHandle<C: Commit>(Arc<Inbox<C>>);

impl<C: Commit> Clone for WriterHandle<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Commit> WriterHandle<C> {
    /// Returns a handle of the writer that reads `inbox`.
    #[must_use]
    pub fn new(inbox: &Arc<Inbox<C>>) -> Self {
        Self(Arc::clone(inbox))
    }

    /// Hands over messages that go ahead of all ordinary ones. Waits while too
    /// many of them wait already.
    pub async fn send_urgent(&self, messages: Vec<Received>) {
        self.send(messages, |waiting| &mut waiting.urgent, None).await;
    }

    /// Hands over ordinary messages. Waits while too many wait already, which
    /// makes RabbitMQ keep the rest.
    pub async fn send_ordinary(&self, messages: Vec<Received>) {
        self.send(messages, |waiting| &mut waiting.ordinary, None).await;
    }

    /// Hands over ordinary messages likewise, and says what [`heard`](Self::heard) says.
    pub async fn send_heard(&self, messages: Vec<Received>, at: Instant) {
        self.send(messages, |waiting| &mut waiting.ordinary, Some(at)).await;
    }

    async fn send(&self, messages: Vec<Received>, queue: impl Fn(&mut Waiting<C>) -> &mut VecDeque<Received>, heard_at: Option<Instant>) {
        let mut messages = Some(messages);
        loop {
            // Registered before looking, so that room made in between is noticed.
            let room = self.0.room.notified();
            let mut room = std::pin::pin!(room);
            room.as_mut().enable();
            let awake = {
                let mut waiting = self.0.lock();
                if waiting.closed {
                    return;
                }
                waiting.heard_at = waiting.heard_at.max(heard_at);
                let queue = queue(&mut waiting);
                if queue.len() < ORDINARY {
                    queue.extend(messages.take().into_iter().flatten());
                }
                waiting.gathering != Gathering::Messages || !waiting.urgent.is_empty() || waiting.ordinary.len() >= COMPANY
            };
            if messages.is_none() {
                if awake {
                    self.0.arrived.notify_one();
                }
                return;
            }
            room.await;
        }
    }

    /// Reports outcomes of attempts. Bounded by what the engine lets be under way.
    pub fn report(&self, outcomes: impl IntoIterator<Item = (DeliveryKey, Outcome)>) {
        self.0.tell(|waiting| waiting.outcomes.extend(outcomes));
    }

    /// Reports outcomes of deletion orders, by their tokens. Bounded likewise.
    pub fn report_orders(&self, outcomes: impl IntoIterator<Item = (u64, Outcome)>) {
        self.0.tell(|waiting| waiting.order_outcomes.extend(outcomes));
    }

    /// Says whether attempts can be performed.
    pub fn set_connected(&self, connected: bool) {
        self.0.tell(|waiting| waiting.connected = Some(connected));
    }

    /// Says that all has been handed over that changes who may receive and lay in its queue at that time.
    pub fn heard(&self, at: Instant) {
        self.0.tell(|waiting| {
            waiting.heard_at = waiting.heard_at.max(Some(at));
            waiting.poked = true;
        });
    }

    /// Makes the writer end its loop once everything it has taken is durable.
    pub fn close(&self) {
        self.0.tell(|waiting| waiting.closed = true);
        self.0.room.notify_waiters();
    }

    /// Runs `job` on the writer, with the engine and the store to itself, and
    /// returns its answer once whatever it has changed is durable.
    ///
    /// The writer does nothing else meanwhile: a job must be short.
    ///
    /// # Errors
    /// When the writer has stopped.
    pub async fn ask<T: Send + 'static>(&self, job: impl FnOnce(&mut Access<'_, C>) -> T + Send + 'static) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.0.tell(|waiting| {
            if waiting.closed {
                return;
            }
            waiting.requests.push_back(Box::new(move |access| {
                let value = job(access);
                // Whoever asked may have gone away; what was done stays done.
                Box::new(move || drop(reply.send(value)))
            }));
        });
        answer.await.map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::ids::{EventSeq, Recipient};
    use crate::core::time::Moment;
    use crate::store::Store;

    fn message() -> Received {
        let (word, reason): (Box<str>, Box<str>) = ("made-up".into(), "made up".into());
        let quarantined = Quarantined {
            id: 0,
            at: Moment(0),
            word,
            reason,
            body: Arc::from(&b""[..]),
            about: crate::core::about::About::These(Vec::new()),
        };
        Received { input: Input::NotAnEvent(Box::new(quarantined)), ticket: Ticket { queue: 0, epoch: 1, tag: 1 } }
    }

    fn at_once() -> Calm {
        Calm::until(Instant::now())
    }

    #[test]
    fn messages_that_are_not_wanted_wait() {
        let inbox: Arc<Inbox<Store>> = Inbox::new();
        let handle = WriterHandle::new(&inbox);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            handle.send_urgent(vec![message()]).await;
            handle.send_ordinary(vec![message(), message()]).await;
        });
        let take = |wanted| {
            let group = inbox.take(10, wanted, at_once(), Instant::now());
            (group.urgent.len(), group.ordinary.len())
        };
        assert_eq!(take(Wanted::Nothing), (0, 0), "a full disk keeps everything out");
        assert_eq!(take(Wanted::Urgent), (1, 0));
        assert_eq!(take(Wanted::All), (0, 2), "nothing is lost by it");
        runtime.block_on(handle.send_ordinary(vec![message(), message()]));
        let left_over = || inbox.take(1, Wanted::All, at_once(), Instant::now()).left_over;
        assert_eq!((left_over(), left_over()), (true, false), "events pile up while more wait than are taken");
    }

    #[test]
    fn what_can_wait_gathers_company_and_what_cannot_is_taken_at_once() {
        let inbox: Arc<Inbox<Store>> = Inbox::new();
        let handle = WriterHandle::new(&inbox);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let (calm, never) = (Duration::from_millis(50), Duration::from_secs(60));
        let take = || {
            let began = Instant::now();
            let group = inbox.take(1000, Wanted::All, Calm { changes: began, ..Calm::until(began + calm) }, began + never);
            (group.ordinary.len(), group.urgent.len(), began.elapsed())
        };
        runtime.block_on(handle.send_ordinary(vec![message()]));
        let (ordinary, _, waited) = take();
        assert_eq!(ordinary, 1);
        assert!(waited >= calm, "{waited:?}");
        assert!(waited < never / 2, "{waited:?}");

        // While it waits for company, what presses wakes it.
        runtime.block_on(handle.send_ordinary(vec![message()]));
        let (other, calm, never) = (handle.clone(), never, never);
        runtime.spawn(async move { other.send_urgent(vec![message()]).await });
        let began = Instant::now();
        let group = inbox.take(1000, Wanted::All, Calm { changes: began, ..Calm::until(began + calm) }, began + never);
        assert_eq!(group.urgent.len(), 1);
        assert!(began.elapsed() < calm / 2, "{:?}", began.elapsed());

        // And a crowd does not wait at all.
        runtime.block_on(handle.send_ordinary((0..COMPANY).map(|_| message()).collect()));
        let began = Instant::now();
        let group = inbox.take(1000, Wanted::All, Calm::until(began + calm), began + never);
        assert!(group.ordinary.len() >= COMPANY);
        assert!(began.elapsed() < calm / 2);
    }

    #[test]
    fn what_is_heard_counts_once_all_of_it_is_taken() {
        let inbox: Arc<Inbox<Store>> = Inbox::new();
        let handle = WriterHandle::new(&inbox);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let heard = |wanted| inbox.take(2, wanted, at_once(), Instant::now()).heard_at;
        assert_eq!(heard(Wanted::All), None);
        let [early, late] = [Instant::now(), Instant::now() + Duration::from_secs(1)];
        runtime.block_on(handle.send_urgent(vec![message(), message(), message()]));
        runtime.block_on(handle.send_heard(vec![message()], late));
        handle.heard(early);
        assert_eq!(heard(Wanted::Nothing), None, "on a full disk nothing is taken");
        assert_eq!(heard(Wanted::Urgent), None, "one is left");
        assert_eq!(heard(Wanted::Urgent), Some(late), "the newest answer counts");
    }

    /// On a slow disk each group with a change would take longer than an answer counts.
    #[test]
    fn changes_wait_for_the_answer_that_is_under_way_and_are_taken_with_it() {
        let inbox: Arc<Inbox<Store>> = Inbox::new();
        let handle = WriterHandle::new(&inbox);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let never = Duration::from_secs(60);
        runtime.block_on(handle.send_urgent(vec![message()]));
        let other = handle.clone();
        runtime.spawn(async move {
            other.send_urgent(vec![message()]).await;
            other.heard(Instant::now());
        });
        let began = Instant::now();
        let group = inbox.take(10, Wanted::Urgent, Calm::until(began + never / 2), began + never);
        assert_eq!((group.urgent.len(), group.heard_at.is_some()), (2, true));
        assert!(began.elapsed() < never / 4, "{:?}", began.elapsed());

        // Not for ever: it may not come.
        runtime.block_on(handle.send_urgent(vec![message()]));
        let soon = Instant::now() + Duration::from_millis(20);
        let group = inbox.take(10, Wanted::Urgent, Calm { changes: soon, ..Calm::until(began + never) }, began + never);
        assert_eq!(group.urgent.len(), 1);
        assert!(Instant::now() >= soon);
    }

    #[test]
    fn outcomes_alone_wait_no_longer_than_messages_let_them() {
        let inbox: Arc<Inbox<Store>> = Inbox::new();
        let handle = WriterHandle::new(&inbox);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let never = Duration::from_secs(60);
        let key = DeliveryKey { recipient: Recipient::parse("akasse:067").expect("a recipient"), seq: EventSeq(1) };
        handle.report([(key, Outcome::Confirmed)]);
        runtime.spawn(async move { handle.send_ordinary(vec![message()]).await });
        let began = Instant::now();
        let group = inbox.take(1000, Wanted::All, Calm { outcomes: began + never / 2, ..Calm::until(began) }, began + never);
        assert_eq!((group.outcomes.len(), group.ordinary.len()), (1, 1));
        assert!(began.elapsed() < never / 4, "{:?}", began.elapsed());
    }
}
