//! `wsb-broker replays`

use std::time::Duration;

use serde_json::{Value, json};

use super::admin::Admin;
use super::args::{Common, ReplaysArguments, ReplaysCommand};
use super::deliveries::escaped;
use super::exit::{Exit, Failure};
use super::terminal::{Progress, cell, table};

pub fn replays(common: &Common, arguments: &ReplaysArguments) -> Result<Exit, Failure> {
    let admin = Admin::new(common)?;
    match &arguments.command {
        ReplaysCommand::Start { selecting, dry_run, rate, wait } => {
            let body = json!({ "filter": selecting.json(), "dry_run": dry_run, "rate_per_second": rate }).to_string();
            let answer = admin.post("/replays", "application/json", body.as_bytes())?;
            print!("{}", selected(&answer));
            if *dry_run {
                println!("nothing was sent (--dry-run)");
                return Ok(Exit::Ok);
            }
            let id = cell(&answer["id"]);
            println!("replay {id} started");
            if *wait { follow(&admin, &id) } else { Ok(Exit::Ok) }
        }
        ReplaysCommand::Show { id } => {
            println!("{:#}", admin.get(&format!("/replays/{}", escaped(id)))?);
            Ok(Exit::Ok)
        }
        ReplaysCommand::Stop { id } => {
            println!("{:#}", admin.delete(&format!("/replays/{}", escaped(id)))?);
            Ok(Exit::Ok)
        }
    }
}

fn selected(answer: &Value) -> String {
    let mut rows = vec![["recipient", "deliveries", "now"].map(str::to_owned).to_vec()];
    for (recipient, count) in answer["by_recipient"]["would_send"].as_object().into_iter().flatten() {
        rows.push(vec![recipient.clone(), count.to_string(), "sent".to_owned()]);
    }
    for withdrawn in answer["by_recipient"]["would_withdraw"].as_array().into_iter().flatten() {
        rows.push(vec![cell(&withdrawn["recipient"]), cell(&withdrawn["count"]), format!("withdrawn, {}", cell(&withdrawn["reason"]))]);
    }
    let summary = format!(
        "{} dead deliveries match: {} would be sent now, {} withdrawn\n",
        cell(&answer["matched"]),
        cell(&answer["would_send"]),
        cell(&answer["would_withdraw"])
    );
    if rows.len() == 1 { summary } else { format!("{}{summary}", table(&rows)) }
}

fn follow(admin: &Admin, id: &str) -> Result<Exit, Failure> {
    let path = format!("/replays/{id}");
    let mut replay = admin.get(&path)?;
    let mut progress = Progress::new("replaying", replay["matched"].as_u64().unwrap_or(0));
    while replay["state"] == "running" {
        progress.at(replay["done"].as_u64().unwrap_or(0));
        std::thread::sleep(Duration::from_millis(200));
        replay = admin.get(&path)?;
    }
    progress.at(replay["done"].as_u64().unwrap_or(0));
    progress.end();
    println!("replay {id}: {}, {} sent, {} withdrawn", cell(&replay["state"]), cell(&replay["sent"]), cell(&replay["withdrawn"]));
    Ok(if replay["state"] == "done" { Exit::Ok } else { Exit::No })
}
