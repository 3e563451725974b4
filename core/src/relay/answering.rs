//! What a relay answers to each control datagram, and why it does not answer others.

use super::address::Address;
use super::control::{Control, REPLY_MAX};
use super::counters::ControlDrops;
use super::events::SessionChange;
use super::memory::Memory;
use super::registry::Proven;
use super::sealing::{open_control, seal_control, seal_written};
use crate::crypto::Crypto;
use crate::fleet::SignedDirectory;
use crate::time::Instant;
use crate::wire::Kind;
use crate::wire::hop::{
    self, ControlMessage, CookieReply, DirectoryPage, Hello, NotBound, Probe, Refused,
    RefusedReason,
};

impl<C: Crypto, M: Memory> Control<C, M> {
    /// The length of the reply in `out`, if the datagram gets one.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        from: Address,
        bytes: &mut [u8],
        out: &mut [u8; REPLY_MAX],
    ) -> Result<Option<usize>, Refusal> {
        match Kind::of(bytes).map_err(|_| Dropped::Malformed)? {
            Kind::Hello => self.hello(now, from, bytes, out).map(Some),
            Kind::Bind => self.bind(now, from, bytes, out).map(Some),
            Kind::Resume => self.resume(now, from, bytes, out).map(Some),
            Kind::Control => self.control(now, from, bytes, out),
            Kind::Probe => self.probe(now, from, bytes, out).map(Some),
            Kind::Cookie
            | Kind::Bound
            | Kind::Resumed
            | Kind::Refused
            | Kind::NotBound
            | Kind::ProbeReply => Err(Dropped::WrongDirection.into()),
            // The forwarder has counted these.
            Kind::Initiation | Kind::InviteInitiation | Kind::Response | Kind::Data => {
                Ok(self.hint(now, from, bytes, out))
            }
        }
    }

    fn hello(
        &mut self,
        now: Instant,
        from: Address,
        bytes: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Refusal> {
        let hello = Hello::parse(bytes)?;
        let reply = CookieReply { nonce: hello.nonce, cookie: self.secrets.cookie(now, from) };
        let len = reply.emit(out).map_err(|_| Dropped::Malformed)?;
        self.counters.hellos += 1;
        Ok(len)
    }

    fn probe(
        &mut self,
        now: Instant,
        from: Address,
        bytes: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Refusal> {
        let probe = Probe::parse(bytes).map_err(|_| Dropped::Malformed)?;
        if !self.answers.allow(now, from) {
            return Err(Dropped::RateLimited.into());
        }
        let len = Probe { reply: true, ..probe }.emit(out).map_err(|_| Dropped::Malformed)?;
        self.counters.probes += 1;
        Ok(len)
    }

    fn control(
        &mut self,
        now: Instant,
        from: Address,
        bytes: &[u8],
        out: &mut [u8],
    ) -> Result<Option<usize>, Refusal> {
        if bytes.len() > hop::Control::LEN_MAX {
            return Err(Dropped::Malformed.into());
        }
        let header = hop::Control::parse(bytes).map_err(|_| Dropped::Malformed)?;
        let message = self.open_control(now, from, header, bytes)?;
        let slot = header.session.slot();
        let (mut registry, ..) = self.registry();
        match message {
            ControlMessage::KeepAlive { time } => {
                registry.keep_alive(now, slot);
                let ack = ControlMessage::KeepAliveAck { time };
                let sealed = registry.session(slot).and_then(|session| {
                    let counter = session.next_counter()?;
                    seal_control::<C>(&session.keys(), header.session, counter, ack, out)
                });
                self.counters.keep_alives += 1;
                Ok(sealed)
            }
            ControlMessage::DirectoryAsk { sequence, offset, room } => {
                if !self.answers.allow(now, from) {
                    return Err(Dropped::RateLimited.into());
                }
                self.counters.directory_asks += 1;
                let page = self.directory.page(sequence, offset, room);
                let plain = out.get_mut(hop::Control::PAYLOAD_OFFSET..).unwrap_or_default();
                let len = page.emit(plain).map_err(|_| Dropped::Malformed)?;
                let (mut registry, ..) = self.registry();
                Ok(registry.session(slot).and_then(|session| {
                    let counter = session.next_counter()?;
                    seal_written::<C>(&session.keys(), header.session, counter, len, out)
                }))
            }
            ControlMessage::Unbind => {
                registry.end(now, slot, SessionChange::Left);
                self.counters.unbinds += 1;
                Ok(None)
            }
            ControlMessage::KeepAliveAck { .. }
            | ControlMessage::Drain { .. }
            | ControlMessage::SessionReplaced
            | ControlMessage::Expired => Err(Dropped::WrongDirection.into()),
        }
    }

    /// Opens a control datagram under the keys of the session it names, or of the bind that waits
    /// there; opening under the latter proves the bind.
    fn open_control(
        &mut self,
        now: Instant,
        from: Address,
        header: hop::Control,
        bytes: &[u8],
    ) -> Result<ControlMessage, Refusal> {
        let slot = header.session.slot();
        let (mut registry, ..) = self.registry();
        let mut refusal = Dropped::UnknownSource;
        if registry.live(slot) == Some((header.session.tag(), from))
            && let Some(session) = registry.session(slot)
        {
            if session.is_new(header.counter) {
                if let Some(message) = open_control::<C>(&session.keys(), header.counter, bytes)? {
                    session.mark(header.counter);
                    return Ok(message);
                }
                refusal = Dropped::Forged;
            } else {
                refusal = Dropped::Replayed;
            }
        }
        if let Some(pending) = registry.pending_of(slot)
            && (pending.tag, pending.address) == (header.session.tag(), from)
        {
            if let Some(message) = open_control::<C>(&pending.keys, header.counter, bytes)? {
                let proven = registry.prove(now, slot).map_err(|_| Dropped::IndexFull)?;
                if let Some(session) = registry.session(slot) {
                    session.mark(header.counter);
                }
                match proven {
                    Proven::New => self.counters.sessions_begun += 1,
                    Proven::Rekeyed | Proven::Moved => self.counters.sessions_resumed += 1,
                }
                return Ok(message);
            }
            if refusal == Dropped::UnknownSource {
                refusal = Dropped::Forged;
            }
        }
        Err(refusal.into())
    }

    /// The hint that nobody is bound at `from`: the end of `bytes`, and a cookie.
    pub(super) fn hint(
        &mut self,
        now: Instant,
        from: Address,
        bytes: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        if bytes.len() < NotBound::LEN || !self.answers.allow(now, from) {
            return None;
        }
        let echo = *bytes.last_chunk()?;
        let hint = NotBound { echo, cookie: self.secrets.cookie(now, from) };
        self.counters.hints += 1;
        hint.emit(out).ok()
    }

    pub(super) fn refuse(
        &mut self,
        now: Instant,
        from: Address,
        bytes: &[u8],
        reason: RefusedReason,
        out: &mut [u8],
    ) -> Option<usize> {
        let echo = hop::echo_of(bytes)?;
        if !self.answers.allow(now, from) {
            return None;
        }
        Refused { echo, reason }.emit(out).ok()
    }

    pub(super) fn count_drop(&mut self, reason: Dropped) {
        let drops: &mut ControlDrops = &mut self.counters.dropped;
        let counter = match reason {
            Dropped::Malformed => &mut drops.malformed,
            Dropped::WrongDirection => &mut drops.wrong_direction,
            Dropped::UnknownSource => &mut drops.unknown_source,
            Dropped::Forged => &mut drops.forged,
            Dropped::Replayed => &mut drops.replayed,
            Dropped::RateLimited => &mut drops.rate_limited,
            Dropped::IndexFull => &mut drops.index_full,
        };
        *counter += 1;
    }
}

/// Why a control datagram leads to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Drop(Dropped),
    Tell(RefusedReason),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dropped {
    Malformed,
    WrongDirection,
    UnknownSource,
    Forged,
    Replayed,
    RateLimited,
    IndexFull,
}

impl From<Dropped> for Refusal {
    fn from(reason: Dropped) -> Self {
        Self::Drop(reason)
    }
}

impl From<crate::wire::ParseError> for Refusal {
    /// A peer of another version or suite is told so; garbage is not answered.
    fn from(error: crate::wire::ParseError) -> Self {
        use crate::wire::ParseError;
        if error == ParseError::Version {
            Self::Tell(RefusedReason::Version)
        } else if error == ParseError::Suite {
            Self::Tell(RefusedReason::Suite)
        } else {
            Self::Drop(Dropped::Malformed)
        }
    }
}

/// The signed list of relays that clients are given: its sequence number, and its bytes.
#[derive(Default)]
pub(super) struct DirectoryList {
    pub(super) sequence: u64,
    pub(super) bytes: heapless::Vec<u8, { SignedDirectory::LEN_MAX }>,
}

impl DirectoryList {
    /// So much of the list from `offset` on, if it is the one that is meant.
    fn page(&self, sequence: u64, offset: u16, room: u16) -> DirectoryPage<'_> {
        let meant = if sequence == self.sequence { self.bytes.as_slice() } else { &[] };
        let rest = meant.get(offset.into()..).unwrap_or_default();
        let bytes = rest.get(..room.into()).unwrap_or(rest);
        DirectoryPage {
            sequence: self.sequence,
            list_len: self.bytes.len() as u16,
            offset: if bytes.is_empty() { 0 } else { offset },
            bytes,
        }
    }
}
