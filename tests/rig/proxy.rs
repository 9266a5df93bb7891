//! A TCP proxy on loopback that can be as bad as a network.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::wait::{block, free_port, spawn, until};

/// What the proxy does with bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Bytes pass.
    Fair,
    /// Connections stay, and nothing passes.
    Stalled,
    /// What the client sends passes; what the server answers does not.
    RepliesStalled,
}

#[derive(Clone, Copy, Debug)]
struct State {
    weather: Weather,
    accepting: bool,
    /// Connections that began in an earlier generation end.
    generation: u64,
}

/// Stands between a client and `target`. Ends with its handle.
pub struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port and forwards to `127.0.0.1:target`.
    pub fn start(target: u16) -> Self {
        let port = free_port();
        let state = Arc::new(watch::Sender::new(State { weather: Weather::Fair, accepting: true, generation: 0 }));
        let listener = block(async move { listen(port) });
        let task = spawn(serve(listener, port, target, state.subscribe()));
        Self { port, state, task }
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns `uri` with its port on 127.0.0.1 replaced by the proxy's.
    pub fn uri(&self, uri: &str) -> String {
        let (head, tail) = uri.split_once("127.0.0.1:").unwrap_or_else(|| panic!("{uri} does not name a port on 127.0.0.1"));
        format!("{head}127.0.0.1:{}{}", self.port, tail.trim_start_matches(|c: char| c.is_ascii_digit()))
    }

    /// Ends all connections at once; new ones are welcome.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Ends all connections and refuses new ones, until [`Proxy::resume`].
    pub fn refuse(&self) {
        self.state.send_modify(|state| {
            state.generation += 1;
            state.accepting = false;
        });
        until(Duration::from_secs(5), "the proxy stops listening", || {
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err()
        });
    }

    /// Holds back all bytes and keeps the connections, until [`Proxy::resume`].
    pub fn stall(&self) {
        self.state.send_modify(|state| state.weather = Weather::Stalled);
    }

    /// Holds back what the server answers: a publish gets through and its
    /// confirm does not. Follow with [`Proxy::cut`] to lose the confirm for good.
    pub fn stall_replies(&self) {
        self.state.send_modify(|state| state.weather = Weather::RepliesStalled);
    }

    /// Ends a stall or a refusal.
    pub fn resume(&self) {
        self.state.send_modify(|state| {
            state.weather = Weather::Fair;
            state.accepting = true;
        });
        until(Duration::from_secs(5), "the proxy listens again", || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.send_modify(|state| state.generation = u64::MAX);
        self.task.abort();
    }
}

fn listen(port: u16) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    // Ended connections leave the port in TIME_WAIT, which must not keep us
    // from listening again.
    socket.set_reuseaddr(true).expect("a fresh socket");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap_or_else(|error| panic!("port {port}: {error}"));
    socket.listen(128).unwrap_or_else(|error| panic!("port {port}: {error}"))
}

async fn serve(first: TcpListener, port: u16, target: u16, mut state: watch::Receiver<State>) {
    let mut listener = Some(first);
    loop {
        let now = *state.borrow_and_update();
        if !now.accepting {
            listener = None;
        } else if listener.is_none() {
            listener = Some(listen(port));
        }
        // Both arms may be dropped: an unaccepted connection stays in the
        // listener's queue, a change stays marked as unseen.
        match &listener {
            Some(open) => tokio::select! {
                accepted = open.accept() => if let Ok((client, _)) = accepted {
                    tokio::spawn(relay(client, target, state.clone(), now.generation));
                },
                changed = state.changed() => if changed.is_err() { return },
            },
            None => {
                if state.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn relay(client: TcpStream, target: u16, state: watch::Receiver<State>, generation: u64) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    // Without this the proxy would add the delays of Nagle's algorithm.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut ended = state.clone();
    tokio::select! {
        () = copy(from_client, to_server, state.clone(), |weather| weather != Weather::Stalled) => {}
        () = copy(from_server, to_client, state, |weather| weather == Weather::Fair) => {}
        _ = ended.wait_for(|state| state.generation != generation) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>, passes: impl Fn(Weather) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| passes(state.weather)).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
