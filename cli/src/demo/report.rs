//! What the demo reports: as JSON, and as a table for people.

use core::fmt::{self, Write};
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole of a demo.
#[derive(Serialize, Debug, Default)]
pub(super) struct Report {
    /// The two players.
    pub players: [Player; 2],
    /// The relays together; `None` if they are not ours to ask.
    pub relay: Option<Relay>,
    /// How often a player's messages took another path, the larger of both.
    pub path_switches: u32,
    /// The longest time between two messages that arrived on the unreliable channel, of both, while
    /// they were sent 60 times a second.
    pub gap_ms_max: f64,
    /// Messages that did not arrive on the reliable channel, of both.
    pub reliable_lost: u64,
    /// Messages that arrived there after a later one, of both.
    pub reliable_out_of_order: u64,
}

/// What one player has seen.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(super) struct Player {
    /// Its id.
    pub peer_id: u64,
    /// Channel 0 is unreliable, channel 1 reliable.
    pub channels: BTreeMap<u8, Channel>,
    /// Round-trip times of the application's own messages.
    pub rtt_ms: RoundTrip,
    /// Bytes of datagrams, relay traffic included.
    pub wire_bytes: WireBytes,
    /// Which relay carries the connection, numbered from 1.
    pub path: Option<usize>,
    /// How often that has changed.
    pub path_switches: u32,
    /// The longest time between two unreliable messages that arrived.
    pub gap_ms_max: f64,
    /// Relays at which this player can be reached.
    pub reachable_at: usize,
}

/// Counts of one channel.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Channel {
    pub messages_sent: u64,
    pub messages_received: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Sent by the other player and not received.
    pub lost: u64,
    pub out_of_order: u64,
    pub duplicates: u64,
    /// Not whole, or changed.
    pub damaged: u64,
}

/// Percentiles of round-trip times in milliseconds.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

/// Bytes of UDP payload.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default)]
pub(super) struct WireBytes {
    pub out: u64,
    pub r#in: u64,
}

/// What the relay has counted.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(super) struct Relay {
    pub forwarded: u64,
    /// By reason.
    pub dropped: BTreeMap<String, u64>,
}

impl core::ops::Add<&Self> for Relay {
    type Output = Self;

    fn add(mut self, other: &Self) -> Self {
        self.forwarded += other.forwarded;
        for (reason, count) in &other.dropped {
            *self.dropped.entry(reason.clone()).or_default() += count;
        }
        self
    }
}

impl Report {
    /// Fills in what only both players together know: what was sent and never arrived.
    pub(super) fn count_losses(&mut self) {
        let [a, b] = &mut self.players;
        a.count_losses(b);
        b.count_losses(a);
        let [a, b] = &self.players;
        let (in_a, in_b) = (a.channel(RELIABLE), b.channel(RELIABLE));
        self.path_switches = a.path_switches.max(b.path_switches);
        self.gap_ms_max = a.gap_ms_max.max(b.gap_ms_max);
        self.reliable_lost = in_a.lost + in_b.lost;
        self.reliable_out_of_order = in_a.out_of_order + in_b.out_of_order;
    }

    /// What went wrong, in words; nothing if every promise was kept.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, player) in ["player 1", "player 2"].iter().zip(&self.players) {
            for (number, channel) in &player.channels {
                channel.faults(*number, name, &mut faults);
            }
        }
        faults
    }
}

impl Channel {
    fn faults(&self, number: u8, player: &str, faults: &mut Vec<String>) {
        let is_reliable = number == RELIABLE;
        let counts = [
            (self.duplicates, true, "arrived more than once"),
            (self.damaged, true, "arrived damaged"),
            (self.lost, is_reliable, "never arrived"),
            (self.out_of_order, is_reliable, "arrived out of order"),
        ];
        for (count, counts_here, what) in counts {
            if counts_here && count > 0 {
                faults.push(format!("{player}, channel {number}: {count} messages {what}"));
            }
        }
        if is_reliable && self.messages_received == 0 {
            faults.push(format!("{player}, channel {number}: nothing arrived"));
        }
    }
}

impl Player {
    /// Bytes on the wire beyond the messages themselves, per message sent.
    pub(super) fn overhead_per_message(&self) -> Option<f64> {
        let messages: u64 = self.channels.values().map(|c| c.messages_sent).sum();
        let bytes: u64 = self.channels.values().map(|c| c.bytes_sent).sum();
        let overhead = self.wire_bytes.out.saturating_sub(bytes);
        (messages > 0).then(|| overhead as f64 / messages as f64)
    }

    fn count_losses(&mut self, other: &Self) {
        for (number, channel) in &mut self.channels {
            let sent = other.channel(*number).messages_sent;
            channel.lost = sent.saturating_sub(channel.messages_received);
        }
    }

    /// Which way its messages take, in words.
    pub(super) fn path_and_switches(&self) -> String {
        let path = self.path.map_or("none".to_owned(), |n| format!("relay {n}"));
        match self.path_switches {
            0 => path,
            1 => format!("{path}, 1 switch"),
            n => format!("{path}, {n} switches"),
        }
    }

    /// Its counts on a channel.
    pub(super) fn channel(&self, number: u8) -> Channel {
        self.channels.get(&number).cloned().unwrap_or_default()
    }
}

/// The channel on which nothing may be lost.
pub(super) const RELIABLE: u8 = 1;
/// The channel for what may be lost.
pub(super) const UNRELIABLE: u8 = 0;

/// The table, the same while the demo runs and at its end.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = &self.players;
        row(f, "", &"player 1", &"player 2")?;
        row(f, "peer id", &a.peer_id, &b.peer_id)?;
        for (number, name) in [(UNRELIABLE, "unreliable"), (RELIABLE, "reliable")] {
            let [a, b] = [a.channel(number), b.channel(number)];
            row(f, &format!("{name} sent"), &a.sent(), &b.sent())?;
            row(f, "  received", &a.received(), &b.received())?;
            row(f, "  lost", &a.losses(), &b.losses())?;
            row(f, "  out of order", &a.out_of_order, &b.out_of_order)?;
            row(f, "  duplicates", &a.duplicates, &b.duplicates)?;
        }
        row(f, "path", &a.path_and_switches(), &b.path_and_switches())?;
        row(f, "longest gap", &Millis(a.gap_ms_max), &Millis(b.gap_ms_max))?;
        row(f, "round trip p50 / p99", &a.rtt_ms, &b.rtt_ms)?;
        row(f, "wire bytes out / in", &a.wire_bytes, &b.wire_bytes)?;
        row(f, "overhead per message", &Bytes(a), &Bytes(b))?;
        match &self.relay {
            Some(relay) => write!(f, "{relay}"),
            None => f.write_str("relays: another's; their counts are with them"),
        }
    }
}

fn row(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    a: &dyn fmt::Display,
    b: &dyn fmt::Display,
) -> fmt::Result {
    writeln!(f, "{name:<22}{:>24}{:>24}", a.to_string(), b.to_string())
}

impl Channel {
    fn sent(&self) -> String {
        format!("{} ({} B)", self.messages_sent, self.bytes_sent)
    }

    fn received(&self) -> String {
        format!("{} ({} B)", self.messages_received, self.bytes_received)
    }

    fn losses(&self) -> String {
        let sent = self.messages_received + self.lost;
        let percent = if sent == 0 { 0.0 } else { self.lost as f64 * 100.0 / sent as f64 };
        format!("{} ({percent:.1} %)", self.lost)
    }
}

impl fmt::Display for RoundTrip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.p50, self.p99) {
            (Some(p50), Some(p99)) => write!(f, "{p50:.2} / {p99:.2} ms"),
            _ => f.write_char('–'),
        }
    }
}

impl fmt::Display for WireBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.out, self.r#in)
    }
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dropped: u64 = self.dropped.values().sum();
        write!(f, "relays: {} forwarded, {dropped} dropped", self.forwarded)?;
        let reasons = self.dropped.iter().filter(|(_, count)| **count > 0);
        for (n, (reason, count)) in reasons.enumerate() {
            write!(f, "{}{count} {reason}", if n == 0 { " (" } else { ", " })?;
        }
        if dropped > 0 { f.write_char(')') } else { Ok(()) }
    }
}

struct Millis(f64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} ms", self.0)
    }
}

struct Bytes<'a>(&'a Player);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.overhead_per_message() {
            Some(bytes) => write!(f, "{bytes:.1} B"),
            None => f.write_char('–'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player(sent: u64, received: u64) -> Player {
        let channel = Channel {
            messages_sent: sent,
            messages_received: received,
            bytes_sent: sent * 10,
            ..Channel::default()
        };
        Player {
            channels: BTreeMap::from([(UNRELIABLE, channel.clone()), (RELIABLE, channel)]),
            wire_bytes: WireBytes { out: sent * 40, r#in: 0 },
            ..Player::default()
        }
    }

    fn report(players: [Player; 2]) -> Report {
        Report { players, ..Report::default() }
    }

    #[test]
    fn losses_are_what_the_other_sent() {
        let mut report = report([player(10, 20), player(20, 9)]);
        report.count_losses();
        assert_eq!(report.players[0].channels[&RELIABLE].lost, 0);
        assert_eq!(report.players[1].channels[&RELIABLE].lost, 1);
        assert_eq!(report.reliable_lost, 1);
        let faults = report.faults();
        assert_eq!(faults, ["player 2, channel 1: 1 messages never arrived"]);
    }

    #[test]
    fn unreliable_losses_are_no_fault_but_copies_are() {
        let mut report = report([player(10, 10), player(10, 10)]);
        assert_eq!(report.faults(), [""; 0]);
        let channel = report.players[0].channels.get_mut(&UNRELIABLE).unwrap();
        (channel.lost, channel.out_of_order) = (3, 2);
        assert_eq!(report.faults(), [""; 0]);
        report.players[0].channels.get_mut(&UNRELIABLE).unwrap().duplicates = 1;
        assert_eq!(report.faults().len(), 1);
    }

    #[test]
    fn silence_is_a_fault() {
        let report = report([player(10, 10), player(0, 0)]);
        assert_eq!(report.faults(), ["player 2, channel 1: nothing arrived"]);
    }

    #[test]
    fn overhead_is_what_the_wire_carries_beyond_the_messages() {
        assert_eq!(player(10, 0).overhead_per_message(), Some(10.0));
        assert_eq!(player(0, 0).overhead_per_message(), None);
    }
}
