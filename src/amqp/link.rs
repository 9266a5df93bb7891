//! Owns both connections: makes them, declares the topology on them, uses them,
//! and makes them again when they are lost, without end.
//!
//! ```text
//! each side:  Starting -> Up <-> Down(why) ;  any -> Stopped
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lapin::Connection;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::ahead::{Ahead, Asked};
use super::declare::{DeclareError, declare, declare_leniently};
use super::delivery::Acks;
use super::depth::{self, Question, Waiting};
use super::doubts::Doubts;
use super::inlets;
use super::intake::{self, Deliveries, Drawn, IntakeSettings, Senders, Taken};
use super::lock::{Lock, Locked};
use super::message::{Outcome, Outgoing};
use super::outlets;
use super::publisher::{self, PublishSettings, refuse};
use super::reconnect::{Pace, Reconnect};
use super::target::{Socket, Target};
use super::topology::Topology;
use super::trouble::Trouble;

/// Everything that [`Link::start`] needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where RabbitMQ is.
    pub target: Target,
    /// What to declare before use.
    pub topology: Topology,
    /// How to consume.
    pub intake: IntakeSettings,
    /// How to publish.
    pub publish: PublishSettings,
    /// How to come back.
    pub reconnect: Reconnect,
}

/// The ends of a link that carry messages.
pub struct Endpoints {
    /// Takes what is to be published. Waits when the publisher is behind.
    /// Dropping every clone lets publishing finish and close.
    ///
    /// One message may overtake another, even within a vector: whatever needs
    /// an order must not be handed over before its predecessor has its outcome.
    pub publish: mpsc::Sender<Vec<Outgoing>>,
    /// Brings one outcome for every message handed over. Must be read at all
    /// times, not by whoever waits in `publish.send`: unread outcomes stop
    /// publishing.
    pub outcomes: mpsc::Receiver<Vec<(u64, Outcome)>>,
    /// Brings what is consumed.
    pub deliveries: Deliveries,
    /// Acknowledges what was consumed.
    pub acks: Acks,
    /// Tells when all has been heard that changes who may receive.
    pub ahead: Ahead,
}

/// How both sides are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// The connection that consumes.
    pub consuming: Side,
    /// The connection that publishes.
    pub publishing: Side,
    /// RabbitMQ's reason, while it has blocked publishers.
    pub blocked: Option<String>,
}

impl LinkState {
    /// Whether both sides work, as readiness asks.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.consuming == Side::Up && self.publishing == Side::Up && self.blocked.is_none()
    }
}

/// How one connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// The first attempt is under way.
    Starting,
    /// Connected, declared and in use.
    Up,
    /// Not connected; attempts go on.
    Down(Trouble),
    /// Ended on request.
    Stopped,
}

/// What became of a new topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// RabbitMQ holds it.
    Now,
    /// RabbitMQ cannot be reached; it is declared with the next connection.
    OnReconnect(Trouble),
}

/// How far the link is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    IntakeStopped,
    Closed,
}

/// The handle of a running link. Clones share it; the tasks end when the last
/// clone is dropped or [`Link::close`] is called.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    phase: Arc<watch::Sender<Phase>>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
    questions: mpsc::Sender<Question>,
}

struct Shared {
    target: Target,
    /// Also keeps two connections from declaring at the same time.
    topology: Mutex<Topology>,
    state: watch::Sender<LinkState>,
    /// Whether this process may work in the virtual host.
    lock: watch::Sender<Lock>,
    /// Empty while nobody can tell.
    waiting: watch::Sender<Vec<Waiting>>,
    /// Answered while there is a connection to ask by.
    questions: Mutex<mpsc::Receiver<Question>>,
    /// Answered while the most urgent queue is consumed.
    asked: Asked,
    /// Counts how often certificates and keys have been exchanged.
    renewals: watch::Sender<u64>,
    reconnect: Reconnect,
    /// The newest number of a consumer.
    epochs: AtomicU64,
}

impl Link {
    /// Starts both sides. Returns at once; [`Link::state`] tells when they are up.
    ///
    /// Must be called inside a tokio runtime, and the runtime must live on for
    /// lapin's own tasks.
    #[must_use]
    pub fn start(settings: Settings) -> (Self, Endpoints) {
        let Settings { target, topology, intake, publish, reconnect } = settings;
        let (publish_tx, publish_rx) = mpsc::channel(publish.capacity.max(1));
        let (outcome_tx, outcomes) = mpsc::channel(publish.capacity.max(1));
        let (senders, deliveries) = intake::channels();
        let (state, _) = watch::channel(LinkState { consuming: Side::Starting, publishing: Side::Starting, blocked: None });
        let (phase, phases) = watch::channel(Phase::Running);
        let acks = Acks::default();
        let (waiting, _) = watch::channel(Vec::new());
        let (renewals, _) = watch::channel(0);
        let (questions, questions_asked) = mpsc::channel(1);
        let (ahead, asked) = Ahead::new(phases.clone());
        let shared = Arc::new(Shared {
            target,
            topology: Mutex::new(topology),
            state,
            lock: watch::Sender::new(Lock::Awaited),
            waiting,
            questions: Mutex::new(questions_asked),
            asked,
            renewals,
            reconnect,
            epochs: AtomicU64::new(0),
        });
        let tasks = vec![
            tokio::spawn(keep_consuming(shared.clone(), intake, senders, acks.clone(), phases.clone())),
            tokio::spawn(keep_publishing(shared.clone(), publish, publish_rx, outcome_tx, phases.clone())),
            tokio::spawn(follow_files(shared.clone(), phases.clone())),
            tokio::spawn(follow_certificate(shared.clone(), phases)),
        ];
        let link = Self { shared, phase: Arc::new(phase), tasks: Arc::new(Mutex::new(tasks)), questions };
        (link, Endpoints { publish: publish_tx, outcomes, deliveries, acks, ahead })
    }

    /// A view of the state that can be waited on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.shared.state.subscribe()
    }

    /// A view of what waits in the queues that are consumed; empty while there
    /// is no connection to ask by.
    #[must_use]
    pub fn waiting(&self) -> watch::Receiver<Vec<Waiting>> {
        self.shared.waiting.subscribe()
    }

    /// Returns how many messages lie ready in a queue, those that a consumer holds
    /// not counted; `None` where that cannot be seen now.
    pub async fn depth(&self, queue: &str) -> Option<u32> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.questions.send(Question { queue: queue.to_owned(), answer }).await.ok()?;
            answered.await.ok()
        };
        tokio::time::timeout(ANSWER, asked).await.ok().flatten()
    }

    /// Waits until both sides are up for the first time.
    ///
    /// # Errors
    /// Returns the trouble as soon as one side has met one that only an
    /// operator can end. The link goes on trying all the same.
    pub async fn ready(&self) -> Result<(), Trouble> {
        let mut state = self.state();
        loop {
            {
                let now = state.borrow_and_update();
                if now.consuming == Side::Up && now.publishing == Side::Up {
                    return Ok(());
                }
                for side in [&now.consuming, &now.publishing] {
                    match side {
                        Side::Down(trouble) if trouble.needs_operator() => return Err(trouble.clone()),
                        Side::Stopped => return Err(Trouble::Lost { reason: "the link was closed".into() }),
                        Side::Starting | Side::Up | Side::Down(_) => {}
                    }
                }
            }
            if state.changed().await.is_err() {
                return Err(Trouble::Lost { reason: "the link was closed".into() });
            }
        }
    }

    /// Declares `topology` now and with every later connection. Queues that it
    /// no longer names are left as they are.
    ///
    /// # Errors
    /// A refusal by RabbitMQ; the old topology then stays in use.
    pub async fn update_topology(&self, topology: Topology) -> Result<Applied, DeclareError> {
        let mut current = self.shared.topology.lock().await;
        let applied = apply(&self.shared.target, &topology).await?;
        *current = topology;
        Ok(applied)
    }

    /// Declares the topology in use once more, for when a queue or exchange
    /// turns out to be missing.
    ///
    /// # Errors
    /// A refusal by RabbitMQ.
    pub async fn redeclare(&self) -> Result<Applied, DeclareError> {
        let topology = self.shared.topology.lock().await;
        apply(&self.shared.target, &topology).await
    }

    /// Stops consuming and returns at once. What has arrived can still be read
    /// and acknowledged; then the receivers of [`Deliveries`] end.
    pub fn stop_intake(&self) {
        self.advance(Phase::IntakeStopped);
    }

    /// Ends both connections. What is not acknowledged goes back to its queue.
    /// Messages under way get their outcomes first, within the confirm deadline;
    /// what was handed over and not yet published is answered
    /// [`Outcome::ConnectionLost`]; sending more fails. The outcomes must still be read.
    pub async fn close(&self) {
        self.advance(Phase::Closed);
        for task in self.tasks.lock().await.drain(..) {
            // A task that panicked has no connection left to close.
            let _ = task.await;
        }
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let later = match (*phase, to) {
                (Phase::Running, Phase::IntakeStopped | Phase::Closed) | (Phase::IntakeStopped, Phase::Closed) => true,
                (Phase::Running, Phase::Running) | (Phase::IntakeStopped, _) | (Phase::Closed, _) => false,
            };
            if later {
                *phase = to;
            }
            later
        });
    }
}

/// On a connection of its own, so that a refusal disturbs nobody.
async fn apply(target: &Target, topology: &Topology) -> Result<Applied, DeclareError> {
    let connection = match target.connect("wsb-broker topology").await {
        Ok(connection) => connection,
        Err(trouble) => return Ok(Applied::OnReconnect(trouble)),
    };
    let declared = match while_alive(&connection, declare(&connection, topology)).await {
        Ok(declared) => declared,
        Err(lost) => return Ok(Applied::OnReconnect(lost)),
    };
    part(&connection, "done").await;
    match declared {
        Ok(()) => Ok(Applied::Now),
        Err(DeclareError::Interrupted { reason, .. }) => Ok(Applied::OnReconnect(Trouble::Lost { reason })),
        Err(refused) => Err(refused),
    }
}

impl Shared {
    /// Declares everything. Once the broker runs, a recipient's queue that has come
    /// to differ holds up that recipient only.
    async fn declare(&self, connection: &Connection, pace: &Pace) -> Result<(), Trouble> {
        let topology = self.topology.lock().await;
        if !pace.has_been_up() {
            return Ok(while_alive(connection, declare(connection, &topology)).await??);
        }
        for differs in while_alive(connection, declare_leniently(connection, &topology)).await?? {
            tracing::warn!(trouble = %differs, "a recipient's queue is not what it must be: it is sent nothing until it is");
        }
        Ok(())
    }

    /// Returns when this process may work. Until then publishing is down for the reason
    /// that consuming is.
    async fn may_work(&self) {
        let (mut lock, mut consuming) = (self.lock.subscribe(), self.state.subscribe());
        while *lock.borrow_and_update() == Lock::Awaited {
            let side = consuming.borrow_and_update().consuming.clone();
            if let Side::Down(_) = side {
                self.state.send_if_modified(|state| std::mem::replace(&mut state.publishing, side.clone()) != side);
            }
            // Both only say when to look; an end of either is the end of the link.
            tokio::select! {
                _ = lock.changed() => {}
                _ = consuming.changed() => {}
            }
        }
    }

    /// Returns when nothing is published any more.
    async fn published(&self) {
        let _ = self.state.subscribe().wait_for(|state| state.publishing == Side::Stopped).await;
    }

    /// Tells of the queue that is heard first when it does not answer, and when it does again.
    async fn mind_whether_mute(&self, queue: &str) -> Infallible {
        let mut is_mute = self.asked.is_mute();
        loop {
            // The sender lives as long as this does.
            let _ = is_mute.wait_for(|is_mute| *is_mute).await;
            if tokio::time::timeout(MUTE, is_mute.wait_for(|is_mute| !*is_mute)).await.is_ok() {
                continue;
            }
            let trouble = Trouble::Mute { queue: queue.to_owned() };
            tracing::warn!(%trouble, "nothing is decided");
            self.set_consuming(Side::Down(trouble));
            let _ = is_mute.wait_for(|is_mute| !*is_mute).await;
            tracing::info!(queue, "the queue answers again");
            self.set_consuming(Side::Up);
        }
    }

    fn set_consuming(&self, side: Side) {
        self.state.send_modify(|state| state.consuming = side);
    }

    fn set_publishing(&self, side: Side) {
        self.state.send_modify(|state| state.publishing = side);
    }
}

/// How long to wait for the depth of a queue.
const ANSWER: Duration = Duration::from_secs(10);
/// How long RabbitMQ is given to notice a connection that was cut off.
const GIVEN_BACK: Duration = Duration::from_millis(500);
/// How often certificates and keys are looked at.
const FILE_LOOK: Duration = Duration::from_secs(1);

/// Tells both sides when certificates and keys have been exchanged for others
/// that can be used.
async fn follow_files(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let files = shared.target.tls();
    let mut watch = files.watch();
    if watch.is_empty() {
        return;
    }
    let mut look = tokio::time::interval(FILE_LOOK);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = closed(&mut phase) => return,
        }
        if !watch.has_changed() {
            continue;
        }
        match files.config() {
            Ok(_) => {
                tracing::info!("certificates for RabbitMQ have changed; connecting anew with them");
                shared.renewals.send_modify(|renewals| *renewals += 1);
            }
            Err(problem) => tracing::warn!(%problem, "the new certificates for RabbitMQ are not used; connections stay as they are"),
        }
    }
}

/// How often a certificate of RabbitMQ's that ends soon is looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(30);
/// When it ends soon: that of the alert.
const ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);

/// Looks at RabbitMQ's certificate while the one that is known ends soon: connections
/// stay when it is exchanged, and would show the old one until somebody is woken for it.
async fn follow_certificate(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let mut look = tokio::time::interval(CERTIFICATE_LOOK);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = closed(&mut phase) => return,
        }
        if !shared.target.certificate_ends_within(ENDS_SOON) {
            continue;
        }
        // What is wrong with it, whoever connects next is told.
        tokio::select! {
            _ = shared.target.see_certificate() => {}
            () = closed(&mut phase) => return,
        }
    }
}

/// Waits for the next exchange. The sender lives as long as the link does.
pub(super) async fn renewed(renewals: &mut watch::Receiver<u64>) {
    if renewals.changed().await.is_err() {
        std::future::pending().await
    }
}

/// How long the queue that is heard first may be mute before somebody is told.
const MUTE: Duration = Duration::from_secs(5);
/// How often a connection is looked at: lapin does not announce every end of one.
const LOOK_AFTER: Duration = Duration::from_millis(500);
/// How long parting in words may take.
const PARTING: Duration = Duration::from_secs(5);

/// Returns what `work` does on the connection, or that the connection was lost
/// meanwhile: lapin leaves a request that meets the end of its connection
/// without an answer for good, and whoever awaited it would never connect again.
/// Dropped halfway, the work is done anew on the next connection.
pub(super) async fn while_alive<T>(connection: &Connection, work: impl Future<Output = T>) -> Result<T, Trouble> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = end_of(connection) => Err(Trouble::Lost { reason: "connection closed".into() }),
    }
}

/// Returns when the connection is gone.
pub(super) async fn end_of(connection: &Connection) {
    let mut look = tokio::time::interval(LOOK_AFTER);
    while connection.status().connected() {
        look.tick().await;
    }
}

/// Closes a connection in words, as far as the other side listens.
pub(super) async fn part(connection: &Connection, why: &'static str) {
    // Refused or not answered only by a connection that is closed already.
    let _ = tokio::time::timeout(PARTING, connection.close(200, why.into())).await;
}

async fn closed(phase: &mut watch::Receiver<Phase>) {
    // An error means that every handle is gone, which is the same.
    let _ = phase.wait_for(|phase| *phase == Phase::Closed).await;
}

async fn keep_consuming(shared: Arc<Shared>, settings: IntakeSettings, senders: Senders, acks: Acks, mut phase: watch::Receiver<Phase>) {
    let mut pace = Pace::new("consuming", &shared.reconnect);
    // Gone once intake has stopped: the receivers see the end.
    let mut senders = Some(senders);
    let mut closing = phase.clone();
    let mut renewals = shared.renewals.subscribe();
    let queues = settings.queues().map(str::to_owned);
    let mut taken = Taken::of(settings);
    let mut warned = false;
    while *phase.borrow() == Phase::Running {
        renewals.borrow_and_update();
        let socket = Socket::default();
        let claim = async {
            let connection = shared.target.connect_with("wsb-broker consuming", &socket).await?;
            Locked::take(connection, &shared.target, &shared.lock, &mut warned).await
        };
        // A connection that is dropped half made closes itself.
        let claimed = tokio::select! {
            claimed = claim => claimed,
            () = stopped(&mut closing) => break,
        };
        let (locked, trouble) = match claimed {
            Ok(locked) => {
                let connection = locked.connection();
                let prepare = async {
                    shared.declare(connection, &pace).await?;
                    let drawn = Drawn { epochs: &shared.epochs, depths: shared.waiting.subscribe(), asked: &shared.asked };
                    let subscribing = intake::subscribe(connection, &socket, taken.now(), shared.target.user(), drawn);
                    while_alive(connection, subscribing).await?
                };
                let prepared = tokio::select! {
                    prepared = prepare => prepared,
                    () = stopped(&mut closing) => break,
                };
                let ended = match prepared {
                    Ok(subscribed) => {
                        pace.up();
                        shared.set_consuming(Side::Up);
                        let queues = queues.each_ref().map(String::as_str);
                        let bindings = shared.topology.lock().await.of_queues(&queues);
                        // The others never come; dropped halfway they lose nothing.
                        let ended = tokio::select! {
                            ended = intake::serve(connection, subscribed, &taken, &mut senders, &acks, &mut phase, &mut renewals) => ended,
                            never = depth::watch(connection, &queues, &shared.waiting) => match never {},
                            never = depth::answer(connection, &shared.questions) => match never {},
                            never = inlets::keep(connection, &bindings, &socket) => match never {},
                            never = shared.mind_whether_mute(queues[0]) => match never {},
                        };
                        shared.waiting.send_replace(Vec::new());
                        ended
                    }
                    Err(trouble) => intake::Ended::Lost(trouble),
                };
                match ended {
                    intake::Ended::Closed => {
                        // What is under way still goes out under the lock.
                        shared.published().await;
                        locked.leave("done").await;
                        break;
                    }
                    intake::Ended::Renewed => {
                        locked.leave("taking on anew").await;
                        continue;
                    }
                    intake::Ended::Heavy(intake, most) => {
                        taken.fewer(intake, most);
                        drop(locked);
                        // Until RabbitMQ has taken back what it had sent, in its order.
                        tokio::select! {
                            () = tokio::time::sleep(GIVEN_BACK) => continue,
                            () = stopped(&mut closing) => break,
                        }
                    }
                    intake::Ended::Lost(trouble) => (Some(locked), trouble),
                }
            }
            Err(trouble) => (None, trouble),
        };
        let due = Instant::now() + pace.down(&trouble);
        // Given up before anybody hears of the trouble, unless it lasts.
        let locked = locked.filter(|locked| locked.connection().status().connected());
        shared.set_consuming(Side::Down(trouble));
        let rest = async {
            match locked {
                Some(locked) => locked.keep_until(due).await,
                None => tokio::time::sleep_until(due).await,
            }
        };
        tokio::select! {
            () = rest => {}
            () = stopped(&mut closing) => {}
        }
    }
    shared.set_consuming(Side::Stopped);
}

pub(super) async fn stopped(phase: &mut watch::Receiver<Phase>) {
    // An error means that every handle is gone, which is the same.
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
}

async fn keep_publishing(
    shared: Arc<Shared>,
    settings: PublishSettings,
    mut input: mpsc::Receiver<Vec<Outgoing>>,
    output: mpsc::Sender<Vec<(u64, Outcome)>>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut pace = Pace::new("publishing", &shared.reconnect);
    let mut renewals = shared.renewals.subscribe();
    let mut doubts = Doubts::default();
    let mut lock = shared.lock.subscribe();
    loop {
        renewals.borrow_and_update();
        // What is handed over meanwhile is answered at once; `refuse` returns
        // only when nobody can hand over any more.
        let connect = async {
            shared.may_work().await;
            let connection = shared.target.connect("wsb-broker publishing").await?;
            shared.declare(&connection, &pace).await?;
            let published = shared.topology.lock().await.published.clone();
            while_alive(&connection, outlets::check(&connection, &published)).await??;
            Ok((connection, published))
        };
        let made: Result<_, Trouble> = tokio::select! {
            made = connect => made,
            () = refuse(&mut input, &output) => break,
            () = closed(&mut phase) => break,
        };
        let trouble = match made {
            Ok((connection, published)) => {
                pace.up();
                shared.set_publishing(Side::Up);
                let on_blocked = |reason: Option<String>| {
                    match &reason {
                        Some(reason) => tracing::warn!(%reason, "RabbitMQ has blocked publishers"),
                        None => tracing::debug!("publishers are not blocked"),
                    }
                    shared.state.send_if_modified(|state| std::mem::replace(&mut state.blocked, reason.clone()) != reason);
                };
                let (input, renewals, lock, doubts) = (&mut input, &mut renewals, &mut lock, &mut doubts);
                let served =
                    publisher::serve(connection, &settings, &published, input, &output, &mut phase, renewals, lock, doubts, on_blocked)
                        .await;
                match served {
                    publisher::Ended::Finished => break,
                    publisher::Ended::Renewed => continue,
                    publisher::Ended::Lost(trouble) => trouble,
                }
            }
            Err(trouble) => trouble,
        };
        let delay = pace.down(&trouble);
        shared.set_publishing(Side::Down(trouble));
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = refuse(&mut input, &output) => break,
            () = closed(&mut phase) => break,
        }
    }
    shared.set_publishing(Side::Stopped);
    // Answers whatever is still handed over by those who have not noticed yet.
    input.close();
    refuse(&mut input, &output).await;
}
