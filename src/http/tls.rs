//! HTTP over TLS: a listener that hands over connections once their handshake is
//! done, so that a slow or silent one keeps nobody waiting.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::tls::Identity;

/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way; for more of them the oldest is given up.
const HANDSHAKES: usize = 256;
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

type Accepted = (TlsStream<TcpStream>, SocketAddr);

/// Accepts TLS connections.
pub struct TlsListener {
    accepted: mpsc::Receiver<Accepted>,
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl TlsListener {
    /// Begins to accept, and to follow the files.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, identity: Identity) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(identity.config());
        let (tx, accepted) = mpsc::channel(HANDSHAKES);
        let tasks = [tokio::spawn(accept(listener, acceptor, tx)), tokio::spawn(follow(identity))];
        Ok(Self { accepted, address, tasks })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, accepted: mpsc::Sender<Accepted>) {
    // Each on its own; the ones before it, the oldest first.
    let mut handshakes: VecDeque<AbortHandle> = VecDeque::new();
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // Of one connection, or too many files open: neither is helped by haste.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if handshakes.len() >= HANDSHAKES {
            handshakes.retain(|handshake| !handshake.is_finished());
        }
        // Whoever says something is done long before it is the oldest.
        if handshakes.len() >= HANDSHAKES
            && let Some(oldest) = handshakes.pop_front()
        {
            oldest.abort();
        }
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        handshakes.push_back(tasks.spawn(async move {
            // A handshake that fails is the caller's trouble, who is told by it.
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                let _ = accepted.send((stream, from)).await;
            }
        }));
    }
}

async fn follow(mut identity: Identity) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        match identity.poll() {
            None => {}
            Some(Ok(())) => info!("HTTP is served with a new certificate"),
            Some(Err(problem)) => warn!(%problem, "the new certificate for HTTP is not used, the old one stays"),
        }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The accepting task ends with this listener only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// The other end of a TLS connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}
