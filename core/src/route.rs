//! Routes: where a peer can be reached now (wire.md §4). They hold no address of anything.

use core::fmt;
use core::str::FromStr;

use heapless::Vec;

use crate::crypto::Suites;
use crate::id::{ApplicationId, PeerId, PublicKey, RelayId, SessionId};
use crate::wire::base64url::{self, Base64, Base64Error, Form};
use crate::wire::{Full, PROTOCOL_VERSION, ParseError, Reader, Writer};

/// Where a peer can be reached, and what it can speak.
///
/// Displayed and parsed as one word of base64url.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    version_min: u8,
    version_max: u8,
    /// The suites the peer does.
    pub suites: Suites,
    /// The application the peer belongs to.
    pub application: ApplicationId,
    /// Of two routes of one peer, the one with the higher epoch is the newer.
    pub epoch: Epoch,
    /// Who the peer is.
    pub public_key: PublicKey,
    relays: Vec<RouteRelay, { Route::RELAYS_MAX }>,
}

/// A relay at which a peer is registered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RouteRelay {
    /// Which relay.
    pub relay: RelayId,
    /// The peer's session there.
    pub session: SessionId,
}

impl Route {
    /// The most relays in a route.
    pub const RELAYS_MAX: usize = 8;
    /// Bytes of the longest route in its binary form.
    pub const LEN_MAX: usize = FIXED_LEN + Self::RELAYS_MAX * RELAY_LEN;
    /// Characters of the longest route in its text form.
    pub const TEXT_LEN_MAX: usize = base64url::encoded_len(Self::LEN_MAX);

    /// A route of a peer who speaks our protocol version, as yet without relays.
    #[must_use]
    pub const fn new(
        public_key: PublicKey,
        application: ApplicationId,
        suites: Suites,
        epoch: Epoch,
    ) -> Self {
        Self {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            suites,
            application,
            epoch,
            public_key,
            relays: Vec::new(),
        }
    }

    /// The relays at which the peer can be reached, the preferred one first.
    #[must_use]
    pub fn relays(&self) -> &[RouteRelay] {
        &self.relays
    }

    /// Adds a relay at the end.
    ///
    /// # Errors
    /// [`RouteError::TooManyRelays`], [`RouteError::DuplicateRelay`], [`RouteError::NoSession`].
    pub fn push_relay(&mut self, relay: RouteRelay) -> Result<(), RouteError> {
        if self.relays.iter().any(|known| known.relay == relay.relay) {
            return Err(RouteError::DuplicateRelay);
        }
        if relay.session.is_none() {
            return Err(RouteError::NoSession);
        }
        self.relays.push(relay).map_err(|_| RouteError::TooManyRelays)
    }

    /// A route from its binary or its text form.
    ///
    /// # Errors
    /// [`RouteError`], whose text says what to do.
    pub fn decode(bytes: &[u8]) -> Result<Self, RouteError> {
        match Form::of(bytes, FORMAT) {
            Form::Binary(bytes) => Self::decode_binary(bytes),
            Form::Text(text) => {
                let mut buffer = [0; Self::LEN_MAX];
                let len = base64url::decode(text, &mut buffer).map_err(|error| match error {
                    Base64Error::TooLong => RouteError::TooLong,
                    Base64Error::Incomplete => RouteError::Truncated,
                    Base64Error::BadCharacter => RouteError::BadText,
                })?;
                Self::decode_binary(buffer.get(..len).unwrap_or_default())
            }
            Form::Neither { binary: true } => Err(RouteError::WrongFormat),
            Form::Neither { binary: false } => Err(RouteError::BadText),
            Form::Empty => Err(RouteError::Empty),
        }
    }

    /// Writes the binary form and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.bytes(&[FORMAT, self.version_min, self.version_max, self.suites.0])?;
        writer.u64(self.application.0)?;
        writer.bytes(&self.epoch.to_bytes())?;
        writer.bytes(&self.public_key.0)?;
        writer.u8(self.relays.len() as u8)?;
        for RouteRelay { relay, session } in &self.relays {
            writer.u64(relay.0)?;
            writer.session_id(*session)?;
        }
        Ok(writer.position())
    }

    /// Bytes of the binary form.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        FIXED_LEN + self.relays.len() * RELAY_LEN
    }

    /// Whether this can be the route of `peer`, and we can talk to it. `key_hash` is the SHA-256 of
    /// [`Route::public_key`]; `application` and `suites` are our own.
    ///
    /// # Errors
    /// [`RouteError::KeyMismatch`], [`RouteError::WrongApplication`],
    /// [`RouteError::NoCommonSuite`].
    pub fn check(
        &self,
        peer: PeerId,
        key_hash: &[u8; 32],
        application: ApplicationId,
        suites: Suites,
    ) -> Result<(), RouteError> {
        if PeerId::from_key_hash(key_hash) != peer {
            Err(RouteError::KeyMismatch)
        } else if self.application != application {
            Err(RouteError::WrongApplication)
        } else if self.suites.choose(suites).is_none() {
            Err(RouteError::NoCommonSuite)
        } else {
            Ok(())
        }
    }

    pub(crate) fn decode_binary(bytes: &[u8]) -> Result<Self, RouteError> {
        let mut reader = Reader::new(bytes);
        if reader.u8().map_err(truncated)? != FORMAT {
            return Err(RouteError::WrongFormat);
        }
        let mut route = Self::parse_fixed(&mut reader).map_err(truncated)?;
        let relays = reader.u8().map_err(truncated)?;
        if usize::from(relays) > Self::RELAYS_MAX {
            return Err(RouteError::TooManyRelays);
        }
        for _ in 0..relays {
            let relay = reader.relay_id().map_err(truncated)?;
            let session = reader.session_id().map_err(truncated)?;
            route.push_relay(RouteRelay { relay, session })?;
        }
        reader.finish().map_err(|_| RouteError::TooLong)?;
        if (route.version_min..=route.version_max).contains(&PROTOCOL_VERSION) {
            Ok(route)
        } else {
            Err(RouteError::NoCommonVersion)
        }
    }

    fn parse_fixed(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            version_min: reader.u8()?,
            version_max: reader.u8()?,
            suites: Suites(reader.u8()?),
            application: ApplicationId(reader.u64()?),
            epoch: Epoch::from_bytes(reader.array()?),
            public_key: PublicKey(reader.array()?),
            relays: Vec::new(),
        })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; Self::LEN_MAX];
        let len = self.encode(&mut buffer).map_err(|_| fmt::Error)?;
        Base64(buffer.get(..len).unwrap_or_default()).fmt(f)
    }
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        Self::decode(text.as_bytes())
    }
}

/// How new a route is: 48 bits, strictly increasing with each route that a peer publishes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Epoch(u64);

impl Epoch {
    /// The largest epoch.
    pub const MAX: Self = Self((1 << 48) - 1);

    /// The epoch with this value; `None` if it has more than 48 bits.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value > Self::MAX.0 { None } else { Some(Self(value)) }
    }

    /// The epoch as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The epoch after this one; `None` after [`Epoch::MAX`].
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }

    const fn to_bytes(self) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = self.0.to_le_bytes();
        [a, b, c, d, e, f]
    }

    const fn from_bytes([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }
}

/// Why a route cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RouteError {
    /// There is nothing.
    Empty,
    /// Neither binary nor base64url.
    BadText,
    /// It does not begin like a route that we know.
    WrongFormat,
    /// It ends too early.
    Truncated,
    /// It goes on behind its end.
    TooLong,
    /// The peer speaks no protocol version that we speak.
    NoCommonVersion,
    /// More than [`Route::RELAYS_MAX`] relays.
    TooManyRelays,
    /// A relay occurs twice.
    DuplicateRelay,
    /// A relay without a session at it.
    NoSession,
    /// The key is not that of the peer this is said to be a route of.
    KeyMismatch,
    /// The peer runs another application.
    WrongApplication,
    /// The peer does no cipher suite that we do.
    NoCommonSuite,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the route is empty: wait until the other player has published one",
            Self::BadText => {
                "this is not a route: pass it on as the one word, or the bytes, it was handed out as"
            }
            Self::WrongFormat => {
                "not a route, or one of a newer format: update if the other player's version is newer"
            }
            Self::Truncated => "the route is cut short: pass on all of it",
            Self::TooLong => "something follows the route: pass on the route alone",
            Self::NoCommonVersion => {
                "no common protocol version: update the player whose version is older"
            }
            Self::TooManyRelays => "the route names more than 8 relays: publish fewer",
            Self::DuplicateRelay => "the route names a relay twice: publish it once",
            Self::NoSession => {
                "the route names a relay without a session: publish it when registered there"
            }
            Self::KeyMismatch => {
                "the route belongs to another peer id: check whose route was passed on"
            }
            Self::WrongApplication => {
                "the route belongs to another application: use the same application id on both sides"
            }
            Self::NoCommonSuite => {
                "no common cipher suite: allow one that the other player offers"
            }
        })
    }
}

impl core::error::Error for RouteError {}

fn truncated(_: ParseError) -> RouteError {
    RouteError::Truncated
}

const FORMAT: u8 = 1;
/// Everything before the relays.
const FIXED_LEN: usize = 51;
const RELAY_LEN: usize = 15;

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec as StdVec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literal_bytes() {
        let mut route = sample();
        let mut out = [0; Route::LEN_MAX];
        let len = route.encode(&mut out).unwrap();
        let mut bytes = StdVec::from([1, 1, 1, 0b110, 8, 7, 6, 5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1]);
        bytes.extend([0xab; 32]);
        bytes.extend([1, 1, 0, 0, 0, 0, 0, 0, 0x80, 9, 0, 0, 10, 0, 0, 0]);
        assert_eq!(out[..len], bytes);
        assert_eq!((len, route.encoded_len()), (66, 66));
        assert_eq!(Route::decode(&bytes), Ok(route.clone()));
        for n in 2..=8 {
            route.push_relay(relay(n)).unwrap();
        }
        assert_eq!(route.encode(&mut out), Ok(Route::LEN_MAX));
        assert_eq!(Route::decode(&out), Ok(route.clone()));
        assert_eq!(route.to_string().len(), Route::TEXT_LEN_MAX);
        assert_eq!(route.push_relay(relay(9)), Err(RouteError::TooManyRelays));
        assert_eq!(route.encode(&mut out[..Route::LEN_MAX - 1]), Err(Full));
    }

    #[test]
    fn the_text_is_one_word_and_may_be_pasted_with_space_around_it() {
        let text = sample().to_string();
        assert!(text.starts_with("AQEBBggHBgUEAwIB"));
        assert!(text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
        assert_eq!(text.parse(), Ok(sample()));
        assert_eq!(Route::decode(text.as_bytes()), Ok(sample()));
        assert_eq!([" ", &text, "\r\n"].concat().parse(), Ok(sample()));
    }

    #[test]
    fn each_fault_has_its_error() {
        let bytes = encoded(&sample());
        let changed = |position: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[position] = value;
            Route::decode(&changed)
        };
        assert_eq!(changed(0, 2), Err(RouteError::WrongFormat));
        assert_eq!(changed(0, b'!'), Err(RouteError::BadText));
        assert_eq!(changed(1, 2), Err(RouteError::NoCommonVersion));
        assert_eq!(changed(2, 0), Err(RouteError::NoCommonVersion));
        assert!(changed(2, 9).is_ok(), "a newer version besides ours");
        assert_eq!(changed(50, 0), Err(RouteError::TooLong));
        assert_eq!(changed(50, 2), Err(RouteError::Truncated));
        assert_eq!(changed(50, 9), Err(RouteError::TooManyRelays));
        let with = |more: &[u8]| Route::decode(&[&bytes, more].concat());
        assert_eq!(with(&[0]), Err(RouteError::TooLong));
        for len in 1..bytes.len() {
            assert_eq!(Route::decode(&bytes[..len]), Err(RouteError::Truncated));
        }
        let mut twice = [&bytes[..], &bytes[51..]].concat();
        twice[50] = 2;
        assert_eq!(Route::decode(&twice), Err(RouteError::DuplicateRelay));
        let mut none = bytes.clone();
        none[59..].fill(0);
        assert_eq!(Route::decode(&none), Err(RouteError::NoSession));
    }

    #[test]
    fn each_fault_of_a_text_has_its_error() {
        let text = sample().to_string();
        let decode = |text: &str| text.parse::<Route>();
        assert_eq!(decode(""), Err(RouteError::Empty));
        assert_eq!(decode(" \n"), Err(RouteError::Empty));
        assert_eq!(decode("<garbage>"), Err(RouteError::BadText));
        assert_eq!(decode("hello world"), Err(RouteError::BadText));
        assert_eq!(decode("Hello-world_"), Err(RouteError::WrongFormat));
        assert_eq!(decode(&text[..text.len() - 4]), Err(RouteError::Truncated));
        assert_eq!(decode(&text[..text.len() - 3]), Err(RouteError::Truncated));
        assert_eq!(decode(&[&text, "AAAA"].concat()), Err(RouteError::TooLong));
        assert_eq!(decode(&text.repeat(9)), Err(RouteError::TooLong));
        assert_eq!(Route::decode(&[0xff; 66]), Err(RouteError::WrongFormat));
    }

    #[test]
    fn a_route_is_checked_against_its_peer_and_us() {
        let route = sample();
        let hash = [5; 32];
        let peer = PeerId::from_key_hash(&hash);
        let check = |peer, application, suites| {
            route.check(peer, &hash, ApplicationId(application), suites)
        };
        let application = 0x0102_0304_0506_0708;
        assert_eq!(check(peer, application, Suites::CHACHA), Ok(()));
        let other = PeerId::new(peer.get() + 1).unwrap();
        assert_eq!(check(other, application, Suites::ALL), Err(RouteError::KeyMismatch));
        assert_eq!(check(peer, 1, Suites::ALL), Err(RouteError::WrongApplication));
        assert_eq!(check(peer, application, Suites(1)), Err(RouteError::NoCommonSuite));
    }

    #[test]
    fn epochs_end() {
        assert_eq!(Epoch::new(1 << 48), None);
        assert_eq!(Epoch::MAX.next(), None);
        assert_eq!(Epoch::default().next(), Epoch::new(1));
        assert_eq!(Epoch::from_bytes(Epoch::MAX.to_bytes()), Epoch::MAX);
    }

    proptest! {
        #[test]
        fn routes_come_back(
            key in any::<[u8; 32]>(),
            application in any::<u64>(),
            suites in any::<u8>(),
            epoch in 0..1_u64 << 48,
            relays in prop::collection::btree_map(any::<u64>(), (any::<u32>(), 1..=u32::MAX), 0..=8),
        ) {
            let mut route = Route::new(
                PublicKey(key),
                ApplicationId(application),
                Suites(suites),
                Epoch::new(epoch).unwrap(),
            );
            for (relay, (slot, tag)) in relays {
                let session = SessionId::new(slot, tag);
                route.push_relay(RouteRelay { relay: RelayId(relay), session }).unwrap();
            }
            prop_assert_eq!(&Route::decode(&encoded(&route)), &Ok(route.clone()));
            prop_assert_eq!(&route.to_string().parse(), &Ok(route));
        }

        #[test]
        fn what_decodes_encodes_to_the_same(
            relays in 0..4_u8,
            noise in prop::collection::vec(any::<u8>(), 0..120),
            flip in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut route = sample();
            for n in 0..relays {
                route.push_relay(relay(n + 2)).unwrap();
            }
            let mut bytes = encoded(&route);
            if let Some((at, value)) = flip {
                *at.get_mut(&mut bytes) = value;
            }
            for bytes in [bytes, noise.clone(), [&[1, 1, 1][..], &noise].concat()] {
                if let Ok(route) = Route::decode(&bytes) {
                    if bytes[0] == 1 {
                        prop_assert_eq!(&encoded(&route), &bytes);
                    } else {
                        let text = route.to_string();
                        prop_assert_eq!(text.as_bytes(), bytes.trim_ascii());
                    }
                }
            }
        }
    }

    fn sample() -> Route {
        let mut route = Route::new(
            PublicKey([0xab; 32]),
            ApplicationId(0x0102_0304_0506_0708),
            Suites::ALL,
            Epoch::new(0x0102_0304_0506).unwrap(),
        );
        route.push_relay(relay(1)).unwrap();
        route
    }

    fn relay(n: u8) -> RouteRelay {
        RouteRelay { relay: RelayId(u64::from(n) | 1 << 63), session: SessionId::new(9, 10) }
    }

    fn encoded(route: &Route) -> StdVec<u8> {
        let mut out = [0; Route::LEN_MAX];
        let len = route.encode(&mut out).unwrap();
        out[..len].to_vec()
    }
}
