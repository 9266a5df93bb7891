//! Whether what is published to the exchanges of DFDG still reaches the queues that
//! the broker consumes. A publisher whose exchange lacks a binding hears nothing of
//! it, and what it publishes is gone: the bindings are made again every few seconds,
//! which changes nothing where they are.

use std::convert::Infallible;
use std::time::Duration;

use lapin::Connection;

use super::declare::{DeclareError, bind};
use super::target::Socket;
use super::topology::Binding;

/// How often they are made again.
const INTERVAL: Duration = Duration::from_secs(5);

/// Goes on for as long as the connection lasts. Where one cannot be made, since its
/// exchange is gone or a permission was taken back, the connection is cut off: the
/// next one declares everything, or says what is in the way.
pub(super) async fn keep(connection: &Connection, bindings: &[Binding], socket: &Socket) -> Infallible {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(trouble) = make(connection, bindings).await {
            tracing::warn!(%trouble, "what DFDG publishes does not reach the broker: connecting anew to declare what is missing");
            socket.cut();
            return std::future::pending().await;
        }
    }
}

/// On a channel of its own: a refusal closes it.
async fn make(connection: &Connection, bindings: &[Binding]) -> Result<(), DeclareError> {
    // The end of the connection is noticed elsewhere.
    let Ok(channel) = connection.create_channel().await else { return Ok(()) };
    for binding in bindings {
        match bind(&channel, binding).await {
            Err(DeclareError::Interrupted { .. }) => return Ok(()),
            made => made?,
        }
    }
    // Dropping the channel would do the same, a moment later.
    let _ = channel.close(200, "bound".into()).await;
    Ok(())
}
