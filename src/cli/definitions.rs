//! `wsb-broker topology export`

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use super::args::{Common, ExportArguments};
use super::exit::{Exit, Failure};
use super::run::{load_rules, target};
use crate::amqp::definitions::{Account, Vendor, accounts, hash_password, user_of_vendor};
use crate::amqp::{Argument, Names, Topology};
use crate::app::topology_of;
use crate::core::policy::{Domain, Rules};

/// The vendor of recipients that nobody has given one.
const UNASSIGNED: [&str; 2] = ["", "unassigned"];
/// Above this many returns to the queue RabbitMQ 4 drops a message, instead of
/// above 20: intake queues have no limit as an argument, see `Topology::of`.
const PRACTICALLY_NEVER: i64 = 1_000_000;

/// Writes RabbitMQ definitions to standard output.
pub fn export(common: &Common, arguments: &ExportArguments) -> Result<Exit, Failure> {
    let rules = load_rules(common)?;
    let topology = topology_of(&rules);
    let vhost = match &arguments.vhost {
        Some(vhost) => vhost.clone(),
        None => target(common)?.vhost().to_owned(),
    };
    let vendors = vendors(&rules)?;
    let domains = Domain::ALL.map(Domain::name);
    let accounts = accounts(&topology, &Names::default(), &domains, &vendors);
    let users = if arguments.without_users { None } else { Some(users(&accounts, arguments.passwords.as_deref())?) };
    answer_line!("{:#}", definitions(&topology, &vhost, &accounts, users));
    Ok(Exit::Ok)
}

/// One for each vendor; a recipient without one gets an account of its own.
fn vendors(rules: &Rules) -> Result<Vec<Vendor>, Failure> {
    let mut users: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for rule in rules.recipients() {
        let vendor = if UNASSIGNED.contains(&&*rule.vendor) { rule.recipient.to_string() } else { rule.vendor.to_string() };
        let user = user_of_vendor(&vendor);
        let (named, queues) = users.entry(user.clone()).or_insert_with(|| (vendor.clone(), Vec::new()));
        if *named != vendor {
            let words = format!(
                "the vendors {named:?} and {vendor:?} would both be the user {user}; write one of them differently in routing.toml"
            );
            return Err(Failure::words(Exit::No, words));
        }
        queues.push(rule.queue.to_string());
    }
    Ok(users.into_iter().map(|(user, (_, queues))| Vendor { user, queues }).collect())
}

fn users(accounts: &[Account], passwords: Option<&Path>) -> Result<Value, Failure> {
    let mut given = match passwords {
        Some(directory) => read_passwords(directory)?,
        None => BTreeMap::new(),
    };
    let mut without = Vec::new();
    let mut users = Vec::new();
    for account in accounts {
        let mut user = json!({ "name": account.name, "tags": [], "limits": {}, "hashing_algorithm": "rabbit_password_hashing_sha256" });
        user["password_hash"] = match given.remove(&account.name) {
            Some(password) => hash_password(&password, salt()?).into(),
            // As RabbitMQ documents a user that has no password, and can log in
            // with a certificate only.
            None => {
                without.push(account.name.as_str());
                "".into()
            }
        };
        users.push(user);
    }
    if let Some(stray) = given.keys().next() {
        return Err(Failure::words(
            Exit::No,
            format!("there is a password for {stray}, and no such user; the users are named in the answer without --passwords"),
        ));
    }
    if !without.is_empty() {
        say_line!(
            "{} of {} users have no password and can log in with a certificate only (--passwords DIRECTORY)",
            without.len(),
            accounts.len()
        );
    }
    Ok(users.into())
}

/// One file for each user, named as the user, with the password in it.
fn read_passwords(directory: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let refuse = |path: &Path, why: &dyn std::fmt::Display| {
        Failure::words(Exit::Usage, format!("--passwords: cannot read {}: {why}", path.display()))
    };
    let mut passwords = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(|error| refuse(directory, &error))? {
        let path = entry.map_err(|error| refuse(directory, &error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        // Kubernetes mounts secrets with such files beside them.
        if name.starts_with('.') {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| refuse(&path, &error))?;
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(refuse(&path, &"it is empty"));
        }
        passwords.insert(name, password.to_owned());
    }
    Ok(passwords)
}

fn salt() -> Result<[u8; 4], Failure> {
    let mut salt = [0; 4];
    SystemRandom::new().fill(&mut salt).map_err(|_| Failure::words(Exit::Refused, "the system gives no random numbers"))?;
    Ok(salt)
}

fn definitions(topology: &Topology, vhost: &str, accounts: &[Account], users: Option<Value>) -> Value {
    let argument = |argument: &Argument| match argument {
        Argument::Text(text) => Value::from(text.as_str()),
        Argument::Number(number) => Value::from(*number),
    };
    let mut definitions = json!({
        "vhosts": [{ "name": vhost }],
        "permissions": accounts.iter().map(|account| json!({
            "user": account.name, "vhost": vhost, "configure": account.configure, "write": account.write, "read": account.read,
        })).collect::<Vec<_>>(),
        "topic_permissions": accounts.iter().filter_map(|account| account.keys.as_ref().map(|keys| json!({
            "user": account.name, "vhost": vhost, "exchange": keys.exchange, "write": keys.write, "read": "^$",
        }))).collect::<Vec<_>>(),
        "exchanges": topology.exchanges.iter().map(|exchange| json!({
            "name": exchange.name, "vhost": vhost, "type": exchange.kind.to_string(),
            "durable": true, "auto_delete": false, "internal": false, "arguments": {},
        })).collect::<Vec<_>>(),
        "queues": topology.queues.iter().map(|queue| json!({
            "name": queue.name, "vhost": vhost, "durable": true, "auto_delete": false,
            "arguments": queue.arguments.iter().map(|(name, value)| ((*name).to_owned(), argument(value))).collect::<serde_json::Map<_, _>>(),
        })).collect::<Vec<_>>(),
        "bindings": topology.bindings.iter().map(|binding| json!({
            "source": binding.exchange, "vhost": vhost, "destination": binding.queue, "destination_type": "queue",
            "routing_key": binding.key, "arguments": {},
        })).collect::<Vec<_>>(),
        "policies": [{
            "name": "wsb-intake-is-never-dropped", "vhost": vhost, "apply-to": "queues", "priority": 0,
            "pattern": r"^(wsb\.intake\..*|wsb\.returned|dfdg\.deletions)$", "definition": { "delivery-limit": PRACTICALLY_NEVER },
        }],
    });
    if let Some(users) = users {
        definitions["users"] = users;
    }
    definitions
}
