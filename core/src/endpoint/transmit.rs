//! What goes out, and when: datagrams, events, deadlines.

use core::net::SocketAddr;

use super::event::Event;
use super::hop::HopContext;
use super::{Endpoint, REVIEW, RelaySlot, TRY_NEXT_HOME, deadlines};
use crate::channel::{ChannelEvent, Scope};
use crate::connection::{DATAGRAM_LEN, Notice, Peer, RelayIndex, Timer};
use crate::crypto::Crypto;
use crate::id::{PeerId, RelayId};
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
    /// Another relay is tried as home, or one that nobody needs is left.
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
        self.review_guests(now);
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
        let home = [self.state.home.try_next_at, self.state.home.review_at];
        let home = home.into_iter().flatten().min().map(|at| (at, TimerReason::Home));
        let peers = deadlines::earliest(self.memory.deadlines()).map(|(at, slot)| {
            (at, TimerReason::Connection(self.memory.peers()[slot].poll_timeout().1))
        });
        [relays, home, peers]
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
            None => self
                .transmit_peers(scope, datagrams_max.max(1), out)
                .or_else(|| self.transmit_unbind(out))?,
        };
        let datagrams = transmit.segment_size.map_or(1, |size| transmit.len.div_ceil(size));
        self.state.counters.datagrams_out += datagrams as u64;
        self.state.counters.bytes_out += transmit.len as u64;
        Some(transmit)
    }

    /// The next thing to tell the application. A message's payload stays where it is until the next
    /// call.
    pub fn poll_event(&mut self) -> Option<Event<'_>> {
        if let Some(event) = self.poll_own_event() {
            return Some(event);
        }
        loop {
            let slot = self.state.events.first()?;
            let mut parts = self.parts();
            let peer = &mut parts.peers[slot];
            let id = peer.id();
            if let Some(id) = id
                && let Some(notice) = peer.take_notice(false)
            {
                return Some(Self::notice(id, notice));
            }
            if let Some(id) = id
                && peer.channels().prepare_event(&mut parts.context.pools)
            {
                break self.poll_channel_event(slot, id);
            }
            let last = peer.take_notice(true);
            parts.events.pop(parts.peers);
            parts.refresh_transmit(slot);
            if let (Some(id), Some(notice)) = (id, last) {
                self.remember_left(id);
                self.tidy(slot);
                return Some(Self::notice(id, notice));
            }
            self.tidy(slot);
        }
    }

    fn poll_channel_event(&mut self, slot: usize, peer: PeerId) -> Option<Event<'_>> {
        let parts = self.parts();
        let pools = parts.context.pools;
        let event = parts.peers[slot].channels().poll_event(pools)?;
        Some(match event {
            ChannelEvent::Message { channel, payload } => Event::Message { peer, channel, payload },
            ChannelEvent::Opened { channel } => Event::ChannelOpened { peer, channel },
            ChannelEvent::Closed { channel } => Event::ChannelClosed { peer, channel },
            ChannelEvent::Mismatch { channel } => Event::ChannelMismatch { peer, channel },
            ChannelEvent::Writable { channel } => Event::Writable { peer, channel },
        })
    }

    fn notice(peer: PeerId, notice: Notice) -> Event<'static> {
        match notice {
            Notice::Connected => Event::PeerConnected { peer },
            Notice::Disconnected(reason) => Event::PeerDisconnected { peer, reason },
        }
    }

    /// Events of the endpoint itself: relays, the route, strangers.
    fn poll_own_event(&mut self) -> Option<Event<'static>> {
        if let Some(event) = self.poll_relay_event() {
            return Some(event);
        }
        if core::mem::take(&mut self.state.route_news)
            && let Some(route) = &self.state.route
        {
            return Some(Event::RouteUpdate { route: route.clone() });
        }
        let parts = self.parts();
        let now = parts.context.now;
        parts
            .requests
            .iter_mut()
            .filter_map(|request| request.held.as_mut())
            .find(|held| !held.told && held.expires > now)
            .map(|held| {
                held.told = true;
                Event::PeerRequest { peer: held.id, route: held.route.clone() }
            })
    }

    fn poll_relay_event(&mut self) -> Option<Event<'static>> {
        let place = self.memory.relays().iter().position(RelaySlot::has_notice)?;
        let parts = self.parts();
        let slot = &mut parts.context.relays[place];
        let relay = slot.id()?;
        let event = slot.take_event(relay)?;
        if matches!(event, Event::RelayDraining { .. } | Event::RelayRefused { .. }) {
            self.look_for_another_home(RelayIndex(place as u8));
        }
        Some(event)
    }

    fn handle_relay_timeouts(&mut self, now: Instant) {
        let answering = |slot: &RelaySlot<C>| slot.proven_session().is_some();
        let answering = self.memory.relays().iter().filter(|slot| answering(slot)).count();
        let mut lost_home = None;
        let home = self.state.home.relay;
        let parts = self.parts();
        for (n, slot) in parts.context.relays.iter_mut().enumerate() {
            let was = slot.session().is_some();
            slot.handle_timeout(now, answering > 0, parts.context.crypto);
            if was && slot.session().is_none() && home == Some(RelayIndex(n as u8)) {
                lost_home = home;
            }
        }
        if let Some(home) = lost_home {
            self.look_for_another_home(home);
        }
    }

    /// Home is not there: one more relay is tried, and whichever answers first becomes home.
    fn handle_home_timeout(&mut self, now: Instant) {
        if self.state.home.try_next_at.is_some_and(|at| at <= now)
            && let Some(home) = self.state.home.relay
        {
            self.look_for_another_home(self.state.home.next.unwrap_or(home));
        }
    }

    /// Leaves relays that are not home and that no connection needs.
    fn review_guests(&mut self, now: Instant) {
        let home = &self.state.home;
        let stays = [home.relay, home.next];
        let is_guest = |n: usize| !stays.contains(&Some(RelayIndex(n as u8)));
        let due = home.review_at.is_some_and(|at| at <= now);
        let parts = self.parts();
        let relays = parts.context.relays;
        let mut guests = false;
        for (n, slot) in relays.iter_mut().enumerate().filter(|(n, _)| is_guest(*n)) {
            let Some(id) = slot.id().filter(|_| slot.is_wanted()) else { continue };
            let index = RelayIndex(n as u8);
            if due && !parts.peers.iter().any(|peer| peer.needs_relay(index, id)) {
                slot.leave();
            } else {
                guests = true;
            }
        }
        let next = match self.state.home.review_at {
            Some(at) if at > now => Some(at),
            Some(_) | None => guests.then(|| now + REVIEW),
        };
        self.state.home.review_at = next;
    }

    fn look_for_another_home(&mut self, after: RelayIndex) {
        let relays = self.memory.relays();
        let from = usize::from(after.0) + 1;
        let next = (from..from + relays.len())
            .map(|n| n % relays.len())
            .find(|n| relays[*n].id().is_some());
        let Some(next) = next.map(|n| RelayIndex(n as u8)) else { return };
        self.state.home.try_next_at = None;
        if Some(next) == self.state.home.relay || next == after {
            return;
        }
        let now = self.state.now;
        let parts = self.parts();
        parts.context.relays[usize::from(next.0)].want(now, parts.context.crypto);
        self.state.home.next = Some(next);
        self.state.home.try_next_at = Some(now + TRY_NEXT_HOME);
        self.renew_route();
    }

    fn transmit_hop(&mut self, out: &mut [u8]) -> Option<Transmit> {
        let parts = self.parts();
        let context = parts.context;
        let mut hop = HopContext { crypto: context.crypto, identity: context.identity };
        context.relays.iter_mut().find_map(|slot| {
            let len = slot.poll_transmit(context.now, &mut hop, out)?;
            Some(Transmit { to: slot.address()?, len, segment_size: None })
        })
    }

    /// The last word to a relay, when nothing else is to be sent through it.
    fn transmit_unbind(&mut self, out: &mut [u8]) -> Option<Transmit> {
        self.parts().context.relays.iter_mut().find_map(|slot| {
            let len = slot.poll_unbind(out)?;
            Some(Transmit { to: slot.address()?, len, segment_size: None })
        })
    }

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
            let Some((relay, first_len)) = first else {
                // What may not leave now waits for its time: application data for the next call
                // with everything, the rest for an ack, a session or a timer.
                if scope == Scope::Protocol
                    && peer.wants_transmit(&parts.context, Scope::Everything)
                {
                    parts.transmit.push(parts.peers, slot);
                }
                parts.set_deadline(slot);
                self.tidy(slot);
                continue;
            };
            let relay_slot = &mut parts.context.relays[usize::from(relay.0)];
            let to = relay_slot.address();
            relay_slot.remember(&out[..first_len]);
            let mut len = first_len;
            // Only full datagrams make a run: a later one that is shorter ends it.
            let mut datagrams = 1;
            while first_len == DATAGRAM_LEN
                && datagrams < datagrams_max
                && len + first_len <= out.len()
            {
                let Some(room) = out.get_mut(len..len + first_len) else { break };
                let peer = &mut parts.peers[slot];
                if !peer.continues_run(&parts.context, relay) {
                    break;
                }
                let Some((_, more)) = peer.transmit(&mut parts.context, slot, scope, room) else {
                    break;
                };
                len += more;
                datagrams += 1;
                if more < first_len {
                    break;
                }
            }
            parts.transmit.push(parts.peers, slot);
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
        } else {
            Event::RelayDraining { relay, left: notices.draining.take()? }
        })
    }
}
