//! The answering side of the handshake: first messages of the other side, our answers, and what may
//! follow an answer at once (states.md, First message).

use super::association::{Association, Via};
use super::handshake::{Opened, Opens, check_mac, place_of};
use super::moves::Left;
use super::path::RelayIndex;
use super::timers::Timer;
use super::{Context, Peer, Phase};
use crate::crypto::{Crypto, Suite};
use crate::endpoint::Refusal;
use crate::id::{ConnectionIndex, PeerId};
use crate::noise::{KeyPair, Mac, Reply, Transport, mac_key};
use crate::protection::PacketKeys;
use crate::wire::Writer;
use crate::wire::frame::Frame;
use crate::wire::handshake::{
    ChannelOpens, HandshakeParameters, Initiation as InitiationHeader, Instance, MacKeyedBy,
    Response as ResponseHeader, ResponsePayload, Stamp,
};

use core::time::Duration;

/// The first message answered last and the answer, so that a repeated question gets the same one.
pub(super) struct Answered<C: Crypto> {
    stamp: Stamp,
    mac: Mac,
    via: Via,
    answer: Answer<C>,
    pub(super) due: bool,
    /// Bytes that may still follow the answer while nothing shows that anybody holds the keys.
    early: u16,
}

enum Answer<C: Crypto> {
    /// It is written when it leaves, so it tells of the channels that were opened meanwhile.
    Owed(Question<C>),
    Written(heapless::Vec<u8, RESPONSE_LEN_MAX>),
}

/// What of a first message the answer depends on.
struct Question<C: Crypto> {
    reply: Reply<C>,
    suite: Suite,
    sender: PeerId,
    sender_index: ConnectionIndex,
    instance: Instance,
    parameters: HandshakeParameters,
    opens: Opens,
    /// Length of the datagram: the answer must not be longer.
    len: usize,
}

impl<C: Crypto> Answered<C> {
    pub(super) fn via_relay(&self) -> RelayIndex {
        self.via.relay
    }
}

impl<C: Crypto> Peer<C> {
    /// Checks a first message as far as it goes without Diffie–Hellman. `true` if the answer given
    /// before is simply to be sent again.
    pub(crate) fn check_initiation(
        &mut self,
        context: &Context<'_, C>,
        header: &InitiationHeader,
        bytes: &[u8],
    ) -> Result<bool, Refusal> {
        if header.keyed_by == MacKeyedBy::Pair {
            let key = mac_key::<C>(&self.pair_secret().0, header.sender);
            check_mac::<C>(&key, header, bytes, context.identity)?;
        }
        if let Some(answered) = &mut self.answered
            && answered.stamp == header.stamp
            && answered.mac == Mac(header.mac)
        {
            answered.due = true;
            return Ok(true);
        }
        if header.stamp <= self.last_stamp { Err(Refusal::StaleStamp) } else { Ok(false) }
    }

    /// A first message is to be answered.
    pub(crate) fn answer(
        &mut self,
        context: &mut Context<'_, C>,
        relay: RelayIndex,
        opened: Opened<C>,
    ) -> Result<(), Refusal> {
        let Opened { header, reply, route, instance, parameters, session, opens, len, .. } = opened;
        let relay_id =
            context.relays.get(usize::from(relay.0)).and_then(crate::endpoint::RelaySlot::id);
        let relay_id = relay_id.ok_or(Refusal::NotBound)?;
        let question = Question {
            reply,
            suite: header.suite,
            sender: header.sender,
            sender_index: header.sender_index,
            instance,
            parameters,
            opens,
            len,
        };
        let early = self.answered.as_ref().map_or(0, |before| before.early);
        self.last_stamp = header.stamp;
        self.answered = Some(Answered {
            stamp: header.stamp,
            mac: Mac(header.mac),
            via: Via { relay, relay_id, session },
            answer: Answer::Owed(question),
            due: true,
            early,
        });
        if let Some(route) = route.filter(|route| route.public_key == self.key) {
            if self.phase != Phase::Connecting {
                self.update_route(context, route);
            } else if self.route.as_ref().is_none_or(|known| route.epoch > known.epoch) {
                // A first message of ours under way may still be answered.
                self.route = Some(route);
            }
        }
        Ok(())
    }

    /// Writes the answer that is due.
    pub(super) fn transmit_answer(
        &mut self,
        context: &mut Context<'_, C>,
        slot: usize,
        out: &mut [u8],
    ) -> Option<(RelayIndex, usize)> {
        if !self.answered.as_ref().is_some_and(|answered| answered.due) {
            return None;
        }
        if let Some(answered) =
            self.answered.take_if(|answered| matches!(answered.answer, Answer::Owed(_)))
        {
            self.answered = self.write_answer(context, slot, answered);
        }
        let answered = self.answered.as_mut()?;
        answered.due = false;
        let Answer::Written(datagram) = &answered.answer else { return None };
        out.get_mut(..datagram.len())?.copy_from_slice(datagram);
        Some((answered.via.relay, datagram.len()))
    }

    /// Whether data follows an answer of ours though nothing was heard under its keys yet.
    pub(super) fn goes_ahead(&self) -> bool {
        self.phase == Phase::Connecting && self.sending.is_some()
    }

    /// The longest datagram of data that may leave now, as far as the handshake goes.
    pub(super) fn early_room(&self) -> usize {
        if self.phase != Phase::Connecting {
            return usize::MAX;
        }
        let left = self.answered.as_ref().map_or(0, |answered| usize::from(answered.early));
        if left < EARLY_LEAST { 0 } else { left }
    }

    /// A datagram of data left.
    pub(super) fn spend_early(&mut self, len: usize) {
        if self.phase == Phase::Connecting
            && let Some(answered) = &mut self.answered
        {
            answered.early = answered.early.saturating_sub(len as u16);
        }
    }

    /// Seals the answer; its keys wait for the first packet under them.
    fn write_answer(
        &mut self,
        context: &mut Context<'_, C>,
        slot: usize,
        answered: Answered<C>,
    ) -> Option<Answered<C>> {
        let Answer::Owed(question) = answered.answer else { return Some(answered) };
        if !self.is_live() {
            return None;
        }
        // The other side was quicker: ours need not leave, unless nothing comes of theirs.
        if self.initiation.as_ref().is_some_and(|initiation| !initiation.was_sent()) {
            self.initiation = None;
        }
        if self.phase == Phase::Connecting && self.initiation.is_none() {
            self.timers.set(Timer::Handshake, context.now + ANSWER_PATIENCE);
        }
        // The place that neither a handshake of ours nor the keys in use occupy.
        let place = match (&self.initiation, self.sending) {
            (Some(initiation), _) => 1 - place_of(initiation.local_index()),
            (None, Some(sending)) => 1 - sending,
            (None, None) => 1,
        };
        let local_index = self.next_index(slot, place);

        let mut plaintext = [0; RESPONSE_LEN_MAX - RESPONSE_OVERHEAD];
        let room = question.len.min(RESPONSE_LEN_MAX).saturating_sub(RESPONSE_OVERHEAD);
        let mut writer = Writer::new(plaintext.get_mut(..room)?);
        let (instance, parameters) = (self.instance, context.settings.parameters);
        let payload = ResponsePayload { instance, parameters, opens: ChannelOpens::default() };
        payload.emit(&mut writer).ok()?;
        // While another instance is heard, channels may still change before this one is: what is
        // told of them now would be about the wrong openings.
        let heard = self.remote_instance.filter(|_| self.phase != Phase::Connecting);
        if heard.is_none_or(|instance| instance == question.instance) {
            self.channels.write_opens(&mut context.pools, &mut writer);
        }

        let mut datagram = heapless::Vec::new();
        datagram.resize(RESPONSE_LEN_MAX, 0).ok()?;
        let response = ResponseHeader {
            destination: answered.via.session,
            receiver_index: question.sender_index,
            sender_index: local_index,
        };
        let offset = response.emit(&mut datagram).ok()?;
        let ephemeral = KeyPair::generate(context.crypto);
        let mix = local_index.0.to_le_bytes();
        let (len, transport) = question
            .reply
            .write_message_2(&ephemeral, &mix, writer.written(), datagram.get_mut(offset..)?)
            .ok()?;
        datagram.truncate(offset + len);

        let Transport { initiator_to_responder, responder_to_initiator, .. } = &transport;
        self.associations[place] = Some(Association {
            local_index,
            remote_index: question.sender_index,
            keys: PacketKeys::new(
                question.suite,
                responder_to_initiator,
                initiator_to_responder,
                context.now,
            ),
            confirmed: false,
            begun_by_lower: question.sender < context.me,
            remote_instance: question.instance,
            remote: question.parameters,
            via: answered.via,
        });
        if self.sending == Some(place) {
            self.sending = None;
        }
        let mut early = (3 * question.len).saturating_sub(datagram.len()).min(EARLY_MAX) as u16;
        if self.remote_instance == Some(question.instance) {
            // Asked again by the same instance, which is sent no more in all.
            early = early.min(answered.early);
        }
        if self.phase == Phase::Connecting {
            self.go_ahead(context, place, &question.opens);
        }
        Some(Answered { answer: Answer::Written(datagram), early, ..answered })
    }

    /// Only who holds the initiator's long-lived key and ephemeral key can read what follows the
    /// answer, so what waits for this peer need not wait for a packet of it.
    fn go_ahead(&mut self, context: &mut Context<'_, C>, place: usize, opens: &Opens) {
        let Some(association) = &self.associations[place] else { return };
        let (instance, remote, via) =
            (association.remote_instance, association.remote, association.via);
        self.begin(context, instance, remote);
        self.sending = Some(place);
        let index = self.ensure_path(context, via.relay, via.relay_id, via.session);
        self.move_to(context, index, Left::Working);
        let opens = ChannelOpens::parse(opens).unwrap_or_default();
        for open in opens.iter() {
            // A hint: the same frame comes again under the connection's own keys.
            let _ = self.channels.handle_frame(&mut context.pools, &Frame::ChannelOpen(open));
        }
    }
}

/// An answer is no longer than this: room for about thirty channel opens.
const RESPONSE_LEN_MAX: usize = 256;
const RESPONSE_OVERHEAD: usize = ResponseHeader::NOISE_OFFSET + crate::noise::MESSAGE_2_OVERHEAD;

/// No more than this follows an answer before the other side is heard; nor more than makes it,
/// with the answer, three times what it answers (as in RFC 9000 §8.1). Less than the smallest
/// credit of a channel, so that it also fits what a later instance of the other side grants.
const EARLY_MAX: usize = 1000;
/// Less is not worth a datagram.
const EARLY_LEAST: usize = 64;

/// Who has answered begins a handshake of its own if nothing comes of the other side's.
const ANSWER_PATIENCE: Duration = Duration::from_millis(500);
