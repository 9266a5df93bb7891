//! Whoever is about to decide about ordinary events, or to attempt what waits, waits until all that
//! changes who may receive, and lay in its queue by then, has been handed over: RabbitMQ keeps no order
//! between two queues, and after a stop both may be full.
//!
//! The pump of the most urgent queue is asked. It asks RabbitMQ how much lies ready; what
//! had been sent by then has arrived when the channel answers once more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::depth::SILENCE;
use super::link::{Phase, stopped};
use super::subscription::Subscription;

/// How long after a question the next one is asked at the earliest. One answer stands for all that came
/// before its question: they keep each other company, and the writer need wait for none.
const BETWEEN: Duration = Duration::from_millis(3);
/// How long after an answer that something lies ready it is asked again.
const AGAIN: Duration = Duration::from_millis(5);

/// For so long after one has come, more may be on their way: RabbitMQ may have handed out an event
/// that was published after one that it has not put into its queue yet.
const COMING: Duration = Duration::from_millis(200);
/// Then nothing but a look this long after the question counts.
const SETTLING: Duration = Duration::from_millis(20);

/// Somebody waits.
struct Ask {
    since: Instant,
    tell: oneshot::Sender<Answer>,
}

/// What somebody is told who waits.
#[derive(Clone, Copy)]
struct Answer {
    /// How many deliveries are to be passed on first.
    through: u64,
    /// When RabbitMQ had answered.
    at: std::time::Instant,
}

/// Tells when all has been heard that changes who may receive. Clones are the same.
#[derive(Clone)]
pub struct Ahead {
    asks: mpsc::Sender<Ask>,
    /// How many deliveries of the most urgent queue its reader has passed on.
    passed_on: Arc<watch::Sender<u64>>,
    phase: watch::Receiver<Phase>,
}

impl Ahead {
    pub(super) fn new(phase: watch::Receiver<Phase>) -> (Self, Asked) {
        let (asks, asked) = mpsc::channel(16);
        let ahead = Self { asks, passed_on: Arc::new(watch::Sender::new(0)), phase };
        (ahead, Asked { asking: Mutex::new(Asking { asked, handed_over: 0 }), is_mute: watch::Sender::new(false) })
    }

    /// Notes that so many deliveries of the most urgent queue have been passed on to where
    /// they are decided about before all others.
    pub fn passed_on(&self, deliveries: usize) {
        self.passed_on.send_modify(|all| *all += deliveries as u64);
    }

    /// Waits until everything that lay in the most urgent queue when this was first polled
    /// has been [passed on](Self::passed_on): for a connection too, if there is none.
    /// Returns when RabbitMQ had said so; `None` once intake has stopped, and nobody can say any more.
    pub async fn hear(&self) -> Option<std::time::Instant> {
        let mut phase = self.phase.clone();
        tokio::select! {
            biased;
            () = stopped(&mut phase) => None,
            heard = self.heard() => heard,
        }
    }

    async fn heard(&self) -> Option<std::time::Instant> {
        loop {
            let (tell, answer) = oneshot::channel();
            self.asks.send(Ask { since: Instant::now(), tell }).await.ok()?;
            // Without an answer the connection was lost: the next one is asked.
            if let Ok(Answer { through, at }) = answer.await {
                self.passed_on.subscribe().wait_for(|passed_on| *passed_on >= through).await.ok()?;
                return Some(at);
            }
        }
    }
}

/// The other end: whom the pumps of the most urgent queue answer, one after the other.
pub(super) struct Asked {
    asking: Mutex<Asking>,
    /// Whether RabbitMQ gets no answer of the queue.
    is_mute: watch::Sender<bool>,
}

struct Asking {
    asked: mpsc::Receiver<Ask>,
    /// How many deliveries have ever been handed over to the reader.
    handed_over: u64,
}

impl Asked {
    pub(super) async fn answer(&self) -> Answers<'_> {
        let (asking, is_mute) = (self.asking.lock().await, &self.is_mute);
        is_mute.send_replace(false);
        Answers { asking, is_mute, to_ask: Vec::new(), ask_at: Instant::now(), came_at: None, waiting: Vec::new() }
    }

    /// A view of whether the queue says nothing, while somebody wants to know.
    pub(super) fn is_mute(&self) -> watch::Receiver<bool> {
        self.is_mute.subscribe()
    }
}

/// Those who wait for one pump.
pub(super) struct Answers<'a> {
    asking: MutexGuard<'a, Asking>,
    is_mute: &'a watch::Sender<bool>,
    /// For whom RabbitMQ is to be asked, in the order in which they came.
    to_ask: Vec<Ask>,
    /// Not before.
    ask_at: Instant,
    /// When something came last.
    came_at: Option<Instant>,
    /// Who waits until so many have been handed over.
    waiting: Vec<(Answer, Ask)>,
}

impl Answers<'_> {
    /// Waits until RabbitMQ is to be asked. Dropped halfway, it loses nothing.
    pub(super) async fn wanted(&mut self) {
        if self.to_ask.is_empty() {
            match self.asking.asked.recv().await {
                Some(ask) => self.to_ask.push(ask),
                // Nobody can ask any more.
                None => std::future::pending().await,
            }
        }
        let counts = self.to_ask.first().map_or(self.ask_at, |ask| self.counts_from(ask));
        tokio::time::sleep_until(self.ask_at.max(counts)).await;
    }

    /// Returns from when on a question counts for somebody.
    fn counts_from(&self, ask: &Ask) -> Instant {
        let are_coming = self.came_at.is_some_and(|at| at.elapsed() < COMING);
        if are_coming { ask.since + SETTLING } else { ask.since }
    }

    /// Asks RabbitMQ. Returns when, if nothing lay ready: then all has arrived that had been
    /// handed out by then, and [`has_arrived`](Self::has_arrived) is to be called once it is taken in.
    pub(super) async fn ask(&mut self, subscription: &Subscription) -> Result<Option<Instant>, lapin::Error> {
        let asked = Instant::now();
        while let Ok(ask) = self.asking.asked.try_recv() {
            self.to_ask.push(ask);
        }
        self.ask_at = asked + BETWEEN;
        let ready = subscription.ready().await?;
        let is_mute = asked.elapsed() >= SILENCE;
        self.is_mute.send_if_modified(|known| std::mem::replace(known, is_mute) != is_mute);
        if ready == 0 && !is_mute {
            let counted = Instant::now();
            subscription.flushed().await?;
            // After a long wait, whatever it was for, the count says too little of now.
            if counted.elapsed() < SILENCE {
                return Ok(Some(asked));
            }
        }
        self.ask_at = Instant::now() + if is_mute { SILENCE } else { AGAIN };
        Ok(None)
    }

    /// Takes in that something came.
    pub(super) fn came(&mut self) {
        self.came_at = Some(Instant::now());
    }

    /// Takes in that what has arrived, and is not handed over yet, is all there was as RabbitMQ
    /// was asked. Those for whom that was too early are asked for again.
    pub(super) fn has_arrived(&mut self, asked: Instant, not_handed_over: usize) {
        let answer = Answer { through: self.asking.handed_over + not_handed_over as u64, at: std::time::Instant::now() };
        for ask in std::mem::take(&mut self.to_ask) {
            if self.counts_from(&ask) <= asked {
                self.waiting.push((answer, ask));
            } else {
                self.to_ask.push(ask);
            }
        }
        self.tell();
    }

    /// Takes in that deliveries were handed over.
    pub(super) fn handed_over(&mut self, deliveries: usize) {
        self.asking.handed_over += deliveries as u64;
        self.tell();
    }

    fn tell(&mut self) {
        let handed_over = self.asking.handed_over;
        for (answer, ask) in self.waiting.extract_if(.., |(answer, _)| answer.through <= handed_over) {
            // Nobody waits for it any more: then nobody misses it.
            let _ = ask.tell.send(answer);
        }
    }
}
