//! Why there is no connection, in words that tell an operator what to change.

use lapin::protocol::{AMQPErrorKind, AMQPHardError};
use lapin::{Error, ErrorKind};

use super::declare::DeclareError;
use super::lock::LOCK;
use super::target::Target;
use crate::tls::{Problem, Subject, problem_of};

/// Why a connection could not be made, prepared or kept. `Display` is meant for
/// operators; it carries neither password nor message content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The address itself cannot be understood.
    #[error("the AMQP address is not valid ({reason}); expected amqp://user:password@host:5672/%2f")]
    BadUri {
        /// What the parser objected to.
        reason: String,
    },
    /// Nothing that speaks AMQP answers there.
    #[error("cannot reach RabbitMQ at {target}: {reason}; check host, port and TLS in --amqp-uri, and that RabbitMQ runs")]
    Unreachable {
        /// The address without password.
        target: String,
        /// What the operating system or TLS said.
        reason: String,
    },
    /// No TLS session came about, or it was ended at once.
    #[error("no TLS with RabbitMQ at {target}: {problem}")]
    Certificate {
        /// The address without password.
        target: String,
        /// What is wrong with whose certificate.
        problem: Problem,
    },
    /// Our own certificate, key or authorities cannot be used.
    #[error("TLS cannot be used: {problem}")]
    BadTlsFiles {
        /// What is wrong with which file.
        problem: Problem,
    },
    /// RabbitMQ refused user name or password.
    #[error(
        "RabbitMQ at {target} refuses the credentials of user '{user}'; correct user and password in WSB_AMQP_URI or create the user{}",
        guest_hint(.user)
    )]
    WrongCredentials {
        /// The address without password.
        target: String,
        /// Whom it refused.
        user: String,
    },
    /// RabbitMQ knows no user by our certificate.
    #[error("RabbitMQ at {target} knows no user by our client certificate (WSB_AMQP_CERT){}", user_of(.subject.as_deref()))]
    WrongCertificate {
        /// The address without password.
        target: String,
        /// Who the certificate says that we are.
        subject: Option<Box<Subject>>,
    },
    /// The virtual host does not exist.
    #[error("RabbitMQ at {target} has no virtual host '{vhost}'; create it (rabbitmqctl add_vhost) or correct the path of WSB_AMQP_URI")]
    VhostMissing {
        /// The address without password.
        target: String,
        /// Its name.
        vhost: String,
    },
    /// The user has no permission in the virtual host.
    #[error(
        "user '{user}' may not use virtual host '{vhost}' of RabbitMQ at {target}; grant it: rabbitmqctl set_permissions -p '{vhost}' '{user}' '^(wsb|dfdg)\\..*' '^(wsb|dfdg)\\..*' '^(wsb|dfdg)\\..*'"
    )]
    VhostRefused {
        /// The address without password.
        target: String,
        /// Whom it refused.
        user: String,
        /// Where.
        vhost: String,
    },
    /// Another connection holds what only one broker in a virtual host can hold.
    #[error(
        "another broker works in virtual host '{vhost}' of RabbitMQ at {target} and holds queue '{LOCK}': this one takes and sends nothing; \
         stop one of the two, or give it a virtual host of its own (it may also be this broker's own former connection, which RabbitMQ lets \
         go within a minute)"
    )]
    AnotherBroker {
        /// The address without password.
        target: String,
        /// Where.
        vhost: String,
    },
    /// A queue, exchange or binding could not be declared.
    #[error(transparent)]
    Topology(#[from] DeclareError),
    /// An exchange that is published to was deleted while the broker ran.
    #[error("exchange '{exchange}' is gone at RabbitMQ, most likely because it was deleted; it is declared again")]
    ExchangeMissing {
        /// The exchange.
        exchange: String,
    },
    /// A queue that the broker publishes to was deleted while the broker ran.
    #[error("queue '{queue}' is gone at RabbitMQ, most likely because it was deleted with what lay in it; it is declared again")]
    QueueMissing {
        /// The queue.
        queue: String,
    },
    /// What was published came back, since its exchange has no binding any more.
    #[error(
        "RabbitMQ returns what is published to exchange '{exchange}': queue '{queue}' is not bound to it any more; both are declared again"
    )]
    NotBound {
        /// The exchange.
        exchange: String,
        /// The queue that is to take everything.
        queue: String,
    },
    /// RabbitMQ cancelled a consumer, as it does when the queue is deleted.
    #[error("RabbitMQ cancelled the consumer of queue '{queue}', most likely because the queue was deleted; it is declared again")]
    ConsumerCancelled {
        /// The queue.
        queue: String,
    },
    /// RabbitMQ closed a channel that the broker needs.
    #[error("RabbitMQ closed the channel of queue '{queue}': {reason}")]
    ChannelClosed {
        /// The queue that was consumed on it.
        queue: String,
        /// RabbitMQ's words.
        reason: String,
    },
    /// Reading the queue is not permitted.
    #[error("user '{user}' may not consume queue '{queue}': {reason}; grant read permission (rabbitmqctl set_permissions)")]
    ConsumeRefused {
        /// Whom it refused.
        user: String,
        /// The queue.
        queue: String,
        /// RabbitMQ's words.
        reason: String,
    },
    /// Publishing stayed blocked for longer than a confirm may take.
    #[error("RabbitMQ keeps publishers blocked ({reason}); free memory or disk on the RabbitMQ node")]
    StillBlocked {
        /// The alarm, in RabbitMQ's words.
        reason: String,
    },
    /// A queue hangs, and with it all that was published on the same channel.
    #[error(
        "RabbitMQ has answered nothing for {seconds} s of what was published to {queues} queues together, as when one of them has lost its leader; each is tried by itself on a new connection"
    )]
    HeldUp {
        /// How many queues.
        queues: usize,
        /// For how long.
        seconds: u64,
    },
    /// The queue that is heard first says nothing, and everything waits for it.
    #[error(
        "queue '{queue}' at RabbitMQ does not answer, as when it has lost its leader: nothing is decided and nothing sent until it does (rabbitmq-queues quorum_status shows its members)"
    )]
    Mute {
        /// The queue.
        queue: String,
    },
    /// An existing connection ended.
    #[error("the connection to RabbitMQ ended: {reason}")]
    Lost {
        /// RabbitMQ's or the operating system's words.
        reason: String,
    },
}

impl Trouble {
    /// Whether waiting will not help: somebody has to change the configuration
    /// here or at RabbitMQ.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        match self {
            Self::BadUri { .. }
            | Self::Certificate { .. }
            | Self::BadTlsFiles { .. }
            | Self::WrongCredentials { .. }
            | Self::WrongCertificate { .. }
            | Self::VhostMissing { .. }
            | Self::VhostRefused { .. }
            | Self::ConsumeRefused { .. } => true,
            Self::Topology(error) => error.needs_operator(),
            Self::Unreachable { .. }
            // It may be the former process, on its way out.
            | Self::AnotherBroker { .. }
            | Self::ExchangeMissing { .. }
            | Self::QueueMissing { .. }
            | Self::NotBound { .. }
            | Self::ConsumerCancelled { .. }
            | Self::ChannelClosed { .. }
            | Self::StillBlocked { .. }
            | Self::HeldUp { .. }
            | Self::Mute { .. }
            | Self::Lost { .. } => false,
        }
    }

    pub(super) fn on_connect(target: &Target, error: &Error) -> Self {
        let shown = target.to_string();
        if let ErrorKind::ProtocolError(refusal) = error.kind() {
            let text = refusal.get_message().as_str();
            let vhost = target.vhost().to_owned();
            let user = target.user().to_owned();
            return match refusal.kind() {
                AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if text.contains("refused") => {
                    Self::VhostRefused { target: shown, user, vhost }
                }
                AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if text.contains("not found") => Self::VhostMissing { target: shown, vhost },
                // 403 at this point can only be the login.
                _ if refusal.get_id() == 403 && target.is_external() => {
                    Self::WrongCertificate { target: shown, subject: target.tls().subject().map(Box::new) }
                }
                _ if refusal.get_id() == 403 => Self::WrongCredentials { target: shown, user },
                _ => Self::Unreachable { target: shown, reason: text.to_owned() },
            };
        }
        if let ErrorKind::IOError(io) = error.kind()
            && let Some(problem) = problem_of(io)
        {
            return Self::Certificate { target: shown, problem };
        }
        Self::Unreachable { target: shown, reason: reason_of(error) }
    }

    pub(super) fn lost(error: &Error) -> Self {
        Self::Lost { reason: reason_of(error) }
    }
}

/// RabbitMQ's own words where there are any, lapin's otherwise.
pub(super) fn reason_of(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => refusal.get_message().to_string(),
        ErrorKind::IOError(io) => io.to_string(),
        // lapin has many kinds and adds to them; its own text is good enough.
        _ => error.to_string(),
    }
}

/// Says by which name RabbitMQ looks for a user, and what to do.
fn user_of(subject: Option<&Subject>) -> String {
    let Some(Subject { distinguished, common }) = subject else {
        return "; create the user that it derives from it (ssl_cert_login_from)".to_owned();
    };
    let common = common.as_ref().map_or_else(
        || "the certificate has no common name for ssl_cert_login_from = common_name".to_owned(),
        |common| format!("with ssl_cert_login_from = common_name it is '{common}'"),
    );
    format!(
        ": the name that it derives from it is '{distinguished}' unless told otherwise, {common}; create that user there, with its permissions, \
         or have a certificate made with the name of one that exists"
    )
}

/// RabbitMQ tells a remote guest no more than that the login was refused, and
/// this is nearly always why.
fn guest_hint(user: &str) -> &'static str {
    if user == "guest" { " (RabbitMQ lets 'guest' in from its own host only)" } else { "" }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPSoftError};

    use super::*;

    fn refused(kind: AMQPErrorKind, text: &str) -> String {
        let target = Target::parse("amqp://wsb:hemmeligt@rabbit:5672/prod").expect("valid");
        let error = ErrorKind::ProtocolError(AMQPError::new(kind, text.into())).into();
        Trouble::on_connect(&target, &error).to_string()
    }

    #[test]
    fn who_logs_in_with_a_certificate_is_told_of_that_and_of_no_password() {
        let subject = Subject { distinguished: "CN=wsb-broker,O=STAR".to_owned(), common: Some("wsb-broker".to_owned()) };
        let words = |subject: Option<Subject>| {
            let subject = subject.map(Box::new);
            Trouble::WrongCertificate { target: "amqps://rabbit:5671/%2f".to_owned(), subject }.to_string()
        };
        let known = words(Some(subject.clone()));
        for part in ["client certificate", "'CN=wsb-broker,O=STAR'", "ssl_cert_login_from = common_name it is 'wsb-broker'"] {
            assert!(known.contains(part), "{known}");
        }
        let without = words(Some(Subject { common: None, ..subject }));
        assert!(without.contains("has no common name"), "{without}");
        assert!(words(None).contains("ssl_cert_login_from"));

        let files = crate::tls::ClientFiles::new(None, Some("c.pem".into()), Some("k.pem".into())).expect("a pair");
        let target = Target::parse("amqps://rabbit:5671/prod?auth_mechanism=external").expect("valid").with_tls(files).expect("valid");
        let refused = AMQPError::new(AMQPSoftError::ACCESSREFUSED.into(), "ACCESS_REFUSED - Login was refused".into());
        let trouble = Trouble::on_connect(&target, &ErrorKind::ProtocolError(refused).into());
        assert!(matches!(trouble, Trouble::WrongCertificate { subject: None, .. }), "{trouble}");
        assert!(!trouble.to_string().contains("password"), "{trouble}");
    }

    #[test]
    fn refusals_tell_what_to_change() {
        let login =
            refused(AMQPSoftError::ACCESSREFUSED.into(), "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.");
        assert!(login.contains("refuses the credentials of user 'wsb'"), "{login}");
        let missing = refused(AMQPHardError::NOTALLOWED.into(), "NOT_ALLOWED - vhost prod not found");
        assert!(missing.contains("no virtual host 'prod'"), "{missing}");
        let access = refused(AMQPHardError::NOTALLOWED.into(), "NOT_ALLOWED - access to vhost 'prod' refused for user 'wsb'");
        assert!(access.contains("set_permissions -p 'prod' 'wsb'"), "{access}");
        for text in [login, missing, access] {
            assert!(!text.contains("hemmeligt"), "{text}");
        }
    }
}
