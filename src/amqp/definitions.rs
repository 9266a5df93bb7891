//! Who may do what at RabbitMQ: one account for the broker, one for DFDG's
//! events, one for its deletions and one per vendor, each with what it needs and
//! no more.
//!
//! RabbitMQ knows three permissions, each a pattern of names: *configure*
//! (declare, delete), *write* (publish to an exchange, bind a queue) and *read*
//! (consume, get and **purge** a queue; bind from an exchange). There is none for
//! consuming without purging: a vendor that may read its queue may empty it
//! unread. Nor is there one for looking: whoever is in the virtual host may ask
//! by a passive declaration whether a queue exists and how much lies in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use super::lock::LOCK;
use super::topology::{Names, Topology};

/// An account and its permissions in one virtual host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's name; with a certificate, its common name.
    pub name: String,
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish to, and bind.
    pub write: String,
    /// What it may consume, and bind from.
    pub read: String,
    /// The routing keys that it may publish with, if not all.
    pub keys: Option<Keys>,
}

/// A limit of routing keys at a topic exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The exchange.
    pub exchange: String,
    /// The keys that may be published with.
    pub write: String,
}

/// A vendor's account-to-be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendor {
    /// The user's name.
    pub user: String,
    /// The queues that it empties.
    pub queues: Vec<String>,
}

/// The broker's own user.
pub const BROKER: &str = "wsb-broker";
/// Whoever publishes domain events.
pub const EVENTS: &str = "dfdg-events";
/// Whoever answers deletion orders.
pub const DELETIONS: &str = "dfdg-deletions";

/// Matches no name.
const NOTHING: &str = "^$";
/// A queue as recipients have it by default. New ones may be declared without a
/// new import.
const DEFAULT_QUEUES: &str = r"wsb\.(akasse|kommune)\.[0-9]{3}";

/// Returns every account.
#[must_use]
pub fn accounts(topology: &Topology, names: &Names, domains: &[&str], vendors: &[Vendor]) -> Vec<Account> {
    let recipients: Vec<&str> = vendors.iter().flat_map(|vendor| vendor.queues.iter().map(String::as_str)).collect();
    let unusual = recipients.iter().copied().filter(|queue| !is_default(queue));
    let own = topology.exchanges.iter().map(|exchange| exchange.name.as_str());
    let own = own.chain(topology.queues.iter().map(|queue| queue.name.as_str()).filter(|queue| !recipients.contains(queue)));
    let mut own: Vec<&str> = own.chain(unusual).collect();
    own.sort_unstable();
    own.dedup();
    let broker = |and: Option<&str>, without: Option<&str>| {
        let names = and.into_iter().chain(own.iter().copied()).filter(|name| Some(*name) != without).map(escape);
        format!("^({}|{DEFAULT_QUEUES})$", names.collect::<Vec<_>>().join("|"))
    };
    let mut accounts = vec![
        Account {
            name: BROKER.to_owned(),
            // Nothing is ever written to that one, or read.
            configure: broker(Some(LOCK), None),
            // It has no business in saying what happened to citizens.
            write: broker(None, Some(&names.events)),
            // Declaring a queue that dead-letters needs to read it.
            read: broker(None, None),
            keys: None,
        },
        Account {
            name: EVENTS.to_owned(),
            configure: NOTHING.to_owned(),
            write: format!("^{}$", escape(&names.events)),
            read: NOTHING.to_owned(),
            keys: Some(Keys {
                exchange: names.events.clone(),
                write: format!(r"^({})\.[^.]+\.(oprettet|opdateret|slettet)$", domains.join("|")),
            }),
        },
        Account {
            name: DELETIONS.to_owned(),
            configure: NOTHING.to_owned(),
            write: NOTHING.to_owned(),
            read: format!("^{}$", escape(&names.deletions)),
            keys: None,
        },
    ];
    accounts.extend(vendors.iter().map(|vendor| Account {
        name: vendor.user.clone(),
        configure: NOTHING.to_owned(),
        write: NOTHING.to_owned(),
        read: format!("^({})$", vendor.queues.iter().map(|queue| escape(queue)).collect::<Vec<_>>().join("|")),
        keys: None,
    }));
    accounts
}

/// Whether [`DEFAULT_QUEUES`] matches.
fn is_default(queue: &str) -> bool {
    let code = queue.strip_prefix("wsb.akasse.").or_else(|| queue.strip_prefix("wsb.kommune."));
    code.is_some_and(|code| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Makes a pattern that matches `name` and nothing else.
fn escape(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        // In a Perl pattern a backslash before any of these is the character itself.
        if c.is_ascii_punctuation() && c != '_' && c != '-' {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Returns a user name that stands for a vendor's name: `Leverandør A/S` becomes
/// `vendor-leverandoer-a-s`. Plain ASCII, because it is a certificate's common
/// name and a file's name too.
#[must_use]
pub fn user_of_vendor(vendor: &str) -> String {
    let mut words = String::new();
    for c in vendor.chars().flat_map(char::to_lowercase) {
        match c {
            'æ' => words.push_str("ae"),
            'ø' => words.push_str("oe"),
            'å' => words.push_str("aa"),
            c if c.is_ascii_alphanumeric() => words.push(c),
            _ => words.push(' '),
        }
    }
    let words: Vec<&str> = words.split_whitespace().collect();
    format!("vendor-{}", words.join("-"))
}

/// Returns the hash of a password as RabbitMQ stores it (`rabbit_password_hashing_sha256`):
/// four bytes of salt, and SHA-256 of salt and password.
#[must_use]
pub fn hash_password(password: &str, salt: [u8; 4]) -> String {
    let mut hashed = digest::Context::new(&digest::SHA256);
    hashed.update(&salt);
    hashed.update(password.as_bytes());
    let mut bytes = salt.to_vec();
    bytes.extend_from_slice(hashed.finish().as_ref());
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::topology::{Plan, RecipientQueue};
    use super::*;

    fn of(queues: &[(&str, &[&str])]) -> Vec<Account> {
        let recipients = queues.iter().flat_map(|(_, queues)| queues.iter());
        let plan = Plan {
            domains: vec!["tilknytning".into(), "plan".into()],
            recipients: recipients.map(|queue| RecipientQueue { queue: (*queue).to_owned(), max_length: 10 }).collect(),
            names: Names::default(),
        };
        let vendors: Vec<Vendor> = queues
            .iter()
            .map(|(user, queues)| Vendor { user: (*user).to_owned(), queues: queues.iter().map(|queue| (*queue).to_owned()).collect() })
            .collect();
        accounts(&Topology::of(&plan), &plan.names, &["tilknytning", "plan"], &vendors)
    }

    #[test]
    fn each_has_what_it_needs_and_no_more() {
        let accounts = of(&[("vendor-a", &["wsb.akasse.067", "odd+queue"]), ("vendor-b", &["wsb.kommune.860"])]);
        let shown: Vec<String> = accounts
            .iter()
            .map(|account| {
                let keys = account.keys.as_ref().map(|keys| format!(" keys {} {}", keys.exchange, keys.write)).unwrap_or_default();
                format!("{} c {} w {} r {}{keys}", account.name, account.configure, account.write, account.read)
            })
            .collect();
        let own = r"odd\+queue|wsb\.delivery|wsb\.intake\.events|wsb\.intake\.tilknytning|wsb\.returned|wsb\.(akasse|kommune)\.[0-9]{3})$";
        assert_eq!(
            shown,
            [
                format!(
                    r"wsb-broker c ^(wsb\.broker|dfdg\.deletions|dfdg\.events|{own} w ^(dfdg\.deletions|{own} r ^(dfdg\.deletions|dfdg\.events|{own}"
                ),
                r"dfdg-events c ^$ w ^dfdg\.events$ r ^$ keys dfdg.events ^(tilknytning|plan)\.[^.]+\.(oprettet|opdateret|slettet)$"
                    .to_owned(),
                r"dfdg-deletions c ^$ w ^$ r ^dfdg\.deletions$".to_owned(),
                r"vendor-a c ^$ w ^$ r ^(wsb\.akasse\.067|odd\+queue)$".to_owned(),
                r"vendor-b c ^$ w ^$ r ^(wsb\.kommune\.860)$".to_owned(),
            ]
        );
    }

    #[test]
    fn vendors_have_plain_names() {
        for (vendor, user) in [("Leverandør A/S", "vendor-leverandoer-a-s"), ("KMD", "vendor-kmd"), ("  Ærø & Åbo  ", "vendor-aeroe-aabo")]
        {
            assert_eq!(user_of_vendor(vendor), user);
        }
    }

    #[test]
    fn passwords_are_hashed_as_rabbitmq_documents_it() {
        // The example of https://www.rabbitmq.com/docs/passwords#computing-password-hash.
        assert_eq!(hash_password("test12", [0x90, 0x8D, 0xC6, 0x0A]), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    }
}
