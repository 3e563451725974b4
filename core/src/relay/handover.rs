//! A running relay's sessions, for the process that takes its place: one record a session, so that
//! neither the layout of the tables nor their sizes need to be the same there.

use super::address::Address;
use super::circle::{Circle, CircleKey};
use super::control::{Control, PROOF_TIME};
use super::memory::Memory;
use super::pending::{HopKeys, Terms};
use super::sessions::{KeyHash, State, Window};
use crate::crypto::{Crypto, Secret, Suite};
use crate::noise::{HopRoot, Origin};
use crate::time::Instant;

/// The version of what follows; another one is not understood.
pub const HANDOVER_FORMAT: u32 = 2;
/// Bytes of the keys that the sessions and clients' cookies depend on.
pub const HANDOVER_KEYS_LEN: usize = 72;
/// Bytes of one session.
pub const HANDOVER_RECORD_LEN: usize = 116;

impl<C: Crypto, M: Memory> Control<C, M> {
    /// The keys that records and cookies depend on, besides the relay's own: secret.
    #[must_use]
    pub fn handover_keys(&self) -> [u8; HANDOVER_KEYS_LEN] {
        self.secrets.drawn()
    }

    /// The record of the first live session behind the slot `after`, with its own slot; `None` if
    /// there is none any more. It holds secret keys.
    #[must_use]
    pub fn handover_record(&self, after: Option<u32>) -> Option<(u32, [u8; HANDOVER_RECORD_LEN])> {
        let (sessions, _) = self.memory().owned();
        let slots = &self.lists().slots;
        let is_live = |slot: &u32| {
            sessions.get(*slot as usize).is_some_and(|session| session.state == State::Live)
        };
        let first = after.map_or(0, |slot| slot.saturating_add(1));
        let slot = (first..sessions.len() as u32).find(is_live)?;
        let session = sessions.get(slot as usize)?;
        let hot = self.memory().tables().hot.get(slot as usize)?;
        let (tag, address) = hot.live()?;
        let keys = session.keys();
        let (received, sent) = session.counters();
        let mut record = [0; HANDOVER_RECORD_LEN];
        let mut writer = Writer(&mut record);
        writer.words(&[slot, tag]);
        writer.words(&session.key.0);
        writer.words(&address.words);
        writer.words(&[address.family_port, keys.suite as u32, keys.root.origin as u32]);
        writer.bytes(&keys.root.secret.0);
        writer.words(&received.to_words());
        writer.words(&[sent]);
        writer.bytes(&Circle::Subject.key_of(sessions, slot).get().to_le_bytes());
        writer.words(&hot.prices());
        writer.bytes(&slots.end_of(sessions, slot).as_micros().to_le_bytes());
        Some((slot, record))
    }

    /// Goes on by the keys of the relay before, whose records follow; to be called before anything
    /// else.
    pub fn take_handover_keys(&mut self, now: Instant, keys: &[u8; HANDOVER_KEYS_LEN]) {
        self.secrets.take_drawn(keys);
        // Those who had slots come now, not by and by.
        self.lists_mut().slots.give_ordinary_from(now);
    }

    /// Makes the session in a record live, from now for its whole lifetime. Returns whether there
    /// was a place for it.
    pub fn take_handover_record(
        &mut self,
        now: Instant,
        record: &[u8; HANDOVER_RECORD_LEN],
    ) -> bool {
        self.take(now, record).is_some()
    }

    fn take(&mut self, now: Instant, record: &[u8; HANDOVER_RECORD_LEN]) -> Option<()> {
        let mut reader = Reader(record);
        let [slot, tag] = reader.words()?;
        let key = KeyHash(reader.words()?);
        let words = reader.words()?;
        let [family_port, suite, origin] = reader.words()?;
        let address = Address { words, family_port };
        let suite = Suite::from_u8(u8::try_from(suite).ok()?)?;
        let origin = Origin::from_u8(u8::try_from(origin).ok()?)?;
        let root = HopRoot { secret: Secret(reader.bytes()?), origin };
        let received = Window::from_words(reader.words()?);
        let [sent] = reader.words()?;
        let subject = CircleKey::from(u64::from_le_bytes(reader.bytes()?));
        let [packet_price, byte_price] = reader.words()?;
        let end = Instant::from_micros(u64::from_le_bytes(reader.bytes()?));
        if !address.is_live() {
            return None;
        }
        let (mut registry, ..) = self.registry();
        // The way of a bind, so that there is one way into the tables.
        let free = registry.session(slot)?.state == State::Free;
        if !free || registry.index.find(registry.tables.hot, address).is_some() {
            return None;
        }
        let source = CircleKey::from(registry.index.key.hash(address.source()));
        registry.lists.slots.reserve(registry.sessions, slot, key, source, subject);
        registry.add_pending(slot, |pending| {
            pending.tag = tag;
            pending.key = key;
            pending.address = address;
            pending.keys = HopKeys { suite, root };
            pending.until = now + PROOF_TIME;
            pending.terms = Terms { end, source, subject, packet_price, byte_price };
        });
        registry.prove(now, slot).ok()?;
        registry.session(slot)?.set_counters(received, sent);
        Some(())
    }
}

struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.bytes(&word.to_le_bytes()));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some((to, rest)) = core::mem::take(&mut self.0).split_at_mut_checked(bytes.len()) {
            to.copy_from_slice(bytes);
            self.0 = rest;
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn words<const N: usize>(&mut self) -> Option<[u32; N]> {
        let mut words = [0; N];
        for word in &mut words {
            *word = u32::from_le_bytes(self.bytes()?);
        }
        Some(words)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}
