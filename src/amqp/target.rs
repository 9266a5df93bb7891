//! Where RabbitMQ is and how to open a connection to it. The password stands in
//! here and never comes out.

use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, RustlsConnector};
use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use lapin::{Connection, ConnectionProperties};

use super::trouble::Trouble;
use crate::core::time::Moment;
use crate::tls::{ClientFiles, Problem, problem_of};

/// A peer that is gone is noticed after at most two of these.
const HEARTBEAT_SECONDS: u16 = 20;
/// A handshake that takes longer than this counts as unreachable.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);

/// The socket under a connection: the way to end one at once, without reading what
/// RabbitMQ has already sent.
#[derive(Clone, Default)]
pub(super) struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn keep(&self, socket: BorrowedFd<'_>) -> std::io::Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(TcpStream::from(socket.try_clone_to_owned()?));
        Ok(())
    }

    /// Ends the connection, as if the network had.
    pub(super) fn cut(&self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // One that is closed already is what is wanted.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// A RabbitMQ address with credentials. `Display` and `Debug` leave the
/// password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    uri: AMQPUri,
    tls: ClientFiles,
}

impl Target {
    /// Parses `amqp://user:password@host:port/vhost` (or `amqps`), the virtual
    /// host percent-encoded: `%2f` is the default one.
    ///
    /// # Errors
    /// [`Trouble::BadUri`], which does not repeat the text, since it may hold a
    /// password.
    pub fn parse(uri: &str) -> Result<Self, Trouble> {
        let mut uri: AMQPUri = uri.parse().map_err(|reason: String| Trouble::BadUri { reason })?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        Ok(Self { uri, tls: ClientFiles::default() })
    }

    /// Adds whom to trust and who to be, for `amqps`. The files are read anew for
    /// every connection.
    ///
    /// # Errors
    /// [`Trouble::BadUri`] for files that would not be used: the address is
    /// `amqp`, or asks to log in by a certificate that there is none of.
    pub fn with_tls(self, tls: ClientFiles) -> Result<Self, Trouble> {
        let plain = self.uri.scheme == AMQPScheme::AMQP;
        if plain && tls != ClientFiles::default() {
            return Err(Trouble::BadUri { reason: "certificates are given, and the address says amqp instead of amqps".into() });
        }
        if self.is_external() && !tls.has_identity() {
            return Err(Trouble::BadUri { reason: "auth_mechanism=external needs a client certificate and its key".into() });
        }
        Ok(Self { tls, ..self })
    }

    /// Returns the files of whom to trust and who to be.
    #[must_use]
    pub fn tls(&self) -> &ClientFiles {
        &self.tls
    }

    /// Whether the certificate says who we are, and no password does.
    pub(super) fn is_external(&self) -> bool {
        self.uri.query.auth_mechanism == Some(SASLMechanism::External)
    }

    pub(super) fn user(&self) -> &str {
        if self.is_external() { "(of the certificate)" } else { &self.uri.authority.userinfo.username }
    }

    /// Returns the virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// Opens a connection that shows as `name` in RabbitMQ's own tools.
    pub(super) async fn connect(&self, name: &str) -> Result<Connection, Trouble> {
        self.connect_with(name, &Socket::default()).await
    }

    /// Opens a connection likewise, and leaves a way to cut it off.
    pub(super) async fn connect_with(&self, name: &str, socket: &Socket) -> Result<Connection, Trouble> {
        let properties = ConnectionProperties::default()
            .with_connection_name(name.into())
            .with_client_property("product".into(), "wsb-broker".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
        let attempt = self.open(properties, socket.clone());
        match tokio::time::timeout(CONNECT_DEADLINE, attempt).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(trouble)) => Err(trouble),
            Err(_) => {
                Err(Trouble::Unreachable { target: self.to_string(), reason: format!("no answer within {} s", CONNECT_DEADLINE.as_secs()) })
            }
        }
    }

    async fn open(&self, properties: ConnectionProperties, socket: Socket) -> Result<Connection, Trouble> {
        let failed = |error: lapin::Error| Trouble::on_connect(self, &error);
        // lapin's own way to TLS would trust the system's authorities beside ours, and
        // fail where there are none.
        let connector = match self.uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(RustlsConnector::from(self.tls.config().map_err(|problem| Trouble::BadTlsFiles { problem })?)),
        };
        let runtime = lapin::runtime::default_runtime().map_err(failed)?;
        let own = runtime.clone();
        let connect = async move |uri: AMQPUri, _| {
            let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri };
            let stream = AMQPUriTcpExt::connect_async(&plain, &own).await?;
            if let AsyncTcpStream::Plain(stream) = &stream {
                socket.keep(stream.get_ref().as_fd())?;
            }
            match &connector {
                Some(connector) => Ok(stream.into_rustls(connector, &plain.authority.host).await?),
                None => Ok(stream),
            }
        };
        let error = match Connection::connector(self.uri.clone(), runtime, connect, properties).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        match Trouble::on_connect(self, &error) {
            Trouble::Unreachable { .. } if was_cut_off(&error) => Err(self.why_cut_off().await),
            trouble => Err(trouble),
        }
    }

    /// Whether the certificate that RabbitMQ has shown last ends within so long, or has
    /// ended; not without one.
    pub(super) fn certificate_ends_within(&self, span: Duration) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let then = i64::try_from((now + span).as_micros()).unwrap_or(i64::MAX);
        self.tls.server_valid_until().is_some_and(|until| until < Moment(then))
    }

    /// Shakes hands and goes, so that the certificate is known that RabbitMQ has now.
    pub(super) async fn see_certificate(&self) -> std::io::Result<()> {
        let config = self.tls.config().map_err(std::io::Error::other)?;
        let connector = RustlsConnector::from(config);
        tokio::time::timeout(CONNECT_DEADLINE, self.shake_hands(&connector)).await?
    }

    async fn shake_hands(&self, connector: &RustlsConnector) -> std::io::Result<()> {
        let runtime = lapin::runtime::default_runtime().map_err(std::io::Error::other)?;
        let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..self.uri.clone() };
        let stream = AMQPUriTcpExt::connect_async(&plain, &runtime).await?;
        stream.into_rustls(connector, &plain.authority.host).await.map(drop)
    }

    /// Asks once more, in a way that is answered.
    async fn why_cut_off(&self) -> Trouble {
        let certificate = |problem| Trouble::Certificate { target: self.to_string(), problem };
        let connector = match self.tls.diagnostic_config() {
            Ok(config) => RustlsConnector::from(config),
            Err(problem) => return Trouble::BadTlsFiles { problem },
        };
        // A connection that is reset may take the answer with it.
        let mut answer = self.shake_hands(&connector).await;
        for _ in 0..4 {
            if answer.as_ref().is_err_and(|error| problem_of(error).is_none()) {
                answer = self.shake_hands(&connector).await;
            }
        }
        match answer {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Trouble::Unreachable { target: self.to_string(), reason: error.to_string() }
            }
            Err(error) => certificate(problem_of(&error).unwrap_or_else(Problem::ended_without_a_word)),
            // It lets us in by now, or dislikes something later than this.
            Ok(()) => Trouble::Unreachable { target: self.to_string(), reason: "the connection was cut off".to_owned() },
        }
    }
}

/// Whether the other side went away without saying anything that we heard.
fn was_cut_off(error: &lapin::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(error.kind(), lapin::ErrorKind::IOError(io)
        if matches!(io.kind(), Kind::ConnectionReset | Kind::BrokenPipe | Kind::UnexpectedEof | Kind::ConnectionAborted))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.uri.scheme {
            AMQPScheme::AMQP => "amqp",
            AMQPScheme::AMQPS => "amqps",
        };
        let vhost = self.uri.vhost.replace('%', "%25").replace('/', "%2f");
        write!(f, "{scheme}://{}@{}:{}/{vhost}", self.user(), self.uri.authority.host, self.uri.authority.port)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let target = Target::parse("amqps://wsb:hemmeligt%21@rabbit.example:5671/a%2fb").expect("valid");
        assert_eq!(target.to_string(), "amqps://wsb@rabbit.example:5671/a%2fb");
        assert_eq!(format!("{target:?}"), "Target(amqps://wsb@rabbit.example:5671/a%2fb)");
        let refused = Target::parse("amqp//wsb:hemmeligt@rabbit").expect_err("no scheme");
        assert!(!refused.to_string().contains("hemmeligt"), "{refused}");
    }

    #[test]
    fn the_default_uri_means_the_default_vhost() {
        let target = Target::parse("amqp://guest:guest@127.0.0.1:5672/%2f").expect("valid");
        assert_eq!(target.vhost(), "/");
        assert_eq!(target.to_string(), "amqp://guest@127.0.0.1:5672/%2f");
    }
}
