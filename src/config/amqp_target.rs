//! Where RabbitMQ is. The URI holds a password and hence never prints as a whole.

use std::fmt;

use super::secret::Secret;
use crate::core::ids::Malformed;

/// An AMQP URI, `amqp://user:password@host:port/vhost`. Prints without its
/// password and without its query.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpTarget {
    uri: Secret<String>,
    shown: String,
}

impl AmqpTarget {
    /// Checks that `text` has the shape of an AMQP URI.
    ///
    /// # Errors
    /// Refuses other schemes and a missing host. Says nothing of the text, which
    /// may hold a password.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed { expected: "expected an AMQP URI, such as amqp://user:password@host:5672/%2f" };
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(EXPECTED);
        }
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        if scheme != "amqp" && scheme != "amqps" {
            return Err(EXPECTED);
        }
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        // The last @ of the whole rest, not of the part before the slash: a
        // password with an unescaped slash must not be shown as a virtual host.
        let (user, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login.split(':').next().unwrap_or_default()), place),
            None => (None, rest),
        };
        let host = place.split(['/', ':']).next().unwrap_or_default();
        if host.is_empty() {
            return Err(EXPECTED);
        }
        let shown = match user {
            Some(user) => format!("{scheme}://{user}:***@{place}"),
            None => format!("{scheme}://{place}"),
        };
        Ok(Self { uri: Secret::new(text.to_owned()), shown })
    }

    /// Returns the URI with its password, for connecting only.
    #[must_use]
    pub fn uri(&self) -> &Secret<String> {
        &self.uri
    }
}

impl fmt::Display for AmqpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for AmqpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmqpTarget({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_everything_but_the_password() {
        let check = |text: &str, expected: &str| {
            let target = AmqpTarget::parse(text);
            assert_eq!(target.as_ref().map(ToString::to_string).as_deref(), Ok(expected), "{text}");
            assert_eq!(target.map(|t| t.uri().reveal().clone()).as_deref(), Ok(text));
        };
        check("amqp://guest:guest@127.0.0.1:5672/%2f", "amqp://guest:***@127.0.0.1:5672/%2f");
        check("amqps://wsb:s3cret:x@rabbit/wsb?heartbeat=10", "amqps://wsb:***@rabbit/wsb");
        check("amqp://wsb:a/b@c@rabbit/wsb", "amqp://wsb:***@rabbit/wsb");
        check("amqp://localhost", "amqp://localhost");
    }

    #[test]
    fn refuses_what_is_no_amqp_uri() {
        for bad in ["", "localhost", "http://localhost", "amqp://", "amqp://user:pass@", "amqp:///vhost", "amqp://a b", "amqp://a\nb"] {
            assert!(AmqpTarget::parse(bad).is_err(), "{bad}");
        }
    }
}
