//! A test of this program as a process of its own, to be killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The process.
pub(super) struct Victim {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Victim {
    /// Starts the test of that name below `store::tests`, which finds its directory in
    /// a variable of the environment.
    pub fn start(test: &str, variable: &str, dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", &format!("store::tests::{test}"), "--nocapture"])
            .env(variable, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, out }
    }

    /// Returns what it says, line by line.
    pub fn lines(&mut self) -> impl Iterator<Item = String> + '_ {
        self.out.by_ref().lines().map_while(Result::ok)
    }

    /// Kills it so long after it has said that its store is open; returns what it had
    /// said since.
    pub fn kill_after(mut self, delay: Duration) -> Vec<String> {
        let _ = self.lines().find(|line| line == "opened");
        let until = Instant::now() + delay;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        self.child.kill().expect("killed");
        let said = self.lines().collect();
        self.child.wait().expect("gone");
        said
    }

    /// Kills it, whatever it is at.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }
}

/// In the process: tells the one that started it.
pub(super) fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{what}").and_then(|()| out.flush()).expect("somebody listens");
}
