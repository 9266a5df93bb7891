//! The metrics of the contract, section 9. Labels come from `routing.toml` and
//! from closed enums.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tracing::{debug, info, warn};

use crate::core::engine::{Consumption, Fact, QueueView, Stage};
use crate::core::erasure::Cause;
use crate::core::ids::Recipient;
use crate::core::notices::Unfetched;
use crate::core::outbox::Failure;
use crate::core::policy::Rules;
use crate::core::retention::Surprise;
use crate::core::retry::{self, Outcome};
use crate::core::routing::Suppression;
use crate::core::time::Moment;

/// The delivery objective of `deploy/prometheus/recording.yml`: a delivery that takes
/// longer is late. Also a bound of the histogram.
const OBJECTIVE_SECONDS: f64 = 60.0;

/// The metrics could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the metrics could not be written as text")]
pub struct Refused(#[source] prometheus::Error);

/// The state that gauges are set from when metrics are asked for.
#[derive(Debug, Clone)]
pub struct Gauges<'a> {
    /// Every queue.
    pub queues: &'a [QueueView],
    /// Whose recipients and types have series, at zero until something is counted.
    pub rules: &'a Rules,
    /// Whether both connections to RabbitMQ are up.
    pub connected: bool,
    /// Whether everything works, as readiness asks.
    pub ready: bool,
    /// How many messages lie ready in each queue that is consumed, as far as is known.
    pub waiting: &'a [(String, u32)],
    /// What the store takes on disk.
    pub store_bytes: u64,
    /// What is free on the disk of the store.
    pub disk_free_bytes: u64,
    /// Until when each certificate is valid.
    pub certificates: &'a [(&'a str, Moment)],
    /// When the latest backup was taken, if one is known.
    pub latest_backup: Option<Moment>,
    /// Deletion orders that nobody has answered in time.
    pub orders_overdue: u64,
    /// Whoever has not fetched deletion notices.
    pub unfetched: &'a [Unfetched],
    /// Now.
    pub now: Moment,
}

/// How much has gone through since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Through {
    /// Events taken in, whatever became of them.
    pub taken_in: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Recipients that had lost the citizen and were not told.
    pub prevented: u64,
    /// Recipients that were not told since memberships contradict one another.
    pub contradictory: u64,
}

/// All metrics.
pub struct Metrics {
    registry: Registry,
    consumed: IntCounterVec,
    deliveries: IntCounterVec,
    attempts: HashMap<&'static str, IntCounter>,
    put_off: IntCounter,
    suppressed: IntCounterVec,
    prevented: HashMap<&'static str, IntCounter>,
    pending: IntGaugeVec,
    retrying: IntGaugeVec,
    dead: IntGaugeVec,
    oldest: GaugeVec,
    blocked: IntGaugeVec,
    paused: IntGaugeVec,
    resting: IntGaugeVec,
    event_to_delivery: Histogram,
    late: IntCounterVec,
    commit_seconds: Histogram,
    commit_batch: Histogram,
    notices: IntCounterVec,
    unfetched: IntGaugeVec,
    orders: IntCounterVec,
    orders_overdue: IntGauge,
    erased: HashMap<&'static str, IntCounter>,
    unexpected: HashMap<&'static str, IntCounter>,
    store_bytes: IntGauge,
    disk_free_bytes: IntGauge,
    latest_backup: IntGauge,
    reloads: HashMap<&'static str, IntCounter>,
    routing_refused: IntGauge,
    tokens_reloads: HashMap<&'static str, IntCounter>,
    tokens_refused: IntGauge,
    refusals: HashMap<&'static str, IntCounter>,
    connected: Gauge,
    ready: IntGauge,
    waiting: IntGaugeVec,
    certificates: IntGaugeVec,
    /// Counters by label, so that a fact need not hash its labels' names.
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    consumed: HashMap<(Option<Arc<str>>, Consumption), IntCounter>,
    suppressed: HashMap<(Arc<str>, Suppression), IntCounter>,
    ended: HashMap<(Arc<str>, &'static str, &'static str), IntCounter>,
    orders: HashMap<Arc<str>, IntCounter>,
    shown: BTreeSet<Recipient>,
}

/// The entity label of what is in quarantine: it has no type.
const NO_ENTITY: &str = "none";

impl Metrics {
    /// Creates every metric, at zero.
    ///
    /// # Errors
    /// Never in practice: only for a name that is taken or malformed.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("wsb".to_owned()), None)?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let gauges = |name: &str, help: &str| {
            let made = IntGaugeVec::new(Opts::new(name, help), &["recipient"])?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let made = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let one = |name: &str, help: &str| {
            let made = IntGauge::new(name, help)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let counter = |name: &str, help: &str| {
            let made = IntCounter::new(name, help)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        // Each value of a closed label exists from the start, at zero: a rate
        // over a series that begins at one would miss the first event.
        let closed =
            |vec: &IntCounterVec, values: &[&'static str]| values.iter().map(|value| (*value, vec.with_label_values(&[*value]))).collect();

        let attempts = counters("delivery_attempts_total", "Attempts to deliver, by outcome.", &["outcome"])?;
        let prevented =
            counters("wrong_recipient_prevented_total", "Recipients that have lost the citizen and were not told.", &["stage"])?;
        let reloads = counters("routing_reload_total", "Reloads of routing.toml.", &["outcome"])?;
        let tokens_reloads = counters("tokens_reload_total", "Reloads of the file of tokens.", &["outcome"])?;
        let refusals = counters("http_refused_total", "Requests to the admin API that were refused.", &["why"])?;
        let erased = counters("citizens_erased_total", "Citizens of whom nothing is kept any more, by why.", &["cause"])?;
        let unexpected =
            counters("gdpr_unexpected_deletions_total", "Deletions that DFDG has carried out and the rules did not expect.", &["why"])?;
        let oldest =
            GaugeVec::new(Opts::new("oldest_pending_seconds", "How long the oldest unfinished delivery has waited."), &["recipient"])?;
        registry.register(Box::new(oldest.clone()))?;
        let connected = Gauge::new("amqp_connected", "1 while both connections to RabbitMQ are up.")?;
        registry.register(Box::new(connected.clone()))?;
        let waiting =
            IntGaugeVec::new(Opts::new("intake_waiting", "Messages that lie ready in a queue that the broker consumes."), &["queue"])?;
        registry.register(Box::new(waiting.clone()))?;
        let settings_refused = IntGaugeVec::new(
            Opts::new("settings_refused", "1 while a changed file is refused, so that what is in force is not what is in it."),
            &["file"],
        )?;
        registry.register(Box::new(settings_refused.clone()))?;
        let certificates = IntGaugeVec::new(
            Opts::new("certificate_expiry_timestamp_seconds", "Until when a certificate is valid, in seconds since 1970."),
            &["certificate"],
        )?;
        registry.register(Box::new(certificates.clone()))?;
        let build = IntGaugeVec::new(Opts::new("build_info", "1, labeled with the version."), &["version"])?;
        registry.register(Box::new(build.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);

        Ok(Self {
            consumed: counters("events_consumed_total", "Events taken in, by what became of them.", &["entity", "outcome"])?,
            deliveries: counters("deliveries_total", "Deliveries that ended or were given up.", &["entity", "recipient_type", "outcome"])?,
            attempts: closed(&attempts, &["confirmed", "nacked", "returned", "timeout", "connection"]),
            put_off: counter(
                "attempts_put_off_total",
                "Attempts that could not be made soon enough after they were decided, and are decided anew.",
            )?,
            suppressed: counters("deliveries_suppressed_total", "Recipients left out at intake.", &["entity", "reason"])?,
            prevented: closed(&prevented, &["decision", "attempt", "replay"]),
            pending: gauges("pending", "Deliveries never attempted yet.")?,
            retrying: gauges("retrying", "Deliveries to be tried again.")?,
            dead: gauges("dead", "Deliveries given up, waiting for an operator.")?,
            oldest,
            blocked: gauges("lanes_blocked", "Lanes that wait behind a delivery that is being retried, or are parked.")?,
            paused: gauges("queue_paused", "1 while the queue is paused, for whatever reason.")?,
            resting: gauges("queue_maintenance", "1 while the queue is paused by order, or for a maintenance window: no cause for alarm.")?,
            late: counters(
                "deliveries_late_total",
                "Deliveries that took more than 60 seconds while nothing held them on purpose, or were given up.",
                &["recipient"],
            )?,
            event_to_delivery: histogram(
                "event_to_delivery_seconds",
                "From an event's intake to the confirmed delivery.",
                vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0],
            )?,
            commit_seconds: histogram(
                "commit_seconds",
                "From the first change of a group to its being durable.",
                vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0],
            )?,
            commit_batch: histogram(
                "commit_batch_events",
                "Events in a group.",
                vec![1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0],
            )?,
            notices: counters("gdpr_notices_total", "Deletion notices delivered, by data area.", &["area"])?,
            unfetched: gauges("gdpr_notices_unfetched", "Deletion notices of former days that lie in the recipient's queue, at the most.")?,
            orders: counters("gdpr_orders_total", "Deletion orders published, by data area.", &["area"])?,
            orders_overdue: one("gdpr_orders_overdue", "Deletion orders that nobody has answered in time.")?,
            erased: closed(&erased, &["order", "last_record"]),
            unexpected: closed(&unexpected, &Surprise::ALL.map(Surprise::name)),
            store_bytes: one("store_bytes", "What the store takes on disk.")?,
            disk_free_bytes: one("disk_free_bytes", "What is free on the disk of the data directory.")?,
            latest_backup: one(
                "latest_backup_timestamp_seconds",
                "When the latest backup was taken, in seconds since 1970; 0 while none is known.",
            )?,
            reloads: closed(&reloads, &["accepted", "refused"]),
            routing_refused: settings_refused.with_label_values(&["routing"]),
            tokens_reloads: closed(&tokens_reloads, &["accepted", "refused"]),
            tokens_refused: settings_refused.with_label_values(&["tokens"]),
            refusals: closed(&refusals, &["closed", "no_token", "unknown_token", "too_many", "not_allowed"]),
            connected,
            ready: one("ready", "1 while consuming, publishing and storing work.")?,
            waiting,
            certificates,
            registry,
            cache: Mutex::default(),
        })
    }

    /// Counts and tells what happened.
    pub fn record(&self, facts: &[Fact]) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for fact in facts {
            self.record_one(fact, &mut cache);
        }
    }

    fn record_one(&self, fact: &Fact, cache: &mut Cache) {
        match fact {
            Fact::Consumed(entity, outcome) => cache
                .consumed
                .entry((entity.clone(), *outcome))
                .or_insert_with(|| self.consumed.with_label_values(&[entity.as_deref().unwrap_or(NO_ENTITY), consumption(*outcome)]))
                .inc(),
            Fact::Suppressed(entity, why) => cache
                .suppressed
                .entry((Arc::clone(entity), *why))
                .or_insert_with(|| self.suppressed.with_label_values(&[&**entity, why.name()]))
                .inc(),
            Fact::WrongRecipientPrevented(stage) => count(&self.prevented, stage_name(*stage)),
            Fact::Attempted(outcome) => match outcome {
                Outcome::NotMade => self.put_off.inc(),
                Outcome::Confirmed => count(&self.attempts, "confirmed"),
                Outcome::Failed { failure, .. } => count(&self.attempts, retry::class_of(*failure).counted_as),
            },
            Fact::Delivered(entity, recipient, took, free) => {
                let (took, free) = (*took as f64 / 1e6, *free as f64 / 1e6);
                self.event_to_delivery.observe(took);
                if took.min(free) > OBJECTIVE_SECONDS {
                    self.late(*recipient);
                }
                self.ended(cache, entity, *recipient, "delivered");
            }
            Fact::NoticeDelivered(area) => self.notices.with_label_values(&[&**area]).inc(),
            Fact::NoticesUnfetched(reminder) => {
                let (recipient, delivered, notices, days) = (reminder.recipient, reminder.day, reminder.notices, reminder.after);
                warn!(%recipient, %delivered, notices, days, "deletion notices lie unfetched: the recipient has not been reached");
            }
            Fact::Withdrawn(entity, recipient, why) => {
                debug!(%entity, %recipient, reason = why.name(), "delivery withdrawn");
                self.ended(cache, entity, *recipient, "withdrawn");
            }
            Fact::Died(entity, recipient, why) => {
                warn!(%entity, %recipient, reason = why.name(), "delivery given up; it waits for an operator");
                // What a vendor rejects had reached it.
                if !why.had_arrived() {
                    self.late(*recipient);
                }
                self.ended(cache, entity, *recipient, "dead");
            }
            Fact::Paused(recipient, pause) if pause.failures == 1 => {
                warn!(%recipient, cause = pause_cause(pause.cause), "queue paused; it is probed until it works again");
            }
            Fact::Paused(recipient, pause) => debug!(%recipient, failures = pause.failures, "queue still paused"),
            Fact::Erased(cause) => {
                // Nothing of whom: a log outlives the citizen.
                match cause {
                    Cause::Order => info!(cause = erasure_cause(*cause), "citizen erased"),
                    // Many in a night, and expected.
                    Cause::LastRecord => debug!(cause = erasure_cause(*cause), "citizen erased"),
                }
                count(&self.erased, erasure_cause(*cause));
            }
            Fact::CameBackForgotten(recipient) => warn!(
                %recipient,
                "rejected a WSB about a citizen who has been forgotten since: it cannot be sent again; if it was a deletion notice, its vendor has to be told in another way"
            ),
            Fact::CannotErase => {
                warn!(
                    "citizens whose last record is gone wait to be forgotten: the list of erased citizens (--erased-list) cannot be written, or has been replaced by one that lacks erasures"
                );
            }
            Fact::Resumed(recipient) => info!(%recipient, "queue works again"),
            Fact::RestBegan(recipient, Some(until)) => info!(%recipient, %until, "queue is left alone"),
            Fact::RestBegan(recipient, None) => info!(%recipient, "queue is left alone until further notice"),
            Fact::RestEnded(recipient) => info!(%recipient, "queue goes on"),
            Fact::DeletionOrdered(area) => {
                cache.orders.entry(Arc::clone(area)).or_insert_with(|| self.orders.with_label_values(&[&**area])).inc()
            }
            Fact::UnexpectedDeletion(area, told) => {
                let Some(why) = told.surprise().map(Surprise::name) else { return };
                debug!(%area, why, "a deletion that the rules did not expect");
                count(&self.unexpected, why);
            }
            Fact::Replay(replay, stage) => info!(%replay, stage = stage.name(), "replay has come to another stage"),
        }
    }

    fn late(&self, recipient: Recipient) {
        self.late.with_label_values(&[recipient.to_string()]).inc();
    }

    fn ended(&self, cache: &mut Cache, entity: &Arc<str>, recipient: Recipient, outcome: &'static str) {
        cache
            .ended
            .entry((Arc::clone(entity), recipient.kind(), outcome))
            .or_insert_with(|| self.deliveries.with_label_values(&[&**entity, recipient.kind(), outcome]))
            .inc();
    }

    /// Counts a commit of a group of so many events.
    pub fn committed(&self, took: Duration, events: usize) {
        self.commit_seconds.observe(took.as_secs_f64());
        if events > 0 {
            self.commit_batch.observe(events as f64);
        }
    }

    /// Counts a reload of `routing.toml`.
    pub fn reloaded(&self, accepted: bool) {
        count(&self.reloads, if accepted { "accepted" } else { "refused" });
        self.routing_refused.set(i64::from(!accepted));
    }

    /// Returns whether the latest `routing.toml` was refused, so that the rules in
    /// force are not those of the file.
    #[must_use]
    pub fn routing_is_refused(&self) -> bool {
        self.routing_refused.get() != 0
    }

    /// Returns how much has gone through since the start.
    #[must_use]
    pub fn gone_through(&self) -> Through {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let delivered = cache.ended.iter().filter(|((_, _, outcome), _)| *outcome == "delivered");
        Through {
            taken_in: cache.consumed.values().map(IntCounter::get).sum(),
            delivered: delivered.map(|(_, counter)| counter.get()).sum(),
            prevented: self.prevented.values().map(IntCounter::get).sum(),
            contradictory: cache
                .suppressed
                .iter()
                .filter(|((_, why), _)| *why == Suppression::ContradictoryMembership)
                .map(|(_, counter)| counter.get())
                .sum(),
        }
    }

    /// Counts a reload of the file of tokens.
    pub fn tokens_reloaded(&self, accepted: bool) {
        count(&self.tokens_reloads, if accepted { "accepted" } else { "refused" });
        self.tokens_refused.set(i64::from(!accepted));
    }

    /// Returns whether the latest file of tokens was refused, so that the tokens in
    /// force are not those of the file.
    #[must_use]
    pub fn tokens_are_refused(&self) -> bool {
        self.tokens_refused.get() != 0
    }

    /// Counts a request to the admin API that was refused, by the word for why.
    pub fn refused(&self, why: &'static str) {
        count(&self.refusals, why);
    }

    /// Writes every metric as Prometheus text.
    ///
    /// # Errors
    /// When a value cannot be written.
    pub fn render(&self, gauges: &Gauges<'_>) -> Result<String, Refused> {
        self.set(gauges);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).map_err(Refused)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Lets the series that an alert or a panel watches exist before their first count:
    /// the increase of one that begins at one would miss it, and the alert with it.
    fn begin_at_zero(&self, rules: &Rules) {
        self.consumed.with_label_values(&[NO_ENTITY, consumption(Consumption::Quarantined)]);
        for entity in rules.message_types().map(|of| &*of.name) {
            self.suppressed.with_label_values(&[entity, Suppression::ContradictoryMembership.name()]);
            for kind in ["akasse", "kommune"] {
                for outcome in ["delivered", "withdrawn", "dead"] {
                    self.deliveries.with_label_values(&[entity, kind, outcome]);
                }
            }
        }
        for rule in rules.schedule().rules() {
            self.orders.with_label_values(&[&*rule.id]);
            self.notices.with_label_values(&[&*rule.id]);
        }
        for area in rules.noticed_areas() {
            self.notices.with_label_values(&[area]);
        }
    }

    fn set(&self, gauges: &Gauges<'_>) {
        self.begin_at_zero(gauges.rules);
        self.connected.set(if gauges.connected { 1.0 } else { 0.0 });
        self.ready.set(i64::from(gauges.ready));
        // What is not known now has no series, instead of an old number.
        self.waiting.reset();
        for (queue, messages) in gauges.waiting {
            self.waiting.with_label_values(&[queue.as_str()]).set(i64::from(*messages));
        }
        self.orders_overdue.set(i64::try_from(gauges.orders_overdue).unwrap_or(i64::MAX));
        // One that cannot be read has no series.
        self.certificates.reset();
        for (certificate, until) in gauges.certificates {
            self.certificates.with_label_values(&[*certificate]).set(until.0 / 1_000_000);
        }
        self.latest_backup.set(gauges.latest_backup.map_or(0, |at| at.0 / 1_000_000));
        self.store_bytes.set(i64::try_from(gauges.store_bytes).unwrap_or(i64::MAX));
        self.disk_free_bytes.set(i64::try_from(gauges.disk_free_bytes).unwrap_or(i64::MAX));
        let views: HashMap<Recipient, &QueueView> = gauges.queues.iter().map(|view| (view.recipient, view)).collect();
        // A recipient that has left routing.toml keeps its series while
        // something of its waits.
        let mut shown: BTreeSet<Recipient> = gauges.rules.recipients().map(|rule| rule.recipient).collect();
        shown.extend(gauges.unfetched.iter().map(|of| of.recipient));
        shown.extend(gauges.queues.iter().filter(|view| view.oldest.is_some() || view.counts.dead > 0).map(|view| view.recipient));
        for recipient in &shown {
            let label = recipient.to_string();
            let label = [label.as_str()];
            let view = views.get(recipient);
            let counts = view.map(|view| view.counts).unwrap_or_default();
            let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            self.pending.with_label_values(&label).set(number(counts.pending));
            self.retrying.with_label_values(&label).set(number(counts.retrying));
            self.dead.with_label_values(&label).set(number(counts.dead));
            self.oldest
                .with_label_values(&label)
                .set(view.and_then(|view| view.oldest).map_or(0.0, |oldest| gauges.now.seconds_since(oldest)));
            self.blocked.with_label_values(&label).set(view.map_or(0, |view| number(view.lanes_blocked as u64)));
            self.late.with_label_values(&label);
            let rests = view.is_some_and(|view| view.resting.is_some());
            self.paused.with_label_values(&label).set(i64::from(rests || view.is_some_and(|view| view.pause.is_some())));
            self.resting.with_label_values(&label).set(i64::from(rests));
            let unfetched = gauges.unfetched.iter().find(|of| of.recipient == *recipient);
            self.unfetched.with_label_values(&label).set(unfetched.map_or(0, |of| number(of.of_former_days)));
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in cache.shown.difference(&shown) {
            let label = gone.to_string();
            for vec in [&self.pending, &self.retrying, &self.dead, &self.blocked, &self.paused, &self.resting, &self.unfetched] {
                // A series that is gone already is what is wanted.
                let _ = vec.remove_label_values(&[label.as_str()]);
            }
            let _ = self.oldest.remove_label_values(&[label.as_str()]);
            let _ = self.late.remove_label_values(&[label.as_str()]);
        }
        cache.shown = shown;
    }
}

fn count(counters: &HashMap<&'static str, IntCounter>, label: &'static str) {
    if let Some(counter) = counters.get(label) {
        counter.inc();
    }
}

fn consumption(outcome: Consumption) -> &'static str {
    match outcome {
        Consumption::Routed => "routed",
        Consumption::NoRecipient => "no_recipient",
        Consumption::Duplicate => "duplicate",
        Consumption::Quarantined => "quarantined",
    }
}

fn erasure_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Order => "order",
        Cause::LastRecord => "last_record",
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Decision => "decision",
        Stage::Attempt => "attempt",
        Stage::Replay => "replay",
    }
}

fn pause_cause(cause: Failure) -> &'static str {
    match cause {
        Failure::Nacked => "the queue is full, or RabbitMQ refuses messages for it",
        Failure::Returned => "the queue or its binding is missing: wsb-broker topology --apply declares it again, as a restart does",
        Failure::Timeout => "RabbitMQ does not confirm in time",
        Failure::Connection => "the connection was lost",
        Failure::Refused => "RabbitMQ refuses access",
        Failure::ChannelClosed => "RabbitMQ closes the channel: the exchange is missing, or refuses messages for it",
        Failure::Blocked => "RabbitMQ is out of memory or disk",
        Failure::Unsendable => "a message cannot be written",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::outbox::Death;
    use crate::core::policy::RetryPolicy;
    use crate::core::schedule::{Pace, PensionAges, Rule, Schedule, Span, Start};

    fn rules_for(areas: &[&str]) -> Rules {
        let rule = |area: &&str| Rule {
            id: (*area).into(),
            area: (*area).into(),
            entities: vec!["Plan".into()],
            when: Vec::new(),
            from: Start::Registered,
            period: Span { years: 1, months: 0, days: 0 },
            overlapping: Vec::new(),
            latest_waits_for_group: false,
            oldest_first: false,
            handover: false,
            notice: None,
            source: "".into(),
        };
        let schedule = Schedule::new(areas.iter().map(rule).collect(), PensionAges::default(), Pace::default());
        Rules::new(Vec::new(), Vec::new(), RetryPolicy::default()).with_schedule(Arc::new(schedule))
    }

    #[test]
    fn the_areas_of_retention_toml_have_series_before_their_first_order_also_after_a_reload() {
        let metrics = Metrics::new().expect("metrics");
        for areas in [&["Planer"][..], &["Planer", "Samtaler"]] {
            metrics.begin_at_zero(&rules_for(areas));
            let mut text = Vec::new();
            TextEncoder::new().encode(&metrics.registry.gather(), &mut text).expect("written");
            let text = String::from_utf8(text).expect("text");
            for name in ["wsb_gdpr_orders_total", "wsb_gdpr_notices_total"] {
                assert_eq!(text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count(), areas.len(), "{text}");
                for area in areas {
                    assert!(text.contains(&format!("{name}{{area=\"{area}\"}} 0\n")), "{text}");
                }
            }
        }
    }

    /// What was held on purpose is no reason to wake anybody.
    #[test]
    fn what_is_late_only_for_a_rest_is_not_late() {
        let metrics = Metrics::new().expect("metrics");
        let to = Recipient::parse("akasse:067").expect("a recipient");
        let delivered = |took: i64, free: i64| Fact::Delivered("Plan".into(), to, took * 1_000_000, free * 1_000_000);
        // In time; late all by itself; late only for a rest; and late after a rest.
        metrics.record(&[delivered(60, 60), delivered(61, 61), delivered(3600, 60), delivered(3600, 61)]);
        let late = metrics.late.with_label_values(&["akasse:067"]);
        assert_eq!(late.get(), 2);
        assert_eq!(metrics.event_to_delivery.get_sample_count(), 4);
        // What is given up never arrived; what is rejected did.
        metrics.record(&[Fact::Died("Plan".into(), to, Death::NeverAttempted), Fact::Died("Plan".into(), to, Death::RejectedByRecipient)]);
        assert_eq!(late.get(), 3);
    }
}
