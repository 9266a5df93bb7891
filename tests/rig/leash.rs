//! A guard process that outlives this one by a moment and takes the children
//! with it, however this one ends.
//!
//! `Drop` does not run for statics, on `exit`, or on kill -9, and a forgotten
//! RabbitMQ node is 150 MB and a port. So a small shell waits on a pipe whose
//! other end only this process holds. When the pipe closes, it kills the one
//! process group that it was told of and removes the one directory.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = r#"
trap '' HUP INT TERM
group=
while read -r line; do
  case $line in
    hold\ *) group=${line#hold } ;;
    release) exit 0 ;;
  esac
done
[ -n "$group" ] && kill -KILL "-$group"
tries=0
while [ -n "$1" ] && [ -e "$1" ] && [ $tries -lt 100 ]; do
  rm -rf -- "$1" && break
  tries=$((tries + 1)); sleep 0.05
done
"#;

/// Holds a process group and a directory; see the module.
pub struct Leash {
    guard: Child,
}

impl Leash {
    /// Starts the guard. `directory` is removed when this process dies without
    /// [`Leash::release`].
    pub fn new(directory: Option<&Path>) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "leash"]);
        if let Some(directory) = directory {
            command.arg(directory);
        }
        // A group of its own: Ctrl-C in a terminal must not end the guard
        // before it has done its work.
        let guard = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("every system that runs RabbitMQ has sh");
        Self { guard }
    }

    /// Makes `group` the process group to kill in the end, in place of the
    /// former one.
    pub fn hold(&mut self, group: u32) {
        self.tell(&format!("hold {group}\n"));
    }

    /// Forgets the process group: its processes have been waited for, and the
    /// number may soon belong to somebody else.
    pub fn let_go(&mut self) {
        self.tell("hold \n");
    }

    fn tell(&mut self, line: &str) {
        if let Some(stdin) = &mut self.guard.stdin {
            let _ = stdin.write_all(line.as_bytes());
        }
    }
}

impl Drop for Leash {
    /// The owner has cleaned up itself: the guard goes without doing anything.
    fn drop(&mut self) {
        self.tell("release\n");
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Sends a signal to a process that we started, by its id. Through the shell's
/// own `kill`: the `kill` program is missing on small systems, and a call of
/// our own would need unsafe code.
pub fn signal(name: &str, pid: u32) {
    let _ = Command::new("sh").args(["-c", "kill -\"$1\" \"$2\" 2>/dev/null", "kill", name, &pid.to_string()]).status();
}

/// Kills a process group that we started.
pub fn kill_group(group: u32) {
    let _ = Command::new("sh").args(["-c", "kill -KILL \"-$1\" 2>/dev/null", "kill", &group.to_string()]).status();
}
