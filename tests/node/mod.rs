//! A RabbitMQ node of our own on loopback. It ends with this process, however
//! that ends: a shell waits on a pipe that only this process holds, and kills
//! the node's process group when the pipe closes.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A node, with everything it writes in a directory of its own.
pub struct Node {
    directory: TempDir,
    name: String,
    amqp_port: u16,
    dist_port: u16,
    epmd_port: u16,
    epmd: Mutex<Child>,
    guard: Mutex<Child>,
    server: Mutex<Option<Child>>,
}

impl Node {
    /// Starts a node and waits until it serves AMQP.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let epmd_port = free_port();
        let epmd = Command::new("epmd")
            .args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let end = "cat; kill -KILL \"-$1\"; rm -rf -- \"$2\"";
        let guard = Command::new("sh")
            .args(["-c", end, "guard", &epmd.id().to_string(), &directory.path().display().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for part in ["home", "mnesia", "log"] {
            fs::create_dir_all(directory.path().join(part)).unwrap();
        }
        fs::write(directory.path().join("plugins"), "[].\n").unwrap();
        let node = Self {
            name: format!("amqp-{epmd_port}@localhost"),
            amqp_port: free_port(),
            dist_port: free_port(),
            epmd_port,
            epmd: Mutex::new(epmd),
            guard: Mutex::new(guard),
            server: Mutex::new(None),
            directory,
        };
        node.boot();
        node
    }

    /// The URI of the default vhost.
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.amqp_port)
    }

    /// The AMQP port.
    pub fn port(&self) -> u16 {
        self.amqp_port
    }

    /// Creates a vhost and returns its URI.
    pub fn vhost(&self, name: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let made = self.eval(&format!(
            "ok = rabbit_vhost:add(<<\"{name}\">>, <<\"rig\">>), \
             ok = rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, <<\"{name}\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"rig\">>), made"
        ));
        assert!(made.contains("made"), "{made}");
        let there = format!("rabbit_vhost:exists(<<\"{name}\">>) andalso rabbit_vhost_sup_sup:is_vhost_alive(<<\"{name}\">>)");
        let start = Instant::now();
        loop {
            let answer = self.eval(&there);
            if answer.contains("true") {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "vhost {name} is not there: {answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
        format!("amqp://guest:guest@127.0.0.1:{}/{name}", self.amqp_port)
    }

    /// Kills the server and keeps its data.
    pub fn kill(&self) {
        if let Some(mut server) = self.server.lock().unwrap().take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Starts the server again.
    pub fn restart(&self) {
        self.kill();
        self.boot();
    }

    /// Evaluates an Erlang expression on the node.
    pub fn eval(&self, expression: &str) -> String {
        let start = Instant::now();
        loop {
            let answer = self.try_eval(expression);
            // On a busy machine Erlang's handshake may not come through at once.
            if !answer.contains("failed to connect to node") || start.elapsed() > Duration::from_secs(60) {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn try_eval(&self, expression: &str) -> String {
        let cookie = fs::read_to_string(self.directory.path().join("home/.erlang.cookie")).unwrap();
        let mut call = Command::new("erl_call")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .args(["-c", cookie.trim(), "-h", &caller(), "-n", &self.name, "-e"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        call.stdin.take().unwrap().write_all(format!("{expression}.\n").as_bytes()).unwrap();
        let output = call.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    fn boot(&self) {
        let sbin = fs::read_dir("/usr/lib/rabbitmq/lib").unwrap().next().unwrap().unwrap().path().join("sbin/rabbitmq-server");
        let directory = self.directory.path();
        let log = fs::File::create(directory.join("console.log")).unwrap();
        let server = Command::new(sbin)
            .current_dir(directory)
            .env("HOME", directory.join("home"))
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.amqp_port.to_string())
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", directory.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", directory.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", directory.join("none"))
            // The script then becomes the server instead of waiting for it.
            .env("detached", "true")
            .process_group(i32::try_from(self.epmd.lock().unwrap().id()).unwrap())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.server.lock().unwrap() = Some(server);
        let start = Instant::now();
        while !self.speaks_amqp() {
            assert!(start.elapsed() < Duration::from_secs(90), "{}", fs::read_to_string(directory.join("console.log")).unwrap());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn speaks_amqp(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.amqp_port)) else { return false };
        let mut first = [0; 1];
        stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok() && stream.read_exact(&mut first).is_ok() && first[0] == 1
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let mut guard = self.guard.lock().unwrap();
        drop(guard.stdin.take());
        let _ = guard.wait();
        let _ = self.epmd.lock().unwrap().wait();
    }
}

/// A name of its own for each call: all calls are one node to Erlang unless told
/// otherwise, and it turns a second one away while the first is connected.
fn caller() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("call-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The node that the tests share; each takes a vhost of its own.
pub fn shared_node() -> &'static Node {
    static NODE: OnceLock<Node> = OnceLock::new();
    NODE.get_or_init(Node::start)
}

/// A free port that this process has not been given before: two nodes that
/// start at the same time must not get the same one.
fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap();
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        if !given.contains(&port) {
            given.push(port);
            return port;
        }
    }
}
