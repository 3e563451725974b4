//! Standard input, line by line, without blocking whoever asks.

use core::time::Duration;
use std::io::BufRead;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};

/// The lines of standard input.
pub(crate) struct Input(Receiver<String>);

/// What standard input has to say now.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// A line, without its end.
    Line(String),
    /// Nothing yet.
    Nothing,
    /// Nothing ever again.
    Closed,
}

impl Input {
    /// Begins to read, in a thread of its own: standard input cannot be read without blocking in a
    /// portable way. The thread waits while nobody takes its lines.
    pub(crate) fn new() -> Self {
        let (sender, lines) = sync_channel(1);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self(lines)
    }

    /// The next line, if there is one.
    pub(crate) fn next(&self) -> Next {
        match self.0.try_recv() {
            Ok(line) => Next::Line(line),
            Err(TryRecvError::Empty) => Next::Nothing,
            Err(TryRecvError::Disconnected) => Next::Closed,
        }
    }

    /// The next line, or nothing after `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Next {
        match self.0.recv_timeout(patience) {
            Ok(line) => Next::Line(line),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Closed,
        }
    }
}
