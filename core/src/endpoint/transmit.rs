//! What goes out, and when: datagrams, events, deadlines.

use core::net::SocketAddr;

use super::event::Event;
use super::hop::HopContext;
use super::parts::Parts;
use super::{Endpoint, RelaySlot, deadlines};
use crate::channel::{ChannelEvent, Scope, TakenMessage};
use crate::connection::{Notice, Peer, RelayIndex, Timer};
use crate::crypto::Crypto;
use crate::id::{PeerId, RelayId};
use crate::limits::RELAYS_MAX;
use crate::memory::Lender;
use crate::time::Instant;

/// What to send, and where to: always an address of the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// The relay.
    pub to: SocketAddr,
    /// Bytes written to `out`.
    pub len: usize,
    /// `None` for one datagram; else `out` holds several of this size, the last one of them maybe
    /// shorter: one call with segmentation offload sends them all.
    pub segment_size: Option<usize>,
}

/// What the next deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TimerReason {
    /// The hop to a relay.
    Relay,
    /// Another relay is tried as home, one that nobody needs is left, or home is asked for its
    /// signed list.
    Home,
    /// One of a connection's timers.
    Connection(Timer),
}

impl<C: Crypto, L: Lender> Endpoint<C, L> {
    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.state.now = self.state.now.max(now);
        let now = self.state.now;
        self.handle_relay_timeouts(now);
        self.handle_home_timeout(now);
        self.handle_fleet_timeout(now);
        // Each peer at most once: what is due becomes something to send, which sets new deadlines.
        for _ in 0..self.memory.peers().len() {
            let Some((at, slot)) = deadlines::earliest(self.memory.deadlines()) else { break };
            if at > now {
                break;
            }
            self.with_peer(slot, Peer::handle_timeout);
            self.tidy(slot);
        }
    }

    /// The next deadline and its reason; `None` if nothing is awaited.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, TimerReason)> {
        let relays = self.memory.relays().iter().map(RelaySlot::poll_timeout).min();
        let relays = relays.map(|at| (at, TimerReason::Relay));
        let home = self.state.home.poll_timeout().map(|at| (at, TimerReason::Home));
        let fleet = Some((self.state.fleet.poll_timeout(), TimerReason::Home));
        let peers = deadlines::earliest(self.memory.deadlines()).map(|(at, slot)| {
            (at, TimerReason::Connection(self.memory.peers()[slot].poll_timeout().1))
        });
        [relays, home, fleet, peers]
            .into_iter()
            .flatten()
            .filter(|(at, _)| *at != Instant::FAR)
            .min_by_key(|(at, _)| *at)
    }

    /// Writes the next datagram, or several of one size to one relay, at most `datagrams_max`, to
    /// `out`, which should hold at least one of 1,472 bytes. To be repeated until `None`.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        scope: Scope,
        datagrams_max: usize,
        out: &mut [u8],
    ) -> Option<Transmit> {
        self.state.now = self.state.now.max(now);
        let transmit = match self.transmit_hop(out) {
            Some(transmit) => transmit,
            None => match self.transmit_queued(scope, datagrams_max.max(1), out) {
                Some(transmit) => transmit,
                // After the last word to every peer.
                None if scope == Scope::Everything => self.transmit_unbind(out)?,
                None => return None,
            },
        };
        let datagrams = transmit.segment_size.map_or(1, |size| transmit.len.div_ceil(size));
        self.state.counters.datagrams_out += datagrams as u64;
        self.state.counters.bytes_out += transmit.len as u64;
        Some(transmit)
    }

    /// The next thing to tell the application. A message's payload stays where it is until the next
    /// call.
    pub fn poll_event(&mut self) -> Option<Event<'_>> {
        if self.has_own_news()
            && let Some(event) = self.poll_own_event()
        {
            return Some(event);
        }
        while self.state.events.len() > 0 {
            if let Some((peer, message)) = self.take_message() {
                let (channel, payload) = message.lend(self.memory.receive_blocks());
                return Some(Event::Message { peer, channel, payload });
            }
            if !self.take_back_message() {
                return self.poll_peer_event();
            }
        }
        None
    }

    /// Takes back the message that the first peer lent, and the peer out of the queue if nothing
    /// else is to be told of it.
    fn take_back_message(&mut self) -> bool {
        let Parts { peers, events, context, .. } = self.parts();
        let quiet = events.first().is_some_and(|slot| peers[slot].take_back_message(context.pools));
        if quiet {
            events.pop(peers);
        }
        quiet
    }

    /// The next message where nothing is to be told or done before it.
    fn take_message(&mut self) -> Option<(PeerId, TakenMessage)> {
        let slot = self.state.events.first()?;
        let Parts { peers, context, .. } = self.parts();
        let (mut slots, blocks) = context.pools.into_received();
        peers.get_mut(slot)?.take_message(&mut slots, blocks.items())
    }

    // Apart, so that a call that finds nothing to tell does not prepare for it.
    #[inline(never)]
    fn poll_peer_event(&mut self) -> Option<Event<'_>> {
        // Each peer at most once: one that only waits for room stays in the queue.
        for _ in 0..self.state.events.len() {
            let slot = self.state.events.first()?;
            let Parts { peers, context, .. } = self.parts();
            let mut pools = context.pools;
            let peer = &mut peers[slot];
            let id = peer.id();
            if let Some(id) = id
                && let Some(notice) = peer.take_notice(false)
            {
                return Some(Self::notice(id, notice));
            }
            if let Some(id) = id
                && !peer.is_muted()
                && let Some(event) = peer.channels().take_event(&mut pools)
            {
                return Some(Self::channel_event(id, event.lend(self.memory.receive_blocks())));
            }
            let last = peer.take_notice(true);
            // What was read may have made credit due.
            let more = peer.has_events() || peer.channels_ref().wants_to_send(Scope::Protocol);
            let Parts { peers, events, .. } = self.parts();
            events.pop(peers);
            if more {
                self.parts().requeue(slot);
            }
            if let (Some(id), Some(notice)) = (id, last) {
                self.remember_left(id);
                self.tidy(slot);
                return Some(Self::notice(id, notice));
            }
            self.tidy(slot);
        }
        None
    }

    fn channel_event(peer: PeerId, event: ChannelEvent<'_>) -> Event<'_> {
        match event {
            ChannelEvent::Message { channel, payload } => Event::Message { peer, channel, payload },
            ChannelEvent::Opened { channel } => Event::ChannelOpened { peer, channel },
            ChannelEvent::Closed { channel } => Event::ChannelClosed { peer, channel },
            ChannelEvent::Mismatch { channel } => Event::ChannelMismatch { peer, channel },
            ChannelEvent::Writable { channel } => Event::Writable { peer, channel },
        }
    }

    fn notice(peer: PeerId, notice: Notice) -> Event<'static> {
        match notice {
            Notice::Connected => Event::PeerConnected { peer },
            Notice::Quality(quality) => Event::ConnectionQuality { peer, quality },
            Notice::Disconnected(reason) => Event::PeerDisconnected { peer, reason },
        }
    }

    /// Whether there may be events of the endpoint itself.
    fn has_own_news(&mut self) -> bool {
        self.state.route_news
            || self.state.fleet.has_news()
            || self.state.request_news
            || !self.memory.relays_rest(self.state.now)
    }

    /// Events of the endpoint itself: relays, the route, strangers.
    #[inline(never)]
    fn poll_own_event(&mut self) -> Option<Event<'static>> {
        if let Some(event) = self.poll_relay_event() {
            return Some(event);
        }
        if core::mem::take(&mut self.state.route_news)
            && let Some(route) = &self.state.route
        {
            return Some(Event::RouteUpdate { route: route.clone() });
        }
        if let Some(sequence) = self.state.fleet.take_news() {
            return Some(Event::DirectoryUpdate { sequence });
        }
        if self.state.request_news { self.poll_request_event() } else { None }
    }

    fn poll_request_event(&mut self) -> Option<Event<'static>> {
        let parts = self.parts();
        let now = parts.context.now;
        let held = parts
            .requests
            .iter_mut()
            .filter_map(|request| request.held.as_mut())
            .find(|held| !held.told && held.expires > now);
        let event = held.map(|held| {
            held.told = true;
            Event::PeerRequest { peer: held.id, route: held.route.clone() }
        });
        self.state.request_news = event.is_some();
        event
    }

    fn poll_relay_event(&mut self) -> Option<Event<'static>> {
        let place = self.memory.relays().iter().position(RelaySlot::has_notice)?;
        let mut parts = self.parts();
        let slot = &mut parts.context.relays[place];
        let relay = slot.id()?;
        slot.take_event(relay)
    }

    fn handle_relay_timeouts(&mut self, now: Instant) {
        if !self.memory.relays_rest(now) {
            self.handle_due_relays(now);
        }
    }

    #[inline(never)]
    fn handle_due_relays(&mut self, now: Instant) {
        let answering = |slot: &RelaySlot<C>| slot.proven_session().is_some();
        let answering = self.memory.relays().iter().filter(|slot| answering(slot)).count();
        let mut parts = self.parts();
        let mut changed = false;
        let mut lost: heapless::Vec<RelayIndex, { RELAYS_MAX as usize }> = heapless::Vec::new();
        for (n, slot) in parts.context.relays.iter_mut().enumerate() {
            let was = slot.answers();
            slot.handle_timeout(now, answering > 0, parts.context.crypto);
            changed |= slot.has_notice();
            if was && !slot.answers() {
                // There is room for every relay that there may be.
                let _ = lost.push(RelayIndex(n as u8));
            }
        }
        if changed || !lost.is_empty() {
            self.settle_home();
        }
        for relay in lost {
            self.with_peers(relay, Peer::on_relay_lost);
        }
    }

    fn transmit_hop(&mut self, out: &mut [u8]) -> Option<Transmit> {
        let now = self.state.now;
        let asks = self.state.fleet.wants_transmit(now);
        let rest = self.memory.relays_rest(now)
            || !self.memory.relays().iter().any(|slot| slot.wants_transmit(now));
        if rest && !asks {
            return None;
        }
        self.transmit_to_relays(out)
    }

    #[inline(never)]
    fn transmit_to_relays(&mut self, out: &mut [u8]) -> Option<Transmit> {
        let token = self.state.token;
        let parts = self.parts();
        let mut context = parts.context;
        let waited = context.waited;
        let mut hop = HopContext {
            waited,
            crypto: context.crypto,
            identity: context.identity,
            token: token.as_ref(),
            page: None,
        };
        let transmit = context.relays.iter_mut().find_map(|slot| {
            let (to, len) = slot.poll_transmit(context.now, &mut hop, out)?;
            Some(Transmit { to, len, segment_size: None })
        });
        if transmit.is_some() {
            return transmit;
        }
        let asked = self.transmit_directory_ask(out);
        let (relay, len) = asked.or_else(|| self.transmit_probe(out))?;
        let to = self.memory.relays().get(usize::from(relay.0))?.address()?;
        Some(Transmit { to, len, segment_size: None })
    }

    /// The last word to a relay, when nothing else is to be sent through it.
    fn transmit_unbind(&mut self, out: &mut [u8]) -> Option<Transmit> {
        let none = self.memory.relays_rest(self.state.now)
            || !self.memory.relays().iter().any(RelaySlot::wants_unbind);
        if none {
            return None;
        }
        self.memory.relays_mut().iter_mut().find_map(|slot| {
            let len = slot.poll_unbind(out)?;
            Some(Transmit { to: slot.address()?, len, segment_size: None })
        })
    }

    fn transmit_queued(
        &mut self,
        scope: Scope,
        datagrams_max: usize,
        out: &mut [u8],
    ) -> Option<Transmit> {
        if self.state.transmit.len() == 0 {
            return None;
        }
        self.transmit_peers(scope, datagrams_max, out)
    }

    // Apart, so that a call that finds nothing to send does not prepare for it.
    #[inline(never)]
    fn transmit_peers(
        &mut self,
        scope: Scope,
        datagrams_max: usize,
        out: &mut [u8],
    ) -> Option<Transmit> {
        for _ in 0..self.state.transmit.len() {
            let mut parts = self.parts();
            let slot = parts.transmit.pop(parts.peers)?;
            let peer = &mut parts.peers[slot];
            let first = peer.transmit(&mut parts.context, slot, scope, out);
            let full_len = peer.datagram_len();
            let Some((relay, first_len)) = first else {
                // What may not leave now waits for its time: application data for the next call
                // with everything, what finds no record of sent packets for the next call, the
                // rest for an ack, a session or a timer.
                let waits = scope == Scope::Protocol || !parts.context.sent.has_room();
                if waits && peer.wants_transmit(&parts.context, Scope::Everything) {
                    parts.transmit.push(parts.peers, slot);
                }
                parts.set_deadline(slot);
                self.tidy(slot);
                continue;
            };
            let mut len = first_len;
            let mut last = 0;
            // Only full datagrams make a run: a later one that is shorter ends it.
            let mut datagrams = 1;
            while first_len == full_len && datagrams < datagrams_max && len + first_len <= out.len()
            {
                let Some(room) = out.get_mut(len..len + first_len) else { break };
                let peer = &mut parts.peers[slot];
                if !peer.continues_run(&parts.context, relay) {
                    break;
                }
                let Some((_, more)) = peer.transmit(&mut parts.context, slot, scope, room) else {
                    break;
                };
                last = len;
                len += more;
                datagrams += 1;
                if more < first_len {
                    break;
                }
            }
            let relay_slot = parts.context.relays.at_rest(usize::from(relay.0));
            relay_slot.remember(&out[last..len]);
            let to = relay_slot.address();
            if parts.peers[slot].wants_transmit(&parts.context, Scope::Everything) {
                parts.transmit.push(parts.peers, slot);
            }
            parts.set_deadline(slot);
            let segment_size = (datagrams > 1).then_some(first_len);
            return Some(Transmit { to: to?, len, segment_size });
        }
        None
    }
}

impl<C: Crypto> RelaySlot<C> {
    /// One notice as an event, the most important first.
    fn take_event(&mut self, relay: RelayId) -> Option<Event<'static>> {
        let notices = self.notices();
        Some(if let Some(reason) = notices.lost.take() {
            Event::RelayLost { relay, reason }
        } else if core::mem::take(&mut notices.connected) {
            Event::RelayConnected { relay }
        } else if let Some(reason) = notices.refused.take() {
            Event::RelayRefused { relay, reason }
        } else if let Some(left) = notices.draining.take() {
            Event::RelayDraining { relay, left }
        } else {
            Event::TokenExpiring { relay, left: notices.token_expiring.take()? }
        })
    }
}
