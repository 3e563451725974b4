//! The real program in processes of its own.

use core::fmt;
use core::time::Duration;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command(arguments).stdin(Stdio::null()).output().expect("the program starts")
}

/// What the program wrote to its standard error.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file of this test's own, not there yet.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let file = folder.join(name);
    let _ = std::fs::remove_file(&file);
    file
}

/// A running program; killed when dropped.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    /// Its standard output.
    pub(crate) out: Lines,
    /// Its standard error.
    pub(crate) err: Lines,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::of(command(arguments))
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let out = Lines::new(child.stdout.take().expect("a pipe"));
        let err = Lines::new(child.stderr.take().expect("a pipe"));
        let input = child.stdin.take();
        Self { child, input, out, err }
    }

    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("standard input is open");
        writeln!(input, "{line}").expect("the program reads");
    }

    /// Closes standard input and waits for the end.
    pub(crate) fn finish(&mut self) -> ExitStatus {
        self.input = None;
        let deadline = Instant::now() + PATIENCE;
        // Both outputs close when the program ends.
        self.out.drain(deadline);
        self.err.drain(deadline);
        assert!(Instant::now() < deadline, "the program does not end; it said:\n{}", self.err);
        self.child.wait().expect("it has ended")
    }

    /// Sends a signal by its name.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let (name, id) = (format!("-{name}"), self.child.id().to_string());
        assert!(Command::new("kill").args([name, id]).status().unwrap().success());
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// What Ctrl-C does.
    #[cfg(unix)]
    pub(crate) fn interrupt(&mut self) {
        self.signal("INT");
        self.wait();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the program can be killed");
        self.child.wait().expect("it has ended");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of one output, in their order.
pub(crate) struct Lines {
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn new(output: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines, seen: Vec::new() }
    }

    /// The next line that holds `text`. Lines before it are passed over.
    pub(crate) fn with(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Some(line) = self.next(deadline) {
            if line.contains(text) {
                return line;
            }
        }
        panic!("no line with '{text}'; there was:\n{self}");
    }

    /// All that comes until the program ends.
    pub(crate) fn rest(&mut self) -> String {
        self.drain(Instant::now() + PATIENCE);
        self.to_string()
    }

    fn next(&mut self, deadline: Instant) -> Option<String> {
        let left = deadline.checked_duration_since(Instant::now())?;
        let line = self.lines.recv_timeout(left).ok()?;
        self.seen.push(line.clone());
        Some(line)
    }

    fn drain(&mut self, deadline: Instant) {
        while self.next(deadline).is_some() {}
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.seen.join("\n"))
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waylane"));
    command.args(arguments);
    command
}

const PATIENCE: Duration = Duration::from_secs(60);
