//! Moves what arrives from one queue to its reader, knows how much of it is not
//! acknowledged, and consumes the queue anew when nothing comes for long.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::{Connection, Consumer, Error};
use tokio::sync::{Mutex, MutexGuard, mpsc, watch};
use tracing::{debug, warn};

use super::ahead::{Answers, Asked};
use super::delivery::{Acks, Delivery, Intake};
use super::link::{Phase, stopped};
use super::silence::Silence;
use super::subscription::Subscription;
use super::trouble::Trouble;

/// How long consuming anew may take; the connection is made anew then.
const RENEWAL: Duration = Duration::from_secs(10);

/// What became of a pump.
pub(super) enum Pumped {
    /// Intake stops; the consumer is to be kept until its channel is closed.
    Stopped(Consumer),
    /// Too much is held; the consumer is to be kept likewise.
    Heavy(Consumer, Intake, u16),
    /// The consumer is gone.
    Ended(Trouble),
}

/// What has arrived from one queue and is not acknowledged.
pub(super) struct Held<'a> {
    acks: &'a Acks,
    intake: Intake,
    queue: String,
    epoch: u64,
    most: usize,
    /// The newest tag.
    last: u64,
    /// Tag and bytes of each, in order; some may be acknowledged since.
    sizes: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl<'a> Held<'a> {
    pub(super) fn none(acks: &'a Acks, intake: Intake, queue: &str, epoch: u64, most: usize) -> Self {
        Self { acks, intake, queue: queue.to_owned(), epoch, most, last: 0, sizes: VecDeque::new(), bytes: 0 }
    }

    /// Notes one that has arrived. Returns how many may be taken at once from now on,
    /// if all of them together are too much.
    fn add(&mut self, delivery: &Delivery) -> Option<u16> {
        self.last = delivery.tag;
        self.sizes.push_back((delivery.tag, delivery.body.len()));
        self.bytes += delivery.body.len();
        if self.bytes <= self.most {
            return None;
        }
        let settled = self.acks.settled(self.intake, self.epoch);
        while self.sizes.front().is_some_and(|(tag, _)| *tag <= settled) {
            self.bytes -= self.sizes.pop_front().map_or(0, |(_, bytes)| bytes);
        }
        if self.bytes <= self.most || self.sizes.len() < 2 {
            return None;
        }
        let largest = self.sizes.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default().max(1);
        let most = u16::try_from(self.most / largest / 2).unwrap_or(u16::MAX).max(1);
        warn!(queue = self.queue, largest, at_once = most, "messages are so large that fewer of them are taken at once");
        Some(most)
    }

    fn is_none(&self) -> bool {
        self.acks.settled(self.intake, self.epoch) >= self.last
    }
}

/// What the next message to come means.
enum Next {
    /// Nothing.
    Usual,
    /// If it was handed out before, a lost consumer had it.
    AfterRenewal,
    /// It lay ready, and did not come.
    Lay,
}

/// Why nothing more is taken from a consumer.
enum Gone {
    /// Too much is held: so many at once are enough.
    Heavy(u16),
    Ended(Trouble),
}

/// One queue on its way to its reader.
pub(super) struct Lane<'a> {
    pub connection: &'a Connection,
    pub epochs: &'a AtomicU64,
    /// Held while the most urgent queue is consumed anew: what comes from the others
    /// is handed over after what has gathered in it meanwhile.
    pub turn: &'a Mutex<()>,
    /// Who asks whether all has come from the most urgent queue.
    pub asked: &'a Asked,
    pub subscription: Subscription,
    pub consumer: Consumer,
    pub held: Held<'a>,
    pub silence: Silence,
    pub batch: usize,
    pub sender: mpsc::Sender<Vec<Delivery>>,
}

impl<'a> Lane<'a> {
    /// Moves deliveries from the consumer to the reader, as many at a time as are
    /// there. Returns when intake stops, when too much is held, or when the consumer ends.
    pub(super) async fn pump(mut self, mut phase: watch::Receiver<Phase>) -> Pumped {
        // Taken from lapin also while nobody reads, so that their bytes are known; the
        // prefetch bounds how many they are.
        let mut waiting = VecDeque::new();
        let (sender, behind) = (self.sender.clone(), self.behind());
        let mut turn = None;
        let mut meaning = Next::Usual;
        let mut answers = match self.held.intake {
            Intake::Tilknytning => Some(self.asked.answer().await),
            Intake::Events | Intake::Returned => None,
        };
        loop {
            // No arm loses anything when another one is taken.
            let mut next = tokio::select! {
                biased;
                () = stopped(&mut phase) => return Pumped::Stopped(self.consumer),
                Some(room) = room(&sender, behind), if !waiting.is_empty() => {
                    let most = waiting.len().min(self.batch);
                    room.send(waiting.drain(..most).collect());
                    if let Some(answers) = &mut answers {
                        answers.handed_over(most);
                    }
                    continue;
                }
                () = wanted(&mut answers) => {
                    let Some(answers) = &mut answers else { continue };
                    let asked = match answers.ask(&self.subscription).await {
                        Ok(Some(asked)) => asked,
                        Ok(None) => continue,
                        Err(error) => return Pumped::Ended(self.subscription.why_ended(Some(&error))),
                    };
                    // With what has arrived meanwhile, that is all there was.
                    while let Some(next) = self.consumer.next().now_or_never() {
                        answers.came();
                        if let Err(gone) = self.arrived(next, &mut meaning, &mut waiting) {
                            return self.pumped(gone);
                        }
                    }
                    answers.has_arrived(asked, waiting.len());
                    continue;
                }
                next = self.consumer.next() => next,
                // All that had gathered is handed over.
                () = std::future::ready(()), if turn.is_some() && waiting.is_empty() => {
                    turn = None;
                    continue;
                }
                lying = self.silence.too_long(), if waiting.is_empty() => {
                    self.silence.broken();
                    // What is held is being worked on, or waits until there is room.
                    if self.held.is_none() {
                        turn = self.turn().await;
                        meaning = match self.renew(lying).await {
                            Ok(meaning) => meaning,
                            Err(trouble) => return Pumped::Ended(trouble),
                        };
                    }
                    continue;
                }
            };
            if let Some(answers) = &mut answers {
                answers.came();
            }
            loop {
                if let Err(gone) = self.arrived(next, &mut meaning, &mut waiting) {
                    return self.pumped(gone);
                }
                if waiting.len() >= self.batch {
                    break;
                }
                match self.consumer.next().now_or_never() {
                    Some(ready) => next = ready,
                    None => break,
                }
            }
        }
    }

    /// Takes in what came from the consumer.
    fn arrived(
        &mut self,
        next: Option<Result<lapin::message::Delivery, Error>>,
        meaning: &mut Next,
        waiting: &mut VecDeque<Delivery>,
    ) -> Result<(), Gone> {
        match next {
            Some(Ok(delivery)) => {
                let delivery = Delivery::of(self.held.intake, self.held.epoch, delivery);
                self.silence.broken();
                self.tell(std::mem::replace(meaning, Next::Usual), &delivery);
                let fewer = self.held.add(&delivery);
                waiting.push_back(delivery);
                fewer.map_or(Ok(()), |most| Err(Gone::Heavy(most)))
            }
            Some(Err(error)) => Err(Gone::Ended(self.subscription.why_ended(Some(&error)))),
            None => Err(Gone::Ended(self.subscription.why_ended(None))),
        }
    }

    fn pumped(self, gone: Gone) -> Pumped {
        match gone {
            Gone::Heavy(most) => Pumped::Heavy(self.consumer, self.held.intake, most),
            Gone::Ended(trouble) => Pumped::Ended(trouble),
        }
    }

    /// Returns what to wait for before anything is handed over.
    fn behind(&self) -> Option<&'a Mutex<()>> {
        (self.held.intake != Intake::Tilknytning).then_some(self.turn)
    }

    async fn turn(&self) -> Option<MutexGuard<'a, ()>> {
        match self.held.intake {
            Intake::Tilknytning => Some(self.turn.lock().await),
            Intake::Events | Intake::Returned => None,
        }
    }

    /// Consumes the queue on another channel, when nothing is held. Closing the old one
    /// gives back what RabbitMQ has handed to nobody's knowledge, and only then somebody
    /// consumes again: so all comes in its order.
    async fn renew(&mut self, lying: u32) -> Result<Next, Trouble> {
        let renewed = match tokio::time::timeout(RENEWAL, self.try_renew()).await {
            Ok(renewed) => renewed,
            Err(_) => return Err(Trouble::Lost { reason: format!("queue '{}' cannot be consumed anew", self.subscription.queue) }),
        };
        let has_crossed = renewed.map_err(|error| self.subscription.why_ended(Some(&error)))?;
        debug!(queue = self.subscription.queue, lying, "nothing has come for long: consumed anew");
        Ok(match (lying, has_crossed) {
            (1.., _) => Next::Lay,
            (0, false) => Next::AfterRenewal,
            // It has been handed out before, a moment ago.
            (0, true) => Next::Usual,
        })
    }

    async fn try_renew(&mut self) -> Result<bool, Error> {
        let has_crossed = self.subscription.end(&mut self.consumer).await?;
        let Subscription { intake, queue, prefetch, .. } = &self.subscription;
        let subscription = Subscription::open(self.connection, *intake, queue, *prefetch).await?;
        let epoch = next_epoch(self.epochs);
        // Before consuming: whoever ends the connection's work closes this one then.
        self.held.acks.replace(self.held.intake, epoch, subscription.channel.clone());
        self.subscription = subscription;
        self.consumer = self.subscription.consume().await?;
        self.held = Held::none(self.held.acks, self.held.intake, &self.subscription.queue, epoch, self.held.most);
        self.subscription.caught_up().await?;
        Ok(has_crossed)
    }

    fn tell(&self, meaning: Next, delivery: &Delivery) {
        let is_found = match meaning {
            Next::Usual => false,
            Next::AfterRenewal => delivery.redelivered,
            Next::Lay => true,
        };
        if is_found {
            warn!(
                queue = self.subscription.queue,
                "RabbitMQ had lost the consumer of this queue without a word: it is consumed anew, and what lay there comes now"
            );
        }
    }
}

/// Waits until RabbitMQ is to be asked whether all has come.
async fn wanted(answers: &mut Option<Answers<'_>>) {
    match answers {
        Some(answers) => answers.wanted().await,
        None => std::future::pending().await,
    }
}

/// Returns the number of one more consumer.
pub(super) fn next_epoch(epochs: &AtomicU64) -> u64 {
    epochs.fetch_add(1, Ordering::Relaxed) + 1
}

/// Waits until the reader can take more; `None` when there is none any more.
async fn room<'a>(sender: &'a mpsc::Sender<Vec<Delivery>>, behind: Option<&Mutex<()>>) -> Option<mpsc::Permit<'a, Vec<Delivery>>> {
    let room = sender.reserve().await.ok()?;
    if let Some(turn) = behind {
        // Not kept: what this reader does with its time is no concern of that queue.
        drop(turn.lock().await);
    }
    Some(room)
}
