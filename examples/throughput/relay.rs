//! The bare relay: the honest baseline. It consumes with a prefetch, publishes
//! with confirms, acknowledges what is confirmed, many at once, and does nothing
//! else: no parsing, no memory, no decision.
//!
//! It runs as a process of its own, this program started with other arguments,
//! so that its processor time and memory can be told from the load's.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm};
use tokio::sync::mpsc;

const WORD: &str = "bare-relay";
const PREFETCH: u16 = 2000;
/// Confirmed messages that are acknowledged together.
const ACK_EVERY: usize = 200;

/// What a relay is to do.
pub struct Order {
    uri: String,
    source: String,
    exchange: String,
    /// Copies of each message: to its own target, and the next ones by number.
    fanout: usize,
    targets: usize,
}

impl Order {
    /// Returns the order when this process was started as a relay.
    pub fn from_arguments() -> Option<Self> {
        let mut arguments = std::env::args().skip(1);
        if arguments.next()? != WORD {
            return None;
        }
        let mut next = || arguments.next().expect("the bench gives five arguments");
        let (uri, source, exchange) = (next(), next(), next());
        let mut number = || next().parse().expect("the bench gives numbers");
        Some(Self { uri, source, exchange, fanout: number(), targets: number() })
    }
}

/// Starts a relay. It ends when its stdin closes, and so with this process.
pub fn start(uri: &str, source: &str, exchange: &str, fanout: usize, targets: usize) -> Child {
    Command::new(std::env::current_exe().expect("the system knows where this program is"))
        .args([WORD, uri, source, exchange, &fanout.to_string(), &targets.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .expect("this program is executable")
}

/// Returns the key and queue of a target.
pub fn target(number: usize) -> String {
    format!("bench.target.{number:03}")
}

/// Relays until stdin closes.
pub fn run(order: &Order) {
    // One thread: with two, the hand-overs cost more than the second core gives
    // while RabbitMQ wants it too.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs only threads");
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    if let Err(error) = runtime.block_on(relay(order)) {
        panic!("the relay failed: {error}");
    }
}

async fn relay(order: &Order) -> lapin::Result<()> {
    let consuming = Connection::connect(&order.uri, ConnectionProperties::default()).await?;
    let publishing = Connection::connect(&order.uri, ConnectionProperties::default()).await?;
    let source = consuming.create_channel().await?;
    let target = publishing.create_channel().await?;
    target.confirm_select(ConfirmSelectOptions::default()).await?;
    source.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let mut deliveries =
        source.basic_consume(order.source.as_str().into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await?;
    // As deep as the prefetch lets it get, hence never full.
    let (published, confirms) = mpsc::channel(usize::from(PREFETCH) * order.fanout + 1);
    tokio::spawn(acknowledge(source, confirms));
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        for copy in 0..order.fanout {
            let confirm = publish(&target, order, &delivery, copy).await?;
            let tag = (copy + 1 == order.fanout).then_some(delivery.delivery_tag);
            if published.send((tag, confirm)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn publish(channel: &Channel, order: &Order, delivery: &Delivery, copy: usize) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let key = if copy == 0 {
        delivery.routing_key.clone()
    } else {
        let own: usize = delivery.routing_key.as_str().rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        target((own + copy) % order.targets).into()
    };
    channel.basic_publish(order.exchange.as_str().into(), key, options, &delivery.data, delivery.properties.clone()).await
}

/// Awaits confirms in the order of publishing and acknowledges up to the last
/// one that is known, as soon as there is nothing more to know at once.
async fn acknowledge(channel: Channel, mut confirms: mpsc::Receiver<(Option<u64>, PublisherConfirm)>) {
    let mut confirmed = None;
    let mut waiting = 0;
    while let Some((tag, mut confirm)) = confirms.recv().await {
        let known = (&mut confirm).now_or_never();
        let confirmation = match known {
            Some(confirmation) => confirmation,
            None => {
                flush(&channel, &mut confirmed, &mut waiting).await;
                confirm.await
            }
        };
        match confirmation {
            Ok(Confirmation::Ack(None)) => {}
            other => panic!("a publish of the relay failed: {other:?}"),
        }
        if tag.is_some() {
            confirmed = tag;
            waiting += 1;
        }
        if waiting >= ACK_EVERY {
            flush(&channel, &mut confirmed, &mut waiting).await;
        }
    }
}

async fn flush(channel: &Channel, confirmed: &mut Option<u64>, waiting: &mut usize) {
    if let Some(tag) = confirmed.take() {
        let _ = channel.basic_ack(tag, BasicAckOptions { multiple: true }).await;
        *waiting = 0;
    }
}
