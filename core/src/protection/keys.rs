//! The keys of one connection's data packets, as in RFC 9001 §6.

use core::fmt;
use core::mem;
use core::time::Duration;

use crate::crypto::{Crypto, OpenError, Secret, Suite};
use crate::id::PacketNumber;
use crate::time::{Instant, micros};

/// Packets sealed under one key before it is due for an update.
pub const UPDATE_PACKETS: u64 = 1 << 22;

/// Time under one key before it is due for an update.
pub const UPDATE_INTERVAL: Duration = Duration::from_secs(3600);

/// Packets sealed under one key at most: AES-GCM's confidentiality limit (RFC 9001 §6.6), kept
/// for both suites.
pub const SEAL_LIMIT: u64 = 1 << 23;

/// The key-phase bit of a data packet's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct KeyPhase(pub bool);

impl KeyPhase {
    /// The phase after this one, and the one before it.
    #[must_use]
    pub const fn flipped(self) -> Self {
        Self(!self.0)
    }
}

/// A received packet beside its ciphertext.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The key-phase bit it carries.
    pub phase: KeyPhase,
    /// Its full number.
    pub number: PacketNumber,
    /// Its associated data (wire.md §1.1).
    pub ad: &'a [u8],
}

/// What an opened packet did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The packet was the first of a new phase: both directions now use the new keys.
    pub phase_changed: bool,
}

/// Sealing and opening keys of a connection, with key update.
///
/// Both directions belong together: who opens a packet of the next phase seals in that phase from
/// then on, so an acknowledgement of a phase always comes under that phase (RFC 9001 §6.2).
pub struct PacketKeys<C: Crypto> {
    suite: Suite,
    sealing: Sealing<C>,
    opening: Opening<C>,
    forged: u64,
}

impl<C: Crypto> PacketKeys<C> {
    /// The keys a handshake left; phase 0 begins `now`.
    #[must_use]
    pub fn new(suite: Suite, seal: &Secret, open: &Secret, now: Instant) -> Self {
        Self {
            suite,
            sealing: Sealing::new(suite, seal.clone(), KeyPhase(false), now),
            opening: Opening {
                current: PhaseKey::new(suite, open.clone()),
                phase: KeyPhase(false),
                other: Other::None,
            },
            forged: 0,
        }
    }

    /// The phase packets are sealed in: goes into their first byte.
    #[must_use]
    pub const fn key_phase(&self) -> KeyPhase {
        self.sealing.phase
    }

    /// Whether packets of `phase` are opened with the current key: any other may begin a phase.
    #[must_use]
    pub fn opens_in(&self, phase: KeyPhase) -> bool {
        self.opening.phase == phase
    }

    /// Seals in place: `buffer` is the plaintext and room for the tag. A number is sealed once,
    /// and numbers only grow.
    ///
    /// # Errors
    /// [`KeysExhausted`] after [`SEAL_LIMIT`] packets without an update: close the connection.
    ///
    /// # Panics
    /// If `buffer` is shorter than [`TAG_LEN`](crate::crypto::TAG_LEN).
    #[inline]
    pub fn seal(
        &mut self,
        number: PacketNumber,
        ad: &[u8],
        buffer: &mut [u8],
    ) -> Result<(), KeysExhausted> {
        if self.sealing.sealed >= SEAL_LIMIT {
            return Err(KeysExhausted);
        }
        self.sealing.sealed += 1;
        self.sealing.first.get_or_insert(number);
        C::seal(&self.sealing.key, number.0, ad, buffer);
        Ok(())
    }

    /// The other side acknowledged the packet `largest`: if it was of the current phase, the next
    /// update may come.
    pub fn acknowledged(&mut self, largest: PacketNumber) {
        if self.sealing.first.is_some_and(|first| largest >= first) {
            self.sealing.acknowledged = true;
        }
    }

    /// Whether an update is due and allowed.
    #[must_use]
    pub fn should_update(&self, now: Instant) -> bool {
        let due = self.sealing.sealed >= UPDATE_PACKETS
            || now.micros_since(self.sealing.since) >= micros(UPDATE_INTERVAL);
        due && self.may_update(now)
    }

    /// Seals in the next phase from now on.
    ///
    /// # Errors
    /// [`UpdateTooEarly`] while the last update is not acknowledged, or the key before it is
    /// still kept (RFC 9001 §6.1, §6.5). Nothing changes then.
    pub fn update(&mut self, now: Instant) -> Result<(), UpdateTooEarly> {
        if !self.may_update(now) {
            return Err(UpdateTooEarly);
        }
        self.sealing.advance(self.suite, now);
        Ok(())
    }

    /// Opens in place: `buffer` is ciphertext and tag. Test for replay before.
    ///
    /// When the packet is the first of a new phase, the key before it stays for `keep` (three
    /// probe time-outs, RFC 9001 §6.5), for packets that were overtaken.
    ///
    /// # Errors
    /// [`RejectedPacket`]; the content of `buffer` is then unspecified and no key has changed.
    pub fn open(
        &mut self,
        now: Instant,
        keep: Duration,
        packet: &Packet<'_>,
        buffer: &mut [u8],
    ) -> Result<Opened, RejectedPacket> {
        let limit = forgery_limit(self.suite);
        if self.forged >= limit {
            return Err(RejectedPacket::TooManyForgeries);
        }
        let Ok(opened) = self.opening.open(self.suite, Times { now, keep }, packet, buffer) else {
            self.forged += 1;
            return Err(if self.forged >= limit {
                RejectedPacket::TooManyForgeries
            } else {
                RejectedPacket::Forged
            });
        };
        if opened.phase_changed && self.sealing.phase != self.opening.phase {
            self.sealing.advance(self.suite, now);
        }
        Ok(opened)
    }

    fn may_update(&self, now: Instant) -> bool {
        self.sealing.acknowledged
            && self.sealing.phase == self.opening.phase
            && !self.opening.keeps_previous(now)
    }
}

/// The last key cannot seal more; the connection must be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeysExhausted;

impl fmt::Display for KeysExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many packets sealed without a key update")
    }
}

impl core::error::Error for KeysExhausted {}

/// The last update is not finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UpdateTooEarly;

impl fmt::Display for UpdateTooEarly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the last key update is not finished")
    }
}

impl core::error::Error for UpdateTooEarly {}

/// Why a packet was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RejectedPacket {
    /// It does not authenticate: drop it.
    Forged,
    /// So many did not authenticate that the keys are no longer safe (RFC 9001 §6.6): close the
    /// connection.
    TooManyForgeries,
}

impl fmt::Display for RejectedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forged => "packet does not authenticate",
            Self::TooManyForgeries => "too many packets that do not authenticate",
        })
    }
}

impl core::error::Error for RejectedPacket {}

struct Sealing<C: Crypto> {
    key: C::SealKey,
    secret: Secret,
    phase: KeyPhase,
    since: Instant,
    /// Packets sealed in this phase.
    sealed: u64,
    /// The first of them.
    first: Option<PacketNumber>,
    /// One of them was acknowledged.
    acknowledged: bool,
}

impl<C: Crypto> Sealing<C> {
    fn new(suite: Suite, secret: Secret, phase: KeyPhase, now: Instant) -> Self {
        Self {
            key: C::seal_key(suite, &secret),
            secret,
            phase,
            since: now,
            sealed: 0,
            first: None,
            acknowledged: false,
        }
    }

    fn advance(&mut self, suite: Suite, now: Instant) {
        let next = next_secret::<C>(&self.secret);
        *self = Self::new(suite, next, self.phase.flipped(), now);
    }
}

struct Opening<C: Crypto> {
    current: PhaseKey<C>,
    phase: KeyPhase,
    other: Other,
}

/// A key with the secret the key after it comes from.
struct PhaseKey<C: Crypto> {
    key: C::OpenKey,
    secret: Secret,
}

/// The secret that the other phase bit stands for. Its key is prepared for each packet that needs
/// it: those are few, and a prepared key would double what a connection's keys take. One place for
/// both will do, as the next phase is not due while the previous one is kept.
enum Other {
    None,
    /// For numbers below the one that began the current phase.
    Previous {
        secret: Secret,
        until: Instant,
        below: PacketNumber,
    },
    Next(Secret),
}

impl<C: Crypto> PhaseKey<C> {
    fn new(suite: Suite, secret: Secret) -> Self {
        Self { key: C::open_key(suite, &secret), secret }
    }
}

impl<C: Crypto> Opening<C> {
    fn open(
        &mut self,
        suite: Suite,
        times: Times,
        packet: &Packet<'_>,
        buffer: &mut [u8],
    ) -> Result<Opened, OpenError> {
        let Packet { phase, number, ad } = *packet;
        if matches!(self.other, Other::Previous { .. }) && !self.keeps_previous(times.now) {
            self.other = Other::None;
        }
        if phase == self.phase {
            C::open(&self.current.key, number.0, ad, buffer)?;
            return Ok(Opened { phase_changed: false });
        }
        if let Other::Previous { secret, below, .. } = &self.other
            && number < *below
        {
            C::open(&C::open_key(suite, secret), number.0, ad, buffer)?;
            return Ok(Opened { phase_changed: false });
        }
        self.open_next(suite, times, packet, buffer)
    }

    /// Tries the next phase and moves to it if the packet opens.
    fn open_next(
        &mut self,
        suite: Suite,
        times: Times,
        packet: &Packet<'_>,
        buffer: &mut [u8],
    ) -> Result<Opened, OpenError> {
        let secret = match &self.other {
            Other::Next(secret) => secret.clone(),
            Other::None => next_secret::<C>(&self.current.secret),
            Other::Previous { .. } => return Err(OpenError),
        };
        let next = PhaseKey::new(suite, secret);
        if let Err(error) = C::open(&next.key, packet.number.0, packet.ad, buffer) {
            // Kept, so that forgeries with this bit cost no derivation each.
            self.other = Other::Next(next.secret);
            return Err(error);
        }
        let previous = mem::replace(&mut self.current, next);
        self.other = Other::Previous {
            secret: previous.secret,
            until: times.now + times.keep,
            below: packet.number,
        };
        self.phase = packet.phase;
        Ok(Opened { phase_changed: true })
    }

    fn keeps_previous(&self, now: Instant) -> bool {
        matches!(&self.other, Other::Previous { until, .. } if now < *until)
    }
}

#[derive(Clone, Copy)]
struct Times {
    now: Instant,
    keep: Duration,
}

/// wire.md §1.3: `k' = HMAC-SHA-256(k, "waylane key update")`.
fn next_secret<C: Crypto>(secret: &Secret) -> Secret {
    Secret(C::hmac_sha256(&secret.0, &[b"waylane key update"]))
}

/// How many forged packets a suite bears over a connection's life (RFC 9001 §6.6).
const fn forgery_limit(suite: Suite) -> u64 {
    match suite {
        Suite::AesGcm => 1 << 52,
        Suite::ChaChaPoly => 1 << 36,
    }
}

/// What no test can reach by sealing and opening: the limits. Everything else is in
/// `core/tests/protection.rs`, over real ciphers.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Suites, TAG_LEN};
    use crate::id::PublicKey;

    #[test]
    fn an_update_falls_due_by_packets() {
        let mut keys = keys(Suite::AesGcm);
        keys.seal(PacketNumber(0), &[], &mut [0; TAG_LEN]).unwrap();
        keys.acknowledged(PacketNumber(0));
        keys.sealing.sealed = UPDATE_PACKETS - 1;
        assert!(!keys.should_update(Instant::ZERO));
        keys.seal(PacketNumber(1), &[], &mut [0; TAG_LEN]).unwrap();
        assert!(keys.should_update(Instant::ZERO));
        keys.update(Instant::ZERO).unwrap();
        assert_eq!(keys.sealing.sealed, 0);
    }

    #[test]
    fn a_key_seals_no_more_than_its_limit() {
        let mut keys = keys(Suite::AesGcm);
        keys.sealing.sealed = SEAL_LIMIT - 1;
        assert_eq!(keys.seal(PacketNumber(1), &[], &mut [0; TAG_LEN]), Ok(()));
        assert_eq!(keys.seal(PacketNumber(2), &[], &mut [0; TAG_LEN]), Err(KeysExhausted));
    }

    #[test]
    fn forgeries_are_counted_up_to_the_suites_limit() {
        for (suite, limit) in [(Suite::AesGcm, 1 << 52), (Suite::ChaChaPoly, 1 << 36)] {
            let mut keys = keys(suite);
            keys.forged = limit - 2;
            let mut open = |tag: [u8; TAG_LEN]| {
                let packet = Packet { phase: KeyPhase(false), number: PacketNumber(0), ad: &[] };
                keys.open(Instant::ZERO, Duration::ZERO, &packet, &mut { tag })
            };
            assert_eq!(open([1; TAG_LEN]), Err(RejectedPacket::Forged));
            assert!(open([0; TAG_LEN]).is_ok());
            assert_eq!(open([1; TAG_LEN]), Err(RejectedPacket::TooManyForgeries));
            assert_eq!(open([0; TAG_LEN]), Err(RejectedPacket::TooManyForgeries));
        }
    }

    fn keys(suite: Suite) -> PacketKeys<Toy> {
        PacketKeys::new(suite, &Secret([0; 32]), &Secret([0; 32]), Instant::ZERO)
    }

    /// Its tag is the key's first byte over and over.
    struct Toy;

    impl Crypto for Toy {
        type SealKey = u8;
        type OpenKey = u8;

        fn random(&mut self, out: &mut [u8]) {
            out.fill(0);
        }

        fn suites(&self) -> Suites {
            Suites::ALL
        }

        fn sha256(_: &[&[u8]]) -> [u8; 32] {
            [0; 32]
        }

        fn hmac_sha256(_: &[u8], _: &[&[u8]]) -> [u8; 32] {
            [7; 32]
        }

        fn x25519_public(_: &Secret) -> PublicKey {
            PublicKey([0; 32])
        }

        fn x25519(_: &Secret, _: &PublicKey) -> Option<Secret> {
            None
        }

        fn ed25519_verify(_: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
            false
        }

        fn seal_key(_: Suite, key: &Secret) -> u8 {
            key.0[0]
        }

        fn open_key(_: Suite, key: &Secret) -> u8 {
            key.0[0]
        }

        fn seal(key: &u8, _: u64, _: &[u8], buffer: &mut [u8]) {
            buffer.last_chunk_mut::<TAG_LEN>().unwrap().fill(*key);
        }

        fn open(key: &u8, _: u64, _: &[u8], buffer: &mut [u8]) -> Result<(), OpenError> {
            let tag = buffer.last_chunk::<TAG_LEN>().ok_or(OpenError)?;
            if *tag == [*key; TAG_LEN] { Ok(()) } else { Err(OpenError) }
        }
    }
}
