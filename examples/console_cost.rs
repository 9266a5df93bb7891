//! How long the console takes for its pages when very much waits: fills a store,
//! starts the built broker on it, and looks as a browser would, from login on.
//!
//! `cargo build --release && cargo run --release --example console_cost -- [waiting]`

#[path = "made_up/backlog.rs"]
mod backlog;
mod made_up;
#[path = "../tests/rig/mod.rs"]
mod rig;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use rig::{Broker, Options, until};
use wsb_broker::config::load_routing;
use wsb_broker::core::ids::Recipient;

/// How often each page is asked for.
const TIMES: usize = 21;

fn main() -> Result<(), Box<dyn Error>> {
    let waiting = std::env::args().nth(1).map_or(Ok(1_000_000), |argument| argument.parse())?;
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let rules = load_routing(&Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml"))?;
    let recipients: Vec<Recipient> = rules.recipients().map(|rule| rule.recipient).collect();
    let begun = Instant::now();
    backlog::fill(&data, waiting, &recipients)?;
    println!("{waiting} deliveries written in {:.1} s", begun.elapsed().as_secs_f64());

    let begun = Instant::now();
    // Nobody listens there: nothing leaves, and everything keeps waiting.
    let broker = Broker::spawn(Options::new("amqp://guest:guest@127.0.0.1:1/%2f").data_dir(&data));
    until(Duration::from_secs(120), "the broker answers", || broker.readyz().is_some());
    println!("the broker answers after {:.1} s\n", begun.elapsed().as_secs_f64());

    let browser = Browser::log_in(&broker)?;
    println!("{:<52} {:>9} {:>9} {:>9} {:>9}", "page", "first", "median", "slowest", "size");
    for path in [
        "/console",
        "/console/recipients",
        "/console/recipients/akasse:067",
        "/console/failures",
        "/console/failures?state=pending",
        "/console/failures?state=dead&entity=Indkaldelse",
        "/console/failures?state=pending&entity=Frist",
        "/console/gdpr",
        "/console/audit",
    ] {
        let mut took = Vec::new();
        let mut size = 0;
        for _ in 0..TIMES {
            let begun = Instant::now();
            size = browser.get(&broker.url(path))?.len();
            took.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        let first = took[0];
        took.sort_by(f64::total_cmp);
        let (median, slowest) = (took[TIMES / 2], took[TIMES - 1]);
        println!("{path:<52} {first:>6.1} ms {median:>6.1} ms {slowest:>6.1} ms {:>5} KiB", size / 1024);
    }
    Ok(())
}

/// As much of a browser as it takes.
struct Browser {
    agent: ureq::Agent,
    cookie: String,
}

impl Browser {
    fn log_in(broker: &Broker) -> Result<Self, Box<dyn Error>> {
        let agent: ureq::Agent = ureq::Agent::config_builder().max_redirects(0).build().into();
        let answer = agent
            .post(broker.url("/console/login"))
            .content_type("application/x-www-form-urlencoded")
            .send(format!("token={}", broker.token()))?;
        let cookie = answer.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok()).ok_or("the login gives no cookie")?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok(Self { agent, cookie })
    }

    fn get(&self, url: &str) -> Result<String, Box<dyn Error>> {
        let mut answer = self.agent.get(url).header("cookie", &self.cookie).call()?;
        if answer.status() != 200 {
            return Err(format!("{url}: {}", answer.status()).into());
        }
        Ok(answer.body_mut().with_config().limit(u64::MAX).read_to_string()?)
    }
}
