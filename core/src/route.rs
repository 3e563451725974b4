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
