//! Consumes the three queues on one connection. A reader that stops reading
//! stops the queue: the channel to it is bounded, and RabbitMQ hands out no
//! more than the prefetch.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use lapin::{Channel, Connection, Consumer, Error, Event};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use super::ahead::Asked;
use super::delivery::{Acks, Delivery, Intake};
use super::depth::Waiting;
use super::link::{Phase, end_of, renewed, while_alive};
use super::pump::{Held, Lane, Pumped, next_epoch};
use super::silence::Silence;
use super::subscription::Subscription;
use super::target::Socket;
use super::trouble::{Trouble, reason_of};

/// What is consumed, and how much of it at once.
#[derive(Debug, Clone)]
pub struct IntakeSettings {
    /// Queue of the events that change who may receive.
    pub tilknytning_queue: String,
    /// Queue of all other events.
    pub events_queue: String,
    /// Queue of what vendors rejected.
    pub returned_queue: String,
    /// Unacknowledged deliveries of `tilknytning_queue`.
    pub tilknytning_prefetch: u16,
    /// Unacknowledged deliveries of `events_queue`.
    pub events_prefetch: u16,
    /// Unacknowledged deliveries of `returned_queue`.
    pub returned_prefetch: u16,
    /// The most deliveries that one vector brings.
    pub batch: usize,
    /// Bytes of one queue's messages that are held until they are acknowledged. For
    /// messages so large that there would be more, fewer are taken at once; a
    /// single one is taken whatever its size.
    pub held_bytes: usize,
    /// After this long, as many as ever are tried again.
    pub fewer_for: Duration,
    /// A queue that nothing has come from for so long is consumed anew, sooner where
    /// messages are seen to lie in it.
    pub renew_after: Duration,
}

impl Default for IntakeSettings {
    fn default() -> Self {
        Self {
            tilknytning_queue: "wsb.intake.tilknytning".into(),
            events_queue: "wsb.intake.events".into(),
            returned_queue: "wsb.returned".into(),
            tilknytning_prefetch: 500,
            events_prefetch: 2000,
            returned_prefetch: 100,
            batch: 500,
            held_bytes: 16 << 20,
            fewer_for: Duration::from_secs(60),
            renew_after: Duration::from_secs(30),
        }
    }
}

impl IntakeSettings {
    pub(super) fn queues(&self) -> [&str; 3] {
        Intake::ALL.map(|intake| self.queue(intake).0)
    }

    fn queue(&self, intake: Intake) -> (&str, u16) {
        match intake {
            Intake::Tilknytning => (&self.tilknytning_queue, self.tilknytning_prefetch),
            Intake::Events => (&self.events_queue, self.events_prefetch),
            Intake::Returned => (&self.returned_queue, self.returned_prefetch),
        }
    }
}

/// How much is taken at once: as the settings say, or less for a while.
pub(super) struct Taken {
    settings: IntakeSettings,
    now: IntakeSettings,
    until: Option<Instant>,
}

impl Taken {
    pub(super) fn of(settings: IntakeSettings) -> Self {
        Self { now: settings.clone(), settings, until: None }
    }

    /// Takes no more than so many messages of a queue at once, for a while.
    pub(super) fn fewer(&mut self, intake: Intake, most: u16) {
        match intake {
            Intake::Tilknytning => self.now.tilknytning_prefetch = most,
            Intake::Events => self.now.events_prefetch = most,
            Intake::Returned => self.now.returned_prefetch = most,
        }
        self.until = Some(Instant::now() + self.settings.fewer_for);
    }

    /// Returns what to consume with now.
    pub(super) fn now(&mut self) -> &IntakeSettings {
        if self.until.is_some_and(|until| until <= Instant::now()) {
            (self.now, self.until) = (self.settings.clone(), None);
        }
        &self.now
    }
}

/// Where deliveries come out, one channel for each queue, so that the reader
/// chooses the order. Not reading one pauses that queue. Each ends after
/// [`super::Link::stop_intake`], when all that had arrived is read.
pub struct Deliveries {
    /// From the queue to be read ahead of all others.
    pub tilknytning: mpsc::Receiver<Vec<Delivery>>,
    /// From the queue of all other events.
    pub events: mpsc::Receiver<Vec<Delivery>>,
    /// From the queue of what came back.
    pub returned: mpsc::Receiver<Vec<Delivery>>,
}

/// The other ends of [`Deliveries`], in the order of [`Intake::ALL`].
pub(super) type Senders = [mpsc::Sender<Vec<Delivery>>; 3];

/// Small: RabbitMQ's prefetch is the buffer, this only hands over.
const VECTORS: usize = 2;

pub(super) fn channels() -> (Senders, Deliveries) {
    let (tilknytning_tx, tilknytning) = mpsc::channel(VECTORS);
    let (events_tx, events) = mpsc::channel(VECTORS);
    let (returned_tx, returned) = mpsc::channel(VECTORS);
    ([tilknytning_tx, events_tx, returned_tx], Deliveries { tilknytning, events, returned })
}

/// What consuming draws on, from one connection to the next.
pub(super) struct Drawn<'a> {
    /// The newest number of a consumer.
    pub epochs: &'a AtomicU64,
    /// What lies ready in the queues.
    pub depths: watch::Receiver<Vec<Waiting>>,
    /// Who asks whether all has come from the most urgent queue.
    pub asked: &'a Asked,
}

/// The three subscriptions of one connection.
pub(super) struct Subscribed<'a> {
    consumed: Vec<(Subscription, Consumer)>,
    socket: Socket,
    drawn: Drawn<'a>,
}

impl Subscribed<'_> {
    /// Ends the channels before the consumers, see [`serve`].
    async fn close(self) {
        for (subscription, _) in &self.consumed {
            let _ = subscription.channel.close(200, "done".into()).await;
        }
    }
}

/// Starts consuming all three queues.
pub(super) async fn subscribe<'a>(
    connection: &Connection,
    socket: &Socket,
    settings: &IntakeSettings,
    user: &str,
    drawn: Drawn<'a>,
) -> Result<Subscribed<'a>, Trouble> {
    let mut subscribed = Subscribed { consumed: Vec::new(), socket: socket.clone(), drawn };
    for intake in Intake::ALL {
        let (queue, prefetch) = settings.queue(intake);
        match consume(connection, intake, queue, prefetch).await {
            Ok(consumed) => subscribed.consumed.push(consumed),
            Err(error) => {
                // The connection may live on, and with it what these have been sent.
                subscribed.close().await;
                return Err(refusal(&error, queue, user));
            }
        }
    }
    Ok(subscribed)
}

async fn consume(connection: &Connection, intake: Intake, queue: &str, prefetch: u16) -> Result<(Subscription, Consumer), Error> {
    let subscription = Subscription::open(connection, intake, queue, prefetch).await?;
    let consumer = subscription.consume().await?;
    Ok((subscription, consumer))
}

fn refusal(error: &Error, queue: &str, user: &str) -> Trouble {
    let (queue, reason) = (queue.to_owned(), reason_of(error));
    match error.kind() {
        lapin::ErrorKind::ProtocolError(protocol) if protocol.get_id() == 403 => {
            Trouble::ConsumeRefused { user: user.to_owned(), queue, reason }
        }
        // Refusals other than of permission pass: a queue may still be electing its leader.
        _ if error.is_amqp_soft_error() => Trouble::ChannelClosed { queue, reason },
        _ => Trouble::Lost { reason },
    }
}

/// Why [`serve`] returned.
pub(super) enum Ended {
    /// The link was closed.
    Closed,
    /// Certificates have been exchanged; the connection still stands.
    Renewed,
    /// Messages of this queue are so large that no more than so many may be taken at
    /// once; the connection has been cut off.
    Heavy(Intake, u16),
    /// The connection or one of the consumers is gone.
    Lost(Trouble),
}

/// Hands deliveries over until the link closes, something is lost, or
/// more may be taken again.
pub(super) async fn serve(
    connection: &Connection,
    subscribed: Subscribed<'_>,
    taken: &Taken,
    senders: &mut Option<Senders>,
    acks: &Acks,
    phase: &mut watch::Receiver<Phase>,
    renewals: &mut watch::Receiver<u64>,
) -> Ended {
    let Subscribed { consumed, socket, drawn } = subscribed;
    let channels = consumed.iter().map(|(subscription, _)| subscription.channel.clone()).collect::<Vec<_>>();
    let Ok(channels) = <[Channel; 3]>::try_from(channels) else {
        return Ended::Lost(Trouble::Lost { reason: "not all queues are consumed".into() });
    };
    let epoch = next_epoch(drawn.epochs);
    acks.open(epoch, channels);
    let turn = Mutex::new(());
    let mut pumps = FuturesUnordered::new();
    if let Some(senders) = senders.as_ref() {
        for (subscription, consumer) in consumed {
            let (intake, queue) = (subscription.intake, subscription.queue.as_str());
            let lane = Lane {
                connection,
                epochs: drawn.epochs,
                turn: &turn,
                asked: drawn.asked,
                held: Held::none(acks, intake, queue, epoch, taken.now.held_bytes),
                silence: Silence::begin(queue, taken.now.renew_after, drawn.depths.clone()),
                batch: taken.now.batch.max(1),
                sender: senders[intake as usize].clone(),
                subscription,
                consumer,
            };
            pumps.push(lane.pump(phase.clone()));
        }
    }
    // Consumers live until their channels are closed. lapin cancels one that is
    // dropped, and a quorum queue whose consumer is cancelled while it holds
    // messages may hand them out again in another order (seen with RabbitMQ
    // 3.10: 47 times in 150); one whose channel is closed gives them back in
    // the order in which they were.
    let mut resting = Vec::new();
    let ended = tokio::select! {
        ended = hand_over(connection, &mut pumps, &mut resting, senders, phase, renewals) => ended,
        () = tokio::time::sleep_until(taken.until.unwrap_or_else(Instant::now)), if taken.until.is_some() => Ended::Renewed,
    };
    let channels = acks.close();
    if matches!(ended, Ended::Heavy(..)) {
        // Closed in words, it would first bring all that RabbitMQ has sent.
        socket.cut();
    }
    // What is not acknowledged goes back to its queue with this.
    let close = async {
        for channel in &channels {
            let _ = channel.close(200, "done".into()).await;
        }
    };
    // Without a connection they are closed already, and nobody answers.
    let _ = while_alive(connection, close).await;
    drop((pumps, resting));
    ended
}

async fn hand_over(
    connection: &Connection,
    pumps: &mut (impl Stream<Item = Pumped> + Unpin),
    resting: &mut Vec<Consumer>,
    senders: &mut Option<Senders>,
    phase: &mut watch::Receiver<Phase>,
    renewals: &mut watch::Receiver<u64>,
) -> Ended {
    let mut events = Box::pin(connection.events_listener());
    let mut gone = Box::pin(end_of(connection));
    loop {
        let wanted = *phase.borrow_and_update();
        match wanted {
            Phase::Running => {}
            // Pumps see it too; the readers' end comes with the last of them.
            Phase::IntakeStopped => *senders = None,
            Phase::Closed => return Ended::Closed,
        }
        // No arm loses anything when another one is taken: pumps live on
        // between rounds, the others only observe.
        tokio::select! {
            biased;
            Some(pumped) = pumps.next() => match pumped {
                Pumped::Stopped(consumer) => resting.push(consumer),
                Pumped::Heavy(consumer, intake, most) => {
                    resting.push(consumer);
                    return Ended::Heavy(intake, most);
                }
                // Stopping, there is nothing left to lose.
                Pumped::Ended(_) if wanted != Phase::Running => {}
                Pumped::Ended(trouble) => return Ended::Lost(trouble),
            },
            event = events.next() => match event {
                Some(Event::Error(error)) if !connection.status().connected() => return Ended::Lost(Trouble::lost(&error)),
                // A failed channel ends its consumer; other events are no news here.
                Some(_) => {}
                None => return Ended::Lost(Trouble::Lost { reason: "connection closed".into() }),
            },
            () = renewed(renewals) => return Ended::Renewed,
            changed = phase.changed() => if changed.is_err() {
                return Ended::Closed;
            },
            () = &mut gone => return Ended::Lost(Trouble::Lost { reason: "connection closed".into() }),
        }
    }
}
