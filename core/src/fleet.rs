//! A fleet's list of relays, signed with the fleet's key: whoever holds one can hand it on, and who
//! knows the key believes it (wire.md §6).

use core::fmt;
use core::str::FromStr;

use heapless::Vec;

use crate::crypto::Crypto;
use crate::directory::{RelayEntry, RelayEntryError};
use crate::wire::base64url::{self, Base64, Base64Error};
use crate::wire::{Full, ParseError, Reader, Writer};

/// A signed list in its binary form. That its layout is right has been checked; who signed it has
/// not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignedDirectory<'a> {
    bytes: &'a [u8],
    sequence: u64,
    len: usize,
}

impl<'a> SignedDirectory<'a> {
    /// The most relays in a list.
    pub const ENTRIES_MAX: usize = 64;
    /// Bytes of the longest list.
    pub const LEN_MAX: usize = Self::len_max(Self::ENTRIES_MAX);

    /// Bytes of the longest list of so many relays.
    #[must_use]
    pub const fn len_max(entries: usize) -> usize {
        HEAD_LEN + entries * RelayEntry::LEN_MAX + SIGNATURE_LEN
    }

    /// The list that `bytes` are, with nothing behind it. Nothing is known of its signature yet.
    ///
    /// # Errors
    /// [`SignedDirectoryError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SignedDirectoryError> {
        let mut reader = Reader::new(bytes);
        if reader.take(LABEL.len())? != LABEL {
            return Err(SignedDirectoryError::NotAList);
        }
        if reader.u8()? != FORMAT {
            return Err(SignedDirectoryError::Format);
        }
        let len = usize::from(reader.u8()?);
        let sequence = reader.u64()?;
        match len {
            0 => return Err(SignedDirectoryError::NoRelay),
            1..=Self::ENTRIES_MAX => {}
            _ => return Err(SignedDirectoryError::TooManyRelays),
        }
        if sequence == 0 {
            return Err(SignedDirectoryError::NoSequence);
        }
        let mut keys: Vec<&[u8], { SignedDirectory::ENTRIES_MAX }> = Vec::new();
        for number in 1..=len {
            let key = reader.clone().take(32)?;
            RelayEntry::parse(&mut reader).map_err(|error| {
                if error == RelayEntryError::Truncated {
                    SignedDirectoryError::Truncated
                } else {
                    SignedDirectoryError::BadEntry { number, error }
                }
            })?;
            if keys.contains(&key) {
                return Err(SignedDirectoryError::DuplicateRelay { number });
            }
            keys.push(key).map_err(|_| SignedDirectoryError::TooManyRelays)?;
        }
        reader.take(SIGNATURE_LEN)?;
        reader.finish()?;
        Ok(Self { bytes, sequence, len })
    }

    /// Writes a list to `out`. `sign` gives the Ed25519 signature of the bytes it gets.
    ///
    /// # Errors
    /// [`SignedDirectoryError`]: what makes these relays no list, or that `out` is too short.
    pub fn sign(
        sequence: u64,
        relays: &[RelayEntry],
        out: &'a mut [u8],
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<Self, SignedDirectoryError> {
        let count = u8::try_from(relays.len()).map_err(|_| SignedDirectoryError::TooManyRelays)?;
        let mut writer = Writer::new(out);
        writer.bytes(LABEL)?;
        writer.u8(FORMAT)?;
        writer.u8(count)?;
        writer.u64(sequence)?;
        for relay in relays {
            relay.emit(&mut writer)?;
        }
        let signed = writer.position();
        let end = signed + SIGNATURE_LEN;
        let (message, rest) =
            out.get_mut(..end).ok_or(SignedDirectoryError::TooLong)?.split_at_mut(signed);
        rest.copy_from_slice(&sign(message));
        let out: &'a [u8] = out;
        Self::parse(out.get(..end).unwrap_or_default())
    }

    /// Writes the binary form of what is given in either form to `out`, and returns its length.
    /// What a list must be besides is for [`parse`](Self::parse) to say.
    ///
    /// # Errors
    /// [`SignedDirectoryError`]: it is not text either, or longer than `out`.
    pub fn to_binary(given: &[u8], out: &mut [u8]) -> Result<usize, SignedDirectoryError> {
        if given.starts_with(LABEL) {
            let into = out.get_mut(..given.len()).ok_or(SignedDirectoryError::TooLong)?;
            into.copy_from_slice(given);
            return Ok(given.len());
        }
        base64url::decode(given.trim_ascii(), out).map_err(|error| match error {
            Base64Error::TooLong => SignedDirectoryError::TooLong,
            Base64Error::Incomplete => SignedDirectoryError::Truncated,
            Base64Error::BadCharacter => SignedDirectoryError::NotAList,
        })
    }

    /// Whether a text is meant as a list in text form, whatever may be wrong with it.
    #[must_use]
    pub fn is_text(text: &str) -> bool {
        text.trim_ascii_start().starts_with(LABEL_TEXT)
    }

    /// All of it: the binary form.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Which list of its fleet it is: the larger, the newer.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many relays it names; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "none is empty")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The relays, in the order in which the fleet names them.
    pub fn entries(&self) -> impl Iterator<Item = RelayEntry> + use<'a> {
        let mut reader = Reader::new(self.bytes.get(HEAD_LEN..).unwrap_or_default());
        (0..self.len).map_while(move |_| RelayEntry::parse(&mut reader).ok())
    }

    /// Whether the holder of `key` signed it.
    #[must_use]
    pub fn is_signed_by<C: Crypto>(&self, key: &FleetKey) -> bool {
        let parts = self.bytes.split_last_chunk();
        parts.is_some_and(|(message, signature)| C::ed25519_verify(&key.0, message, signature))
    }
}

impl fmt::Debug for SignedDirectory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedDirectory({}, {} relays)", self.sequence, self.len)
    }
}

impl fmt::Display for SignedDirectory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64(self.bytes).fmt(f)
    }
}

/// The public half of the Ed25519 key that a fleet signs its lists with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct FleetKey(pub [u8; 32]);

impl fmt::Display for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64(&self.0).fmt(f)
    }
}

impl FromStr for FleetKey {
    type Err = ParseError;

    /// From 43 characters of base64url.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut key = [0; 32];
        match base64url::decode(text.trim_ascii().as_bytes(), &mut key) {
            Ok(32) => Ok(Self(key)),
            Ok(_) => Err(ParseError::Truncated),
            Err(_) => Err(ParseError::BadValue),
        }
    }
}

/// Why something is no signed list of relays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SignedDirectoryError {
    /// It does not begin like one.
    NotAList,
    /// A format that this version does not know.
    Format,
    /// It ends too early.
    Truncated,
    /// It is longer than it may be, or something follows it.
    TooLong,
    /// It names no relay.
    NoRelay,
    /// It names more than [`SignedDirectory::ENTRIES_MAX`] relays.
    TooManyRelays,
    /// Its sequence number is 0.
    NoSequence,
    /// An entry, counted from 1, is none.
    BadEntry {
        /// Which one.
        number: usize,
        /// What is wrong with it.
        error: RelayEntryError,
    },
    /// An entry, counted from 1, is of a relay that was named before.
    DuplicateRelay {
        /// Which one.
        number: usize,
    },
}

impl fmt::Display for SignedDirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAList => "not a signed list: take what 'waylane directory sign' has written",
            Self::Format => "a signed list of another format: take a newer version of Waylane",
            Self::Truncated => "the signed list is cut short: pass on all of it",
            Self::TooLong => "the signed list is too long, or something follows it",
            Self::NoRelay => "the signed list names no relay: sign at least one",
            Self::TooManyRelays => "the signed list names more than 64 relays: sign fewer",
            Self::NoSequence => "the signed list has the sequence number 0: sign it with another",
            Self::BadEntry { number, error } => {
                return write!(f, "the signed list, entry {number}: {error}");
            }
            Self::DuplicateRelay { number } => {
                return write!(f, "the signed list, entry {number}: this relay is named twice");
            }
        })
    }
}

impl core::error::Error for SignedDirectoryError {}

impl From<ParseError> for SignedDirectoryError {
    fn from(error: ParseError) -> Self {
        if error == ParseError::Trailing { Self::TooLong } else { Self::Truncated }
    }
}

impl From<Full> for SignedDirectoryError {
    fn from(_: Full) -> Self {
        Self::TooLong
    }
}

/// What a list begins with: so that no signature for another purpose fits one.
const LABEL: &[u8; 18] = b"waylane directory\0";
/// The same in text form.
const LABEL_TEXT: &str = "d2F5bGFuZSBkaXJlY3RvcnkA";
const FORMAT: u8 = 1;
const HEAD_LEN: usize = LABEL.len() + 1 + 1 + 8;
const SIGNATURE_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use std::string::ToString as _;
    use std::vec::Vec as StdVec;

    use proptest::prelude::*;

    use super::*;
    use crate::id::PublicKey;

    fn relay(n: u8) -> RelayEntry {
        let address = std::format!("192.0.2.{n}:4433").parse().unwrap();
        RelayEntry::new(PublicKey([n; 32]), &[address], "eu").unwrap()
    }

    fn signed(sequence: u64, relays: &[RelayEntry]) -> Result<StdVec<u8>, SignedDirectoryError> {
        let mut out = std::vec![0; SignedDirectory::LEN_MAX];
        let list = SignedDirectory::sign(sequence, relays, &mut out, |_| [9; 64])?;
        Ok(list.as_bytes().to_vec())
    }

    #[test]
    fn literal_bytes() {
        let relays = [relay(1), relay(2)];
        let mut out = [0; 512];
        let list = SignedDirectory::sign(0x0807_0605_0403_0201, &relays, &mut out, |message| {
            assert_eq!(message.len(), 28 + 2 * 43);
            [9; 64]
        })
        .unwrap();
        let bytes = list.as_bytes();
        assert_eq!(bytes[..28], *b"waylane directory\0\x01\x02\x01\x02\x03\x04\x05\x06\x07\x08");
        assert_eq!(bytes[28..60], [1; 32]);
        assert_eq!(bytes[60..71], *b"\x01\x04\xc0\x00\x02\x01\x51\x11\x02eu");
        assert_eq!(bytes[71..103], [2; 32]);
        assert_eq!(bytes[114..], [9; 64]);
        assert_eq!((list.sequence(), list.len()), (0x0807_0605_0403_0201, 2));
        assert_eq!(list.entries().collect::<StdVec<_>>(), relays);
        let text = list.to_string();
        assert!(text.starts_with(LABEL_TEXT) && SignedDirectory::is_text(&text));
        let mut binary = [0; 512];
        for given in [bytes, std::format!(" {text}\n").as_bytes()] {
            let len = SignedDirectory::to_binary(given, &mut binary).unwrap();
            assert_eq!(&binary[..len], bytes);
            let short = &mut [0; 100];
            assert_eq!(
                SignedDirectory::to_binary(given, short),
                Err(SignedDirectoryError::TooLong)
            );
        }
    }

    #[test]
    fn a_list_is_whole_or_it_is_none() {
        let bytes = signed(1, &[relay(1), relay(2), relay(3)]).unwrap();
        assert!(SignedDirectory::parse(&bytes).is_ok());
        for len in 0..bytes.len() {
            let error = SignedDirectory::parse(&bytes[..len]).unwrap_err();
            assert_eq!(error, SignedDirectoryError::Truncated, "{len}");
        }
        let long = [&bytes[..], &[0]].concat();
        assert_eq!(SignedDirectory::parse(&long), Err(SignedDirectoryError::TooLong));
    }

    #[test]
    fn what_no_list_says_is_refused() {
        let bytes = signed(1, &[relay(1), relay(2)]).unwrap();
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            SignedDirectory::parse(&bytes).map(|_| ()).unwrap_err()
        };
        assert_eq!(changed(0, b'W'), SignedDirectoryError::NotAList);
        assert_eq!(changed(18, 2), SignedDirectoryError::Format);
        assert_eq!(changed(19, 0), SignedDirectoryError::NoRelay);
        assert_eq!(changed(19, 65), SignedDirectoryError::TooManyRelays);
        assert_eq!(changed(19, 1), SignedDirectoryError::TooLong);
        assert_eq!(changed(20, 0), SignedDirectoryError::NoSequence);
        let error = RelayEntryError::BadAddress;
        assert_eq!(changed(61, 5), SignedDirectoryError::BadEntry { number: 1, error });
        let twice = SignedDirectoryError::DuplicateRelay { number: 3 };
        assert_eq!(signed(1, &[relay(1), relay(2), relay(1)]), Err(twice));
        assert_eq!(signed(1, &[]), Err(SignedDirectoryError::NoRelay));
        assert_eq!(signed(0, &[relay(1)]), Err(SignedDirectoryError::NoSequence));
        let many: StdVec<_> = (1..=65).map(relay).collect();
        assert!(signed(1, &many[..64]).is_ok());
        assert_eq!(signed(1, &many), Err(SignedDirectoryError::TooManyRelays));
        let text = SignedDirectory::to_binary(b"KEY@ADDRESS", &mut [0; 64]);
        assert_eq!(text, Err(SignedDirectoryError::NotAList));
    }

    proptest! {
        #[test]
        fn what_parses_says_what_its_bytes_say(
            sequence in 1..=u64::MAX,
            count in 1..5_u8,
            flip in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let relays: StdVec<_> = (1..=count).map(relay).collect();
            let mut bytes = signed(sequence, &relays).unwrap();
            if let Some((at, value)) = flip {
                *at.get_mut(&mut bytes) = value;
            }
            if let Ok(list) = SignedDirectory::parse(&bytes) {
                let entries: StdVec<_> = list.entries().collect();
                prop_assert_eq!(entries.len(), list.len());
                let again = signed(list.sequence(), &entries).unwrap();
                let signed_len = again.len() - 64;
                prop_assert_eq!(&again[..signed_len], &bytes[..signed_len]);
            }
        }
    }
}
