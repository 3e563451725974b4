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
