//! `wsb-broker erase`. The number comes by standard input: arguments are seen by
//! everybody on the machine.

use std::io::{IsTerminal, Read};

use serde_json::{Value, json};

use super::args::{Common, EraseArguments, Format};
use super::audit::local_deed;
use super::exit::{Exit, Failure};
use super::open::{Opened, engine_over, open};
use super::run::load_rules;
use super::terminal::{cell, table};
use crate::app::now;
use crate::core::audit::Action;
use crate::core::engine::Output;
use crate::ops::{self, EraseError};
use crate::store::{Create, Store, StoreError, two_persons};
use crate::writer::Commit;

/// The most that is read in search of a number.
const LONGEST: u64 = 256;

pub fn erase(common: &Common, arguments: &EraseArguments) -> Result<Exit, Failure> {
    if let Some(id) = arguments.confirm {
        let Opened::There(admin) = open(common, Create::Never)? else {
            return Err(Failure::words(Exit::Unreachable, "no broker runs: requests wait in the running broker only"));
        };
        let answer = admin.post(&format!("/erasures/{id}/confirm"), "application/json", b"")?;
        return Ok(show(&answer, arguments.format));
    }
    if std::io::stdin().is_terminal() {
        say_line!("personnummer, then Enter and Ctrl-D:");
    }
    let mut text = String::new();
    std::io::stdin()
        .take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|error| Failure::words(Exit::Usage, format!("standard input cannot be read: {error}")))?;
    let number = ops::parse_number(&text).ok_or_else(|| Failure::words(Exit::Usage, "expected one personnummer on standard input"))?;
    let answer = match open(common, Create::Never)? {
        Opened::There(admin) => {
            let body = json!({ "personnummer": text.trim(), "dry_run": arguments.dry_run }).to_string();
            admin.post("/erasures", "application/json", body.as_bytes())?
        }
        Opened::Here(_) if !arguments.dry_run && (arguments.two_persons || two_persons::is_noted(&common.data_dir)) => {
            return Err(Failure::words(Exit::Refused, "it takes two persons: start the broker, which knows them by their tokens"));
        }
        Opened::Here(mut store) => here(common, &mut store, &number, arguments.dry_run)?,
    };
    Ok(show(&answer, arguments.format))
}

fn here(common: &Common, store: &mut Store, number: &crate::core::ids::Personnummer, dry_run: bool) -> Result<Value, Failure> {
    let mut engine = engine_over(store, load_rules(common)?)?;
    if dry_run {
        let erasure = ops::erasure(&engine, store, number).map_err(failure)?;
        let trace = store.reader().events_about(erasure.citizens()).map_err(|error| Failure::new(Exit::Refused, error))?;
        let mut answer = erasure.to_json(Some(trace));
        answer["state"] = json!("dry-run");
        let noted = ops::note(store, now(), local_deed(Action::CitizenErased, "order").tried(true));
        noted.and_then(|()| Commit::commit(store, true)).map_err(|error| Failure::new(Exit::Refused, error))?;
        return Ok(answer);
    }
    store.prepare_erasure().map_err(|error| Failure::new(Exit::Refused, error).in_file(store.erased_list()))?;
    let erased = ops::erase(&mut engine, store, number, now(), &mut Output::default()).map_err(failure)?;
    let noted = ops::note(store, now(), local_deed(Action::CitizenErased, "order"));
    noted.map_err(|error| Failure::new(Exit::Refused, error))?;
    for _ in 0..2 {
        Commit::commit(store, true).map_err(|error| Failure::new(Exit::Refused, error))?;
    }
    // Until then a number can be tried on the hash of the one that has gone; a broker that
    // runs does it bit by bit.
    store.finish_hashing().map_err(|error| Failure::new(Exit::Refused, error))?;
    let mut answer = erased.to_json(None);
    answer["state"] = json!("erased");
    Ok(answer)
}

fn failure(error: EraseError<StoreError>) -> Failure {
    match error {
        EraseError::Unknown => Failure::new(Exit::No, error),
        EraseError::Store(error) => Failure::new(Exit::Refused, error),
    }
}

fn show(answer: &Value, format: Format) -> Exit {
    match format {
        Format::Json => answer_line!("{answer}"),
        Format::Table => {
            let counts = answer.as_object().into_iter().flatten().filter(|(name, value)| value.is_number() && *name != "id");
            let rows: Vec<Vec<String>> = counts.map(|(name, value)| vec![name.replace('_', " "), cell(value)]).collect();
            answer!("{}{}", table(&rows), untold(answer));
            match answer["state"].as_str() {
                Some("erased") => answer_line!("erased"),
                Some("requested") => answer_line!(
                    "nothing erased yet: it waits for a second person, who confirms it with `wsb-broker erase --confirm {}`",
                    answer["id"]
                ),
                _ => answer_line!("nothing erased: this was a dry run"),
            }
        }
    }
    Exit::Ok
}

/// Says who has not been told of a deletion and never will be, by the broker.
fn untold(answer: &Value) -> String {
    let each = |one: &Value| format!("  {} ({})\n", cell(&one["recipient"]), one["notices"]);
    let each: String = answer["untold"].as_array().into_iter().flatten().map(each).collect();
    if each.is_empty() {
        return each;
    }
    format!("deletion notices not delivered, which go with the rest; tell these in another way, if it has to go now:\n{each}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;

    use super::*;
    use crate::cli::args::Arguments;
    use crate::core::ids::Personnummer;
    use crate::core::records::{Archive, Change, Quarantined, Records};
    use crate::core::time::Moment;
    use crate::store::Options;

    #[test]
    fn whoever_has_not_been_told_is_named() {
        let answer =
            json!({ "waiting": 3, "untold": [{ "recipient": "akasse:067", "notices": 2 }, { "recipient": "kommune:860", "notices": 1 }] });
        let shown = untold(&answer);
        assert!(shown.contains("not delivered") && shown.contains("another way"), "{shown}");
        assert!(shown.ends_with("\n  akasse:067 (2)\n  kommune:860 (1)\n"), "{shown}");
        assert_eq!(untold(&json!({ "untold": [] })), "");
    }

    /// More numbers than an erasure hashes anew by itself: nobody tends this store.
    #[test]
    fn without_a_broker_the_hash_of_the_number_goes_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options::new(dir.path().join("data"));
        let mut store = Store::open(&options).expect("a store");
        for at in 0..1100 {
            store.enroll(&number(at)).expect("enrolled");
        }
        // This one is in quarantine, and nowhere else.
        let text = format!("{{\"Personnummer\":\"{}\",\"Til\":\"{}\"}}", number(7).digits(), number(2000).digits());
        let (body, about) = (Arc::from(text.as_bytes()), crate::core::about::About::of(text.as_bytes()));
        let message = Quarantined { id: 1, at: Moment(0), word: "made-up".into(), reason: "made up".into(), body, about };
        store.stage(Change::Quarantine(message)).expect("staged");
        Commit::commit(&mut store, true).expect("committed");
        let secrets = || std::fs::read(options.data_dir.join("number-keys")).expect("the secrets");
        let before = secrets();

        let data_dir = options.data_dir.display().to_string();
        let routing = concat!(env!("CARGO_MANIFEST_DIR"), "/routing.toml");
        let arguments = Arguments::parse_from(["wsb-broker", "--data-dir", &data_dir, "--routing", routing, "erase"]);
        let tried = here(&arguments.common, &mut store, &number(2000), true).expect("tried");
        assert_eq!((&tried["quarantine"], &tried["state"]), (&json!(1), &json!("dry-run")));
        assert_eq!(secrets(), before);
        let erased = here(&arguments.common, &mut store, &number(2000), false).expect("erased");
        assert_eq!((&erased["quarantine"], &erased["state"]), (&json!(1), &json!("erased")));
        assert_eq!(store.quarantine_page(0, 10).expect("readable"), []);
        assert!(options.erased_list.exists(), "no backup brings the message back");
        assert_ne!(secrets()[32..64], before[32..64], "the secret that its hash was made with");
        assert_eq!(secrets()[64..], before[64..], "the others are hashed with this one");
        assert!(store.find_citizen(&number(7)).expect("readable").is_some());
        assert!(here(&arguments.common, &mut store, &number(2000), true).is_err(), "nothing is known");
    }

    fn number(at: u32) -> Personnummer {
        Personnummer::parse(&format!("{:02}0190{at:04}", at % 28 + 1)).expect("a number")
    }
}
