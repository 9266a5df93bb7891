//! Hands batches to a few channels in turn, on one connection, and answers
//! everything that was handed in. Keeps nothing: what a lost connection leaves
//! unsent is answered too, since whether it may be sent has to be decided anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::{Connection, Event};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::doubts::{Destination, Doubts};
use super::link::{Phase, part, renewed};
use super::lock::Lock;
use super::message::{Outcome, Outgoing};
use super::outlets;
use super::topology::Outlets;
use super::trouble::{Trouble, reason_of};
use super::turn::{self, Carrier, Early, Finished, Limits};

/// How publishing is paced.
#[derive(Debug, Clone)]
pub struct PublishSettings {
    /// How many batches are under way at once; each has a channel.
    pub channels: usize,
    /// How many messages a batch has at most.
    pub batch: usize,
    /// A batch that is not complete after this gives its place to the next one
    /// and goes on waiting beside.
    pub patience: Duration,
    /// A batch about which RabbitMQ has not said everything after this is taken for
    /// held up by a queue that hangs: where it went, each goes alone from then on.
    pub silence: Duration,
    /// What has no answer after this has timed out.
    pub deadline: Duration,
    /// Whether all goes out in the order it is handed in; else a batch goes where
    /// its channel has been answered from before, or to a single destination.
    pub in_order: bool,
    /// How many handed-in vectors wait before the sender has to.
    pub capacity: usize,
}

impl Default for PublishSettings {
    fn default() -> Self {
        Self {
            channels: 16,
            // RabbitMQ's credit for a channel: more than that on one that hangs stops the whole connection.
            batch: 200,
            patience: Duration::from_millis(500),
            silence: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
            in_order: false,
            capacity: 16,
        }
    }
}

/// So many batches may wait beside; beyond that a slow batch keeps its place.
const SET_ASIDE: usize = 240;
/// For how long what is handed over waits for the lock; then it is to be decided about anew.
const AWAITED: Duration = Duration::from_secs(5);
/// lapin does not announce every end of a connection.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// Why [`serve`] returned.
pub(super) enum Ended {
    /// The other side hung up or the link closes, and everything is answered.
    Finished,
    /// Certificates have been exchanged, and everything under way is answered.
    Renewed,
    /// The connection is gone, and everything is answered.
    Lost(Trouble),
}

type Outcomes = Vec<(u64, Outcome)>;

/// Publishes what comes in until the input closes, the connection ends, or
/// something that is published to turns out to be missing.
#[expect(clippy::too_many_arguments, reason = "what it reads, what it writes, and what it is told meanwhile")]
pub(super) async fn serve(
    connection: Connection,
    settings: &PublishSettings,
    published: &Outlets,
    input: &mut mpsc::Receiver<Vec<Outgoing>>,
    output: &mpsc::Sender<Outcomes>,
    phase: &mut watch::Receiver<Phase>,
    renewals: &mut watch::Receiver<u64>,
    lock: &mut watch::Receiver<Lock>,
    doubts: &mut Doubts,
    mut on_blocked: impl FnMut(Option<String>),
) -> Ended {
    let connection = Arc::new(connection);
    let limits = Limits { patience: settings.patience, silence: settings.silence, deadline: settings.deadline };
    // Of one message there is nothing to say before it is over.
    let to_the_end = Limits { patience: settings.deadline, ..limits };
    let mut events = Box::pin(connection.events_listener());
    let (early, mut reports) = mpsc::channel(2 * (settings.channels.max(1) + SET_ASIDE));
    let given_up = watch::Sender::new(false);
    let mut turns = FuturesUnordered::new();
    let mut alone = FuturesUnordered::new();
    let mut idle = Vec::new();
    let mut backlog = VecDeque::new();
    // Below zero where a batch was over before its report was read.
    let mut set_aside = 0_isize;
    let mut blocked: Option<String> = None;
    let mut open = true;
    let mut renewing = false;
    let mut awaited_since: Option<Instant> = None;
    let mut look = tokio::time::interval(LOOK_AFTER);
    let mut unusable = Box::pin(outlets::until_unusable(&connection, published));

    let trouble = loop {
        if blocked.is_some() {
            backlog.append(&mut doubts.give_up());
            answer(&mut backlog, &Outcome::Blocked, output).await;
        }
        doubts.hold_back(&mut backlog);
        awaited_since = match *lock.borrow_and_update() {
            Lock::Held => None,
            Lock::Awaited => awaited_since.or_else(|| Some(Instant::now())),
        };
        let may_start = awaited_since.is_none();
        while blocked.is_none()
            && may_start
            && let Some((destination, message)) = doubts.next()
        {
            let turn = turn::run(connection.clone(), None, vec![message], to_the_end, early.clone(), given_up.subscribe());
            let began = Instant::now();
            alone.push(async move { (destination, began, turn.await) });
        }
        while may_start
            && turns.len() < settings.channels.max(1) + usize::try_from(set_aside).unwrap_or(0).min(SET_ASIDE)
            && !backlog.is_empty()
        {
            let carrier = pick(&mut idle, &backlog);
            let batch = next_batch(&mut backlog, settings, carrier.as_ref());
            turns.push(turn::run(connection.clone(), carrier, batch, limits, early.clone(), given_up.subscribe()));
        }
        let is_done = turns.is_empty() && alone.is_empty() && backlog.is_empty() && doubts.is_idle();
        if !open && is_done {
            // Closed in words; what is not answered by now never will be.
            part(&connection, "done").await;
            return Ended::Finished;
        }
        if renewing && is_done {
            part(&connection, "new certificates").await;
            on_blocked(None);
            return Ended::Renewed;
        }
        // Every arm either owns nothing (a cancelled receive loses no message,
        // a stream that is polled again goes on) or is driven to its end here.
        tokio::select! {
            biased;
            Some(Finished { exchange, mut outcomes, carrier, set_aside: was_set_aside }) = turns.next() => {
                set_aside -= isize::from(was_set_aside);
                idle.extend(carrier);
                idle.truncate(settings.channels.max(1));
                let timed_out = outcomes.iter().any(|(_, outcome)| *outcome == Outcome::TimedOut);
                if blocked.is_some() {
                    blame_the_alarm(&mut outcomes);
                }
                let unusable = outlets::told_by(&exchange, &outcomes, published);
                deliver(outcomes, output).await;
                if !connection.status().connected() {
                    break Trouble::Lost { reason: "connection closed".into() };
                }
                // The next connection declares everything again.
                if let Some(trouble) = unusable {
                    break trouble;
                }
                // lapin still holds unsent frames of that batch and would send
                // them once unblocked; ending the connection ends them.
                if let Some(reason) = blocked.clone() && timed_out {
                    break Trouble::StillBlocked { reason };
                }
            }
            Some((destination, began, Finished { mut outcomes, carrier, .. })) = alone.next() => {
                if blocked.is_some() {
                    blame_the_alarm(&mut outcomes);
                }
                idle.extend(carrier);
                idle.truncate(settings.channels.max(1));
                let outcome = outcomes.first().map(|(_, outcome)| outcome.clone());
                deliver(outcomes, output).await;
                match outcome {
                    Some(Outcome::Confirmed | Outcome::Returned { .. }) => backlog.append(&mut doubts.settle(&destination, true)),
                    // One that comes late is RabbitMQ's having waited in vain.
                    Some(Outcome::Nacked) if began.elapsed() < settings.silence => {
                        backlog.append(&mut doubts.settle(&destination, true));
                    }
                    // Says nothing of where it was to go.
                    Some(Outcome::TooLarge { .. } | Outcome::TooLate | Outcome::Unsendable { .. }) | None => backlog.append(&mut doubts.settle(&destination, false)),
                    // What has been held back would fare no better.
                    Some(failed) => answer(&mut doubts.settle(&destination, false), &failed, output).await,
                }
            }
            Some(report) = reports.recv() => match report {
                Early::Decided(outcomes) => {
                    set_aside += 1;
                    deliver(outcomes, output).await;
                }
                // Whoever is blocked hears nothing of any queue.
                Early::Silent(_) if blocked.is_some() => {}
                Early::Silent(destinations) => {
                    let queues = destinations.len();
                    doubts.doubt(destinations);
                    // Where only one is silent, it holds up nobody.
                    if queues > 1 && doubts.may_part(settings.deadline) {
                        break Trouble::HeldUp { queues, seconds: settings.silence.as_secs() };
                    }
                }
            },
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    on_blocked(Some(reason.clone()));
                    blocked = Some(reason);
                }
                Some(Event::ConnectionUnblocked) => {
                    on_blocked(None);
                    blocked = None;
                }
                Some(Event::Error(error)) if !connection.status().connected() => break Trouble::Lost { reason: reason_of(&error) },
                // A channel that failed has told its batch; other events are no news.
                Some(_) => {}
                None => break Trouble::Lost { reason: "connection closed".into() },
            },
            // What is under way gets its answers from the old connection.
            () = renewed(renewals), if !renewing => renewing = true,
            messages = input.recv(), if open && may_start && !renewing && backlog.len() < settings.batch => match messages {
                Some(messages) => {
                    backlog.extend(messages);
                    while backlog.len() < settings.batch && let Ok(more) = input.try_recv() {
                        backlog.extend(more);
                    }
                }
                None => open = false,
            },
            () = closing(phase), if open => {
                input.close();
                while let Ok(messages) = input.try_recv() {
                    backlog.extend(messages);
                }
                backlog.append(&mut doubts.give_up());
                answer(&mut backlog, &Outcome::ConnectionLost, output).await;
                open = false;
            },
            () = changed(lock) => {}
            // What waits was decided too long ago; closing, all of it is answered already.
            () = sleep_until(awaited_since.unwrap_or_else(Instant::now) + AWAITED), if open && !may_start => {
                break Trouble::Lost { reason: "the consuming connection, without which a second broker could be at work, is gone".into() };
            }
            trouble = &mut unusable => break trouble,
            _ = look.tick() => if !connection.status().connected() {
                break Trouble::Lost { reason: "connection closed".into() };
            },
        }
    };

    on_blocked(None);
    // Told to end, lapin rejects what is under way as soon as RabbitMQ agrees, which
    // it does not while a channel of it hangs.
    given_up.send_replace(true);
    if connection.status().connected() {
        abandon(&connection);
    }
    while let Some(finished) = turns.next().await {
        deliver_early(&mut reports, output).await;
        deliver(finished.outcomes, output).await;
    }
    while let Some((.., finished)) = alone.next().await {
        deliver(finished.outcomes, output).await;
    }
    deliver_early(&mut reports, output).await;
    backlog.append(&mut doubts.give_up());
    answer(&mut backlog, &Outcome::ConnectionLost, output).await;
    Ended::Lost(trouble)
}

/// RabbitMQ says that it blocks only once something has been published: what has no
/// confirm by then waits for the end of the alarm, and nothing is wrong with its queue.
fn blame_the_alarm(outcomes: &mut Outcomes) {
    for (_, outcome) in outcomes.iter_mut().filter(|(_, outcome)| *outcome == Outcome::TimedOut) {
        *outcome = Outcome::Blocked;
    }
}

/// Waits until the lock is taken or lost.
async fn changed(lock: &mut watch::Receiver<Lock>) {
    // Whoever could take it is gone: it stays as it is.
    if lock.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn closing(phase: &mut watch::Receiver<Phase>) {
    // An error means that every handle is gone, which is the same.
    let _ = phase.wait_for(|phase| *phase == Phase::Closed).await;
}

/// Starts closing without waiting for the answer, which a blocked connection
/// does not get.
fn abandon(connection: &Arc<Connection>) {
    let connection = connection.clone();
    tokio::spawn(async move { connection.close(200, "abandoned".into()).await });
}

/// Answers everything that comes in with [`Outcome::ConnectionLost`], until the
/// input closes. Dropping it between two messages loses none.
pub(super) async fn refuse(input: &mut mpsc::Receiver<Vec<Outgoing>>, output: &mpsc::Sender<Outcomes>) {
    loop {
        // The room for the answer comes first: dropped while waiting for it, nothing has been taken.
        let Ok(room) = output.reserve().await else {
            // Nobody wants the answers any more.
            while input.recv().await.is_some() {}
            return;
        };
        let Some(messages) = input.recv().await else { return };
        room.send(messages.into_iter().map(|message| (message.token, Outcome::ConnectionLost)).collect());
    }
}

/// Takes a channel that has reached where the next message goes, or else any.
fn pick(idle: &mut Vec<Carrier>, backlog: &VecDeque<Outgoing>) -> Option<Carrier> {
    let next = Destination::of(backlog.front()?);
    match idle.iter().rposition(|carrier| carrier.has_reached(&next)) {
        Some(place) => Some(idle.remove(place)),
        None => idle.pop(),
    }
}

/// The next messages for `carrier`: for one exchange, since its absence closes the
/// channel; and only to destinations that the channel has reached before, or to a
/// single one, since the first message to a queue that hangs holds the channel.
fn next_batch(backlog: &mut VecDeque<Outgoing>, settings: &PublishSettings, carrier: Option<&Carrier>) -> Vec<Outgoing> {
    let is_known = |destination: &Destination| settings.in_order || carrier.is_some_and(|carrier| carrier.has_reached(destination));
    let Some(first) = backlog.front().map(Destination::of) else { return Vec::new() };
    let only = if is_known(&first) { None } else { Some(&first) };
    let size = settings.batch.max(1);
    let mut batch = Vec::with_capacity(size.min(backlog.len()));
    let mut passed_over = Vec::new();
    while batch.len() < size
        && let Some(message) = backlog.pop_front()
    {
        let destination = Destination::of(&message);
        let fits = match only {
            Some(only) => *only == destination,
            None => first.is_same_exchange(&destination) && is_known(&destination),
        };
        if fits {
            batch.push(message);
            continue;
        }
        passed_over.push(message);
        if settings.in_order {
            break;
        }
    }
    for message in passed_over.into_iter().rev() {
        backlog.push_front(message);
    }
    batch
}

async fn answer(backlog: &mut VecDeque<Outgoing>, outcome: &Outcome, output: &mpsc::Sender<Outcomes>) {
    deliver(backlog.drain(..).map(|message| (message.token, outcome.clone())).collect(), output).await;
}

/// Delivers what was decided early; where the rest goes does not matter any more.
async fn deliver_early(reports: &mut mpsc::Receiver<Early>, output: &mpsc::Sender<Outcomes>) {
    while let Ok(report) = reports.try_recv() {
        if let Early::Decided(outcomes) = report {
            deliver(outcomes, output).await;
        }
    }
}

/// Waits for room: whoever does not read outcomes gets nothing more published.
async fn deliver(outcomes: Outcomes, output: &mpsc::Sender<Outcomes>) {
    if !outcomes.is_empty() {
        // Nobody listens any more only while the process ends.
        let _ = output.send(outcomes).await;
    }
}
