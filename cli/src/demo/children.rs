//! The demo's other processes: this program again, with a hidden command. They speak JSON lines
//! over their standard input and output, and end when their input closes, however that comes about.

use core::time::Duration;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::report::{Player, Relay};

/// What the demo tells a player.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToPlayer {
    /// Who the other player is and how to reach them.
    Connect { peer_id: u64, route: String },
    /// The other player's route has changed.
    Route { peer_id: u64, route: String },
    /// Both are ready: send for this long.
    Start { seconds: u32 },
    /// The other player has sent this many reliable messages in all: wait for them.
    Expect { reliable: u64 },
}

/// What a player says.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromPlayer {
    /// Where I am now.
    Route { peer_id: u64, route: String },
    /// Both channels are open.
    Ready,
    /// So far.
    Progress(Player),
    /// I have sent all I send.
    Sent { reliable: u64 },
    /// I have received all there is, or waited long enough.
    Done(Player),
    /// Something a person should know.
    Notice { text: String },
}

/// What the demo tells a relay.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToRelay {
    /// Tell all clients to leave, and end when they have or after so long.
    Drain { seconds: u32 },
}

/// What a relay says.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromRelay {
    /// It listens; the directory entry for clients.
    Listening { entry: String },
    /// So far.
    Progress(Relay),
}

/// Which child a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    Relay(usize),
    Player(usize),
}

/// A line from a child, or the end of its output.
pub(super) type Line = (Who, Option<String>);

/// All children, and what they say.
pub(super) struct Children {
    processes: Vec<Process>,
    lines: Receiver<Line>,
    sender: Sender<Line>,
}

struct Process {
    who: Who,
    child: Child,
    input: Option<ChildStdin>,
}

impl Children {
    /// No children yet.
    pub(super) fn new() -> Self {
        let (sender, lines) = channel();
        Self { processes: Vec::new(), lines, sender }
    }

    /// Starts this program again with `arguments`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(&mut self, who: Who, arguments: &[String]) -> std::io::Result<()> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take();
        let sender = self.sender.clone();
        // Ends with the child: its output closes.
        std::thread::spawn(move || {
            for line in output.map(BufReader::new).into_iter().flat_map(BufRead::lines) {
                let Ok(line) = line else { break };
                if sender.send((who, Some(line))).is_err() {
                    return;
                }
            }
            // Nobody listens any more when the demo is over; then nobody needs to know.
            let _ = sender.send((who, None));
        });
        self.processes.push(Process { who, child, input });
        Ok(())
    }

    /// Tells a child something. A child that has ended says so by its output, so that a failed
    /// write needs no answer here.
    pub(super) fn tell(&mut self, who: Who, message: &impl Serialize) {
        let Ok(mut line) = serde_json::to_string(message) else { return };
        line.push('\n');
        for process in self.processes.iter_mut().filter(|p| p.who == who) {
            if let Some(input) = &mut process.input {
                let _ = input.write_all(line.as_bytes()).and_then(|()| input.flush());
            }
        }
    }

    /// The next line of any child; `None` if there is none within `patience`.
    pub(super) fn next(&self, patience: Duration) -> Option<Line> {
        self.lines.recv_timeout(patience).ok()
    }

    /// Asks a child to end, by closing its input.
    pub(super) fn close(&mut self, who: Who) {
        for process in self.processes.iter_mut().filter(|p| p.who == who) {
            process.input = None;
        }
    }

    /// Ends a child at once, without a word to it (`SIGKILL`).
    pub(super) fn kill(&mut self, who: Who) {
        for process in self.processes.iter_mut().filter(|p| p.who == who) {
            // If it has ended already, its output says so.
            let _ = process.child.kill();
        }
    }

    /// Collects a child that has closed its output.
    pub(super) fn collect(&mut self, who: Who) -> Option<ExitStatus> {
        let at = self.processes.iter().position(|p| p.who == who)?;
        let mut process = self.processes.swap_remove(at);
        process.child.wait().ok()
    }
}

impl Drop for Children {
    /// Nothing stays behind, also when the demo ends by an error.
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// Reads a child's line.
///
/// # Errors
/// When the line is not what a child says.
pub(super) fn parse<T: DeserializeOwned>(line: &str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|e| format!("a child process said '{line}': {e}"))
}

/// Says something, in a child.
pub(super) fn say(message: &impl Serialize) {
    let Ok(mut line) = serde_json::to_string(message) else { return };
    line.push('\n');
    // If the demo is gone, so are we in a moment: our input has closed.
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
}
