//! Builds everything once, supervises the loops, and ends them in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::amqp::{self, Acks, Link, LinkState, Plan, RecipientQueue, Side, Target, Topology, Trouble};
use crate::config::{LoadError, RulesWatch, Sources, Tokens, TokensError, TokensWatch};
use crate::core::audit::{Action, Deed};
use crate::core::engine::{Engine, Fact, Limits, Outgoing, OutgoingOrder};
use crate::core::ids::Recipient;
use crate::core::policy::{Domain, Horizons, Rules};
use crate::core::records::Records;
use crate::core::time::Moment;
use crate::http::{self, Backups, Erasures, Guesses, Health, Looking, Persons, Server};
use crate::ops;
use crate::store::room::{Room, Turned};
use crate::store::{self, Store};
use crate::telemetry::Metrics;
use crate::tls::{Certificates, ServerFiles};
use crate::writer::{self, Effects, Inbox, Ticket, WriterHandle};
use crate::{dispatch, intake};

/// Everything that a run needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where RabbitMQ is.
    pub target: Target,
    /// Where and how to store.
    pub store: store::Options,
    /// The rules.
    pub sources: Sources,
    /// Where to serve HTTP.
    pub http: SocketAddr,
    /// With which certificate; without one HTTP is plain.
    pub http_tls: Option<ServerFiles>,
    /// For how long what has been taken in is remembered.
    pub horizons: Horizons,
    /// For how many days what was delivered can be sent again.
    pub replay_days: u32,
    /// The token of the environment, if there is one.
    pub admin: Tokens,
    /// The file of further tokens.
    pub tokens: Option<PathBuf>,
    /// Intake stops when fewer bytes than this are free on the disk of the store.
    pub least_free: u64,
    /// How many persons it takes to erase a citizen.
    pub erasure: Persons,
    /// How long finishing what is under way may take at a shutdown.
    pub shutdown: Duration,
}

/// Why a run did not begin, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `routing.toml` or `retention.toml` gives no rules.
    #[error("{}", .0.rendered().trim_end())]
    Routing(#[from] LoadError),
    /// The file of tokens gives none.
    #[error("{}", .0.rendered().trim_end())]
    Tokens(#[from] TokensError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// RabbitMQ refuses what the broker needs.
    #[error(transparent)]
    Refused(Trouble),
    /// Anything else, such as an address that is taken.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// How often `routing.toml` and the file of tokens are looked at.
const FILE_POLL: Duration = Duration::from_secs(1);
/// How often it is looked whether deletion notices have been fetched; only of
/// queues with some in them.
const NOTICES_POLL: Duration = Duration::from_secs(10);
/// How long RabbitMQ may take to let go at a shutdown, after everything is on disk.
const PARTING: Duration = Duration::from_secs(3);
/// How often opening is tried on a full disk.
const FULL_DISK_POLL: Duration = Duration::from_secs(5);

/// Returns the topology that the rules ask for.
#[must_use]
pub fn topology_of(rules: &Rules) -> Topology {
    Topology::of(&Plan {
        domains: Domain::ALL.iter().map(|domain| domain.name().to_owned()).collect(),
        recipients: rules
            .recipients()
            .map(|recipient| RecipientQueue { queue: recipient.queue.to_string(), max_length: recipient.max_unfetched })
            .collect(),
        names: amqp::Names::default(),
    })
}

/// Runs the broker until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot begin, or the store fails on the way.
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let (routing, rules) = RulesWatch::start(settings.sources.clone())?;
    let rules = Arc::new(rules);
    let (tokens, tokens_watch) = start_tokens(&settings)?;
    let (store, engine, dead_at_start) = open(&settings, Arc::clone(&rules)).await?;
    let listener = http::bind(settings.http)
        .await
        .with_context(|| format!("cannot serve HTTP at {}: choose another address with --http", settings.http))?;
    let identity = settings.http_tls.clone().map(ServerFiles::open).transpose().context("cannot serve HTTP with TLS")?;
    let certificates = Certificates::new(identity.as_ref(), settings.target.tls().clone());
    let mut signals = Signals::new().context("cannot listen for signals")?;

    let metrics = Arc::new(Metrics::new().context("cannot create the metrics")?);
    let (link, endpoints) = Link::start(amqp::Settings {
        target: settings.target.clone(),
        topology: topology_of(&rules),
        intake: amqp::IntakeSettings::default(),
        publish: amqp::PublishSettings::default(),
        reconnect: amqp::Reconnect::default(),
    });
    let looking = Looking::new(store.reader());
    let (rules_tx, rules_rx) = watch::channel(rules);
    let inbox = Inbox::new();
    let writer = WriterHandle::new(&inbox);
    let writer_seen = Arc::new(AtomicI64::new(now().0));
    let (attempts_tx, attempts) = mpsc::channel(Limits::default().most_under_way());
    // As with attempts: room for all that may be under way, one to a group.
    let (orders_tx, orders) = mpsc::channel(Limits::default().most_under_way());
    let room = Room::new(&settings.store.data_dir, settings.least_free);
    let disk = room.missing();
    let hear = Arc::new(Notify::new());
    let outlet = Outlet {
        room,
        acks: endpoints.acks,
        attempts: attempts_tx,
        orders: orders_tx,
        hear: Arc::clone(&hear),
        metrics: Arc::clone(&metrics),
        seen: Arc::clone(&writer_seen),
    };
    let mut ended = start_writer(engine, store, &inbox, outlet)?;

    let amqp::Deliveries { tilknytning, events, returned } = endpoints.deliveries;
    tokio::spawn(intake::read_urgent(tilknytning, writer.clone(), rules_rx.clone(), endpoints.ahead.clone()));
    tokio::spawn(intake::read_ordinary(events, writer.clone(), rules_rx.clone(), endpoints.ahead.clone()));
    tokio::spawn(intake::read_returned(returned, writer.clone()));
    tokio::spawn(dispatch::publish(attempts, endpoints.publish.clone(), writer.clone()));
    tokio::spawn(dispatch::publish_orders(orders, endpoints.publish, writer.clone()));
    tokio::spawn(dispatch::report(endpoints.outcomes, writer.clone()));
    tokio::spawn(intake::hear(hear, writer.clone(), endpoints.ahead));
    tokio::spawn(follow_link(link.state(), writer.clone()));
    let (reload, reloads) = mpsc::channel(1);
    let (reload_tokens, tokens_reloads) = mpsc::channel(1);
    let (tokens_tx, tokens_rx) = watch::channel(Arc::new(tokens));
    if let Some(watch) = tokens_watch {
        tokio::spawn(follow_tokens(watch, tokens_reloads, settings.admin.clone(), tokens_tx, writer.clone(), Arc::clone(&metrics)));
    }
    tokio::spawn(follow_routing(routing, reloads, rules_tx, writer.clone(), link.clone(), Arc::clone(&metrics)));

    tokio::spawn(follow_notices(link.clone(), rules_rx.clone(), writer.clone()));

    let (stopping_tx, stopping) = watch::channel(false);
    let health = Health { disk, link: link.state(), waiting: link.waiting(), writer_seen, stopping: stopping.clone() };
    let server = Server {
        writer: writer.clone(),
        metrics,
        rules: rules_rx,
        health,
        backups: Backups::after(store::latest_backup::noted(&settings.store.data_dir)),
        erasures: Erasures::new(settings.erasure),
        looking,
        replay_days: settings.replay_days,
        tokens: tokens_rx,
        guesses: Guesses::default(),
        certificates,
        dead_at_start,
    };
    let (http_stop, http_stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let stop = async {
            // Dropped or sent, the meaning is the same.
            let _ = http_stopped.await;
        };
        match identity {
            Some(identity) => http::serve_tls(listener, identity, server, stop).await,
            None => http::serve(listener, server, stop).await,
        }
    });
    info!(rabbitmq = %settings.target, http = %settings.http, "the store is open and HTTP is served; connecting to RabbitMQ");

    let mut refusals = Box::pin(link.ready());
    let mut waiting_for_rabbitmq = true;
    let outcome = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Asked::Stop => break Ok(()),
                // A reload that is due already is this one too.
                Asked::Reload => drop((reload.try_send(()), reload_tokens.try_send(()))),
            },
            first = &mut refusals, if waiting_for_rabbitmq => {
                waiting_for_rabbitmq = false;
                match first {
                    Ok(()) => info!("connected; consuming and publishing"),
                    Err(trouble) if trouble.needs_operator() => break Err(RunError::Refused(trouble)),
                    // The link ends by itself only after the writer, which says why.
                    Err(_) => break Err(stopped_early((&mut ended).await)),
                }
            }
            end = &mut ended => break Err(stopped_early(end)),
        }
    };

    // Readers of a stopping process see it in readiness; none may be left.
    let _ = stopping_tx.send(true);
    link.stop_intake();
    if outcome.is_ok() {
        info!("stopping: finishing what is under way");
        settle(&writer, settings.shutdown).await;
    }
    writer.close();
    let stored = if matches!(outcome, Err(RunError::Other(_))) { Ok(()) } else { finish(ended, settings.shutdown).await };
    // What RabbitMQ does not answer to comes again, and is known then.
    if tokio::time::timeout(PARTING, link.close()).await.is_err() {
        info!("RabbitMQ does not answer: gone without saying goodbye");
    }
    drop(http_stop);
    let _ = tokio::time::timeout(Duration::from_secs(2), serving).await;
    outcome.and(stored)?;
    info!("stopped");
    Ok(())
}

type WriterEnd = oneshot::Receiver<Result<(), anyhow::Error>>;

/// Opens the store and makes the engine for it; returns also how many were dead before
/// that did anything.
async fn open(settings: &Settings, rules: Arc<Rules>) -> Result<(Store, Engine, Vec<(Recipient, u64)>), RunError> {
    let (options, horizons, erasure) = (settings.store.clone(), settings.horizons, settings.erasure);
    let opened = tokio::task::spawn_blocking(move || -> Result<_, RunError> {
        let mut store = open_when_there_is_room(&options)?;
        store::two_persons::note(&options.data_dir, erasure == Persons::Two).context("cannot note how many persons an erasure takes")?;
        let counts = store.row_counts().context("cannot read what is stored")?;
        let dead = counts.iter().map(|(recipient, counts)| (*recipient, counts.dead)).collect();
        let mut engine = Engine::new(rules, Limits::default());
        engine.remember_for(horizons);
        engine.recover(&mut store).context("cannot read what is stored")?;
        writer::Commit::commit(&mut store, true).context("cannot write the store")?;
        Ok((store, engine, dead))
    });
    opened.await.context("opening the store failed")?
}

/// Opens the store; on a full disk, once there is room.
fn open_when_there_is_room(options: &store::Options) -> Result<Store, store::OpenError> {
    let mut told = false;
    loop {
        match Store::open(options) {
            Err(error @ store::OpenError::Full(_)) => {
                if !std::mem::replace(&mut told, true) {
                    error!("{error}; waiting for room");
                }
                thread::sleep(FULL_DISK_POLL);
            }
            opened => return opened,
        }
    }
}

/// Starts the writer on a thread of its own; its end comes through the channel.
fn start_writer(engine: Engine, store: Store, inbox: &Arc<Inbox<Store>>, outlet: Outlet) -> Result<WriterEnd, anyhow::Error> {
    let (tell, ended) = oneshot::channel();
    let inbox = Arc::clone(inbox);
    thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || {
            let watchdog = store::Watchdog::start();
            let result = writer::run(engine, store, &inbox, Box::new(outlet), &watchdog, writer::Settings::default());
            // The store is closed before anybody hears of the end.
            let result = result.map(drop).map_err(anyhow::Error::from);
            drop(tell.send(result));
        })
        .context("cannot start the writer's thread")?;
    Ok(ended)
}

fn stopped_early(end: Result<Result<(), anyhow::Error>, oneshot::error::RecvError>) -> RunError {
    let error = match end {
        Ok(Ok(())) => anyhow::anyhow!("the writer stopped of its own accord"),
        Ok(Err(error)) => error.context("the store failed; what was not acknowledged comes again after a restart"),
        Err(_) => anyhow::anyhow!("the writer ended without a word"),
    };
    RunError::Other(error)
}

async fn finish(ended: WriterEnd, within: Duration) -> Result<(), RunError> {
    match tokio::time::timeout(within.max(Duration::from_secs(5)), ended).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(end) => Err(stopped_early(end)),
        Err(_) => Err(RunError::Other(anyhow::anyhow!("the store did not finish in time; nothing acknowledged is lost"))),
    }
}

/// Waits until nothing is under way any more, at most for `within`.
async fn settle(writer: &WriterHandle<Store>, within: Duration) {
    let idle = async {
        loop {
            let in_flight = writer
                .ask(|access| {
                    // Nothing more goes out; outcomes still come in.
                    access.engine.set_connected(false);
                    access.engine.in_flight()
                })
                .await;
            match in_flight {
                Ok(0) | Err(_) => return,
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    if tokio::time::timeout(within, idle).await.is_err() {
        warn!("some attempts have no outcome yet; they are made again after the next start, with the same ids");
    }
}

/// Tells the writer whether attempts can be performed.
async fn follow_link(mut state: watch::Receiver<LinkState>, writer: WriterHandle<Store>) {
    let mut told = None;
    loop {
        let connected = {
            let state = state.borrow_and_update();
            state.publishing == Side::Up && state.blocked.is_none()
        };
        if told.replace(connected) != Some(connected) {
            writer.set_connected(connected);
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// Looks into the queues in which deletion notices may lie, until the writer ends.
async fn follow_notices(link: Link, rules: watch::Receiver<Arc<Rules>>, writer: WriterHandle<Store>) {
    let mut look = tokio::time::interval(NOTICES_POLL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let Ok(to_look_at) = writer.ask(|access| access.engine.notices_to_look_at()).await else { return };
        for (recipient, confirmed) in to_look_at {
            let queue = rules.borrow().recipient(recipient).map(|rule| Arc::clone(&rule.queue));
            // The queue of one that has left routing.toml is nobody's to look into.
            let Some(queue) = queue else { continue };
            let Some(depth) = link.depth(&queue).await else { continue };
            let noted =
                writer.ask(move |access| access.engine.notices_looked_at(recipient, confirmed, u64::from(depth), access.records)).await;
            match noted {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "what was fetched of the deletion notices could not be noted"),
                Err(_) => return,
            }
        }
    }
}

/// Takes over a changed `routing.toml` or `retention.toml`; keeps the old rules
/// when the new file has mistakes, or asks for something that RabbitMQ refuses.
async fn follow_routing(
    mut routing: RulesWatch,
    mut asked: mpsc::Receiver<()>,
    rules: watch::Sender<Arc<Rules>>,
    writer: WriterHandle<Store>,
    link: Link,
    metrics: Arc<Metrics>,
) {
    let mut poll = tokio::time::interval(FILE_POLL);
    loop {
        let loaded = tokio::select! {
            _ = poll.tick() => routing.poll(),
            asked = asked.recv() => match asked {
                Some(()) => Some(routing.reload()),
                None => return,
            },
        };
        let new = match loaded {
            None => continue,
            Some(Ok(new)) => Arc::new(new),
            Some(Err(mistakes)) => {
                error!("{} is refused, the rules stay as they were:\n{}", mistakes.file_name(), mistakes.rendered());
                metrics.reloaded(false);
                continue;
            }
        };
        match link.update_topology(topology_of(&new)).await {
            Ok(amqp::Applied::Now) => {}
            Ok(amqp::Applied::OnReconnect(trouble)) => info!(%trouble, "new queues are declared with the next connection"),
            Err(refused) => {
                error!(%refused, "routing.toml is refused, the rules stay as they were");
                metrics.reloaded(false);
                continue;
            }
        }
        let for_engine = Arc::clone(&new);
        let about = format!("{} types, {} recipients", new.message_types().count(), new.recipients().count());
        let taken_over = writer.ask(move |access| {
            access.engine.set_rules(for_engine);
            ops::note(access.records, access.now, Deed::new(BROKER, SYSTEM, Action::RoutingReloaded, &about))
        });
        if !matches!(taken_over.await, Ok(Ok(()))) {
            return;
        }
        let (types, recipients) = (new.message_types().count(), new.recipients().count());
        info!(types, recipients, deletion_rules = new.schedule().rules().count(), "routing.toml and retention.toml taken over");
        rules.send_replace(new);
        metrics.reloaded(true);
    }
}

fn start_tokens(settings: &Settings) -> Result<(Tokens, Option<TokensWatch>), TokensError> {
    let Some(path) = &settings.tokens else { return Ok((settings.admin.clone(), None)) };
    let (watch, tokens) = TokensWatch::start(path)?;
    Ok((settings.admin.and(&tokens), Some(watch)))
}

/// Takes over a changed file of tokens; keeps the old ones when the new file has
/// mistakes.
async fn follow_tokens(
    mut file: TokensWatch,
    mut asked: mpsc::Receiver<()>,
    admin: Tokens,
    known: watch::Sender<Arc<Tokens>>,
    writer: WriterHandle<Store>,
    metrics: Arc<Metrics>,
) {
    let mut poll = tokio::time::interval(FILE_POLL);
    loop {
        // Both arms only say when to look; a look that is left out comes later.
        let loaded = tokio::select! {
            _ = poll.tick() => file.poll(),
            asked = asked.recv() => match asked {
                Some(()) => Some(file.reload()),
                None => return,
            },
        };
        match loaded {
            None => continue,
            Some(Ok(tokens)) => {
                let deed = Deed::new(BROKER, SYSTEM, Action::TokensReloaded, &format!("{} tokens", tokens.len()));
                if !matches!(writer.ask(move |access| ops::note(access.records, access.now, deed)).await, Ok(Ok(()))) {
                    return;
                }
                info!(tokens = tokens.len(), "the file of tokens taken over");
                known.send_replace(Arc::new(admin.and(&tokens)));
                metrics.tokens_reloaded(true);
            }
            Some(Err(mistakes)) => {
                error!("the file of tokens is refused, the tokens stay as they were:\n{}", mistakes.rendered());
                metrics.tokens_reloaded(false);
            }
        }
    }
}

/// Who acts when a file has changed, for the audit log.
const BROKER: &str = "broker";
/// The role of what acts by itself.
const SYSTEM: &str = "system";

/// What the process is asked to do.
enum Asked {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        // A signal that another arm is dropped for stays with its listener.
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}

/// Returns the time.
#[must_use]
pub fn now() -> Moment {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Performs what the writer decides.
struct Outlet {
    room: Room,
    acks: Acks,
    attempts: mpsc::Sender<(Instant, Vec<Outgoing>)>,
    orders: mpsc::Sender<(Instant, Vec<OutgoingOrder>)>,
    hear: Arc<Notify>,
    metrics: Arc<Metrics>,
    seen: Arc<AtomicI64>,
}

impl Effects for Outlet {
    fn acknowledge(&mut self, through: Ticket) {
        if let Some(intake) = intake::intake_of(through.queue) {
            self.acks.ack_through(intake, through.epoch, through.tag);
        }
    }

    fn attempt(&mut self, attempts: Vec<Outgoing>, decided: Instant) {
        // There is room for every attempt that the engine lets be under way,
        // each in a group of its own; only a shutdown closes the channel, and
        // then the attempt is made again after the next start.
        drop(self.attempts.try_send((decided, attempts)));
    }

    fn order(&mut self, orders: Vec<OutgoingOrder>, decided: Instant) {
        drop(self.orders.try_send((decided, orders)));
    }

    fn ask_whether_heard(&mut self) {
        self.hear.notify_one();
    }

    fn report(&mut self, facts: &[Fact]) {
        self.metrics.record(facts);
    }

    fn committed(&mut self, took: Duration, events: usize) {
        self.metrics.committed(took, events);
    }

    fn has_room(&mut self) -> bool {
        let (has_room, turned) = self.room.look();
        match turned {
            Some(Turned::TooFull) => {
                error!(
                    "{}; nothing acknowledged is lost, and RabbitMQ keeps what comes",
                    self.room.missing().in_words().unwrap_or_default()
                );
            }
            Some(Turned::EnoughAgain) => info!("there is room on the disk again; intake goes on"),
            None => {}
        }
        has_room
    }

    fn now(&mut self) -> Moment {
        let now = now();
        self.seen.store(now.0, Ordering::Relaxed);
        now
    }
}
