//! The built broker as a child process, used as an operator would use it.

use std::fs;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::leash::{Leash, signal};
use super::metrics::Metrics;
use super::wait::{free_port, until, until_some};

/// Generous: the machine may compile beside the tests.
const READY_LIMIT: Duration = Duration::from_secs(60);

const TOKEN: &str = "rig-admin-token";

/// How to run the broker. The defaults are what most tests want.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The RabbitMQ to use.
    pub amqp_uri: String,
    /// The routing file; default the one at the repository's root.
    pub routing: Option<PathBuf>,
    /// The retention file; default whatever the broker finds by itself.
    pub retention: Option<PathBuf>,
    /// The data directory; default one that goes with the handle.
    pub data_dir: Option<PathBuf>,
    /// The program; default the one that was built with this test.
    pub program: Option<PathBuf>,
    /// Further arguments after `run`.
    pub arguments: Vec<String>,
    /// Further environment.
    pub environment: Vec<(String, String)>,
}

impl Options {
    /// Defaults, with this RabbitMQ.
    pub fn new(amqp_uri: &str) -> Self {
        Self { amqp_uri: amqp_uri.to_owned(), ..Self::default() }
    }

    /// Sets the routing file.
    pub fn routing(mut self, file: impl AsRef<Path>) -> Self {
        self.routing = Some(file.as_ref().to_owned());
        self
    }

    /// Sets the retention file.
    pub fn retention(mut self, file: impl AsRef<Path>) -> Self {
        self.retention = Some(file.as_ref().to_owned());
        self
    }

    /// Sets the data directory.
    pub fn data_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.data_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets one environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A broker with a data directory and an address, running or not.
pub struct Broker {
    options: Options,
    data_dir: PathBuf,
    log_file: PathBuf,
    http_port: u16,
    child: Option<Child>,
    leash: Leash,
    // Holds the log, and the data directory unless the options name one. Last,
    // so that it goes after the child.
    _home: TempDir,
}

impl Broker {
    /// Starts the broker and waits until `/readyz` says 200.
    #[track_caller]
    pub fn start(options: Options) -> Self {
        let mut broker = Self::spawn(options);
        broker.wait_ready();
        broker
    }

    /// Starts the broker without waiting for anything.
    #[track_caller]
    pub fn spawn(options: Options) -> Self {
        let mut broker = Self::prepare(options);
        broker.spawn_again();
        broker
    }

    /// Makes data directory and address, and starts nothing: for commands that
    /// come before the first start.
    pub fn prepare(options: Options) -> Self {
        let home = tempfile::Builder::new().prefix("wsb-broker-").tempdir().expect("a temporary directory");
        let data_dir = options.data_dir.clone().unwrap_or_else(|| home.path().join("data"));
        Self {
            log_file: home.path().join("broker.log"),
            data_dir,
            http_port: free_port(),
            child: None,
            leash: Leash::new(Some(home.path())),
            options,
            _home: home,
        }
    }

    /// Starts the broker again on the same data directory and address, and
    /// waits until it is ready.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.spawn_again();
        self.wait_ready();
    }

    /// Starts the broker again without waiting for anything.
    #[track_caller]
    pub fn spawn_again(&mut self) {
        assert!(self.child.is_none(), "the broker runs already");
        let log = fs::File::options().create(true).append(true).open(&self.log_file).expect("the rig's directory is writable");
        let child = self
            .command()
            .arg("run")
            .args(&self.options.arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program().display()));
        self.leash.hold(child.id());
        self.child = Some(child);
    }

    /// Sets the arguments after `run` of the next start.
    pub fn run_with(&mut self, arguments: &[&str]) {
        self.options.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    }

    /// Waits until `/readyz` says 200; fails the test when the process ends.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let url = self.url("/readyz");
        let started = std::time::Instant::now();
        loop {
            let answer = get(&url, None);
            if let Some((200, _)) = answer {
                return;
            }
            if let Some(status) = self.exited() {
                panic!("the broker ended with {status} instead of getting ready:\n{}", self.log_tail());
            }
            assert!(started.elapsed() < READY_LIMIT, "not ready after {READY_LIMIT:?}; readyz: {answer:?}; log:\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the exit status when the process has ended by itself.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("our own child");
        if status.is_some() {
            self.child = None;
            self.leash.let_go();
        }
        status
    }

    /// Waits until the process has ended by itself and returns its status.
    #[track_caller]
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        until_some(limit, "the broker ends", || self.exited())
    }

    /// Kills the process with SIGKILL.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            self.leash.let_go();
        }
    }

    /// Sends SIGTERM and returns the exit status.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_exit(Duration::from_secs(60))
    }

    /// Sends a signal, such as `HUP`.
    pub fn signal(&self, name: &str) {
        if let Some(pid) = self.pid() {
            signal(name, pid);
        }
    }

    /// Returns the process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Stops it where it stands, as a machine does that is out of breath.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Has it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Returns the data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Returns everything that the broker has written to stdout and stderr.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log_file).unwrap_or_default()).into_owned()
    }

    /// Waits until the log contains `text`.
    #[track_caller]
    pub fn wait_log(&self, text: &str, limit: Duration) {
        until(limit, &format!("the log says {text:?}"), || self.log().contains(text));
    }

    /// Returns the file that holds the log.
    pub fn log_file(&self) -> &Path {
        &self.log_file
    }

    /// Returns the end of the log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Runs another command of the program, such as `["explain", "--event",
    /// "x.json"]`, with the same settings.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{}: {error}", self.program().display()))
    }

    /// As [`Broker::cli`], with a text on standard input.
    pub fn cli_fed(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program().display()));
        // A command that refuses may not read it.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        child.wait_with_output().unwrap_or_else(|error| panic!("{}: {error}", self.program().display()))
    }

    /// As [`Broker::cli`], with a standard output that nobody reads: of a pipe whose other
    /// end is closed.
    pub fn cli_unread(&self, arguments: &[&str]) -> Output {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program().display()));
        child.wait_with_output().unwrap_or_else(|error| panic!("{}: {error}", self.program().display()))
    }

    /// As [`Broker::cli`], and returns stdout; fails the test unless it exits 0.
    #[track_caller]
    pub fn cli_ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "wsb-broker {arguments:?}: code {:?}, signal {:?}\n{stdout}\n{}",
            output.status.code(),
            output.status.signal(),
            String::from_utf8_lossy(&output.stderr)
        );
        stdout
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }

    /// Returns the token of the admin API.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// Returns status and body of `/readyz`; `None` while nobody listens.
    pub fn readyz(&self) -> Option<(u16, String)> {
        get(&self.url("/readyz"), None)
    }

    /// Scrapes the metrics.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        self.try_metrics().unwrap_or_else(|answer| panic!("/metrics: {answer:?}"))
    }

    /// Scrapes the metrics, or returns what came instead.
    pub fn try_metrics(&self) -> Result<Metrics, Option<(u16, String)>> {
        match get(&self.url("/metrics"), None) {
            Some((200, text)) => Ok(Metrics::parse(&text)),
            answer => Err(answer),
        }
    }

    /// Asks the admin API, `path` from `/api/v1` on, and returns status and JSON.
    #[track_caller]
    pub fn api_get(&self, path: &str) -> (u16, Value) {
        let (status, text) = get(&self.url(path), Some(TOKEN)).unwrap_or_else(|| panic!("GET {path}: no answer"));
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Posts JSON to the admin API and returns status and JSON.
    #[track_caller]
    pub fn api_post(&self, path: &str, body: &Value) -> (u16, Value) {
        let sent = agent().post(self.url(path)).header("authorization", format!("Bearer {TOKEN}")).send_json(body);
        let mut answer = sent.unwrap_or_else(|error| panic!("POST {path}: {error}"));
        let status = answer.status().as_u16();
        (status, answer.body_mut().read_to_string().ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null))
    }

    /// Sends DELETE to the admin API and returns the status.
    #[track_caller]
    pub fn api_delete(&self, path: &str) -> u16 {
        let sent = agent().delete(self.url(path)).header("authorization", format!("Bearer {TOKEN}")).call();
        sent.unwrap_or_else(|error| panic!("DELETE {path}: {error}")).status().as_u16()
    }

    fn program(&self) -> PathBuf {
        self.options.program.clone().unwrap_or_else(built_program)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WSB_")) {
            // The user's own settings, such as the RabbitMQ of the demo, have
            // been considered where the options were made.
            command.env_remove(name);
        }
        let routing = self.options.routing.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml"));
        command
            .env("WSB_AMQP_URI", &self.options.amqp_uri)
            .env("WSB_DATA_DIR", &self.data_dir)
            .env("WSB_ROUTING", routing)
            .env("WSB_HTTP", format!("127.0.0.1:{}", self.http_port))
            .env("WSB_ADMIN_TOKEN", TOKEN)
            .envs(self.options.retention.iter().map(|file| ("WSB_RETENTION", file)))
            .envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The program that cargo built for this test or bench; for an example, which
/// cargo does not tell, the one beside it.
fn built_program() -> PathBuf {
    if let Some(program) = option_env!("CARGO_BIN_EXE_wsb-broker") {
        return program.into();
    }
    let own = std::env::current_exe().expect("the system knows where this program is");
    own.ancestors()
        .skip(1)
        .take(3)
        .map(|directory| directory.join("wsb-broker"))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("no wsb-broker beside {}: build it first with `cargo build`", own.display()))
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30))).build();
    config.into()
}

/// Status and body, or `None` when nobody answers.
fn get(url: &str, token: Option<&str>) -> Option<(u16, String)> {
    let mut request = agent().get(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut answer = request.call().ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.body_mut().with_config().limit(u64::MAX).read_to_string().unwrap_or_default()))
}
