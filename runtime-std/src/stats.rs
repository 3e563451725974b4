//! Figures for the application's display.

use core::time::Duration;

use waylane_core::endpoint::{Counters, PeerStats};
use waylane_core::id::RelayId;

use crate::meter::Bytes;

/// How the connection with one peer does.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Whether the handshake is done.
    pub connected: bool,
    /// The relay in use.
    pub relay: Option<RelayId>,
    /// How often the connection took another path.
    pub path_switches: u32,
    /// Round-trip time, smoothed, through the relay.
    pub rtt: Duration,
    /// The shortest round-trip time seen.
    pub rtt_min: Duration,
    /// The latest round-trip time.
    pub rtt_latest: Duration,
    /// How much round-trip times vary.
    pub jitter: Duration,
    /// Packets sent.
    pub packets_sent: u64,
    /// Of these, how many were lost.
    pub packets_lost: u64,
    /// Of those, how many turned out to have arrived.
    pub packets_spurious: u64,
    /// The share of packets lately lost, in 1/1024.
    pub loss: u32,
    /// Packets received.
    pub packets_received: u64,
    /// Packets that the other side sent and that have not arrived: lost on the way here, or still
    /// on it.
    pub packets_missing: u64,
    /// Bytes of datagrams sent.
    pub bytes_sent: u64,
    /// Bytes of datagrams received.
    pub bytes_received: u64,
    /// Bytes of datagrams sent in a second, of late.
    pub rate_out: u64,
    /// Bytes of datagrams received in a second, of late.
    pub rate_in: u64,
    /// Bytes per second that the path is taken to carry; `None` if there is no limit.
    pub rate: Option<u64>,
    /// How long packets wait in the path's queues, as far as that can be told.
    pub queue_delay: Duration,
    /// Bytes of messages waiting to be sent or acknowledged.
    pub queued_bytes: u64,
    /// How long the oldest of them have waited, if there are any.
    pub queued_oldest: Option<Duration>,
    /// Repeated small messages whose first copy had not arrived.
    pub repeats_used: u64,
    /// Messages that did not leave before their deadline.
    pub expired: u64,
}

impl Stats {
    pub(crate) fn of(stats: &PeerStats, rate: Bytes) -> Self {
        Self {
            connected: stats.connected,
            relay: stats.relay,
            path_switches: stats.path_switches,
            rtt: stats.rtt,
            rtt_min: stats.rtt_min,
            rtt_latest: stats.rtt_latest,
            jitter: stats.jitter,
            packets_sent: stats.packets_sent,
            packets_lost: stats.packets_lost,
            packets_spurious: stats.packets_spurious,
            loss: stats.loss,
            packets_received: stats.packets_received,
            packets_missing: stats.packets_missing,
            bytes_sent: stats.bytes_sent,
            bytes_received: stats.bytes_received,
            rate_out: rate.sent,
            rate_in: rate.received,
            rate: stats.rate,
            queue_delay: stats.queue_delay,
            queued_bytes: stats.channels.queued_bytes,
            queued_oldest: stats.channels.oldest,
            repeats_used: stats.channels.counters.repeats_used,
            expired: stats.channels.counters.expired,
        }
    }

    /// Percent of the packets sent that were lost.
    #[must_use]
    pub fn loss_out(&self) -> f64 {
        percent(self.packets_lost, self.packets_sent)
    }

    /// Percent of the packets sent by the other side that have not arrived.
    #[must_use]
    pub fn loss_in(&self) -> f64 {
        percent(self.packets_missing, self.packets_received + self.packets_missing)
    }
}

/// What a client has sent and received in all. Bytes are those of UDP payloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Bytes handed to the sockets, or to the emulated link.
    pub wire_bytes_out: u64,
    /// Bytes received.
    pub wire_bytes_in: u64,
    /// Datagrams handed to the sockets, or to the emulated link.
    pub datagrams_out: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams, and parts of them, that were refused;
    /// [`counters`](crate::NetworkManager::counters) tells why.
    pub refused: u64,
}

impl Traffic {
    pub(crate) fn of(counters: &Counters) -> Self {
        Self {
            wire_bytes_out: counters.bytes_out,
            wire_bytes_in: counters.bytes_in,
            datagrams_out: counters.datagrams_out,
            datagrams_in: counters.datagrams_in,
            refused: counters.refused_in_all(),
        }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}
