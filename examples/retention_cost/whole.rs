//! A whole deletion night: every record of a large store is due, and the broker is
//! killed twice before it has ordered them all. Each order has to come, whatever
//! happened, and with the id that it had before where it comes again.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

use crate::night::{ORDERS, Retention, TRAFFIC};
use crate::rig::{self, Node, NodeOptions};
use crate::seed::KEPT;
use crate::{Arguments, Done, broker, in_child, usage};

/// When nothing new has come for so long, nothing will.
const PATIENCE: Duration = Duration::from_secs(180);

/// What has come of the orders: ids, and how many came again.
#[derive(Default)]
struct Seen {
    ids: HashSet<u64>,
    again: u64,
}

pub fn measure(arguments: &Arguments) -> Done {
    let node = Node::start_with(&NodeOptions::default());
    let uri = node.vhost("whole-night");
    println!("## A whole night: {} due records, at most {} orders a second, killed twice\n", arguments.clocks, arguments.rate);
    let retention = Retention(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench/retention.toml"));
    retention.set(arguments.rate)?;
    let (_, mut broker) = broker::prepare(&uri, &TRAFFIC);
    let (data, citizens) = (broker.data_dir().display().to_string(), (arguments.clocks / KEPT.len()).to_string());
    let began = Instant::now();
    in_child("seed", &[data, citizens.clone(), citizens, KEPT.len().to_string()])?;
    println!("written in {:.0} s", began.elapsed().as_secs_f64());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (consumer, from) = (Arc::clone(&seen), uri.clone());
    std::thread::spawn(move || rig::block(async move { consume(&from, &consumer).await }));

    let look = || {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.ids.len(), seen.again)
    };
    broker.start_again();
    let began = Instant::now();
    let (mut kills, mut peak, mut last, mut news) = (0, 0.0, 0, Instant::now());
    let mut said = Instant::now();
    loop {
        let (ordered, _) = look();
        let usage = usage::of(broker.pid().ok_or("the broker runs")?);
        peak = f64::max(peak, usage.peak_mib);
        if said.elapsed() > Duration::from_secs(60) {
            println!("{ordered} after {:.0} s, {:.0} MiB resident", began.elapsed().as_secs_f64(), usage.resident_mib);
            said = Instant::now();
        }
        if ordered >= arguments.clocks {
            break;
        }
        if ordered > last {
            (last, news) = (ordered, Instant::now());
        }
        if news.elapsed() > PATIENCE {
            return Err(format!("{ordered} orders, and no more\nlog:\n{}", broker.log()).into());
        }
        if ordered > arguments.clocks * (kills + 1) / 3 {
            kills += 1;
            broker.kill9();
            broker.start_again();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let took = began.elapsed().as_secs_f64();
    if !broker.terminate().success() {
        return Err(format!("the broker did not stop in order:\n{}", broker.log()).into());
    }
    let (ordered, again) = look();
    if ordered != arguments.clocks {
        return Err(format!("{ordered} different orders for {} records", arguments.clocks).into());
    }
    println!(
        "{ordered} orders in {took:.0} s, two restarts included: {:.0}/s; {again} came again, with the ids that they had; at most {peak:.0} MiB resident\n",
        ordered as f64 / took
    );
    Ok(())
}

async fn consume(uri: &str, seen: &Mutex<Seen>) -> lapin::Result<()> {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(2000, BasicQosOptions::default()).await?;
    let mut orders = channel.basic_consume(ORDERS.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await?;
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut unacknowledged = 0;
    while let Some(order) = orders.next().await {
        let order = order?;
        let id = order.properties.message_id().as_ref().map(|id| hasher.hash_one(id.as_str()));
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if !id.is_some_and(|id| seen.ids.insert(id)) {
                seen.again += 1;
            }
        }
        unacknowledged += 1;
        if unacknowledged == 500 {
            unacknowledged = 0;
            order.ack(BasicAckOptions { multiple: true }).await?;
        }
    }
    Ok(())
}
