//! `wsb-broker replays`

use std::time::Duration;

use serde_json::{Value, json};

use super::admin::Admin;
use super::args::{Common, Format, ReplaysArguments, ReplaysCommand, Selecting};
use super::deliveries::{columns, escaped};
use super::exit::{Exit, Failure};
use super::terminal::{Progress, cell, table};
use super::trace::waits;

/// How often a replay that is waited for is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub fn replays(common: &Common, arguments: &ReplaysArguments) -> Result<Exit, Failure> {
    let admin = Admin::new(common)?;
    match &arguments.command {
        ReplaysCommand::Start { selecting, dry_run, rate, canary, request, why, wait, format } => {
            let body = json!({ "filter": selecting.json(), "dry_run": dry_run, "rate_per_second": rate, "canary": canary, "why": why });
            start(&admin, selecting, &body, request.as_deref(), *wait, *format)
        }
        ReplaysCommand::List { format } => list(&admin, *format),
        ReplaysCommand::Show { id, format } => {
            say(&get(&admin, id)?, *format);
            Ok(Exit::Ok)
        }
        ReplaysCommand::Stop { id, why, dry_run, format } => {
            let wanted = Move { word: "stop", post: None, why: why.as_deref(), dry_run: *dry_run, wait: false };
            move_it(&admin, id, wanted, *format)
        }
        ReplaysCommand::Resume { id, why, dry_run, wait, format } => {
            let wanted = Move { word: "resume", post: Some("resume"), why: why.as_deref(), dry_run: *dry_run, wait: *wait };
            move_it(&admin, id, wanted, *format)
        }
        ReplaysCommand::Go { id, why, dry_run, wait, format } => {
            let wanted = Move { word: "go", post: Some("go"), why: why.as_deref(), dry_run: *dry_run, wait: *wait };
            move_it(&admin, id, wanted, *format)
        }
    }
}

fn get(admin: &Admin, id: &str) -> Result<Value, Failure> {
    admin.get(&format!("/replays/{}", escaped(id)))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn start(admin: &Admin, selecting: &Selecting, body: &Value, request: Option<&str>, wait: bool, format: Format) -> Result<Exit, Failure> {
    let headers: Vec<(&str, &str)> = request.map(|name| ("Idempotency-Key", name)).into_iter().collect();
    let answer = admin.post_with("/replays", "application/json", body.to_string().as_bytes(), &headers)?;
    let dry_run = body["dry_run"] == true;
    if wait && !dry_run {
        let id = cell(&answer["id"]);
        let replay = follow(admin, &id, &answer["held"])?;
        say(&replay, format);
        return Ok(ended(&replay));
    }
    match format {
        Format::Json => answer_line!("{answer}"),
        Format::Table => {
            answer!("{}", selected(&answer, if selecting.state.as_deref() == Some("delivered") { "delivered" } else { "dead" }));
            if dry_run {
                answer_line!("nothing was sent (--dry-run)");
            } else {
                answer_line!("replay {} started", cell(&answer["id"]));
            }
            holds(&answer["held"]).iter().for_each(|line| answer_line!("{line}"));
        }
    }
    Ok(Exit::Ok)
}

/// What a selection comes to, for people.
fn selected(answer: &Value, what: &str) -> String {
    let mut rows = vec![["recipient", "deliveries", "now"].map(str::to_owned).to_vec()];
    for (recipient, count) in answer["by_recipient"]["would_send"].as_object().into_iter().flatten() {
        rows.push(vec![recipient.clone(), count.to_string(), "sent".to_owned()]);
    }
    for withdrawn in answer["by_recipient"]["would_withdraw"].as_array().into_iter().flatten() {
        rows.push(vec![cell(&withdrawn["recipient"]), cell(&withdrawn["count"]), format!("not sent, {}", cell(&withdrawn["reason"]))]);
    }
    for (recipient, count) in answer["by_recipient"]["told_instead"].as_object().into_iter().flatten() {
        rows.push(vec![recipient.clone(), count.to_string(), "told instead".to_owned()]);
    }
    let mut summary = format!(
        "{} {what} deliveries match: {} would be sent now, {} not\n",
        cell(&answer["matched"]),
        cell(&answer["would_send"]),
        cell(&answer["would_withdraw"])
    );
    if answer["already_claimed"].as_u64().unwrap_or(0) > 0 {
        summary
            .push_str(&format!("{} more are left to another replay, which has or has just sent them\n", cell(&answer["already_claimed"])));
    }
    if rows.len() == 1 { summary } else { format!("{}{summary}", table(&rows)) }
}

fn list(admin: &Admin, format: Format) -> Result<Exit, Failure> {
    let mut items: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin.get(&format!("/replays?limit=500&cursor={}", escaped(&cursor)))?;
        items.extend(page["items"].as_array().into_iter().flatten().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    match format {
        Format::Json => answer_line!("{}", json!(items)),
        Format::Table if items.is_empty() => answer_line!("there have been no replays"),
        Format::Table => {
            let names = ["id", "state", "started_at", "by", "matched", "done", "sent", "withdrawn", "skipped", "rate_per_second"];
            answer!("{}", columns(&items, &names));
        }
    }
    Ok(Exit::Ok)
}

/// One replay.
fn say(replay: &Value, format: Format) {
    match format {
        Format::Json => answer_line!("{replay}"),
        Format::Table => answer!("{}", described(replay)),
    }
}

fn described(replay: &Value) -> String {
    let of = |name: &str| cell(&replay[name]);
    let filter: Vec<String> = ["state", "recipient", "entity", "reason", "since", "until"]
        .iter()
        .filter(|name| !replay["filter"][**name].is_null())
        .map(|name| format!("{name} {}", cell(&replay["filter"][*name])))
        .chain(replay["filter"]["ids"].as_array().filter(|ids| !ids.is_empty()).map(|ids| format!("{} ids", ids.len())))
        .collect();
    let mut rows = vec![
        vec!["replay".to_owned(), of("id")],
        vec!["state".to_owned(), of("state")],
        vec!["of".to_owned(), filter.join(", ")],
        vec!["started".to_owned(), format!("{} by {}", of("started_at"), of("by"))],
        vec!["done".to_owned(), format!("{} of {}", of("done"), of("matched"))],
        vec!["sent".to_owned(), of("sent")],
        vec!["not sent".to_owned(), format!("{}, not entitled or gone", of("withdrawn"))],
        vec!["skipped".to_owned(), format!("{}, changed since they were selected", of("skipped"))],
    ];
    if !replay["rate_per_second"].is_null() {
        rows.push(vec!["rate".to_owned(), format!("{} a second at the most", of("rate_per_second"))]);
    }
    let canary = &replay["canary"];
    if !canary.is_null() {
        let of = |name: &str| cell(&canary[name]);
        let outcome = format!(
            "the first {}: {} sent, {} delivered, {} dead again, {} withdrawn, {} under way",
            of("first"),
            of("sent"),
            of("delivered"),
            of("dead"),
            of("withdrawn"),
            of("waiting")
        );
        rows.push(vec!["canary".to_owned(), outcome]);
    }
    rows.extend(holds(&replay["held"]).into_iter().map(|line| vec!["held up".to_owned(), line]));
    if replay["state"] == "waiting-for-go" {
        rows.push(vec!["next".to_owned(), format!("wsb-broker replays go {}", cell(&replay["id"]))]);
    }
    table(&rows)
}

/// Something that is asked of a replay.
struct Move<'a> {
    word: &'a str,
    /// The call below the replay's own; `None` deletes.
    post: Option<&'a str>,
    why: Option<&'a str>,
    dry_run: bool,
    wait: bool,
}

fn move_it(admin: &Admin, id: &str, wanted: Move<'_>, format: Format) -> Result<Exit, Failure> {
    let path = format!("/replays/{}", escaped(id));
    let body = json!({ "why": wanted.why, "dry_run": wanted.dry_run }).to_string();
    let answer = match wanted.post {
        Some(call) => admin.post(&format!("{path}/{call}"), "application/json", body.as_bytes()),
        None => admin.delete(&path, body.as_bytes()),
    };
    if wanted.dry_run {
        return tried(admin, id, wanted.word, answer, format);
    }
    let mut replay = answer?;
    if wanted.wait {
        replay = follow(admin, id, &replay["held"])?;
        say(&replay, format);
        return Ok(ended(&replay));
    }
    say(&replay, format);
    Ok(Exit::Ok)
}

/// Says what would become of a replay, by what the broker has answered to a try.
fn tried(admin: &Admin, id: &str, word: &str, answer: Result<Value, Failure>, format: Format) -> Result<Exit, Failure> {
    let (replay, would) = match answer {
        Ok(replay) => (replay, true),
        // Refused as it stands; or there is none, and this says so.
        Err(failure) if failure.exit() == Exit::No => (get(admin, id)?, false),
        Err(failure) => return Err(failure),
    };
    match format {
        Format::Json => answer_line!("{}", json!({ "id": replay["id"], "state": replay["state"], "would": would })),
        Format::Table => {
            let left = replay["matched"].as_u64().unwrap_or(0).saturating_sub(replay["done"].as_u64().unwrap_or(0));
            let does = if would { "would" } else { "would not" };
            answer_line!("replay {id} is {}, with {left} to go: it {does} {word} (--dry-run)", cell(&replay["state"]));
        }
    }
    Ok(if would { Exit::Ok } else { Exit::No })
}

/// What keeps a replay from sending just now: a line for each thing that does, with
/// everybody whom it concerns.
fn holds(held: &Value) -> Vec<String> {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for one in held.as_array().into_iter().flatten() {
        let words = match one["lanes"].as_u64() {
            Some(lanes) => format!("what is in parked lanes ({lanes}) waits for their release: wsb-broker lanes list"),
            None => format!("waits {}", waits(one)),
        };
        match lines.iter_mut().find(|(known, _)| *known == words) {
            Some((_, recipients)) => recipients.push(cell(&one["recipient"])),
            None => lines.push((words, vec![cell(&one["recipient"])])),
        }
    }
    lines.into_iter().map(|(words, recipients)| format!("{}: {words}", recipients.join(", "))).collect()
}

/// What of it is news: when a queue that does not work is probed next is none.
fn news(held: &Value) -> Vec<[String; 4]> {
    let of = |one: &Value| ["recipient", "what", "since", "lanes"].map(|name| cell(&one[name]));
    held.as_array().into_iter().flatten().map(of).collect()
}

/// Waits until a replay does not go on by itself any more. Says on standard error which
/// it is, and what holds it up, from the beginning and as it changes.
fn follow(admin: &Admin, id: &str, held: &Value) -> Result<Value, Failure> {
    let mut replay = get(admin, id)?;
    let mut progress = Progress::new("replaying", replay["matched"].as_u64().unwrap_or(0));
    progress.say(&format!("replay {id}: {} of {} done", cell(&replay["done"]), cell(&replay["matched"])));
    holds(held).iter().for_each(|line| progress.say(line));
    let mut said = news(held);
    while replay["state"] == "running" {
        let held = news(&replay["held"]);
        if held != said {
            holds(&replay["held"]).iter().for_each(|line| progress.say(line));
            if held.is_empty() {
                progress.say(&format!("replay {id} goes on"));
            }
            said = held;
        }
        progress.at(replay["done"].as_u64().unwrap_or(0));
        std::thread::sleep(LOOK_AGAIN);
        replay = get(admin, id)?;
    }
    progress.at(replay["done"].as_u64().unwrap_or(0));
    progress.end();
    Ok(replay)
}

fn ended(replay: &Value) -> Exit {
    if matches!(text(&replay["state"]), "done" | "waiting-for-go") { Exit::Ok } else { Exit::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_replay_is_said_once_for_all_whom_it_concerns() {
        let pause = |recipient: &str| json!({ "recipient": recipient, "what": "pause", "since": "2026-03-16T08:00:00Z", "until": null, "why": "a new version" });
        let probe = |until: &str| json!({ "recipient": "kommune:860", "what": "probe", "since": "2026-03-16T08:00:00Z", "until": until, "reason": "returned" });
        let parked = json!({ "recipient": "akasse:067", "what": "release", "lanes": 2 });
        let held = json!([pause("akasse:053"), pause("akasse:067"), parked, probe("2026-03-16T08:01:00Z")]);
        let expected = [
            "akasse:053, akasse:067: waits because its queue is paused by an operator since 2026-03-16T08:00:00Z, until resumed: a new version",
            "akasse:067: what is in parked lanes (2) waits for their release: wsb-broker lanes list",
            "kommune:860: waits because its queue is paused since 2026-03-16T08:00:00Z (returned), probed next at 2026-03-16T08:01:00Z",
        ];
        assert_eq!(holds(&held), expected);
        assert_eq!(news(&json!([probe("2026-03-16T08:01:00Z")])), news(&json!([probe("2026-03-16T08:02:00Z")])));
        let shown = described(&json!({ "id": "7", "state": "running", "held": [pause("akasse:067")] }));
        assert!(shown.contains("held up") && shown.contains("paused by an operator"), "{shown}");
    }
}
