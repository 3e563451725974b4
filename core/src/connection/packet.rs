//! The packet half of a connection: opening and reading data packets, filling and sealing them.

use core::time::Duration;

use super::association::Via;
use super::handshake::{Told, place_of};
use super::moves::Left;
use super::path::{PROVOKED_TRIES, Path, Purpose, RelayIndex};
use super::timers::Timer;
use super::{Context, Peer, Phase, RouteOwed, settle};
use crate::channel::{Allowed, HEAVY_LOSS, Permit, Scope};
use crate::crypto::{Crypto, TAG_LEN};
use crate::endpoint::{DisconnectReason, Refusal};
use crate::id::{PacketNumber, RelayId, SessionId};
use crate::protection::{KeyPhase, Packet, RejectedPacket};
use crate::recovery::{
    AckMark, AckWanted, Arrival, EndDelay, FrameList, NewPacket, PathIndex, Room,
};
use crate::route::Route;
use crate::wire::Writer;
use crate::wire::data::DataHeader;
use crate::wire::frame::{
    Ack, AckDelay, DisconnectReason as WireReason, Frame, Frames, PathIntent, emit_ack,
};
use crate::wire::number::{Truncated, encode_len};

/// Bytes of the longest datagram that any path is taken to carry; what it carries beyond is found
/// out (`mtu`).
pub(crate) const DATAGRAM_LEN: usize = 1200;

impl<C: Crypto> Peer<C> {
    /// A data packet for this connection.
    pub(crate) fn handle_data(
        &mut self,
        context: &mut Context<'_, C>,
        relay: RelayIndex,
        header: &DataHeader,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        if !self.is_live() {
            return Err(Refusal::UnknownConnection);
        }
        let place = place_of(header.index);
        let len = bytes.len();
        let phase = KeyPhase(header.key_phase);
        let association = self.associations[place].as_ref();
        // Only a packet that begins a phase asks for how long the old key stays.
        let keep = match association {
            Some(association) if association.keys.opens_in(phase) => Duration::ZERO,
            _ => 3 * self.pto(),
        };
        let association = self.associations[place]
            .as_mut()
            .filter(|association| association.local_index == header.index)
            .ok_or(Refusal::UnknownConnection)?;
        // Keys of another instance begin a connection of their own: its numbers start at 0.
        let same = self.remote_instance == Some(association.remote_instance);
        let expected =
            if same { self.received.largest().map_or(0, |largest| largest.0 + 1) } else { 0 };
        let number = PacketNumber(header.number.expand(expected));
        if same {
            self.window.check(number.0).map_err(|_| Refusal::Replay)?;
        }
        let (ad, sealed) = (header.associated_data(), header.sealed_offset());
        let sealed = bytes.get_mut(sealed..).ok_or(Refusal::Malformed)?;
        let packet = Packet { phase, number, ad: &ad };
        if let Err(rejected) = association.keys.open(context.now, keep, &packet, sealed) {
            if rejected == RejectedPacket::TooManyForgeries {
                self.fail(context, WireReason::TooManyForgeries);
            }
            return Err(Refusal::Forged);
        }
        if !association.confirmed {
            self.adopt(context, place, Told::No);
            self.set_recovery_timer();
        }
        self.window.mark(number.0);
        self.stats.packets_received += 1;
        self.stats.bytes_received += len as u64;
        if self.phase != Phase::Connected {
            return Ok(());
        }
        self.set_idle_timer(context);
        self.on_heard(context.now, relay);

        let plaintext = sealed.get(..sealed.len().saturating_sub(TAG_LEN)).unwrap_or(&[]);
        let mut wants = AckWanted::Not;
        let mut whole = true;
        let mut frames = Frames::new(plaintext);
        loop {
            // Most frames, in packets of many.
            while let Some(message) = frames.next_message() {
                wants = wants.max(AckWanted::Late);
                if self.channels.handle_unreliable(&mut context.pools, &message).is_err() {
                    self.fail(context, WireReason::ProtocolError);
                    return Err(Refusal::Protocol);
                }
            }
            let Some(frame) = frames.next() else { break };
            let (wanted, handled) = match frame {
                Ok(frame) => {
                    let known = self.channels.duplicates();
                    let handled = self.handle_frame(context, relay, &frame);
                    // What is here already was acknowledged, or will be soon.
                    let repeated = self.channels.duplicates() > known;
                    (if repeated { AckWanted::Late } else { ack_wanted(&frame) }, handled)
                }
                Err(_) => (AckWanted::Not, Err(Refusal::Protocol)),
            };
            wants = wants.max(wanted);
            match handled {
                Ok(()) => {}
                Err(Refusal::NoMemory) => {
                    whole = false;
                    context.counters.refuse(Refusal::NoMemory);
                }
                Err(Refusal::Protocol) => {
                    self.fail(context, WireReason::ProtocolError);
                    return Err(Refusal::Protocol);
                }
                // A frame that is out of date does no harm to the others.
                Err(refusal) => context.counters.refuse(refusal),
            }
            if self.phase != Phase::Connected {
                return Ok(());
            }
        }
        // A packet of which something was refused for lack of memory counts as lost: it will come
        // again, when there may be room.
        if whole {
            let host_delay = context.waited;
            let arrival = Arrival { number, size: len as u16, wants, host_delay };
            self.received.on_received(context.now, arrival);
        }
        self.set_ack_timer();
        Ok(())
    }

    fn handle_frame(
        &mut self,
        context: &mut Context<'_, C>,
        relay: RelayIndex,
        frame: &Frame<'_>,
    ) -> Result<(), Refusal> {
        match frame {
            Frame::Padding { .. } | Frame::Ping => Ok(()),
            Frame::Ack(ack) => self.handle_ack(context, ack),
            Frame::PathChallenge { relay: named, session, nonce, intent } => {
                self.handle_challenge(context, relay, *named, *session, *nonce, *intent)
            }
            Frame::PathResponse { relay: named, nonce, delay } => {
                let at_ends = delay.duration().saturating_add(context.waited);
                let (index, purpose) = self
                    .paths
                    .on_response(context.now, relay, *named, *nonce, at_ends)
                    .ok_or(Refusal::Path)?;
                self.on_path_response(context, index, purpose);
                Ok(())
            }
            Frame::RouteUpdate { route } => {
                let route = Route::decode_binary(route).map_err(|_| Refusal::Protocol)?;
                if route.public_key != self.key {
                    return Err(Refusal::Protocol);
                }
                if self.update_route(context, route) { Ok(()) } else { Err(Refusal::StaleRoute) }
            }
            Frame::Disconnect(reason) => {
                self.close(match reason {
                    WireReason::Application => DisconnectReason::Remote,
                    WireReason::ShuttingDown => DisconnectReason::RemoteShutdown,
                    WireReason::ProtocolError => DisconnectReason::ProtocolError,
                    WireReason::TooManyForgeries => DisconnectReason::TooManyForgeries,
                });
                Ok(())
            }
            Frame::ChannelOpen(_)
            | Frame::ChannelClose { .. }
            | Frame::Credit { .. }
            | Frame::Unreliable(_)
            | Frame::Reliable(_) => match self.channels.handle_frame(&mut context.pools, frame) {
                Ok(accepted) if accepted.ack => Ok(()),
                Ok(_) => Err(Refusal::NoMemory),
                Err(_) => Err(Refusal::Protocol),
            },
        }
    }

    fn handle_ack(&mut self, context: &mut Context<'_, C>, ack: &Ack<'_>) -> Result<(), Refusal> {
        let next = self.recovery.next_number();
        let mut ranges: heapless::Vec<_, { Ack::RANGES_MAX }> = heapless::Vec::new();
        for range in ack.ranges(next) {
            ranges.push(range.map_err(|_| Refusal::Protocol)?).map_err(|_| Refusal::Protocol)?;
        }
        let both = |theirs: AckDelay| theirs.duration().saturating_add(context.waited);
        let delay = EndDelay { ack: both(ack.delay), host: both(ack.host_delay) };
        let Self { recovery, channels, owed, received, mtu, .. } = self;
        let pools = &mut context.pools;
        recovery
            .on_ack(context.now, ranges, delay, &mut context.sent, &mut |outcome, packet| {
                settle(channels, received, owed, mtu, pools, outcome, packet);
            })
            .map_err(|_| Refusal::Protocol)?;
        for association in self.associations.iter_mut().flatten() {
            association.keys.acknowledged(ack.largest(next));
        }
        self.set_recovery_timer();
        self.watch_quality(context.now);
        Ok(())
    }

    /// The other side asks whether this way works: answer on it, and if it is about to move, find
    /// out whether the way works for us too.
    fn handle_challenge(
        &mut self,
        context: &mut Context<'_, C>,
        relay: RelayIndex,
        named: RelayId,
        session: SessionId,
        nonce: [u8; 8],
        intent: PathIntent,
    ) -> Result<(), Refusal> {
        let arrived =
            context.relays.get(usize::from(relay.0)).and_then(crate::endpoint::RelaySlot::id);
        if arrived != Some(named) || session.is_none() {
            return Err(Refusal::Path);
        }
        let known = self.paths.find(relay, session).is_some();
        if !known && !self.paths.allow_provoked(context.now) {
            return Err(Refusal::Path);
        }
        let index = self.ensure_path(context, relay, named, session);
        self.paths.owe_response(index, nonce, context.now - context.waited);
        let validated = self.paths.get(index).is_some_and(|path| path.validated);
        match intent {
            PathIntent::Probe if validated => {}
            PathIntent::Probe => {
                self.challenge(context, index, Purpose::Validate, PROVOKED_TRIES);
            }
            PathIntent::Move | PathIntent::Moved if self.paths.active() == Some(index) => {}
            // It had an answer from here this way, and so had we once.
            PathIntent::Moved if self.is_usable(context, index) => {
                let doubting = self.choice.is_doubting();
                let left = if doubting { Left::Dead } else { Left::Working };
                self.move_to(context, index, left);
            }
            PathIntent::Move | PathIntent::Moved => {
                self.challenge(context, index, Purpose::Move, PROVOKED_TRIES);
            }
        }
        Ok(())
    }

    /// Whether a call of [`transmit`](Self::transmit) in this scope may have something to write.
    #[inline(always)]
    pub(crate) fn wants_transmit(&self, context: &Context<'_, C>, scope: Scope) -> bool {
        if self.handshake_due() {
            return true;
        }
        if self.phase != Phase::Connected {
            return self.wants_transmit_unconnected(scope);
        }
        let owed = self.owed.ack || self.owed.ping || self.owed.route == RouteOwed::Yes;
        let wants = owed || self.channels.wants_to_send(scope);
        self.sending.is_some() && (wants || self.paths.due(context.now).is_some())
    }

    fn wants_transmit_unconnected(&self, scope: Scope) -> bool {
        if self.sending.is_none() {
            return false;
        }
        match self.phase {
            // Channels' openings alone can wait: the answer told of them.
            Phase::Connecting => {
                let data = scope == Scope::Everything && self.channels.has_data_to_send();
                self.early_room() > 0 && (self.owed.ping || data)
            }
            Phase::Closing { .. } => self.owed.disconnect && scope == Scope::Everything,
            Phase::Connected | Phase::Free | Phase::Closed => false,
        }
    }

    /// Whether the next datagram is sure to take the same way as a run of full ones through `relay`:
    /// bulk data, and nothing else before it.
    pub(crate) fn continues_run(&self, context: &Context<'_, C>, relay: RelayIndex) -> bool {
        let active = self.paths.active().and_then(|index| self.paths.get(index));
        active.is_some_and(|path| path.relay == relay)
            && !self.handshake_due()
            && self.paths.due(context.now).is_none()
            && self.mtu_probe_wanted(context).is_none()
            && self.channels.wants_to_send(Scope::Everything)
    }

    /// Writes the next datagram, at most `out` long.
    pub(crate) fn transmit(
        &mut self,
        context: &mut Context<'_, C>,
        slot: usize,
        scope: Scope,
        out: &mut [u8],
    ) -> Option<(RelayIndex, usize)> {
        let base = out.len().min(DATAGRAM_LEN);
        if self.handshake_due()
            && let Some(written) = self.transmit_handshake(context, slot, out.get_mut(..base)?)
        {
            return Some(written);
        }
        if !self.wants_transmit(context, scope) {
            return None;
        }
        // Each turn sends from a path or settles that it cannot be sent from now; but where `out`
        // is too short for anything, or the clock at its end, a path stays due.
        for _ in PathIndex::ALL {
            let Some(index) = self.paths.due(context.now) else { break };
            let out = out.get_mut(..base)?;
            let written = self.transmit_packet(context, index, Content::Path, out);
            if written.is_some() {
                return written;
            }
        }
        let active = self.paths.active()?;
        if let Some(len) = self.mtu_probe_wanted(context)
            && let Some(out) = out.get_mut(..len)
            && self.allowed(context, active, scope) == Allowed::Everything
        {
            return self.transmit_packet(context, active, Content::MtuProbe, out);
        }
        let len = out.len().min(self.len_on(active)).min(self.early_room());
        self.transmit_packet(context, active, Content::Main(scope), out.get_mut(..len)?)
    }

    /// Bytes of the longest datagram that may leave over the path in use. What a probe time-out asks
    /// for gets through a black hole, too.
    fn len_on(&self, active: PathIndex) -> usize {
        if self.recovery.owes_probe(active) { DATAGRAM_LEN } else { self.mtu.len(active) }
    }

    /// How long a probe of the path's MTU should leave before the next bulk data: only a transfer
    /// that goes on for a while is worth one.
    fn mtu_probe_wanted(&self, context: &Context<'_, C>) -> Option<usize> {
        let active = self.paths.active()?;
        self.mtu.probe_len(active, context.now).filter(|_| {
            self.phase == Phase::Connected
                && !self.recovery.owes_probe(active)
                && self.recovery.rtt(active).first_sample_at().is_some()
                && self.channels.has_much_to_send(&context.pools)
        })
    }

    fn transmit_packet(
        &mut self,
        context: &mut Context<'_, C>,
        index: PathIndex,
        content: Content,
        out: &mut [u8],
    ) -> Option<(RelayIndex, usize)> {
        let Path { relay, relay_id, remote, .. } = *self.paths.get(index)?;
        let Some(session) = context.session(relay) else {
            if content == Content::Path {
                // No session to answer from: ask again when there is one.
                self.paths.take_response(index, context.now);
                self.paths.challenge_sent(index, context.now, Duration::ZERO);
                self.timers.set(Timer::Path, self.paths.poll_timeout());
            }
            return None;
        };
        let via = Via { relay, relay_id, session };
        let number = self.recovery.next_number();
        let association = self.associations.get_mut(self.sending?)?.as_mut()?;
        if association.keys.should_update(context.now) {
            // It is due and allowed, so it cannot be too early.
            let _ = association.keys.update(context.now);
        }
        let len = encode_len(number.0, self.recovery.largest_acked().map(|largest| largest.0));
        let header = DataHeader {
            destination: remote,
            key_phase: association.keys.key_phase().0,
            index: association.remote_index,
            number: Truncated::new(number.0, len),
        };
        let sealed = header.emit(out).ok()?;
        let room = out.len().checked_sub(TAG_LEN)?;
        let mut writer = Writer::new(out.get_mut(sealed..room)?);
        let filled = match content {
            Content::Path => self.fill_path(context, index, via, &mut writer),
            Content::Main(scope) => self.fill(context, index, scope, &mut writer),
            Content::MtuProbe => fill_mtu_probe(&mut writer),
        };
        let plaintext_len = writer.position();
        if plaintext_len == 0 {
            return None;
        }
        let end = sealed + plaintext_len + TAG_LEN;
        let ad = header.associated_data();
        let association = self.associations.get_mut(self.sending?)?.as_mut()?;
        if association.keys.seal(number, &ad, out.get_mut(sealed..end)?).is_err() {
            self.channels.on_lost(&mut context.pools, filled.frames);
            self.close(DisconnectReason::TooManyForgeries);
            return None;
        }
        let packet = NewPacket {
            path: index,
            size: end as u16,
            ack_eliciting: filled.eliciting,
            frames: filled.frames,
            ack: filled.ack,
            patient: filled.patient,
            mtu_probe: content == Content::MtuProbe,
        };
        if self.recovery.on_sent(context.now, packet, &mut context.sent).is_err() {
            // No place to remember it: `fill` checks, so only a path frame can come here, and that
            // is repeated by its own timer.
            self.channels.on_lost(&mut context.pools, filled.frames);
        }
        if content == Content::MtuProbe {
            self.mtu.on_probe_sent(index);
        }
        if filled.urgent {
            self.recovery.on_urgent_sent(end as u16);
        }
        if content == Content::Main(Scope::Everything) && filled.last {
            self.recovery.on_app_limited(index);
        }
        if self.channels.owes_repeats()
            && let Some(at) = self.channels.overdue_at(self.overdue(index))
        {
            let at = at.max(context.now).min(self.timers.get(Timer::Pace));
            self.timers.set(Timer::Pace, at);
        }
        self.received.on_packet_sent(context.now);
        self.spend_early(end);
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += end as u64;
        self.set_recovery_timer();
        self.set_ack_timer();
        if filled.eliciting && self.phase == Phase::Connected {
            let interval = self.idle_timeout_us(context) / 3;
            self.timers.set(Timer::KeepAlive, context.now.plus_micros(interval));
        }
        Some((relay, end))
    }

    /// Fills a packet that only asks or answers about its path.
    fn fill_path(
        &mut self,
        context: &mut Context<'_, C>,
        index: PathIndex,
        via: Via,
        writer: &mut Writer<'_>,
    ) -> Filled {
        let mut filled = Filled::default();
        let now = context.now;
        let due = self.paths.due(now) == Some(index);
        let Some(path) = self.paths.get(index).copied() else { return filled };
        if let Some((nonce, held)) = self.paths.take_response(index, now) {
            let delay = AckDelay::from_duration(held);
            let response = Frame::PathResponse { relay: path.relay_id, nonce, delay };
            filled.eliciting |= response.emit(writer).is_ok();
        }
        if let Some(challenge) = path.challenge.filter(|_| due) {
            let active = self.paths.active() == Some(index);
            let intent = match challenge.purpose {
                Purpose::Measure | Purpose::Validate => PathIntent::Probe,
                Purpose::Move if active && path.validated => PathIntent::Moved,
                Purpose::Move => PathIntent::Move,
            };
            let frame = Frame::PathChallenge {
                relay: via.relay_id,
                session: via.session,
                nonce: challenge.nonce,
                intent,
            };
            filled.eliciting |= frame.emit(writer).is_ok();
            let patience = 2 * self.recovery.rtt(index).smoothed();
            self.paths.challenge_sent(index, now, patience);
        }
        self.timers.set(Timer::Path, self.paths.poll_timeout());
        filled
    }

    /// Fills a packet: acks, then what is small and owed, then the channels.
    fn fill(
        &mut self,
        context: &mut Context<'_, C>,
        index: PathIndex,
        scope: Scope,
        writer: &mut Writer<'_>,
    ) -> Filled {
        let mut filled = Filled::default();
        let allowed = self.allowed(context, index, scope);
        if allowed == Allowed::Nothing && !self.owed.ack && !self.owed.disconnect {
            return filled;
        }
        if self.owed.ack || self.received.rides(context.now) {
            let lossy = self.recovery.loss(index) >= HEAVY_LOSS;
            self.write_ack(context, lossy, writer, &mut filled);
        }
        let ack_len = writer.position();
        if allowed != Allowed::Nothing {
            self.write_owed(context, writer, &mut filled);
            let owed = filled.eliciting;
            let permit =
                Permit { what: allowed, loss: self.recovery.loss(index), now: context.now };
            let written =
                self.channels.write(&mut context.pools, permit, writer, &mut filled.frames);
            filled.eliciting |= written.ack_eliciting;
            filled.patient = !owed && !written.reliable;
            filled.urgent = allowed == Allowed::Urgent;
            filled.last =
                allowed == Allowed::Everything && !self.channels.wants_to_send(Scope::Everything);
        }
        if self.owed.disconnect {
            self.write_disconnect(writer, &mut filled, ack_len);
        }
        filled
    }

    /// How long the acknowledgement of a small message may take before it is sent again: a round
    /// trip and the other side's tick.
    pub(super) fn overdue(&self, index: PathIndex) -> Duration {
        let rtt = self.recovery.rtt(index);
        rtt.smoothed() + rtt.smoothed() / 4 + TICK
    }

    /// What may leave now. Bulk data waits for the path, real-time data up to a floor does not.
    fn allowed(&mut self, context: &Context<'_, C>, index: PathIndex, scope: Scope) -> Allowed {
        if !context.sent.has_room() {
            return Allowed::Nothing;
        }
        let mut room = self.recovery.room(context.now, index, self.len_on(index) as u16);
        if room == Room::Open {
            return match scope {
                Scope::Protocol => Allowed::Protocol,
                Scope::Everything => Allowed::Everything,
            };
        }
        let urgent =
            scope == Scope::Everything && self.channels.wants_to_send_urgently(&context.pools);
        if urgent || self.channels.wants_to_send(Scope::Protocol) {
            match (self.recovery.urgent_room(context.now, DATAGRAM_LEN as u16), room) {
                (Room::Open, _) if urgent => return Allowed::Urgent,
                (Room::Open, _) => return Allowed::Protocol,
                (Room::At(floor), Room::At(pace)) => room = Room::At(floor.min(pace)),
                (at, _) => room = at,
            }
        }
        if let Room::At(at) = room {
            self.timers.set(Timer::Pace, at);
        }
        Allowed::Nothing
    }

    fn write_ack(
        &mut self,
        context: &Context<'_, C>,
        lossy: bool,
        writer: &mut Writer<'_>,
        filled: &mut Filled,
    ) {
        let delay = AckDelay::from_duration(self.received.ack_delay(context.now));
        let host = AckDelay::from_duration(self.received.host_delay());
        if let Ok(told) = emit_ack(writer, delay, host, self.received.ranges()) {
            filled.ack = self.received.on_ack_sent(context.now, told, lossy);
        }
        self.owed.ack = false;
        if self.received.wants_acknowledgement() {
            self.owed.ping = true;
        }
    }

    fn write_owed(
        &mut self,
        context: &Context<'_, C>,
        writer: &mut Writer<'_>,
        filled: &mut Filled,
    ) {
        if self.owed.route == RouteOwed::Yes
            && let Some(route) = context.route
        {
            let mut bytes = [0; Route::LEN_MAX];
            let written = route
                .encode(&mut bytes)
                .ok()
                .and_then(|len| bytes.get(..len))
                .is_some_and(|route| Frame::RouteUpdate { route }.emit(writer).is_ok());
            if written {
                self.owed.route = RouteOwed::Sent(self.recovery.next_number());
                filled.eliciting = true;
            }
        }
        if core::mem::take(&mut self.owed.ping) && !filled.eliciting {
            // One byte; data behind it makes it superfluous, but only the channels know of that.
            filled.eliciting |= Frame::Ping.emit(writer).is_ok();
        }
    }

    /// When nothing more can be sent, the last packet of a connection says so.
    fn write_disconnect(&mut self, writer: &mut Writer<'_>, filled: &mut Filled, before: usize) {
        let Phase::Closing { reason, .. } = self.phase else { return };
        // The last message frame fills its packet, so a Disconnect has one of its own.
        if writer.position() == before && Frame::Disconnect(reason).emit(writer).is_ok() {
            filled.eliciting = true;
            self.owed.disconnect = false;
        }
    }

    pub(super) fn set_idle_timer(&mut self, context: &Context<'_, C>) {
        let timeout = self.idle_timeout_us(context);
        self.timers.set(Timer::Idle, context.now.plus_micros(timeout));
        if self.timers.get(Timer::KeepAlive) == crate::time::Instant::FAR {
            self.timers.set(Timer::KeepAlive, context.now.plus_micros(timeout / 3));
        }
    }

    /// The shorter of both sides' idle time-outs (RFC 9000 §10.1), in microseconds.
    fn idle_timeout_us(&self, context: &Context<'_, C>) -> u64 {
        let remote = self.remote.idle_timeout_ms.saturating_mul(1000).max(IDLE_TIMEOUT_MIN_US);
        context.settings.idle_timeout_us.min(remote)
    }
}

/// What a packet is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Main(Scope),
    Path,
    /// Padding, to find out whether so long a datagram arrives.
    MtuProbe,
}

/// What was written into a packet.
#[derive(Clone, Copy)]
struct Filled {
    eliciting: bool,
    frames: FrameList,
    ack: AckMark,
    /// Its acknowledgement can wait.
    patient: bool,
    /// It left though bulk data has to wait.
    urgent: bool,
    /// There was room, and nothing is left.
    last: bool,
}

impl Default for Filled {
    fn default() -> Self {
        Self {
            eliciting: false,
            frames: FrameList::EMPTY,
            ack: AckMark::NONE,
            patient: false,
            urgent: false,
            last: false,
        }
    }
}

/// Fills a packet to its end with nothing that would be missed (RFC 8899 §4.1).
fn fill_mtu_probe(writer: &mut Writer<'_>) -> Filled {
    let eliciting = Frame::Ping.emit(writer).is_ok();
    let padded = Frame::Padding { len: writer.remaining() }.emit(writer).is_ok();
    Filled { eliciting: eliciting && padded, ..Filled::default() }
}

/// How soon a frame must be acknowledged.
fn ack_wanted(frame: &Frame<'_>) -> AckWanted {
    if matches!(frame, Frame::Unreliable(_)) {
        AckWanted::Late
    } else if frame.is_ack_eliciting() {
        AckWanted::Soon
    } else {
        AckWanted::Not
    }
}

/// An acknowledgement waits for a packet to ride on: a frame at 50 Hz.
const TICK: Duration = Duration::from_millis(20);

const IDLE_TIMEOUT_MIN_US: u64 = 1_000_000;
