//! The handshake half of a connection: our first messages, and which keys to use. What answers the
//! other side's is in `answer`.

use super::association::{Association, Via};
use super::moves::Left;
use super::path::{RelayIndex, backoff};
use super::timers::Timer;
use super::{Context, Keep, Peer, Phase};
use crate::crypto::{Crypto, Suite};
use crate::endpoint::Refusal;
use crate::id::{ConnectionIndex, PeerId, PublicKey, SessionId};
use crate::noise::{
    AwaitResponse, Initiator, KeyPair, Mac, Responder, Transport, initiation_mac, mac_key,
};
use crate::protection::{PacketKeys, PacketWindow};
use crate::recovery::{Received, Recovery};
use crate::route::Route;
use crate::time::Instant;
use crate::wire::frame::Frame;
use crate::wire::handshake::{
    ChannelOpens, HandshakeParameters, Initiation as InitiationHeader, InitiationPayload, Instance,
    MacKeyedBy, Response as ResponseHeader, ResponsePayload, Stamp,
};
use crate::wire::{DATAGRAM_LEN_MAX, Writer};

/// A first message of ours and what is needed to read its answer.
pub(super) struct Initiation<C: Crypto> {
    stamp: Stamp,
    via: Via,
    local_index: ConnectionIndex,
    suite: Suite,
    /// Hash of what is sealed besides the opens: another content needs another ephemeral key.
    content: [u8; 16],
    /// The channels open when it was written first: a repeat says the same.
    opens: Opens,
    /// Set once it was written.
    state: Option<AwaitResponse<C>>,
    sent_at: Instant,
    due: bool,
    tries: u8,
}

/// Whether the other side was sent our route in the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Yes,
    No,
}

/// A first message, opened: what a responder decides on.
pub(crate) struct Opened<C: Crypto> {
    pub(super) header: InitiationHeader,
    pub(super) reply: crate::noise::Reply<C>,
    /// Who sent it.
    pub(crate) key: PublicKey,
    /// Their route, if they sent one that can be read.
    pub(crate) route: Option<Route>,
    pub(super) instance: Instance,
    pub(super) parameters: HandshakeParameters,
    pub(super) session: SessionId,
    /// The channels that they take data on, as far as they are kept.
    pub(super) opens: Opens,
    /// Length of the datagram: the answer must not be longer.
    pub(super) len: usize,
}

/// ChannelOpen frames of a first message.
pub(super) type Opens = heapless::Vec<u8, OPENS_LEN_MAX, u8>;

impl<C: Crypto> Initiation<C> {
    pub(super) fn was_sent(&self) -> bool {
        self.state.is_some()
    }

    pub(super) fn local_index(&self) -> ConnectionIndex {
        self.local_index
    }

    pub(super) fn via_relay(&self) -> RelayIndex {
        self.via.relay
    }
}

impl<C: Crypto> Peer<C> {
    /// The static–static secret with this peer.
    pub(crate) fn pair_secret(&self) -> &crate::crypto::Secret {
        &self.pair_secret
    }

    /// The answer to a first message of ours.
    pub(crate) fn handle_response(
        &mut self,
        context: &mut Context<'_, C>,
        relay: RelayIndex,
        header: &ResponseHeader,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        let initiation =
            self.initiation.as_ref().filter(|_| self.is_live()).ok_or(Refusal::Unexpected)?;
        let state = initiation.state.as_ref().ok_or(Refusal::Unexpected)?;
        if initiation.local_index != header.receiver_index || initiation.via.relay != relay {
            return Err(Refusal::Unexpected);
        }
        let noise = bytes.get_mut(ResponseHeader::NOISE_OFFSET..).ok_or(Refusal::Malformed)?;
        let (payload, transport) = state
            .read_message_2(context.identity, &header.sender_index.0.to_le_bytes(), noise)
            .map_err(|_| Refusal::Handshake)?;
        let payload = noise.get(payload).ok_or(Refusal::Malformed)?;
        let payload = ResponsePayload::parse(payload).map_err(|_| Refusal::Protocol)?;

        let Initiation { via, local_index, suite, sent_at, tries, .. } = *initiation;
        let Transport { initiator_to_responder, responder_to_initiator, .. } = &transport;
        let place = place_of(local_index);
        self.associations[place] = Some(Association {
            local_index,
            remote_index: header.sender_index,
            keys: PacketKeys::new(
                suite,
                initiator_to_responder,
                responder_to_initiator,
                context.now,
            ),
            confirmed: true,
            begun_by_lower: self.id.is_some_and(|id| context.me < id),
            remote_instance: payload.instance,
            remote: payload.parameters,
            via,
        });
        let elapsed = context.now.since(sent_at);
        self.initiation = None;
        self.adopt(context, place, Told::Yes);
        // After a repeat nobody knows which of the two was answered (Karn).
        if let Some(active) = self.paths.active().filter(|_| tries == 1) {
            self.recovery.set_initial_rtt(active, elapsed);
        }
        for open in payload.opens.iter() {
            // A hint: the same frame comes again under the connection's own keys.
            let _ = self.channels.handle_frame(&mut context.pools, &Frame::ChannelOpen(open));
        }
        // The responder waits for a first packet under the new keys.
        self.owed.ping = true;
        Ok(())
    }

    /// Keys are proven: use them, and begin a new connection if the other side has.
    pub(super) fn adopt(&mut self, context: &mut Context<'_, C>, place: usize, told: Told) {
        let Some(association) = &mut self.associations[place] else { return };
        association.confirmed = true;
        let (instance, remote, via) =
            (association.remote_instance, association.remote, association.via);
        self.begin(context, instance, remote);
        if self.phase == Phase::Connecting || self.sending.is_none() {
            self.notices.connected = true;
        }
        if self.phase == Phase::Connecting {
            self.phase = Phase::Connected;
        }
        self.initiation = None;
        self.timers.stop(Timer::Handshake);
        self.timers.stop(Timer::Connect);
        self.set_idle_timer(context);
        // Both sides prefer the keys of the handshake that the lower id began.
        let prefer = |place: usize| {
            self.associations[place]
                .as_ref()
                .filter(|association| association.confirmed)
                .map(|association| association.begun_by_lower)
        };
        let other = 1 - place;
        let chosen =
            if prefer(other) == Some(true) && prefer(place) == Some(false) { other } else { place };
        if self.sending != Some(chosen) {
            self.sending = Some(chosen);
            if chosen == place {
                let index = self.ensure_path(context, via.relay, via.relay_id, via.session);
                self.move_to(context, index, Left::Working);
            }
        }
        // Who reached us where our route says has it; who was told in the handshake, too.
        let stale = |route: &Route| route.relays().iter().all(|entry| entry.relay != via.relay_id);
        if told == Told::No && context.route.is_some_and(stale) {
            self.owed.route = super::RouteOwed::Yes;
        }
        self.follow_route(context, Keep::Either);
    }

    /// This is the instance of the other side that the connection is with from now on.
    pub(super) fn begin(
        &mut self,
        context: &mut Context<'_, C>,
        instance: Instance,
        remote: HandshakeParameters,
    ) {
        if self.remote_instance == Some(instance) {
            return;
        }
        if self.remote_instance.is_some() {
            self.notices.restarted = self.phase == Phase::Connected;
            self.start_over(context);
        }
        for association in &mut self.associations {
            if association.as_ref().is_some_and(|other| other.remote_instance != instance) {
                *association = None;
            }
        }
        self.remote_instance = Some(instance);
        self.remote = remote;
        self.channels
            .set_peer_limits(remote.reliable_message_len_max, remote.unreliable_message_len_max);
    }

    /// A new connection with the same peer: nothing of the old one remains but what the application
    /// wants, its open channels; and of one that was never heard of, what was sent into it.
    fn start_over(&mut self, context: &mut Context<'_, C>) {
        self.take_back_flight(context);
        if self.phase == Phase::Connecting {
            self.channels.forget_remote(&mut context.pools);
        } else {
            self.channels.reset_streams(&mut context.pools);
        }
        self.recovery = Recovery::new(context.settings.controller);
        self.received = Received::new();
        self.window = PacketWindow::new();
        self.paths.clear();
        self.leaving = None;
        self.choice = super::PathChoice::new();
        self.hearing = super::Hearing::new();
        self.sending = None;
        self.owed = super::Owed::default();
        self.stats = super::Traffic::default();
    }

    pub(super) fn on_handshake_timer(&mut self, context: &mut Context<'_, C>) {
        if self.phase != Phase::Connecting {
            return;
        }
        let tries = self.initiation.as_ref().map_or(0, |initiation| initiation.tries);
        let Some(via) = self.choose_way(context, tries) else {
            // Asked again when the session at the relay is there.
            self.timers.set(Timer::Handshake, context.now + backoff(3));
            return;
        };
        self.timers.set(Timer::Handshake, context.now + backoff(tries));
        match &mut self.initiation {
            Some(initiation) if initiation.via == via => initiation.due = true,
            before => {
                let tries = before.as_ref().map_or(0, |initiation| initiation.tries);
                let Some(suite) = self
                    .route
                    .as_ref()
                    .and_then(|route| route.suites.choose(context.settings.suites))
                else {
                    return;
                };
                *before = Some(Initiation {
                    stamp: Stamp::default(),
                    via,
                    local_index: ConnectionIndex::default(),
                    suite,
                    content: [0; 16],
                    opens: Opens::new(),
                    state: None,
                    sent_at: context.now,
                    due: true,
                    tries,
                });
            }
        }
    }

    /// A relay of the route that is in the directory and bound; every other try goes another way if
    /// there is one.
    fn choose_way(&self, context: &mut Context<'_, C>, tries: u8) -> Option<Via> {
        let route = self.route.as_ref()?;
        let mut usable: heapless::Vec<Via, 8> = heapless::Vec::new();
        for entry in route.relays() {
            let Some(relay) = context.relay(entry.relay) else { continue };
            if context.session(relay).is_some() {
                let way = Via { relay, relay_id: entry.relay, session: entry.session };
                usable.push(way).ok()?;
            } else if usable.is_empty() {
                context.want_guest(relay, 0);
            }
        }
        let turn = usize::from(tries / 2).checked_rem(usable.len())?;
        usable.get(turn).copied()
    }

    /// Whether a handshake datagram waits to be sent.
    pub(super) fn handshake_due(&self) -> bool {
        self.answered.as_ref().is_some_and(|answered| answered.due)
            || self.initiation.as_ref().is_some_and(|initiation| initiation.due)
    }

    /// Writes the handshake datagram that is due.
    pub(super) fn transmit_handshake(
        &mut self,
        context: &mut Context<'_, C>,
        slot: usize,
        out: &mut [u8],
    ) -> Option<(RelayIndex, usize)> {
        match self.transmit_answer(context, slot, out) {
            None => self.transmit_initiation(context, slot, out),
            written => written,
        }
    }

    fn transmit_initiation(
        &mut self,
        context: &mut Context<'_, C>,
        slot: usize,
        out: &mut [u8],
    ) -> Option<(RelayIndex, usize)> {
        let initiation = self.initiation.as_mut().filter(|initiation| initiation.due)?;
        initiation.due = false;
        let via = initiation.via;
        let session = context.session(via.relay)?;
        let mut route_bytes = [0; Route::LEN_MAX];
        let route = context.route.and_then(|route| {
            let len = route.encode(&mut route_bytes).ok()?;
            route_bytes.get(..len)
        });
        let payload = InitiationPayload {
            session,
            instance: self.instance,
            parameters: context.settings.parameters,
            route,
            opens: ChannelOpens::default(),
        };
        let mut plaintext = [0; PAYLOAD_LEN_MAX];
        let len = payload.emit(&mut plaintext).ok()?;
        let hash = C::sha256(&[plaintext.get(..len)?]);
        let content = *hash.first_chunk()?;
        let before = initiation.state.as_ref().filter(|_| initiation.content == content);
        let ephemeral = if let Some(state) = before {
            state.ephemeral().clone()
        } else {
            let mut opens = [0; OPENS_LEN_MAX];
            let mut writer = Writer::new(&mut opens);
            self.channels.write_opens(&mut context.pools, &mut writer);
            let opens = Opens::from_slice(writer.written()).ok()?;
            let place = match self.sending {
                Some(sending) => 1 - sending,
                None => usize::from(self.associations[0].is_some()),
            };
            let local_index = self.next_index(slot, place);
            let initiation = self.initiation.as_mut()?;
            (initiation.local_index, initiation.stamp) = (local_index, context.next_stamp());
            (initiation.content, initiation.opens) = (content, opens);
            KeyPair::generate(context.crypto)
        };
        let initiation = self.initiation.as_mut()?;
        let end = len + initiation.opens.len();
        plaintext.get_mut(len..end)?.copy_from_slice(&initiation.opens);
        let plaintext = plaintext.get(..end)?;
        let header = InitiationHeader {
            destination: via.session,
            keyed_by: if self.invite_secret.is_some() {
                MacKeyedBy::Invite
            } else {
                MacKeyedBy::Pair
            },
            suite: initiation.suite,
            sender_index: initiation.local_index,
            sender: context.me,
            stamp: initiation.stamp,
            mac: [0; 8],
        };
        let offset = header.emit(out).ok()?;
        let (noise_len, state) = Initiator::new(
            initiation.suite,
            &header.prologue(context.settings.application),
            context.identity,
            &self.key,
            &self.pair_secret,
        )
        .write_message_1(ephemeral, plaintext, out.get_mut(offset..)?)
        .ok()?;
        let datagram = out.get_mut(..offset + noise_len)?;
        let secret: &[u8] = match &self.invite_secret {
            Some(secret) => secret,
            None => &self.pair_secret.0,
        };
        let key = mac_key::<C>(secret, context.me);
        let [before, after] = InitiationHeader::mac_input(datagram)?;
        let mac = initiation_mac::<C>(&key, before, after, &self.key);
        InitiationHeader::put_mac(datagram, mac.0);
        initiation.state = Some(state);
        initiation.sent_at = context.now;
        initiation.tries = initiation.tries.saturating_add(1);
        Some((via.relay, offset + noise_len))
    }

    /// A connection index that leads to this slot and place, and is not the one given out before.
    pub(super) fn next_index(&mut self, slot: usize, place: usize) -> ConnectionIndex {
        self.generation = self.generation.wrapping_add(1);
        ConnectionIndex((slot as u16) << 2 | (self.generation & 1) << 1 | place as u16)
    }
}

/// Opens a first message: who it is from, and that they hold the key. `pair_secret` is the known
/// static–static secret with the claimed sender and their key, if the application has connected.
pub(crate) fn open_initiation<C: Crypto>(
    context: &Context<'_, C>,
    header: InitiationHeader,
    known: Option<(&PublicKey, &crate::crypto::Secret)>,
    bytes: &mut [u8],
) -> Result<Opened<C>, Refusal> {
    let len = bytes.len();
    let noise = bytes.get_mut(InitiationHeader::NOISE_OFFSET..).ok_or(Refusal::Malformed)?;
    let prologue = header.prologue(context.settings.application);
    let received = Responder::<C>::new(header.suite, &prologue, context.identity)
        .read_static(noise)
        .map_err(|_| Refusal::Handshake)?;
    let key = *received.remote();
    let agreed;
    let pair_secret = match known {
        // Another key under the same id is refused before it costs a second Diffie–Hellman.
        Some((expected, _)) if *expected != key => return Err(Refusal::Handshake),
        Some((_, secret)) => secret,
        None => {
            if PeerId::from_key_hash(&C::sha256(&[&key.0])) != header.sender {
                return Err(Refusal::Handshake);
            }
            agreed = context.identity.agree::<C>(&key).ok_or(Refusal::Handshake)?;
            &agreed
        }
    };
    let received = received.read_payload(pair_secret).map_err(|_| Refusal::Handshake)?;
    let payload = noise.get(received.payload).ok_or(Refusal::Malformed)?;
    let payload = InitiationPayload::parse(payload).map_err(|_| Refusal::Protocol)?;
    let route = payload.route.and_then(|route| Route::decode_binary(route).ok());
    let mut opens = [0; OPENS_LEN_MAX];
    let mut writer = Writer::new(&mut opens);
    // They are hints: those that find no room come again.
    let _ = payload.opens.iter().try_for_each(|open| Frame::ChannelOpen(open).emit(&mut writer));
    let opens = Opens::from_slice(writer.written()).unwrap_or_default();
    Ok(Opened {
        header,
        reply: received.reply,
        key,
        route,
        instance: payload.instance,
        parameters: payload.parameters,
        session: payload.session,
        opens,
        len,
    })
}

/// Whether the first message's MAC fits under `key`.
pub(crate) fn check_mac<C: Crypto>(
    key: &crate::crypto::Secret,
    header: &InitiationHeader,
    bytes: &[u8],
    identity: &KeyPair,
) -> Result<(), Refusal> {
    let [before, after] = InitiationHeader::mac_input(bytes).ok_or(Refusal::Malformed)?;
    let mac = initiation_mac::<C>(key, before, after, identity.public());
    if mac == Mac(header.mac) { Ok(()) } else { Err(Refusal::BadMac) }
}

/// The slot that a connection index leads to.
pub(crate) const fn slot_of(index: ConnectionIndex) -> usize {
    (index.0 >> 2) as usize
}

/// Which of the slot's two sets of keys it means.
pub(super) const fn place_of(index: ConnectionIndex) -> usize {
    (index.0 & 1) as usize
}

/// Room for four reliable channels, or six unreliable ones.
const OPENS_LEN_MAX: usize = 32;
const PAYLOAD_LEN_MAX: usize = 64 + Route::LEN_MAX + OPENS_LEN_MAX;
const _: () = assert!(PAYLOAD_LEN_MAX + InitiationHeader::PAYLOAD_OFFSET < DATAGRAM_LEN_MAX);
