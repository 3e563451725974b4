//! Invites: what a person passes on so that another can connect without a lobby (wire.md §4).

use core::fmt;
use core::str::FromStr;

use heapless::Vec;

use crate::directory::{RelayEntry, RelayEntryError};
use crate::route::{Route, RouteError};
use crate::wire::base64url::{self, Base64, Base64Error, Form};
use crate::wire::{Full, Reader, Writer};

/// A host's relays, its route, and the secret that its first messages are checked with.
///
/// Displayed and parsed as one word of base64url; who sees it may knock at the host's door.
#[derive(Clone, Debug)]
pub struct Invite {
    entries: Vec<RelayEntry, { Invite::ENTRIES_MAX }>,
    secret: InviteSecret,
    route: Route,
}

impl Invite {
    /// The most directory entries in an invite.
    pub const ENTRIES_MAX: usize = 8;
    /// Bytes of the longest invite in its binary form.
    pub const LEN_MAX: usize = 2 + Self::ENTRIES_MAX * RelayEntry::LEN_MAX + 16 + Route::LEN_MAX;
    /// Characters of the longest invite in its text form.
    pub const TEXT_LEN_MAX: usize = base64url::encoded_len(Self::LEN_MAX);

    /// An invite to the peer with this route at these relays.
    ///
    /// # Errors
    /// [`InviteError::NoEntry`], [`InviteError::TooManyEntries`], [`InviteError::DuplicateEntry`].
    pub fn new(
        entries: &[RelayEntry],
        secret: InviteSecret,
        route: Route,
    ) -> Result<Self, InviteError> {
        let mut invite = Self { entries: Vec::new(), secret, route };
        for entry in entries {
            push_entry(&mut invite.entries, entry.clone())?;
        }
        if invite.entries.is_empty() { Err(InviteError::NoEntry) } else { Ok(invite) }
    }

    /// The host's relays; at least one.
    #[must_use]
    pub fn entries(&self) -> &[RelayEntry] {
        &self.entries
    }

    /// Keys the first message's check at the host.
    #[must_use]
    pub const fn secret(&self) -> &InviteSecret {
        &self.secret
    }

    /// Where the host can be reached.
    #[must_use]
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// An invite from its binary or its text form.
    ///
    /// # Errors
    /// [`InviteError`], whose text says what to do.
    pub fn decode(bytes: &[u8]) -> Result<Self, InviteError> {
        match Form::of(bytes, FORMAT) {
            Form::Binary(bytes) => Self::decode_binary(bytes),
            Form::Text(text) => {
                let mut buffer = [0; Self::LEN_MAX];
                let len = base64url::decode(text, &mut buffer).map_err(|error| match error {
                    Base64Error::TooLong => InviteError::TooLong,
                    Base64Error::Incomplete => InviteError::Truncated,
                    Base64Error::BadCharacter => InviteError::BadText,
                })?;
                Self::decode_binary(buffer.get(..len).unwrap_or_default())
            }
            Form::Neither { binary: true } => Err(InviteError::WrongFormat),
            Form::Neither { binary: false } => Err(InviteError::BadText),
            Form::Empty => Err(InviteError::Empty),
        }
    }

    /// Writes the binary form and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        writer.bytes(&[FORMAT, self.entries.len() as u8])?;
        for entry in &self.entries {
            entry.emit(&mut writer)?;
        }
        writer.bytes(&self.secret.0)?;
        self.route.encode(writer.reserve(self.route.encoded_len())?)?;
        Ok(writer.position())
    }

    fn decode_binary(bytes: &[u8]) -> Result<Self, InviteError> {
        let mut reader = Reader::new(bytes);
        if reader.u8().map_err(|_| InviteError::Truncated)? != FORMAT {
            return Err(InviteError::WrongFormat);
        }
        let count = reader.u8().map_err(|_| InviteError::Truncated)?;
        if count == 0 {
            return Err(InviteError::NoEntry);
        }
        if usize::from(count) > Self::ENTRIES_MAX {
            return Err(InviteError::TooManyEntries);
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            let entry = RelayEntry::parse(&mut reader).map_err(of_entry)?;
            push_entry(&mut entries, entry)?;
        }
        let secret = InviteSecret(reader.array().map_err(|_| InviteError::Truncated)?);
        let route = Route::decode_binary(reader.rest()).map_err(of_route)?;
        Ok(Self { entries, secret, route })
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; Self::LEN_MAX];
        let len = self.encode(&mut buffer).map_err(|_| fmt::Error)?;
        Base64(buffer.get(..len).unwrap_or_default()).fmt(f)
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        Self::decode(text.as_bytes())
    }
}

/// The 16 bytes that key the first message's check at the host. Not printed; overwritten when
/// dropped (best effort, as [`crate::crypto::Secret`]).
#[derive(Clone)]
pub struct InviteSecret(pub [u8; 16]);

impl Drop for InviteSecret {
    fn drop(&mut self) {
        self.0 = [0; 16];
        core::hint::black_box(&mut self.0);
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSecret(…)")
    }
}

/// Why an invite cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum InviteError {
    /// There is nothing.
    Empty,
    /// Neither binary nor base64url.
    BadText,
    /// It does not begin like an invite that we know.
    WrongFormat,
    /// It ends too early.
    Truncated,
    /// It goes on behind its end.
    TooLong,
    /// It names no relay.
    NoEntry,
    /// More than [`Invite::ENTRIES_MAX`] relays.
    TooManyEntries,
    /// A relay's key occurs twice.
    DuplicateEntry,
    /// One of its directory entries cannot be used.
    Entry(RelayEntryError),
    /// Its route cannot be used.
    Route(RouteError),
}

impl fmt::Display for InviteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the invite is empty: paste the word that the host printed",
            Self::BadText => "this is not an invite: paste the one word that the host printed",
            Self::WrongFormat => {
                "not an invite, or one of a newer format: update if the host's version is newer"
            }
            Self::Truncated => "the invite is cut short: paste all of it",
            Self::TooLong => "something follows the invite: paste the invite alone",
            Self::NoEntry => "the invite names no relay: ask the host for another",
            Self::TooManyEntries => "the invite names more than 8 relays: ask the host for another",
            Self::DuplicateEntry => "the invite names a relay twice: ask the host for another",
            Self::Entry(error) => return write!(f, "a relay of the invite: {error}"),
            Self::Route(error) => return write!(f, "the invite's route: {error}"),
        })
    }
}

impl core::error::Error for InviteError {}

impl From<RelayEntryError> for InviteError {
    fn from(error: RelayEntryError) -> Self {
        Self::Entry(error)
    }
}

impl From<RouteError> for InviteError {
    fn from(error: RouteError) -> Self {
        Self::Route(error)
    }
}

fn push_entry(
    entries: &mut Vec<RelayEntry, { Invite::ENTRIES_MAX }>,
    entry: RelayEntry,
) -> Result<(), InviteError> {
    if entries.iter().any(|known| known.public_key() == entry.public_key()) {
        return Err(InviteError::DuplicateEntry);
    }
    entries.push(entry).map_err(|_| InviteError::TooManyEntries)
}

fn of_entry(error: RelayEntryError) -> InviteError {
    if error == RelayEntryError::Truncated { InviteError::Truncated } else { error.into() }
}

/// The route comes last: where it is cut or goes on, the invite is and does.
fn of_route(error: RouteError) -> InviteError {
    if error == RouteError::Truncated {
        InviteError::Truncated
    } else if error == RouteError::TooLong {
        InviteError::TooLong
    } else {
        error.into()
    }
}

const FORMAT: u8 = 1;

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;
    use std::vec::Vec as StdVec;

    use proptest::prelude::*;

    use super::*;
    use crate::crypto::Suites;
    use crate::id::{ApplicationId, PublicKey, RelayId, SessionId};
    use crate::route::{Epoch, RouteRelay};

    #[test]
    fn literal_bytes() {
        let invite = Invite::new(&[entry(1)], secret(), route()).unwrap();
        let mut bytes = StdVec::from([1, 1]);
        bytes.extend([1; 32]);
        bytes.extend([1, 4, 192, 0, 2, 1, 0x51, 0x11, 2, b'e', b'u']);
        bytes.extend(*b"sixteen secrets!");
        let mut out = [0; Route::LEN_MAX];
        let len = route().encode(&mut out).unwrap();
        bytes.extend(&out[..len]);
        assert_eq!(encoded(&invite), bytes);
        let decoded = Invite::decode(&bytes).unwrap();
        assert_eq!((decoded.entries(), decoded.route()), (&[entry(1)][..], &route()));
        assert_eq!(decoded.secret().0, *b"sixteen secrets!");
    }

    #[test]
    fn the_text_is_one_word() {
        let invite = Invite::new(&[entry(1), entry(2)], secret(), route()).unwrap();
        let text = invite.to_string();
        assert!(text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
        let back: Invite = format!(" {text}\n").parse().unwrap();
        assert_eq!(encoded(&back), encoded(&invite));
    }

    #[test]
    fn the_longest_invite_fits() {
        let addresses: StdVec<_> = (1..=4).map(|n| format!("[::{n}]:1").parse().unwrap()).collect();
        let entries: StdVec<_> = (1..=8)
            .map(|n| RelayEntry::new(PublicKey([n; 32]), &addresses, &"x".repeat(32)).unwrap())
            .collect();
        let mut route = route();
        for n in 2..=8 {
            let (relay, session) = (RelayId(n), SessionId::new(1, 1));
            route.push_relay(RouteRelay { relay, session }).unwrap();
        }
        let invite = Invite::new(&entries, secret(), route).unwrap();
        assert_eq!(encoded(&invite).len(), Invite::LEN_MAX);
        assert_eq!(invite.to_string().len(), Invite::TEXT_LEN_MAX);
        let back: Invite = invite.to_string().parse().unwrap();
        assert_eq!(encoded(&back), encoded(&invite));
    }

    #[test]
    fn each_fault_has_its_error() {
        let bytes = encoded(&Invite::new(&[entry(1), entry(2)], secret(), route()).unwrap());
        let error = |bytes: &[u8]| Invite::decode(bytes).unwrap_err();
        let changed = |position: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[position] = value;
            error(&changed)
        };
        for len in 1..bytes.len() {
            assert_eq!(error(&bytes[..len]), InviteError::Truncated, "{len}");
        }
        assert_eq!(error(&[&bytes[..], &[0]].concat()), InviteError::TooLong);
        assert_eq!(changed(0, 0), InviteError::WrongFormat);
        assert_eq!(changed(1, 0), InviteError::NoEntry);
        assert_eq!(changed(1, 9), InviteError::TooManyEntries);
        assert_eq!(changed(34, 0), InviteError::Entry(RelayEntryError::NoAddress));
        let route_at = bytes.len() - route().encoded_len();
        assert_eq!(changed(route_at, 2), InviteError::Route(RouteError::WrongFormat));
        assert_eq!(changed(route_at + 1, 2), InviteError::Route(RouteError::NoCommonVersion));
        let twice = Invite::new(&[entry(1), entry(1)], secret(), route());
        assert_eq!(twice.unwrap_err(), InviteError::DuplicateEntry);
        let none = Invite::new(&[], secret(), route());
        assert_eq!(none.unwrap_err(), InviteError::NoEntry);
        assert_eq!(error(b""), InviteError::Empty);
        assert_eq!(error(b"# no invite"), InviteError::BadText);
        assert_eq!(error(b"no invite"), InviteError::BadText);
        assert_eq!(error(b"none"), InviteError::WrongFormat);
        assert_eq!(error(&[b'A'; Invite::TEXT_LEN_MAX + 4]), InviteError::TooLong);
    }

    #[test]
    fn the_secret_is_not_shown() {
        let invite = Invite::new(&[entry(1)], InviteSecret([0x5a; 16]), route()).unwrap();
        let shown = format!("{invite:?}");
        assert!(shown.contains("InviteSecret(…)"));
        assert!(!shown.contains("90, 90") && !shown.to_lowercase().contains("5a5a"));
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same(
            noise in prop::collection::vec(any::<u8>(), 0..300),
            cut in any::<prop::sample::Index>(),
            flip in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut bytes = encoded(&Invite::new(&[entry(1), entry(2)], secret(), route()).unwrap());
            if let Some((at, value)) = flip {
                *at.get_mut(&mut bytes) = value;
            }
            let spliced = [&bytes[..cut.index(bytes.len())], &noise].concat();
            for bytes in [bytes, noise, spliced] {
                if let Ok(invite) = Invite::decode(&bytes) {
                    if bytes[0] == FORMAT {
                        prop_assert_eq!(encoded(&invite), bytes);
                    } else {
                        let text = invite.to_string();
                        prop_assert_eq!(text.as_bytes(), bytes.trim_ascii());
                    }
                }
            }
        }
    }

    fn entry(n: u8) -> RelayEntry {
        RelayEntry::new(PublicKey([n; 32]), &["192.0.2.1:4433".parse().unwrap()], "eu").unwrap()
    }

    fn secret() -> InviteSecret {
        InviteSecret(*b"sixteen secrets!")
    }

    fn route() -> Route {
        let mut route = Route::new(
            PublicKey([0xab; 32]),
            ApplicationId(1),
            Suites::ALL,
            Epoch::new(1).unwrap(),
        );
        let (relay, session) = (RelayId(1), SessionId::new(1, 1));
        route.push_relay(RouteRelay { relay, session }).unwrap();
        route
    }

    fn encoded(invite: &Invite) -> StdVec<u8> {
        let mut out = [0; Invite::LEN_MAX];
        let len = invite.encode(&mut out).unwrap();
        out[..len].to_vec()
    }
}
