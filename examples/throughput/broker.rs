//! The broker's part: its files, its first load, and which queues its messages
//! arrive in.

use std::fs;
use std::path::Path;

use crate::load::{self, Scenario};
use crate::rig::{self, Broker, Options};

/// How much a target queue may hold: more than ever lies in one here, for the
/// baselines could not handle a refusal.
pub const WINDOW: i32 = 1_000_000;

/// Declares the topology, loads the citizens' memberships, and returns the
/// queues that the load will arrive in, with the broker stopped.
pub fn prepare(uri: &str, scenario: &Scenario) -> (Vec<String>, Broker) {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&files).expect("the target directory is writable");
    let original =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml")).expect("routing.toml is part of the repository");
    let routing = files.join("routing.toml");
    let widened = original.replacen("\nmax-unfetched = 1000\n", &format!("\nmax-unfetched = {WINDOW}\n"), 1);
    assert_ne!(original, widened, "routing.toml no longer sets max-unfetched as it did");
    fs::write(&routing, widened).expect("the target directory is writable");

    let places = Places::of(&original, scenario);
    let memberships = files.join("memberships.ndjson");
    let lines: Vec<String> =
        (0..scenario.citizens).flat_map(|citizen| places.memberships(citizen)).map(|event| event.json().to_string()).collect();
    fs::write(&memberships, lines.join("\n") + "\n").expect("the target directory is writable");

    let mut broker = Broker::prepare(Options::new(uri).routing(&routing).env("WSB_LOG", "warn"));
    broker.cli_ok(&["import", memberships.to_str().expect("a path of ours")]);
    // Its first start declares the topology.
    broker.start_again();
    assert!(broker.terminate().success(), "the broker did not stop in order:\n{}", broker.log());
    (places.queues(), broker)
}

/// Who gets what. With one copy, a Frist goes to the kommune of the citizen's
/// jobcentre. With three, an Indkaldelse also goes to the kommune of residence
/// and to the a-kasse.
struct Places {
    jobcenters: Vec<String>,
    residences: Vec<String>,
    akasser: Vec<String>,
}

impl Places {
    fn of(routing: &str, scenario: &Scenario) -> Self {
        let codes = |kind: &str| -> Vec<String> {
            let marker = format!("authority = \"{kind}:");
            let entries = routing.lines().filter(|line| !line.starts_with('#'));
            entries.filter_map(|line| Some(line.split_once(&marker)?.1.get(..3)?.to_owned())).collect()
        };
        let (kommuner, akasser) = (codes("kommune"), codes("akasse"));
        if scenario.fanout == 1 {
            return Self { jobcenters: take(&kommuner, scenario.targets), residences: Vec::new(), akasser: Vec::new() };
        }
        // A third of the queues each, as far as there are a-kasser.
        let third = (scenario.targets / 3).min(akasser.len());
        let rest = (scenario.targets - third).min(kommuner.len());
        Self {
            jobcenters: take(&kommuner, rest / 2),
            residences: take(&kommuner[rest / 2..], rest - rest / 2),
            akasser: take(&akasser, third),
        }
    }

    fn memberships(&self, citizen: usize) -> Vec<rig::Event> {
        let cpr = load::cpr(citizen);
        let pick = |codes: &[String]| codes.get(citizen % codes.len().max(1)).cloned();
        let since = "2020-01-01";
        [
            pick(&self.jobcenters).map(|code| rig::jobcenter(&cpr, &format!("{code}00"), since, None)),
            pick(&self.residences).map(|code| rig::residence(&cpr, &code, since, None)),
            pick(&self.akasser).map(|code| rig::membership(&cpr, &code, since, None)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn queues(&self) -> Vec<String> {
        let kommuner = self.jobcenters.iter().chain(&self.residences).map(|code| format!("wsb.kommune.{code}"));
        kommuner.chain(self.akasser.iter().map(|code| format!("wsb.akasse.{code}"))).collect()
    }
}

fn take(codes: &[String], count: usize) -> Vec<String> {
    assert!(count <= codes.len(), "there are {} such authorities, not {count}", codes.len());
    codes[..count].to_vec()
}
