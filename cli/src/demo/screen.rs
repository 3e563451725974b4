//! The demo while it runs: in place on a terminal, a line a second elsewhere.

use core::time::Duration;
use std::io::{IsTerminal, Write, stdout};
use std::time::Instant;

use super::report::{Player, RELIABLE, Report, UNRELIABLE};

/// Where the report is shown.
pub(super) struct Screen {
    mode: Mode,
    seconds: u32,
    started: Option<Instant>,
    next: Option<Instant>,
    /// Lines of the table on the terminal.
    height: usize,
    /// What was done to the relays, and when.
    deeds: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Silent,
    InPlace,
    Lines,
}

impl Screen {
    /// A screen that stays empty if `is_silent`.
    pub(super) fn new(is_silent: bool, seconds: u32) -> Self {
        let mode = match (is_silent, stdout().is_terminal()) {
            (true, _) => Mode::Silent,
            (false, true) => Mode::InPlace,
            (false, false) => Mode::Lines,
        };
        Self { mode, seconds, started: None, next: None, height: 0, deeds: String::new() }
    }

    /// The players begin to send.
    pub(super) fn start(&mut self, now: Instant) {
        self.started = Some(now);
        self.next = Some(now + self.interval());
    }

    /// Says what is done to a relay at this moment.
    pub(super) fn tell(&mut self, deed: &str, now: Instant) {
        let elapsed = self.started.map_or(0.0, |started| (now - started).as_secs_f32());
        let line = format!("{elapsed:>4.1} s | {deed}\n");
        if self.mode == Mode::Lines {
            print(&line);
        }
        self.deeds.push_str(&line);
    }

    /// Shows the report, if it is time to.
    pub(super) fn show(&mut self, report: &Report, now: Instant) {
        let (Some(started), Some(next)) = (self.started, self.next) else { return };
        if now < next || self.mode == Mode::Silent {
            return;
        }
        // From when it was due, so that the lines come once a second and not a little later.
        self.next = Some((next + self.interval()).max(now));
        let elapsed = (now - started).as_secs_f32();
        if self.mode == Mode::InPlace {
            let of = self.seconds;
            let deeds = &self.deeds;
            self.draw(&format!("waylane demo: {elapsed:.0} s of {of} s\n{deeds}\n{report}"));
        } else {
            let [a, b] = report.players.each_ref().map(line);
            print(&format!("{elapsed:>4.0} s | player 1: {a} | player 2: {b}\n"));
        }
    }

    /// Shows the final table.
    pub(super) fn finish(&mut self, report: &Report) {
        let (seconds, deeds) = (self.seconds, &self.deeds);
        match self.mode {
            Mode::Silent => {}
            Mode::InPlace => {
                self.draw(&format!("waylane demo: {seconds} s\n{deeds}\n{report}"));
            }
            Mode::Lines => print(&format!("\nwaylane demo: {seconds} s\n\n{report}\n")),
        }
    }

    /// Draws over what was drawn before.
    fn draw(&mut self, text: &str) {
        let mut out = String::new();
        if self.height > 0 {
            out.push_str(&format!("\x1b[{}A", self.height));
        }
        for line in text.lines() {
            // Clear what a longer line has left behind.
            out.push_str(&format!("\r{line}\x1b[K\n"));
        }
        self.height = text.lines().count();
        print(&out);
    }

    fn interval(&self) -> Duration {
        match self.mode {
            Mode::InPlace => Duration::from_millis(200),
            Mode::Silent | Mode::Lines => Duration::from_secs(1),
        }
    }
}

fn line(player: &Player) -> String {
    let [unreliable, reliable] = [UNRELIABLE, RELIABLE].map(|n| player.channel(n));
    format!(
        "sent {} + {}, received {} + {}, round trip {}, {}",
        unreliable.messages_sent,
        reliable.messages_sent,
        unreliable.messages_received,
        reliable.messages_received,
        player.rtt_ms,
        player.path_and_switches()
    )
}

/// Prints; a reader that has gone away is no reason to stop the demo.
fn print(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
