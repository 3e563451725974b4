//! What comes in: datagrams, each to its owner, or refused and counted.

use core::net::SocketAddr;
use core::time::Duration;

use super::request::{DATAGRAM_LEN_MAX as REQUEST_LEN_MAX, Held};
use super::{Endpoint, Refusal, RelaySlot};
use crate::connection::{Peer, RelayIndex, check_mac, open_initiation, slot_of};
use crate::crypto::Crypto;
use crate::id::PeerId;
use crate::memory::Lender;
use crate::noise::mac_key;
use crate::time::Instant;
use crate::wire::data::DataHeader;
use crate::wire::handshake::{Initiation, MacKeyedBy, Response};
use crate::wire::{Kind, ParseError};

use super::hop::HopContext;

impl<C: Crypto, L: Lender> Endpoint<C, L> {
    /// Takes a datagram that arrived from `from`; it is opened in place.
    ///
    /// # Errors
    /// [`Refusal`] says why it was not taken. It is counted already: nothing need be done.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        self.handle_waiting_datagram(now, Duration::ZERO, from, bytes)
    }

    /// As [`handle_datagram`](Self::handle_datagram), for a datagram that had `waited` until `now`
    /// in this host's socket, for example for the next frame: neither side then takes that time for
    /// the path's.
    ///
    /// # Errors
    /// [`Refusal`] says why it was not taken. It is counted already: nothing need be done.
    pub fn handle_waiting_datagram(
        &mut self,
        now: Instant,
        waited: Duration,
        from: SocketAddr,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        self.state.now = self.state.now.max(now);
        self.state.waited = waited;
        self.state.counters.datagrams_in += 1;
        self.state.counters.bytes_in += bytes.len() as u64;
        let taken = self.dispatch(from, bytes);
        if let Err(refusal) = taken {
            self.state.counters.refuse(refusal);
        }
        taken
    }

    fn dispatch(&mut self, from: SocketAddr, bytes: &mut [u8]) -> Result<(), Refusal> {
        let relays = self.memory.relays();
        let bound = |slot: &RelaySlot<C>| slot.session().is_some() && slot.is_at(from);
        let place = match relays.iter().position(bound) {
            Some(place) => Some(place),
            None => self.place_elsewhere(from)?,
        };
        let kind = Kind::of(bytes).map_err(refused)?;
        if !kind.is_forwarded() {
            return self.dispatch_hop(from, kind, bytes);
        }
        let relay = RelayIndex(place.ok_or(Refusal::NotBound)? as u8);
        match kind {
            Kind::Data => {
                let header = DataHeader::read(bytes).map_err(refused)?;
                let slot = self.slot(slot_of(header.index))?;
                self.with_peer(slot, |peer, context| {
                    peer.handle_data(context, relay, &header, bytes)
                })
            }
            Kind::Response => self.handle_response(relay, bytes),
            Kind::Initiation | Kind::InviteInitiation => self.handle_initiation(relay, bytes),
            Kind::Hello
            | Kind::Cookie
            | Kind::Bind
            | Kind::Bound
            | Kind::Resume
            | Kind::Resumed
            | Kind::Refused
            | Kind::Control
            | Kind::NotBound
            | Kind::Probe
            | Kind::ProbeReply => Err(Refusal::Unexpected),
        }
    }

    /// Which relay with a session has this address besides the one in use there: what was under way
    /// when another came into use still comes from it.
    #[inline(never)]
    fn place_elsewhere(&self, from: SocketAddr) -> Result<Option<usize>, Refusal> {
        let relays = self.memory.relays();
        if !relays.iter().any(|slot| slot.has_address(from)) {
            return Err(Refusal::UnknownSource);
        }
        Ok(relays.iter().position(|slot| slot.session().is_some() && slot.has_address(from)))
    }

    #[inline(never)]
    fn handle_response(&mut self, relay: RelayIndex, bytes: &mut [u8]) -> Result<(), Refusal> {
        let header = Response::parse(bytes).map_err(refused)?;
        let slot = self.slot(slot_of(header.receiver_index))?;
        self.with_peer(slot, |peer, context| peer.handle_response(context, relay, &header, bytes))
    }

    fn slot(&self, slot: usize) -> Result<usize, Refusal> {
        if slot < self.memory.peers().len() { Ok(slot) } else { Err(Refusal::UnknownConnection) }
    }

    /// A relay that was given a new key has two entries with one address: the one that waits for
    /// this datagram takes it.
    #[inline(never)]
    fn dispatch_hop(
        &mut self,
        from: SocketAddr,
        kind: Kind,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        let mut handled = Err(Refusal::UnknownSource);
        for place in 0..self.memory.relays().len() {
            if self.memory.relays()[place].has_address(from) {
                handled = self.handle_hop(RelayIndex(place as u8), from, kind, bytes);
                // Refused as unexpected, it was not touched.
                if handled != Err(Refusal::Unexpected) {
                    break;
                }
            }
        }
        handled
    }

    fn handle_hop(
        &mut self,
        relay: RelayIndex,
        from: SocketAddr,
        kind: Kind,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        let place = usize::from(relay.0);
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
        let slot = &mut context.relays[place];
        let before = (slot.session(), slot.proven_session());
        let drained = slot.is_draining();
        let mut handled = slot.handle(context.now, from, kind, &mut hop, bytes);
        let page = hop.page;
        let after = (slot.session(), slot.proven_session());
        let drains = slot.is_draining() && !drained;
        if before.0 != after.0 && after.0.is_some() {
            self.with_peers(relay, |peer, context, relay| {
                peer.on_relay_bound(context, relay);
                peer.handle_timeout(context);
            });
        } else if before.0.is_some() && after.0.is_none() {
            self.with_peers(relay, Peer::on_relay_lost);
        }
        if drains {
            self.with_peers(relay, Peer::on_relay_leaving);
        }
        if let Some(page) = page.and_then(|range| bytes.get(range)) {
            handled = self.handle_directory_page(relay, page);
        }
        if kind == Kind::ProbeReply && handled.is_ok() {
            self.on_measured(relay);
        } else if before.1 != after.1
            || handled.is_ok() && self.memory.relays()[place].is_draining()
        {
            self.settle_home();
        }
        handled
    }

    #[inline(never)]
    fn handle_initiation(&mut self, relay: RelayIndex, bytes: &mut [u8]) -> Result<(), Refusal> {
        let header = Initiation::parse(bytes).map_err(refused)?;
        if header.keyed_by == MacKeyedBy::Invite {
            let secret = self.state.accept_requests.as_ref().ok_or(Refusal::UnknownPeer)?;
            let key = mac_key::<C>(&secret.0, header.sender);
            check_mac::<C>(&key, &header, bytes, &self.state.identity)?;
        }
        match self.live(header.sender) {
            Some(slot) => self.handle_known_initiation(slot, relay, header, bytes),
            None if header.keyed_by == MacKeyedBy::Invite => {
                self.hold_request(relay, header, bytes)
            }
            None => Err(Refusal::UnknownPeer),
        }
    }

    fn handle_known_initiation(
        &mut self,
        slot: usize,
        relay: RelayIndex,
        header: Initiation,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        self.with_peer(slot, |peer, context| {
            if peer.check_initiation(context, &header, bytes)? {
                return Ok(());
            }
            let key = peer.key();
            let opened = open_initiation(context, header, Some((&key, peer.pair_secret())), bytes)?;
            peer.answer(context, relay, opened)
        })
    }

    /// A stranger who knows the invite's secret: the application is asked.
    fn hold_request(
        &mut self,
        relay: RelayIndex,
        header: Initiation,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        let parts = self.parts();
        let now = parts.context.now;
        let live = |held: &&mut Held| held.expires > now;
        let theirs = |held: &&mut Held| held.id == header.sender;
        let mut held = parts.requests.iter_mut().filter_map(|request| request.held.as_mut());
        if let Some(held) = held.find(|held| live(held) && theirs(held)) {
            // Asked again: the first message, which was checked whole, is the one that is kept.
            held.expires = now + REQUEST_LIFETIME;
            return Ok(());
        }
        let free = parts
            .requests
            .iter_mut()
            .find(|request| request.held.as_ref().is_none_or(|held| held.expires <= now))
            .ok_or(Refusal::RequestsFull)?;
        let datagram: heapless::Vec<u8, REQUEST_LEN_MAX> =
            heapless::Vec::from_slice(bytes).map_err(|_| Refusal::Malformed)?;
        let opened = open_initiation(&parts.context, header, None, bytes)?;
        let route = opened.route.ok_or(Refusal::Protocol)?;
        if route.public_key != opened.key {
            return Err(Refusal::Protocol);
        }
        free.held = Some(Held {
            id: header.sender,
            relay,
            route,
            expires: now + REQUEST_LIFETIME,
            told: false,
            datagram,
        });
        self.state.request_news = true;
        Ok(())
    }

    /// The application accepts: the first message that was held is answered at once.
    pub(super) fn answer_request(&mut self, peer: PeerId, slot: usize) {
        let held = self
            .parts()
            .requests
            .iter_mut()
            .find(|request| request.held.as_ref().is_some_and(|held| held.id == peer))
            .and_then(|request| request.held.take());
        if let Some(mut held) = held
            && let Ok(header) = Initiation::parse(&held.datagram)
            && let Err(refusal) =
                self.handle_known_initiation(slot, held.relay, header, &mut held.datagram)
        {
            self.state.counters.refuse(refusal);
        }
    }
}

fn refused(error: ParseError) -> Refusal {
    if matches!(error, ParseError::Version | ParseError::Suite) {
        Refusal::Version
    } else {
        Refusal::Malformed
    }
}

/// A stranger's request is forgotten after this long.
const REQUEST_LIFETIME: Duration = Duration::from_secs(10);
