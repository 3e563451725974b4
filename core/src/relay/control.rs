//! The owner of the sessions: who is bound, from where, under which keys, and until when.

use core::net::SocketAddr;
use core::time::Duration;

use super::address::Address;
use super::circle::CircleKey;
use super::config::{RelayConfig, RelayConfigError};
use super::counters::{ControlCounters, ControlDrops};
use super::events::{SessionChange, SessionEvent};
use super::forward::{Forwarder, Forwarding, Prices};
use super::hash::HashKey;
use super::index::AddressIndex;
use super::limiter::Limiter;
use super::memory::Memory;
use super::pending::{ANSWER_MAX, HopKeys, Terms};
use super::registry::{Claim, Lists, Proven, Registry};
use super::secrets::Secrets;
use super::sessions::{Over, Slots, State};
use crate::crypto::{Crypto, Secret, TAG_LEN};
use crate::fleet::SignedDirectory;
use crate::id::{PublicKey, SessionId};
use crate::noise::KeyPair;
use crate::time::{Instant, micros};
use crate::wire::Kind;
use crate::wire::hop::{
    self, ControlMessage, CookieReply, DirectoryPage, Hello, NotBound, Probe, Refused,
    RefusedReason,
};

/// The one owner of a relay's sessions: control datagrams in, replies out, no socket and no clock.
///
/// A bind is answered at once and changes nothing; the first control datagram under its keys,
/// from the address it came from, proves it. Only then is the session live, or moves.
pub struct Control<C: Crypto, M> {
    pub(super) crypto: C,
    pub(super) config: RelayConfig,
    pub(super) started: Instant,
    pub(super) key_pair: KeyPair,
    pub(super) secrets: Secrets<C>,
    pub(super) counters: ControlCounters,
    pub(super) answers: Limiter,
    pub(super) binds: Limiter,
    pub(super) draining: Option<Draining>,
    pub(super) index_key: HashKey,
    lists: Lists,
    directory: DirectoryList,
    memory: M,
}

/// The signed list of relays that clients are given: its sequence number, and its bytes.
#[derive(Default)]
struct DirectoryList {
    sequence: u64,
    bytes: heapless::Vec<u8, { SignedDirectory::LEN_MAX }>,
}

/// A datagram in the caller's buffer, to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Where to.
    pub to: SocketAddr,
    /// Its length; it stands at the buffer's front.
    pub len: usize,
}

/// Nothing a relay sends of itself is longer.
pub const REPLY_MAX: usize = hop::Control::LEN_MAX;
const _: () = assert!(ANSWER_MAX <= REPLY_MAX);

impl<C: Crypto, M: Memory> Control<C, M> {
    /// A relay without sessions, whose static key is `secret`. What `memory` held is forgotten.
    ///
    /// # Errors
    /// What is wrong with `config`, or that `memory` is not of the sizes it asks for.
    pub fn new(
        now: Instant,
        config: &RelayConfig,
        secret: Secret,
        mut crypto: C,
        mut memory: M,
    ) -> Result<Self, RelayConfigError> {
        config.check()?;
        let mut parts = memory.parts();
        let sessions = config.limits.sessions as usize;
        let fits = parts.tables.hot.len() == config.limits.hot_entries()
            && parts.tables.index.len() == config.limits.index_buckets()
            && parts.sessions.len() == sessions
            && parts.pending.len() == config.limits.pending as usize;
        if !fits {
            return Err(RelayConfigError::Memory);
        }
        parts.tables.clear();
        let slots = Slots::new(now, config.lifetime, config.keep_alive * 2, parts.sessions);
        let lists = Lists::new(slots, &mut parts);
        let mut hash_key = || {
            let mut bytes = [0; 16];
            crypto.random(&mut bytes);
            HashKey::from_bytes(bytes)
        };
        let (index_key, limiter_key) = (hash_key(), hash_key());
        Ok(Self {
            secrets: Secrets::new(&secret, &mut crypto),
            key_pair: KeyPair::from_secret::<C>(secret),
            answers: Limiter::new(now, config.answers, limiter_key),
            binds: Limiter::new(now, config.binds, limiter_key),
            config: *config,
            started: now,
            counters: ControlCounters::default(),
            draining: None,
            index_key,
            lists,
            directory: DirectoryList::default(),
            memory,
            crypto,
        })
    }

    /// The relay's public key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        self.key_pair.public()
    }

    /// The signed list of relays that clients are given who ask for it; `None`: there is none.
    pub fn set_directory(&mut self, list: Option<&SignedDirectory<'_>>) {
        self.directory = DirectoryList::default();
        if let Some(list) = list
            && self.directory.bytes.extend_from_slice(list.as_bytes()).is_ok()
        {
            self.directory.sequence = list.sequence();
        }
    }

    /// A forwarder over the sessions.
    #[must_use]
    pub fn forwarder(&self) -> Forwarder<'_> {
        Forwarder::new(self.memory.tables(), self.forwarding())
    }

    /// What forwarders elsewhere need, besides the tables.
    #[must_use]
    pub fn forwarding(&self) -> Forwarding {
        Forwarding { key: self.index_key, prices: Prices::of(&self.config) }
    }

    /// The next session that began or ended since this was asked before, oldest first. Only the
    /// latest few hundred are kept.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.lists.events.next()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> ControlCounters {
        ControlCounters { sessions_live: u64::from(self.lists.slots.live_count), ..self.counters }
    }

    /// Takes a datagram that a forwarder called [`Control`](super::Verdict::Control) or
    /// [`Unbound`](super::Verdict::Unbound), and may write one reply to `out`, never longer than
    /// the datagram. `bytes` is opened in place.
    pub fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &mut [u8],
        out: &mut [u8; REPLY_MAX],
    ) -> Option<Reply> {
        let address = Address::from(from);
        let len = match self.answer(now, address, bytes, out) {
            Ok(len) => len,
            Err(Refusal::Drop(reason)) => {
                self.count_drop(reason);
                if reason == Dropped::UnknownSource {
                    self.hint(now, address, bytes, out)
                } else {
                    None
                }
            }
            Err(Refusal::Tell(reason)) => {
                self.counters.refused += 1;
                self.counters.refusals.count(reason);
                self.refuse(now, address, bytes, reason, out)
            }
        }?;
        // wire.md §3: no reply is longer than what it answers.
        (len <= bytes.len()).then_some(Reply { to: from, len })
    }

    /// Does what is due: sessions that were silent or whose token expired end, unproven binds are given up.
    pub fn handle_timeout(&mut self, now: Instant) {
        let (mut registry, ..) = self.registry();
        let unproven = registry.expire_pending(now);
        let (mut silent, mut token_ended) = (0, 0);
        for _ in 0..LOOKS_AT_ONCE {
            match registry.look(now) {
                Some(Some(Over::Silence)) => silent += 1,
                Some(Some(Over::Token)) => token_ended += 1,
                Some(None) => {}
                None => break,
            }
        }
        self.counters.unproven += unproven;
        self.counters.sessions_expired += silent;
        self.counters.sessions_token_ended += token_ended;
        if let Some(draining) = &mut self.draining {
            draining.tick(now);
        }
    }

    /// Writes the next datagram that nobody asked for: that a session was replaced or ended, or
    /// that the relay is about to stop. To be called until it returns `None`.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8; REPLY_MAX]) -> Option<Reply> {
        let (mut registry, ..) = self.registry();
        if let Some(farewell) = registry.next_farewell() {
            let message = ControlMessage::SessionReplaced;
            let len = seal_control::<C>(
                &farewell.keys,
                farewell.session,
                farewell.counter,
                message,
                out,
            )?;
            return Some(Reply { to: farewell.address.to_socket_addr()?, len });
        }
        match self.lists.slots.ending() {
            Some(slot) => self.say_ended(slot, out),
            None => self.say_draining(now, out),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; [`Instant::FAR`] if never, in the
    /// past if [`poll_transmit`](Self::poll_transmit) has something to say.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        if self.lists.has_farewells() {
            return Instant::ZERO;
        }
        let (_, pending) = self.memory.owned();
        let silent = self.lists.slots.deadline();
        let unproven = self.lists.pending_deadline(pending);
        let draining = self.draining.as_ref().and_then(Draining::deadline);
        [silent, unproven, draining].into_iter().flatten().min().unwrap_or(Instant::FAR)
    }

    /// Tells every peer that the relay stops in `left`, over the next polls, and refuses new
    /// binds from now on.
    pub fn drain(&mut self, now: Instant, left: Duration) {
        self.draining = Some(Draining {
            until: now + left,
            next_slot: Some(0),
            allowed: DRAINS_AT_ONCE,
            tick: now,
        });
    }

    /// Makes a session of `peer` at `address` live without a bind, for benchmarks and
    /// simulations: its hop keys are random, so no control datagram of the peer will open.
    ///
    /// # Errors
    /// [`TableFull`].
    pub fn insert(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        address: SocketAddr,
    ) -> Result<SessionId, TableFull> {
        let key = self.secrets.key_hash(peer);
        let mut keys = HopKeys::NONE;
        self.crypto.random(&mut keys.root.secret.0);
        let (mut registry, secrets, _) = self.registry();
        let source = CircleKey::from(registry.index.key.hash(Address::from(address).source()));
        let claim = Claim {
            key,
            wanted: None,
            avoid: None,
            source,
            subject: CircleKey::NONE,
            source_max: u32::MAX,
            subject_max: u32::MAX,
        };
        // The part reserved after a start is not for those who are put in by hand.
        let slot = registry.slot_for(Instant::FAR, &claim).map_err(|_| TableFull)?;
        let session = secrets.session_id(slot, peer);
        registry.add_pending(slot, |pending| {
            pending.tag = session.tag();
            pending.key = key;
            pending.address = address.into();
            pending.keys = keys;
            pending.until = now + PROOF_TIME;
            pending.terms = Terms { source, ..Terms::NONE };
        });
        registry.prove(now, slot).map_err(|_| TableFull)?;
        self.counters.sessions_begun += 1;
        Ok(session)
    }

    /// The tables, and what is read beside them.
    pub(super) fn registry(&mut self) -> (Registry<'_>, &mut Secrets<C>, &mut C) {
        let parts = self.memory.parts();
        let registry = Registry {
            tables: parts.tables,
            index: AddressIndex { buckets: parts.tables.index, key: self.index_key },
            sessions: parts.sessions,
            pending: parts.pending,
            lists: &mut self.lists,
        };
        (registry, &mut self.secrets, &mut self.crypto)
    }

    pub(super) const fn memory(&self) -> &M {
        &self.memory
    }

    pub(super) const fn lists(&self) -> &Lists {
        &self.lists
    }

    pub(super) const fn lists_mut(&mut self) -> &mut Lists {
        &mut self.lists
    }

    /// The wall clock, in microseconds.
    pub(super) fn unix_micros(&self, now: Instant) -> u64 {
        let start = self.config.unix_seconds_at_start.saturating_mul(1_000_000);
        start.saturating_add(micros(now.since(self.started)))
    }

    /// The length of the reply in `out`, if the datagram gets one.
    fn answer(
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
    fn hint(&mut self, now: Instant, from: Address, bytes: &[u8], out: &mut [u8]) -> Option<usize> {
        if bytes.len() < NotBound::LEN || !self.answers.allow(now, from) {
            return None;
        }
        let echo = *bytes.last_chunk()?;
        let hint = NotBound { echo, cookie: self.secrets.cookie(now, from) };
        self.counters.hints += 1;
        hint.emit(out).ok()
    }

    fn refuse(
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

    /// Tells the peer whose session in `slot` has ended, and frees the slot.
    fn say_ended(&mut self, slot: u32, out: &mut [u8]) -> Option<Reply> {
        let (mut registry, ..) = self.registry();
        let hot = registry.tables.hot.get(slot as usize)?;
        let (tag, address) = hot.ended();
        let session = registry.session(slot)?;
        let message = if session.state == State::Replaced {
            ControlMessage::SessionReplaced
        } else {
            ControlMessage::Expired
        };
        let counter = session.next_counter();
        let keys = session.keys();
        registry.lists.slots.forget(registry.sessions, slot);
        let len = seal_control::<C>(&keys, SessionId::new(slot, tag), counter?, message, out)?;
        Some(Reply { to: address.to_socket_addr()?, len })
    }

    /// Tells the next live session that the relay stops.
    fn say_draining(&mut self, now: Instant, out: &mut [u8]) -> Option<Reply> {
        let draining = self.draining.as_mut()?;
        let left_s = draining.left_s(now);
        let first = draining.take_turn()?;
        let alternatives = self.config.alternatives;
        let (mut registry, ..) = self.registry();
        let end = registry.sessions.len() as u32;
        let last = end.min(first.saturating_add(DRAIN_SCAN));
        let found = (first..last).find_map(|slot| {
            let (tag, address) = registry.live(slot)?;
            let session = registry.session(slot)?;
            let counter = session.next_counter()?;
            let message = ControlMessage::Drain { left_s, alternatives };
            let len = seal_control::<C>(
                &session.keys(),
                SessionId::new(slot, tag),
                counter,
                message,
                out,
            )?;
            Some((slot, Reply { to: address.to_socket_addr()?, len }))
        });
        let next = found.map_or(last, |(slot, _)| slot + 1);
        if let Some(draining) = &mut self.draining {
            draining.next_slot = (next < end).then_some(next);
            if found.is_none() {
                draining.allowed = 0;
            }
        }
        found.map(|(_, reply)| reply)
    }

    fn count_drop(&mut self, reason: Dropped) {
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

/// All slots, or all places of an address in the index, are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFull;

impl core::fmt::Display for TableFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the relay's tables are full")
    }
}

impl core::error::Error for TableFull {}

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

/// The relay is about to stop.
pub(super) struct Draining {
    until: Instant,
    /// Whom to tell next; `None` when all know.
    next_slot: Option<u32>,
    /// How many may still be told before the next tick.
    allowed: u32,
    tick: Instant,
}

impl Draining {
    fn tick(&mut self, now: Instant) {
        if now >= self.tick {
            self.allowed = DRAINS_AT_ONCE;
            self.tick = now + DRAIN_TICK;
        }
    }

    fn take_turn(&mut self) -> Option<u32> {
        self.allowed = self.allowed.checked_sub(1)?;
        self.next_slot
    }

    fn left_s(&self, now: Instant) -> u16 {
        u16::try_from(self.until.since(now).as_secs()).unwrap_or(u16::MAX)
    }

    fn deadline(&self) -> Option<Instant> {
        self.next_slot.map(|_| self.tick)
    }
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

/// Writes a sealed control datagram and returns its length.
fn seal_control<C: Crypto>(
    keys: &HopKeys,
    session: SessionId,
    counter: u32,
    message: ControlMessage,
    out: &mut [u8],
) -> Option<usize> {
    let len = message.emit(out.get_mut(hop::Control::PAYLOAD_OFFSET..)?).ok()?;
    seal_written::<C>(keys, session, counter, len, out)
}

/// Makes a sealed control datagram of a message of `len` bytes that stands in its place already.
fn seal_written<C: Crypto>(
    keys: &HopKeys,
    session: SessionId,
    counter: u32,
    len: usize,
    out: &mut [u8],
) -> Option<usize> {
    let offset = hop::Control { session, counter }.emit(out).ok()?;
    let end = offset + len + TAG_LEN;
    let (header, sealed) = out.get_mut(..end)?.split_at_mut_checked(offset)?;
    C::seal(&keys.seal_key::<C>(), u64::from(counter), header, sealed);
    Some(end)
}

/// The message in a control datagram, if it opens under these keys.
///
/// Opens a copy: the datagram may have to be tried under other keys, and its end may go into a
/// hint.
fn open_control<C: Crypto>(
    keys: &HopKeys,
    counter: u32,
    bytes: &[u8],
) -> Result<Option<ControlMessage>, Dropped> {
    let mut copy = [0; hop::Control::LEN_MAX];
    let copy = copy.get_mut(..bytes.len()).ok_or(Dropped::Malformed)?;
    copy.copy_from_slice(bytes);
    let (header, sealed) =
        copy.split_at_mut_checked(hop::Control::PAYLOAD_OFFSET).ok_or(Dropped::Malformed)?;
    let key = keys.open_key::<C>();
    if C::open(&key, u64::from(counter), header, sealed).is_err() {
        return Ok(None);
    }
    let plain = sealed
        .len()
        .checked_sub(TAG_LEN)
        .and_then(|len| sealed.get(..len))
        .ok_or(Dropped::Malformed)?;
    ControlMessage::parse(plain).map(Some).map_err(|_| Dropped::Malformed)
}

/// How long an answered bind waits for its proof.
pub(super) const PROOF_TIME: Duration = Duration::from_secs(10);
/// Sessions looked at in one [`Control::handle_timeout`]; for more, the next is due at once.
const LOOKS_AT_ONCE: u32 = 256;
/// Peers told in one tick that the relay stops: 64,000 a second.
const DRAINS_AT_ONCE: u32 = 64;
const DRAIN_TICK: Duration = Duration::from_millis(1);
/// Slots looked at for the next peer to be told.
const DRAIN_SCAN: u32 = 4096;
