//! What can be known about a connection and a relay.

use core::time::Duration;

use super::{ChosenAs, Endpoint, RelayPolicy, RelaySlot, RelayState};
use crate::channel;
use crate::crypto::Crypto;
use crate::directory::RelayEntry;
use crate::id::{ChannelId, PeerId, RelayId};
use crate::memory::Lender;

/// How a connection fares.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PeerStats {
    /// Whether the handshake is done.
    pub connected: bool,
    /// The relay that carries the connection.
    pub relay: Option<RelayId>,
    /// How often it went over to another path.
    pub path_switches: u32,
    /// Smoothed round-trip time (RFC 9002 §5.3).
    pub rtt: Duration,
    /// The latest sample.
    pub rtt_latest: Duration,
    /// The least sample.
    pub rtt_min: Duration,
    /// Mean deviation of the samples.
    pub jitter: Duration,
    /// Data packets sent.
    pub packets_sent: u64,
    /// Ack-eliciting packets that were found lost, of those sent.
    pub packets_lost: u64,
    /// Of those found lost, how many turned out to have arrived.
    pub packets_spurious: u64,
    /// The share of packets lately lost on the path in use, in 1/1024.
    pub loss: u32,
    /// Data packets received.
    pub packets_received: u64,
    /// Data packets that the other side sent and that have not arrived: lost on the way here, or
    /// still on it.
    pub packets_missing: u64,
    /// Bytes of the data packets sent, headers and tags included.
    pub bytes_sent: u64,
    /// Bytes of the data packets received, headers and tags included.
    pub bytes_received: u64,
    /// Bytes that may be in flight.
    pub window: u64,
    /// Bytes per second at which packets leave while there are enough: what the path is taken to
    /// carry. `None` if there is no limit but the window.
    pub rate: Option<u64>,
    /// How long packets wait in the path's queues, as far as that can be told.
    pub queue_delay: Duration,
    /// Bytes of the longest datagrams sent over the path in use: what it is known to carry.
    pub mtu: usize,
    /// What is queued on the channels, and what was dropped there.
    pub channels: channel::ChannelStats,
}

/// How a connection was when the application was told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionQuality {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Mean deviation of the round-trip times.
    pub jitter: Duration,
    /// The share of packets lately lost, in 1/1024.
    pub loss: u32,
    /// Bytes per second that the path is taken to carry, as [`PeerStats::rate`].
    pub rate: Option<u64>,
}

/// One relay of the directory.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RelayStatus<'a> {
    /// Which.
    pub id: RelayId,
    /// Its directory entry.
    pub entry: &'a RelayEntry,
    /// How far the way to a session there is.
    pub state: RelayState,
    /// Smoothed round-trip time of its probes; of the latest keep-alive in a directory of one.
    pub rtt: Option<Duration>,
    /// Smoothed difference between one round trip and the next.
    pub jitter: Duration,
    /// The share of the last eight probes that was lost, in 1/1024.
    pub loss: u32,
    /// Whether the route names it first.
    pub home: bool,
    /// Whether there is a session, or one is asked for, because of a connection only.
    pub guest: bool,
    /// What the application wants of it.
    pub policy: RelayPolicy,
    /// Why it was chosen, or why not.
    pub chosen_as: ChosenAs,
}

impl<C: Crypto, L: Lender> Endpoint<C, L> {
    /// How the connection with a peer fares; `None` if there is no such peer.
    #[must_use]
    pub fn peer_stats(&self, peer: PeerId) -> Option<PeerStats> {
        let peer = &self.memory.peers()[self.live(peer)?];
        let path = peer.active_path();
        let recovery = peer.recovery();
        let index = path.map_or_else(Default::default, |(index, _)| index);
        let (rtt, sent, traffic) = (recovery.rtt(index), recovery.stats(), peer.traffic());
        Some(PeerStats {
            connected: peer.is_connected(),
            relay: path.map(|(_, relay)| relay),
            path_switches: peer.path_switches(),
            rtt: rtt.smoothed(),
            rtt_latest: rtt.latest(),
            rtt_min: rtt.min(),
            jitter: rtt.jitter(),
            packets_sent: traffic.packets_sent,
            packets_lost: sent.packets_lost,
            packets_spurious: sent.packets_spurious,
            loss: recovery.loss(index),
            packets_received: traffic.packets_received,
            packets_missing: peer.packets_missing(),
            bytes_sent: traffic.bytes_sent,
            bytes_received: traffic.bytes_received,
            window: recovery.window(index),
            rate: recovery.pacing_rate(index),
            queue_delay: recovery.queue_delay(index),
            mtu: peer.datagram_len(),
            channels: peer.channels_ref().stats(
                self.memory.channels(),
                self.memory.nodes(),
                self.state.now,
            ),
        })
    }

    /// What is queued on a channel to a peer; `None` if there is no such peer or the channel is not
    /// open.
    #[must_use]
    pub fn channel_queue(&self, peer: PeerId, channel: ChannelId) -> Option<channel::ChannelQueue> {
        let (slots, nodes) = (self.memory.channels(), self.memory.nodes());
        let channels = self.memory.peers()[self.live(peer)?].channels_ref();
        channels.queue(slots, nodes, channel, self.state.now)
    }

    /// How much of the lent pools is in use; the limits say how much there is.
    #[must_use]
    pub const fn pool_usage(&self) -> channel::PoolUsage {
        self.state.pools.usage()
    }

    /// Every relay of the directory.
    pub fn relays(&self) -> impl Iterator<Item = RelayStatus<'_>> {
        let home = self.home();
        let relays = self.memory.relays().iter().filter(|slot| !slot.removed);
        relays.filter_map(move |slot: &RelaySlot<C>| {
            let id = slot.id()?;
            Some(RelayStatus {
                id,
                entry: slot.entry()?,
                state: slot.state(),
                rtt: slot.rtt(),
                jitter: slot.measure().jitter(),
                loss: slot.measure().loss(),
                home: home == Some(id),
                guest: slot.is_wanted()
                    && !matches!(slot.chosen_as, ChosenAs::Home | ChosenAs::Standby),
                policy: slot.policy,
                chosen_as: slot.chosen_as,
            })
        })
    }
}
