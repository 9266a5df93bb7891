//! A private RabbitMQ node on loopback, with everything it writes in a
//! directory of its own.
//!
//! It shares nothing with a RabbitMQ that the system may run: other node name,
//! ports, cookie, data, configuration, and an epmd of its own, so that neither
//! can see the other. The server script is called directly, without Debian's
//! wrapper, which insists on the account and the directories of the service.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::install::Installation;
use super::leash::{Leash, kill_group, signal};
use super::wait::{free_port, until, until_some};

/// Generous: two cores that also compile need 15 s for a start that takes 4.
const START_LIMIT: Duration = Duration::from_secs(90);

/// What a test may want different about its node.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Plugins to enable, such as `rabbitmq_shovel`. Each costs start time.
    pub plugins: Vec<&'static str>,
    /// Above this RabbitMQ blocks publishers.
    pub memory_limit_bytes: u64,
    /// With less free disk than this RabbitMQ blocks publishers.
    pub disk_free_limit_bytes: u64,
    /// Erlang schedulers: one per core is what a server would have, and more
    /// than two only cost start time here.
    pub schedulers: u32,
    /// A directory with `ca.pem`, `server.pem` and `server.key`: the node then
    /// also listens for TLS, and wants client certificates of that authority.
    pub tls: Option<PathBuf>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { plugins: Vec::new(), memory_limit_bytes: 4 << 30, disk_free_limit_bytes: 50_000_000, schedulers: 2, tls: None }
    }
}

/// A RabbitMQ node of our own, or one that the user named.
pub struct Node {
    place: Place,
}

enum Place {
    Private(Box<Private>),
    Foreign { uri: String },
}

struct Private {
    directory: PathBuf,
    view: PathBuf,
    modules: PathBuf,
    name: String,
    amqp_port: u16,
    tls_port: u16,
    dist_port: u16,
    epmd_port: u16,
    cookie: String,
    schedulers: u32,
    running: Mutex<Running>,
}

/// The children. One process group holds epmd and the server, through every
/// restart of the server.
struct Running {
    epmd: Child,
    server: Option<Child>,
    // Dropped last, after the children are gone.
    leash: Leash,
}

impl Node {
    /// Starts a node with default options and waits until it serves AMQP.
    pub fn start() -> Self {
        Self::start_with(&NodeOptions::default())
    }

    /// Starts a node and waits until it serves AMQP.
    pub fn start_with(options: &NodeOptions) -> Self {
        match Self::try_start(options) {
            Ok(node) => node,
            Err(message) => panic!("{message}"),
        }
    }

    /// Uses the RabbitMQ that `WSB_AMQP_URI` names, else starts a node. For the
    /// demo and the like: tests that restart nodes need one of their own.
    ///
    /// # Errors
    /// Says what to do when no RabbitMQ is installed.
    pub fn from_env_or_start(options: &NodeOptions) -> Result<Self, String> {
        match std::env::var("WSB_AMQP_URI") {
            Ok(uri) if !uri.is_empty() => Ok(Self { place: Place::Foreign { uri } }),
            _ => Self::try_start(options),
        }
    }

    /// As [`Node::start_with`], but tells of a missing RabbitMQ by an error.
    ///
    /// # Errors
    /// Says what to do when no RabbitMQ is installed.
    pub fn try_start(options: &NodeOptions) -> Result<Self, String> {
        let installation = Installation::find()?;
        let directory = tempfile::Builder::new().prefix("wsb-rabbitmq-").tempdir().expect("a temporary directory").keep();
        let mut leash = Leash::new(Some(&directory));
        let view = directory.join("rabbitmq");
        let modules = installation.make_view(&view, &options.plugins);
        let epmd_port = free_port();
        let epmd = start_epmd(epmd_port);
        leash.hold(epmd.id());
        let private = Private {
            name: format!("wsb-{}-{epmd_port}@localhost", std::process::id()),
            cookie: format!("WSBRIG{}X{epmd_port}", std::process::id()),
            amqp_port: free_port(),
            tls_port: free_port(),
            dist_port: free_port(),
            epmd_port,
            schedulers: options.schedulers,
            directory,
            view,
            modules,
            running: Mutex::new(Running { epmd, server: None, leash }),
        };
        private.write_files(options);
        private.boot();
        Ok(Self { place: Place::Private(Box::new(private)) })
    }

    /// Returns the AMQP URI of the default vhost, or the one that the user named.
    pub fn uri(&self) -> String {
        match &self.place {
            Place::Private(node) => format!("amqp://guest:guest@127.0.0.1:{}/%2f", node.amqp_port),
            Place::Foreign { uri } => uri.clone(),
        }
    }

    /// Returns whether the rig started this node.
    pub fn is_private(&self) -> bool {
        matches!(self.place, Place::Private(_))
    }

    /// Returns the AMQP port.
    pub fn port(&self) -> u16 {
        self.private("port").amqp_port
    }

    /// Returns the port for TLS; nobody listens there without `NodeOptions::tls`.
    pub fn tls_port(&self) -> u16 {
        self.private("tls_port").tls_port
    }

    /// Creates a vhost and returns its URI: a RabbitMQ to itself for a test,
    /// for some milliseconds instead of seconds. `name` gets a number, so that
    /// it may be used twice.
    pub fn vhost(&self, name: &str) -> String {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let node = self.private("vhost");
        let name = format!("{name}-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "vhost name {name:?} would need escaping");
        node.make_vhost(&name);
        format!("amqp://guest:guest@127.0.0.1:{}/{name}", node.amqp_port)
    }

    /// Deletes a vhost that [`Node::vhost`] made, with all queues in it.
    pub fn delete_vhost(&self, uri: &str) {
        let name = uri.rsplit('/').next().unwrap_or_default();
        let deleted = self.private("delete_vhost").eval(&format!("ok = rabbit_vhost:delete(<<\"{name}\">>, <<\"rig\">>), deleted"));
        assert!(deleted.contains("deleted"), "deleting vhost {name} failed: {deleted}");
    }

    /// Stops the node as an operator would and keeps its data.
    pub fn stop(&self) {
        let node = self.private("stop");
        let mut running = node.lock();
        if let Some(mut server) = running.server.take() {
            signal("TERM", server.id());
            until_some(Duration::from_secs(60), "RabbitMQ stops on SIGTERM", || server.try_wait().expect("our own child"));
        }
    }

    /// Kills the node with SIGKILL and keeps its data.
    pub fn kill(&self) {
        let node = self.private("kill");
        if let Some(mut server) = node.lock().server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Starts the node again on the same ports and data, after [`Node::stop`]
    /// or [`Node::kill`]; stops it first when it runs.
    pub fn restart(&self) {
        self.stop();
        self.private("restart").boot();
    }

    /// Runs `rabbitmqctl` and returns what it prints. Takes about 1.5 s.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        self.tool("rabbitmqctl", arguments)
    }

    /// Runs one of RabbitMQ's command line tools and returns what it prints.
    pub fn tool(&self, tool: &str, arguments: &[&str]) -> String {
        let output = self.private(tool).command(tool).args(arguments).output().expect("the tool is part of the installation");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{tool} {arguments:?} failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// Evaluates an Erlang expression on the node, in a few milliseconds where
    /// Erlang's `erl_call` is installed.
    pub fn eval(&self, expression: &str) -> String {
        self.private("eval").eval(expression)
    }

    /// Has the process of a quorum queue stop, in the vhost of a URI: it takes nothing
    /// in and answers nothing, like one that has lost its majority.
    pub fn suspend_queue(&self, uri: &str, queue: &str) {
        self.tell_queue("suspend", uri, queue);
    }

    /// Has it go on.
    pub fn resume_queue(&self, uri: &str, queue: &str) {
        self.tell_queue("resume", uri, queue);
    }

    fn tell_queue(&self, order: &str, uri: &str, queue: &str) {
        // Names of processes have the vhost as RabbitMQ escapes it.
        let vhost = uri.rsplit('/').next().unwrap_or_default().replace("%2f", "%2F");
        let done = self.eval(&format!("sys:{order}(whereis(binary_to_atom(<<\"{vhost}_{queue}\">>)))"));
        assert_eq!(done.trim(), "{ok, ok}", "sys:{order} of {queue}");
    }

    /// Has the queues that were declared so far on disk: a node that is killed right
    /// after one was made forgets its log.
    pub fn keep_queues(&self) {
        // A table that closes meanwhile is on disk.
        let synced = self.eval("[catch dets:sync(Table) || Table <- dets:all()], synced");
        assert!(synced.contains("synced"), "dets:sync: {synced}");
    }

    /// Has the one channel that consumes a queue stop, in the vhost of a URI: it
    /// learns of nothing until it goes on.
    pub fn suspend_consumer(&self, uri: &str, queue: &str) {
        let (name, suspended) = (resource(uri, queue), suspended_consumer(uri, queue));
        let done = self.eval(&format!(
            "begin {{ok, Queue}} = rabbit_amqqueue:lookup({name}), [Consumer] = rabbit_amqqueue:consumers(Queue), \
             register({suspended}, element(1, Consumer)), sys:suspend({suspended}) end"
        ));
        assert_eq!(done.trim(), "{ok, ok}", "the consumer of {queue} stops");
    }

    /// Has it go on.
    pub fn resume_consumer(&self, uri: &str, queue: &str) {
        let suspended = suspended_consumer(uri, queue);
        let done = self.eval(&format!("begin Consumer = whereis({suspended}), unregister({suspended}), sys:resume(Consumer) end"));
        assert_eq!(done.trim(), "{ok, ok}", "the consumer of {queue} goes on");
    }

    /// Returns how many messages a queue holds, those included that consumers have
    /// not acknowledged.
    pub fn held(&self, uri: &str, queue: &str) -> usize {
        let name = resource(uri, queue);
        let answer = self.eval(&format!(
            "begin {{ok, Queue}} = rabbit_amqqueue:lookup({name}), \
             {{ok, {{_, Total}}, _}} = ra:leader_query(amqqueue:get_pid(Queue), fun rabbit_fifo:query_messages_total/1), Total end"
        ));
        let total = answer.trim().strip_prefix("{ok, ").and_then(|rest| rest.strip_suffix('}')?.parse().ok());
        total.unwrap_or_else(|| panic!("what {queue} holds: {answer}"))
    }

    /// Returns the process id of the server, for measuring.
    pub fn pid(&self) -> Option<u32> {
        self.private("pid").lock().server.as_ref().map(Child::id)
    }

    /// Returns the node's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.private("log").directory.join("log/rabbit.log")).unwrap_or_default()
    }

    fn private(&self, what: &str) -> &Private {
        match &self.place {
            Place::Private(node) => node,
            Place::Foreign { .. } => panic!("{what} needs a node of our own: unset WSB_AMQP_URI"),
        }
    }
}

impl Private {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_files(&self, options: &NodeOptions) {
        let directory = &self.directory;
        for part in ["home", "mnesia", "log"] {
            fs::create_dir_all(directory.join(part)).expect("the rig's directory is writable");
        }
        let cookie = directory.join("home/.erlang.cookie");
        fs::write(&cookie, &self.cookie).expect("the rig's directory is writable");
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o600)).expect("our own file");
        fs::write(directory.join("enabled_plugins"), format!("[{}].\n", options.plugins.join(",")))
            .expect("the rig's directory is writable");
        // Erlang terms and not rabbitmq.conf: translating the latter costs a
        // second at every start.
        let tls = options.tls.as_ref().map_or(String::new(), |files| {
            format!(
                ", {{ssl_listeners, [{{\"127.0.0.1\", {}}}]}}, {{auth_mechanisms, ['PLAIN', 'AMQPLAIN', 'EXTERNAL']}}, \
                 {{ssl_cert_login_from, common_name}}, {{ssl_options, [{{cacertfile, \"{1}/ca.pem\"}}, {{certfile, \"{1}/server.pem\"}}, \
                 {{keyfile, \"{1}/server.key\"}}, {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}]}}",
                self.tls_port,
                files.display()
            )
        });
        let configuration = format!(
            "[{{rabbit, [{{tcp_listeners, [{{\"127.0.0.1\", {}}}]}}, {{vm_memory_high_watermark, {{absolute, {}}}}}, {{disk_free_limit, {}}}, \
             {{loopback_users, [<<\"guest\">>]}}{}]}},\n {{rabbitmq_management, [{{listener, [{{ip, \"127.0.0.1\"}}, {{port, {}}}]}}]}}].\n",
            self.amqp_port,
            options.memory_limit_bytes,
            options.disk_free_limit_bytes,
            tls,
            free_port()
        );
        fs::write(directory.join("advanced.config"), configuration).expect("the rig's directory is writable");
    }

    /// A command from RabbitMQ's `sbin` that knows this node and no other.
    fn command(&self, program: &str) -> Command {
        let directory = &self.directory;
        let mut command = Command::new(self.view.join("sbin").join(program));
        let ctl_port = free_port().to_string();
        command
            .env_clear()
            .current_dir(directory)
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into()))
            .env("LANG", "C.UTF-8")
            .env("HOME", directory.join("home"))
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_SCRIPTS_DIR", self.view.join("sbin"))
            .env("RABBITMQ_PLUGINS_DIR", self.view.join("plugins"))
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", directory.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", directory.join("log"))
            .env("RABBITMQ_LOGS", directory.join("log/rabbit.log"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", directory.join("none.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", directory.join("advanced.config"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", directory.join("config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("enabled_plugins"))
            .env("RABBITMQ_PID_FILE", directory.join("pid"))
            .env("RABBITMQ_CTL_DIST_PORT_MIN", &ctl_port)
            .env("RABBITMQ_CTL_DIST_PORT_MAX", &ctl_port)
            .env("RABBITMQ_CTL_ERL_ARGS", "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}");
        command
    }

    /// Starts the server on what the directory holds and waits until it serves.
    fn boot(&self) {
        let mut running = self.lock();
        let console = fs::File::create(self.directory.join("console.log")).expect("the rig's directory is writable");
        let erlang = format!(
            "-start_epmd false -kernel inet_dist_use_interface {{127,0,0,1}} +S {0}:{0} -pa {1}",
            self.schedulers,
            self.modules.display()
        );
        let mut server = self
            .command("rabbitmq-server")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang)
            // The script then becomes the server instead of waiting for it, and
            // the child's id is the server's.
            .env("detached", "true")
            .process_group(i32::try_from(running.epmd.id()).expect("process ids are positive"))
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("a file can be shared"))
            .stderr(console)
            .spawn()
            .expect("the server script is executable");
        let started = Instant::now();
        until_some(START_LIMIT + Duration::from_secs(1), "RabbitMQ starts", || {
            if speaks_amqp(self.amqp_port) {
                return Some(());
            }
            let ended = server.try_wait().expect("our own child");
            if ended.is_some() || started.elapsed() > START_LIMIT {
                let _ = server.kill();
                panic!("RabbitMQ did not start ({ended:?}):\n{}", self.last_words());
            }
            None
        });
        running.server = Some(server);
    }

    fn last_words(&self) -> String {
        ["console.log", "log/rabbit.log"]
            .iter()
            .map(|file| {
                let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                format!("--- {file}\n{}\n", lines[lines.len().saturating_sub(30)..].join("\n"))
            })
            .collect()
    }

    fn make_vhost(&self, name: &str) {
        let made = self.eval(&format!(
            "ok = rabbit_vhost:add(<<\"{name}\">>, <<\"rig\">>), \
             ok = rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, <<\"{name}\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"rig\">>), made"
        ));
        assert!(made.contains("made"), "creating vhost {name} failed: {made}");
    }

    fn eval(&self, expression: &str) -> String {
        // The cookie on a command line is visible to other users of the
        // machine; it opens a node that lives for a test and holds made-up data.
        let call = Command::new("erl_call")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .args(["-c", &self.cookie, "-h", &caller(), "-n", &self.name, "-e"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        if let Ok(mut call) = call {
            call.stdin.take().expect("piped").write_all(format!("{expression}.\n").as_bytes()).expect("erl_call reads its input");
            let output = call.wait_with_output().expect("our own child");
            if output.status.success() {
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
        }
        let output = self.command("rabbitmqctl").args(["eval", &format!("{expression}.")]).output().expect("part of the installation");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let mut running = self.lock();
        kill_group(running.epmd.id());
        if let Some(mut server) = running.server.take() {
            let _ = server.wait();
        }
        let _ = running.epmd.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Returns the node that all tests of one program share, started at first use;
/// isolate with [`Node::vhost`]. It ends with the process, however that ends.
pub fn shared_node() -> &'static Node {
    static NODE: OnceLock<Node> = OnceLock::new();
    NODE.get_or_init(Node::start)
}

/// What a queue is called in Erlang.
fn resource(uri: &str, queue: &str) -> String {
    let vhost = uri.rsplit('/').next().unwrap_or_default();
    format!("rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)")
}

/// What the channel that consumes a queue is called while it is stopped.
fn suspended_consumer(uri: &str, queue: &str) -> String {
    format!("'consumer of {queue} in {}'", uri.rsplit('/').next().unwrap_or_default())
}

fn start_epmd(port: u16) -> Child {
    let epmd = Command::new("epmd")
        .args(["-address", "127.0.0.1", "-port", &port.to_string()])
        .env_remove("ERL_EPMD_PORT")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("epmd is part of the Erlang that RabbitMQ runs on: run `make setup`");
    until(Duration::from_secs(10), "epmd listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    epmd
}

/// A name of its own for each call: all calls are one node to Erlang unless told
/// otherwise, and it turns a second one away while the first is connected.
fn caller() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    format!("call-{}-{}", std::process::id(), NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

/// Asks for the first frame of the protocol: a listener that accepts is not yet
/// a broker that answers.
fn speaks_amqp(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let mut first = [0; 1];
    stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
        && stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok()
        && stream.read_exact(&mut first).is_ok()
        && first[0] == 1
}
