//! The owner of the sessions: who is bound, from where, under which keys, and until when.

use core::net::SocketAddr;
use core::time::Duration;

use super::address::Address;
use super::answering::{DirectoryList, Dropped, Refusal};
use super::circle::CircleKey;
use super::config::{RelayConfig, RelayConfigError};
use super::counters::ControlCounters;
use super::draining::Draining;
use super::events::SessionEvent;
use super::forward::{Forwarder, Forwarding, Prices};
use super::hash::HashKey;
use super::index::AddressIndex;
use super::limiter::Limiter;
use super::memory::Memory;
use super::pending::{ANSWER_MAX, HopKeys, Terms};
use super::registry::{Claim, Lists, Registry};
use super::sealing::seal_control;
use super::secrets::Secrets;
use super::sessions::{Over, Slots, State};
use crate::crypto::{Crypto, Secret};
use crate::fleet::SignedDirectory;
use crate::id::{PublicKey, SessionId};
use crate::noise::KeyPair;
use crate::time::{Instant, micros};
use crate::wire::hop::{self, ControlMessage};

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
    pub(super) directory: DirectoryList,
    memory: M,
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

/// How long an answered bind waits for its proof.
pub(super) const PROOF_TIME: Duration = Duration::from_secs(10);
/// Sessions looked at in one [`Control::handle_timeout`]; for more, the next is due at once.
const LOOKS_AT_ONCE: u32 = 256;
