//! Base64url without padding (RFC 4648 §5), strict: each byte string has one text.

use core::fmt;

/// Why a text is not base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Base64Error {
    /// A character outside `A–Z a–z 0–9 - _` (padding included).
    BadCharacter,
    /// The text ends within a byte, or its last character has bits that no byte holds.
    Incomplete,
    /// More bytes than the output holds.
    TooLong,
}

impl fmt::Display for Base64Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadCharacter => "a character that is not base64url",
            Self::Incomplete => "text ends in the middle of a byte",
            Self::TooLong => "text is too long",
        })
    }
}

impl core::error::Error for Base64Error {}

/// Displays bytes as base64url.
#[derive(Clone, Copy)]
pub struct Base64<'a>(pub &'a [u8]);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for sextet in 0..=chunk.len() {
                fmt::Write::write_char(f, encode_sextet(bits >> (18 - 6 * sextet)))?;
            }
        }
        Ok(())
    }
}

/// Characters that `len` bytes take (saturating).
#[must_use]
pub const fn encoded_len(len: usize) -> usize {
    (len / 3).saturating_mul(4).saturating_add((len % 3 * 4).div_ceil(3))
}

/// Decodes `text` to the front of `out` and returns the number of bytes.
///
/// # Errors
/// See [`Base64Error`].
pub fn decode(text: &[u8], out: &mut [u8]) -> Result<usize, Base64Error> {
    let mut out = super::Writer::new(out);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for character in group {
            bits = bits << 6 | decode_sextet(*character).ok_or(Base64Error::BadCharacter)?;
        }
        bits <<= 6 * (4 - group.len());
        let len = group.len() - 1;
        if len == 0 || bits & (0xff_ffff >> (8 * len)) != 0 {
            return Err(Base64Error::Incomplete);
        }
        out.big_endian(u64::from(bits >> (24 - 8 * len)), len).map_err(|_| Base64Error::TooLong)?;
    }
    Ok(out.position())
}

/// How something that has a binary and a text form was handed over. The binary form begins with a
/// byte that is no base64url character.
pub(crate) enum Form<'a> {
    Binary(&'a [u8]),
    /// Without the white space around it that comes with pasting.
    Text(&'a [u8]),
    /// Neither; not text at all if `binary`.
    Neither {
        binary: bool,
    },
    Empty,
}

impl<'a> Form<'a> {
    pub(crate) fn of(bytes: &'a [u8], binary_format: u8) -> Self {
        let text = bytes.trim_ascii();
        match (bytes.first(), text.first()) {
            (Some(first), _) if *first == binary_format => Self::Binary(bytes),
            (_, None) => Self::Empty,
            (_, Some(first)) if decode_sextet(*first).is_some() => Self::Text(text),
            (_, Some(first)) => Self::Neither { binary: !first.is_ascii_graphic() },
        }
    }
}

fn encode_sextet(sextet: u32) -> char {
    char::from(match (sextet & 0x3f) as u8 {
        n @ 0..=25 => b'A' + n,
        n @ 26..=51 => b'a' + (n - 26),
        n @ 52..=61 => b'0' + (n - 52),
        62 => b'-',
        _ => b'_',
    })
}

fn decode_sextet(character: u8) -> Option<u32> {
    Some(u32::from(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_of_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, text) in vectors {
            assert_eq!(Base64(plain.as_bytes()).to_string(), text);
            assert_eq!(encoded_len(plain.len()), text.len());
            assert_eq!(decoded(text.as_bytes()), Ok(plain.as_bytes().to_vec()));
        }
        assert_eq!(Base64(&[0xfb, 0xff]).to_string(), "-_8");
    }

    #[test]
    fn only_one_text_per_value() {
        assert_eq!(decoded(b"Zg=="), Err(Base64Error::BadCharacter));
        assert_eq!(decoded(b"Zm9v+/"), Err(Base64Error::BadCharacter));
        assert_eq!(decoded(b"Zh"), Err(Base64Error::Incomplete));
        assert_eq!(decoded(b"Zm9"), Err(Base64Error::Incomplete));
        assert_eq!(decoded(b"Zm9vY"), Err(Base64Error::Incomplete));
        assert_eq!(decode(b"Zm9v", &mut [0; 2]), Err(Base64Error::TooLong));
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in any::<Vec<u8>>()) {
            let text = Base64(&bytes).to_string();
            prop_assert_eq!(encoded_len(bytes.len()), text.len());
            prop_assert_eq!(decoded(text.as_bytes()), Ok(bytes));
        }

        #[test]
        fn texts_come_back(text in "[A-Za-z0-9_-]{0,40}", any in any::<Vec<u8>>()) {
            if let Ok(bytes) = decoded(text.as_bytes()) {
                prop_assert_eq!(Base64(&bytes).to_string(), text);
            }
            if let Ok(bytes) = decoded(&any) {
                prop_assert_eq!(Base64(&bytes).to_string(), String::from_utf8(any).unwrap());
            }
        }
    }

    fn decoded(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
        let mut out = [0; 1024];
        decode(text, &mut out).map(|len| out[..len].to_vec())
    }
}
