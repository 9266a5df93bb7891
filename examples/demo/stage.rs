//! Everything that really runs: RabbitMQ, the broker, the vendors.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use tempfile::TempDir;

use crate::cast::{QUEUES, of_fund};
use crate::ledger::{Ledger, Told};
use crate::rig::{Amqp, Broker, Event, Metrics, Node, NodeOptions, Options, Vendor, block};

/// How long anything may take. Generous: the machine may do other things.
const LIMIT: Duration = Duration::from_secs(60);

/// How many messages Lederne's queue may hold unfetched. The one line in which
/// the demo's routing.toml differs from the shipped one.
pub const WINDOW: usize = 50;

/// What runs.
pub struct Stage {
    pub broker: Broker,
    pub amqp: Amqp,
    pub ledger: Ledger,
    pub node: Node,
    vendors: BTreeMap<&'static str, Vendor>,
    home: TempDir,
}

/// Something that was to happen has not.
pub struct Stuck(pub String);

impl Stage {
    /// Starts RabbitMQ, or uses the user's.
    pub fn rabbitmq() -> Result<Node, String> {
        let node = Node::from_env_or_start(&NodeOptions::default())?;
        if !node.is_private() && Amqp::connect(&node.uri()).depth("wsb.intake.events").is_some() {
            return Err("The vhost that WSB_AMQP_URI names has queues of a WSB broker already. The demo wants one to itself and \
                        empties it afterwards, so that it never touches real queues:\n\n    \
                        rabbitmqctl add_vhost wsb-demo\n    \
                        rabbitmqctl set_permissions -p wsb-demo USER '.*' '.*' '.*'\n    \
                        WSB_AMQP_URI=amqp://USER:PASSWORD@HOST:5672/wsb-demo make demo"
                .to_owned());
        }
        Ok(node)
    }

    /// Prepares the broker, without starting it.
    pub fn prepare(node: Node) -> Self {
        let home = tempfile::Builder::new().prefix("wsb-demo-").tempdir().expect("a temporary directory");
        let routing = home.path().join("routing.toml");
        let shipped = fs::read_to_string(shipped_routing()).expect("routing.toml is part of the repository");
        let line = "{ authority = \"akasse:067\", name = \"Lederne A-kasse\" }";
        let changed = format!("{{ authority = \"akasse:067\", name = \"Lederne A-kasse\", max-unfetched = {WINDOW} }}");
        assert!(shipped.contains(line), "routing.toml has no line {line}");
        fs::write(&routing, shipped.replace(line, &changed)).expect("the directory is ours");
        let options = Options::new(&node.uri()).routing(&routing).data_dir(home.path().join("data"));
        let amqp = Amqp::connect(&node.uri());
        Self { broker: Broker::prepare(options), amqp, ledger: Ledger::default(), node, vendors: BTreeMap::new(), home }
    }

    /// A directory for files of the story.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file and returns where.
    pub fn write(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, text).expect("the directory is ours");
        path
    }

    /// Begins to empty every queue of the story, as vendors do.
    pub fn open_vendors(&mut self) {
        for (queue, _) in QUEUES {
            self.vendors.insert(queue, Vendor::consume(&self.node.uri(), queue));
        }
    }

    /// A vendor stops emptying its queue.
    pub fn close_vendor(&mut self, fund: &str) {
        let queue = of_fund(fund);
        if let Some(vendor) = self.vendors.remove(queue.as_str()) {
            self.ledger.receive(vendor.take());
        }
    }

    /// A vendor begins again.
    pub fn reopen_vendor(&mut self, fund: &str) {
        let queue = of_fund(fund);
        let known = QUEUES.iter().find(|(name, _)| *name == queue).expect("a queue of the story");
        self.vendors.insert(known.0, Vendor::consume(&self.node.uri(), known.0));
    }

    /// Publishes events as DFDG does, and notes what must come of them.
    pub fn publish(&mut self, told: Vec<Told>) {
        self.ledger.expect(&told);
        let messages: Vec<_> = told.iter().map(|one| one.event.message()).collect();
        self.amqp.publish_all("dfdg.events", messages);
    }

    /// Takes over what the vendors have.
    pub fn collect(&mut self) {
        for vendor in self.vendors.values() {
            self.ledger.receive(vendor.take());
        }
    }

    /// What vendors get from now on, without noting it.
    pub fn watch(&self) -> Vec<crate::rig::Message> {
        self.vendors.values().flat_map(Vendor::take).collect()
    }

    /// Waits until the broker has taken in everything that was published.
    pub fn wait_taken_in(&mut self) -> Result<Metrics, Stuck> {
        let published = self.ledger.published() as f64;
        self.wait_metrics("the broker takes in every event", |metrics| metrics.sum("wsb_events_consumed_total", &[]) >= published)
    }

    /// Waits half a second at most until the metrics say something; returns
    /// whether they do.
    pub fn soon(&self, holds: impl Fn(&Metrics) -> bool) -> bool {
        (0..25).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            holds(&self.broker.metrics())
        })
    }

    /// Waits until the metrics say something.
    pub fn wait_metrics(&mut self, what: &str, holds: impl Fn(&Metrics) -> bool) -> Result<Metrics, Stuck> {
        let started = Instant::now();
        loop {
            let metrics = self.broker.metrics();
            if holds(&metrics) {
                return Ok(metrics);
            }
            self.still_waiting(started, what)?;
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    /// Waits until everything that must arrive has, but for these queues.
    pub fn wait_arrived(&mut self, except: &[&str]) -> Result<(), Stuck> {
        let started = Instant::now();
        loop {
            self.collect();
            if self.ledger.is_complete(except) {
                return Ok(());
            }
            self.still_waiting(started, "everything arrives that must")?;
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until so much has arrived.
    pub fn wait_some(&mut self, messages: usize) -> Result<(), Stuck> {
        let started = Instant::now();
        loop {
            self.collect();
            if self.ledger.arrived() >= messages {
                return Ok(());
            }
            self.still_waiting(started, &format!("{messages} messages have arrived"))?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the broker has nothing left to deliver and the vendors
    /// nothing left to fetch.
    pub fn wait_idle(&mut self) -> Result<(), Stuck> {
        self.wait_metrics("nothing is under way any more", |metrics| {
            metrics.sum("wsb_pending", &[]) + metrics.sum("wsb_retrying", &[]) < 0.5
        })?;
        let started = Instant::now();
        while QUEUES.iter().any(|(queue, _)| self.amqp.depth(queue) != Some(0)) {
            self.still_waiting(started, "the vendors have fetched everything")?;
        }
        self.collect();
        Ok(())
    }

    /// Waits until nothing is under way any more: whatever arrives too much has
    /// arrived by then.
    pub fn wait_still(&mut self) -> Result<Metrics, Stuck> {
        let published = self.ledger.published() as f64;
        let metrics = self.wait_metrics("nothing is under way any more", |metrics| {
            let waiting = metrics.sum("wsb_pending", &[]) + metrics.sum("wsb_retrying", &[]);
            metrics.sum("wsb_events_consumed_total", &[]) >= published && waiting < 0.5
        })?;
        // What the broker calls delivered lies in a queue; wait until the
        // vendors have fetched as much. More would be caught by the comparison.
        let delivered = metrics.sum("wsb_deliveries_total", &[("outcome", "delivered")]) as usize;
        let started = Instant::now();
        while {
            self.collect();
            self.ledger.arrived() < delivered
        } {
            self.still_waiting(started, &format!("the vendors get the {delivered} messages that the broker has delivered"))?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(metrics)
    }

    fn still_waiting(&mut self, started: Instant, what: &str) -> Result<(), Stuck> {
        if let Some(status) = self.broker.exited() {
            return Err(Stuck(format!("the broker ended ({status}) while we waited until {what}")));
        }
        if started.elapsed() < LIMIT {
            return Ok(());
        }
        let missing = self.ledger.compare().mistakes;
        let shown = missing.iter().take(10).map(|mistake| format!("\n    {mistake}")).collect::<String>();
        Err(Stuck(format!("waited {} s in vain until {what}{shown}", LIMIT.as_secs())))
    }

    /// Runs a command of the broker's and returns what it prints; a failure of
    /// the command ends the demo.
    pub fn cli(&self, arguments: &[&str]) -> String {
        self.broker.cli_ok(arguments)
    }

    /// What `wsb-broker explain` says of an event.
    pub fn explain(&self, event: &Event) -> String {
        let file = self.write("event.json", &event.body());
        self.cli(&["explain", "--event", &file.display().to_string()])
    }

    /// Stops everything; takes its queues away again from a RabbitMQ of the user's.
    pub fn end(mut self) -> Result<(), Stuck> {
        let topology = (!self.node.is_private()).then(|| self.cli(&["topology", "--format", "json"]));
        self.vendors.clear();
        let status = self.broker.terminate();
        if let Some(topology) = topology {
            remove(&self.node.uri(), &serde_json::from_str(&topology).unwrap_or_default());
        }
        if status.success() { Ok(()) } else { Err(Stuck(format!("the broker ended with {status} instead of 0"))) }
    }
}

/// The routing file of the repository.
pub fn shipped_routing() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml")
}

/// Deletes what `wsb-broker topology` lists.
fn remove(uri: &str, topology: &Value) {
    let names = |what: &str| -> Vec<String> {
        topology[what].as_array().into_iter().flatten().filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect()
    };
    let (uri, queues, exchanges) = (uri.to_owned(), names("queues"), names("exchanges"));
    block(async move {
        let Ok(connection) = Connection::connect(&uri, ConnectionProperties::default()).await else { return };
        let Ok(channel) = connection.create_channel().await else { return };
        // What cannot be deleted is left; the next demo will say so.
        for queue in queues {
            let _ = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
        }
        for exchange in exchanges {
            let _ = channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await;
        }
        let _ = connection.close(200, "done".into()).await;
    });
}
