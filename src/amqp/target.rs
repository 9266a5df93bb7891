//! Where RabbitMQ is and how to open a connection to it. The password stands in
//! here and never comes out.

use std::fmt;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};

use super::trouble::Trouble;

/// A peer that is gone is noticed after at most two of these.
const HEARTBEAT_SECONDS: u16 = 20;
/// A handshake that takes longer than this counts as unreachable.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);

/// A RabbitMQ address with credentials. `Display` and `Debug` leave the
/// password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    uri: AMQPUri,
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
        Ok(Self { uri })
    }

    pub(super) fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub(super) fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// Opens a connection that shows as `name` in RabbitMQ's own tools.
    pub(super) async fn connect(&self, name: &str) -> Result<Connection, Trouble> {
        let properties = ConnectionProperties::default()
            .with_connection_name(name.into())
            .with_client_property("product".into(), "wsb-broker".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
        let attempt = Connection::connect_uri(self.uri.clone(), properties);
        match tokio::time::timeout(CONNECT_DEADLINE, attempt).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(Trouble::on_connect(self, &error)),
            Err(_) => {
                Err(Trouble::Unreachable { target: self.to_string(), reason: format!("no answer within {} s", CONNECT_DEADLINE.as_secs()) })
            }
        }
    }
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
