//! Who may do what at RabbitMQ, and TLS in both directions, against a real node
//! and with certificates made for the occasion.

#![allow(clippy::panic, clippy::unwrap_used, reason = "in a test, a panic with a good message is how it fails")]

mod certificates;
mod permissions;
#[path = "../rig/mod.rs"]
mod rig;
mod tls;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use certificates::Authority;
use rig::{Node, NodeOptions};

/// Longer than anything should take on a machine that also compiles.
const LIMIT: Duration = Duration::from_secs(90);

/// The node of these tests, and the authority that it trusts. Users belong to a
/// whole node: each test has its own.
fn node() -> &'static (Node, Authority) {
    static NODE: OnceLock<(Node, Authority)> = OnceLock::new();
    NODE.get_or_init(|| {
        // As long as the process, as the node.
        let folder = tempfile::Builder::new().prefix("wsb-certificates-").tempdir().unwrap().keep();
        let authority = Authority::create(&folder, "Authority of the tests");
        authority.issue("server", "rabbitmq", "IP:127.0.0.1");
        fs::copy(authority.certificate(), folder.join("ca.pem")).unwrap();
        let options = NodeOptions { plugins: vec!["rabbitmq_auth_mechanism_ssl"], tls: Some(folder), ..NodeOptions::default() };
        (Node::start_with(&options), authority)
    })
}

/// The shipped `routing.toml` with these recipients only, each with its vendor.
fn routing(recipients: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml")).unwrap();
    let line = |line: &str| {
        if !line.starts_with("  { authority = ") {
            return Some(format!("{line}\n"));
        }
        let (_, vendor) = recipients.iter().find(|(name, _)| line.contains(&format!("\"{name}\"")))?;
        Some(match *vendor {
            "" => format!("{line}\n"),
            vendor => format!("{}\n", line.replace(" },", &format!(", vendor = \"{vendor}\" }},"))),
        })
    };
    text.lines().filter_map(line).collect()
}
