//! Directory entries: which relay is meant by a key, and where it is (wire.md §4).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use heapless::{String, Vec};

use crate::id::PublicKey;
use crate::wire::base64url::{self, Base64};
use crate::wire::{Full, ParseError, Reader, Writer};

/// A relay that a client trusts.
///
/// Displayed and parsed as `KEY@ADDRESS[,ADDRESS…][#REGION]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayEntry {
    public_key: PublicKey,
    addresses: Vec<SocketAddr, { RelayEntry::ADDRESSES_MAX }>,
    region: String<{ RelayEntry::REGION_LEN_MAX }>,
}

impl RelayEntry {
    /// The most addresses of one relay.
    pub const ADDRESSES_MAX: usize = 4;
    /// The most characters of a region.
    pub const REGION_LEN_MAX: usize = 32;
    /// Bytes of the longest entry in its binary form.
    pub const LEN_MAX: usize = 32 + 1 + Self::ADDRESSES_MAX * 19 + 1 + Self::REGION_LEN_MAX;

    /// The relay with this key at `addresses`, the preferred one first; `region` may be empty.
    ///
    /// # Errors
    /// [`RelayEntryError`].
    pub fn new(
        public_key: PublicKey,
        addresses: &[SocketAddr],
        region: &str,
    ) -> Result<Self, RelayEntryError> {
        let mut entry = Self { public_key, addresses: Vec::new(), region: parse_region(region)? };
        for address in addresses {
            entry.push_address(*address)?;
        }
        if entry.addresses.is_empty() { Err(RelayEntryError::NoAddress) } else { Ok(entry) }
    }

    /// Who the relay is.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Where the relay is; at least one address.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The region's name; empty if it has none.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// An entry from its binary form.
    ///
    /// # Errors
    /// [`RelayEntryError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RelayEntryError> {
        let mut reader = Reader::new(bytes);
        let entry = Self::parse(&mut reader)?;
        reader.finish().map_err(|_| RelayEntryError::TooLong)?;
        Ok(entry)
    }

    /// Writes the binary form and returns its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut writer = Writer::new(out);
        self.emit(&mut writer)?;
        Ok(writer.position())
    }

    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, RelayEntryError> {
        let mut entry = Self {
            public_key: PublicKey(reader.array().map_err(truncated)?),
            addresses: Vec::new(),
            region: String::new(),
        };
        let count = reader.u8().map_err(truncated)?;
        if count == 0 {
            return Err(RelayEntryError::NoAddress);
        }
        for _ in 0..count {
            let ip = match reader.u8().map_err(truncated)? {
                4 => IpAddr::V4(Ipv4Addr::from(reader.array::<4>().map_err(truncated)?)),
                6 => IpAddr::V6(Ipv6Addr::from(reader.array::<16>().map_err(truncated)?)),
                _ => return Err(RelayEntryError::BadAddress),
            };
            entry.push_address(SocketAddr::new(ip, reader.u16().map_err(truncated)?))?;
        }
        let region_len = reader.u8().map_err(truncated)?;
        let region = reader.take(usize::from(region_len)).map_err(truncated)?;
        let region = str::from_utf8(region).map_err(|_| RelayEntryError::BadRegion)?;
        entry.region = parse_region(region)?;
        Ok(entry)
    }

    pub(crate) fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.bytes(&self.public_key.0)?;
        writer.u8(self.addresses.len() as u8)?;
        for address in &self.addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    writer.u8(4)?;
                    writer.bytes(&ip.octets())?;
                }
                IpAddr::V6(ip) => {
                    writer.u8(6)?;
                    writer.bytes(&ip.octets())?;
                }
            }
            writer.u16(address.port())?;
        }
        writer.u8(self.region.len() as u8)?;
        writer.bytes(self.region.as_bytes())
    }

    fn push_address(&mut self, address: SocketAddr) -> Result<(), RelayEntryError> {
        // A flow label says nothing about where the relay is, and no form holds it.
        let plain = SocketAddr::new(address.ip(), address.port());
        if !is_usable(address) {
            return Err(RelayEntryError::UnusableAddress);
        }
        if self.addresses.contains(&plain) {
            return Err(RelayEntryError::DuplicateAddress);
        }
        self.addresses.push(plain).map_err(|_| RelayEntryError::TooManyAddresses)
    }
}

impl fmt::Display for RelayEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64(&self.public_key.0).fmt(f)?;
        for (n, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if n == 0 { '@' } else { ',' })?;
        }
        if !self.region.is_empty() {
            write!(f, "#{}", self.region)?;
        }
        Ok(())
    }
}

impl FromStr for RelayEntry {
    type Err = RelayEntryError;

    fn from_str(text: &str) -> Result<Self, RelayEntryError> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(RelayEntryError::Empty);
        }
        let (key, rest) = text.split_once('@').ok_or(RelayEntryError::MissingAt)?;
        let (addresses, region) = match rest.split_once('#') {
            Some((_, "")) => return Err(RelayEntryError::BadRegion),
            Some((addresses, region)) => (addresses, parse_region(region)?),
            None => (rest, String::new()),
        };
        if addresses.is_empty() {
            return Err(RelayEntryError::NoAddress);
        }
        let mut entry = Self { public_key: parse_key(key)?, addresses: Vec::new(), region };
        for address in addresses.split(',') {
            entry.push_address(address.parse().map_err(|_| RelayEntryError::BadAddress)?)?;
        }
        Ok(entry)
    }
}

/// Why a directory entry cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RelayEntryError {
    /// There is nothing.
    Empty,
    /// No `@` between key and address.
    MissingAt,
    /// The key is not 32 bytes of base64url.
    BadKey,
    /// No address.
    NoAddress,
    /// More than [`RelayEntry::ADDRESSES_MAX`] addresses.
    TooManyAddresses,
    /// Not an address with a port.
    BadAddress,
    /// An address that no relay can have.
    UnusableAddress,
    /// An address occurs twice.
    DuplicateAddress,
    /// The region is too long or has other characters than it may have.
    BadRegion,
    /// The binary form ends too early.
    Truncated,
    /// Something follows the binary form.
    TooLong,
}

impl fmt::Display for RelayEntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the directory entry is empty: write it as KEY@ADDRESS#REGION",
            Self::MissingAt => "no '@' between key and address: write the entry as KEY@ADDRESS",
            Self::BadKey => {
                "the relay's key must be 43 characters of base64url: copy it as the relay prints it"
            }
            Self::NoAddress => "no address: give at least one, such as 192.0.2.1:4433",
            Self::TooManyAddresses => "more than 4 addresses: leave some out",
            Self::BadAddress => {
                "not an address with a port: write 192.0.2.1:4433 or [2001:db8::1]:4433, no host names"
            }
            Self::UnusableAddress => {
                "no relay can be there: use a unicast address without a scope, and a port above 0"
            }
            Self::DuplicateAddress => "an address is given twice: give it once",
            Self::BadRegion => {
                "a region is 1 to 32 letters, digits, '-', '_' or '.': rename it, or leave '#' out"
            }
            Self::Truncated => "the directory entry is cut short: pass on all of it",
            Self::TooLong => "something follows the directory entry: pass it on alone",
        })
    }
}

impl core::error::Error for RelayEntryError {}

fn parse_key(text: &str) -> Result<PublicKey, RelayEntryError> {
    let mut key = PublicKey::default();
    match base64url::decode(text.as_bytes(), &mut key.0) {
        Ok(32) => Ok(key),
        _ => Err(RelayEntryError::BadKey),
    }
}

fn parse_region(text: &str) -> Result<String<{ RelayEntry::REGION_LEN_MAX }>, RelayEntryError> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if !text.bytes().all(allowed) {
        return Err(RelayEntryError::BadRegion);
    }
    String::try_from(text).map_err(|_| RelayEntryError::BadRegion)
}

fn is_usable(address: SocketAddr) -> bool {
    let scoped = matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
    let broadcast = address.ip() == IpAddr::V4(Ipv4Addr::BROADCAST);
    let ip = address.ip();
    address.port() != 0 && !scoped && !broadcast && !ip.is_unspecified() && !ip.is_multicast()
}

fn truncated(_: ParseError) -> RelayEntryError {
    RelayEntryError::Truncated
}

#[cfg(test)]
mod tests {
    use std::string::{String as StdString, ToString};
    use std::vec::Vec as StdVec;

    use proptest::prelude::*;

    use super::*;

    const KEY_TEXT: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s";

    #[test]
    fn literal_bytes() {
        let mut bytes = StdVec::from([0xab; 32]);
        bytes.extend([2, 4, 192, 0, 2, 1, 0x51, 0x11]);
        bytes.extend([6, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x51, 0x11]);
        bytes.extend(b"\x07eu-west");
        assert_eq!(encoded(&sample()), bytes);
        assert_eq!(RelayEntry::decode(&bytes), Ok(sample()));
        assert_eq!(RelayEntry::decode(&[&bytes[..], &[0]].concat()), Err(RelayEntryError::TooLong));
        for len in 0..bytes.len() {
            assert_eq!(RelayEntry::decode(&bytes[..len]), Err(RelayEntryError::Truncated));
        }
    }

    #[test]
    fn literal_text() {
        let text = [KEY_TEXT, "@192.0.2.1:4433,[2001:db8::1]:4433#eu-west"].concat();
        assert_eq!(sample().to_string(), text);
        assert_eq!(text.parse(), Ok(sample()));
        assert_eq!([" ", &text, "\n"].concat().parse(), Ok(sample()));
        let text = [KEY_TEXT, "@127.0.0.1:1"].concat();
        let entry: RelayEntry = text.parse().unwrap();
        assert_eq!((entry.region(), entry.addresses().len()), ("", 1));
        assert_eq!(entry.to_string(), text);
        assert_eq!(RelayEntry::decode(&encoded(&entry)), Ok(entry));
    }

    #[test]
    fn each_fault_of_a_text_has_its_error() {
        let faults = [
            ("", RelayEntryError::Empty),
            ("KEY", RelayEntryError::MissingAt),
            ("KEY@192.0.2.1:1", RelayEntryError::BadKey),
            ("KEY@", RelayEntryError::NoAddress),
            ("KEY@#eu", RelayEntryError::NoAddress),
            ("KEY@192.0.2.1:1#", RelayEntryError::BadRegion),
            ("KEY@192.0.2.1:1#a b", RelayEntryError::BadRegion),
            ("KEY@192.0.2.1:1#ü", RelayEntryError::BadRegion),
        ];
        for (text, error) in faults {
            assert_eq!(text.parse::<RelayEntry>(), Err(error), "{text}");
        }
        let faults = [
            ("192.0.2.1", RelayEntryError::BadAddress),
            ("192.0.2.1:1,", RelayEntryError::BadAddress),
            ("relay.example.net:1", RelayEntryError::BadAddress),
            ("2001:db8::1:1", RelayEntryError::BadAddress),
            ("192.0.2.1:0", RelayEntryError::UnusableAddress),
            ("0.0.0.0:1", RelayEntryError::UnusableAddress),
            ("[::]:1", RelayEntryError::UnusableAddress),
            ("224.0.0.1:1", RelayEntryError::UnusableAddress),
            ("255.255.255.255:1", RelayEntryError::UnusableAddress),
            ("[ff02::1]:1", RelayEntryError::UnusableAddress),
            ("[fe80::1%2]:1", RelayEntryError::UnusableAddress),
            ("192.0.2.1:1,192.0.2.1:1", RelayEntryError::DuplicateAddress),
            (
                "192.0.2.1:1,192.0.2.1:2,192.0.2.1:3,192.0.2.1:4,192.0.2.1:5",
                RelayEntryError::TooManyAddresses,
            ),
        ];
        for (addresses, error) in faults {
            let text = [KEY_TEXT, "@", addresses].concat();
            assert_eq!(text.parse::<RelayEntry>(), Err(error), "{text}");
        }
        let long = [KEY_TEXT, "@192.0.2.1:1#", &"x".repeat(33)].concat();
        assert_eq!(long.parse::<RelayEntry>(), Err(RelayEntryError::BadRegion));
        assert!(long[..long.len() - 1].parse::<RelayEntry>().is_ok());
    }

    #[test]
    fn each_fault_of_the_bytes_has_its_error() {
        let bytes = encoded(&sample());
        let changed = |position: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[position] = value;
            RelayEntry::decode(&changed)
        };
        assert_eq!(changed(32, 0), Err(RelayEntryError::NoAddress));
        assert_eq!(changed(33, 5), Err(RelayEntryError::BadAddress));
        assert_eq!(changed(34, 230), Err(RelayEntryError::UnusableAddress));
        assert_eq!(changed(bytes.len() - 1, b'#'), Err(RelayEntryError::BadRegion));
        assert_eq!(changed(bytes.len() - 1, 0xff), Err(RelayEntryError::BadRegion));
        let mut five = StdVec::from([0xab; 32]);
        five.push(5);
        for n in 1..=5 {
            five.extend([4, 192, 0, 2, n, 1, 0]);
        }
        five.push(0);
        assert_eq!(RelayEntry::decode(&five), Err(RelayEntryError::TooManyAddresses));
    }

    #[test]
    fn entries_made_here_are_checked_too() {
        let key = PublicKey([0xab; 32]);
        assert_eq!(RelayEntry::new(key, &[], ""), Err(RelayEntryError::NoAddress));
        let address = "192.0.2.1:1".parse().unwrap();
        assert_eq!(RelayEntry::new(key, &[address], "a#b"), Err(RelayEntryError::BadRegion));
    }

    proptest! {
        #[test]
        fn entries_come_back(
            key in any::<[u8; 32]>(),
            v4 in any::<[u8; 3]>(),
            v6 in any::<[u8; 15]>(),
            ports in prop::collection::btree_set(1..=u16::MAX, 1..=2),
            region in "[A-Za-z0-9_.-]{0,32}",
        ) {
            let v4 = Ipv4Addr::new(10, v4[0], v4[1], v4[2]);
            let mut octets = [0x20; 16];
            octets[1..].copy_from_slice(&v6);
            let addresses: StdVec<SocketAddr> = ports
                .into_iter()
                .flat_map(|port| [(IpAddr::V4(v4), port), (IpAddr::V6(octets.into()), port)])
                .map(SocketAddr::from)
                .collect();
            let entry = RelayEntry::new(PublicKey(key), &addresses, &region).unwrap();
            prop_assert_eq!(&RelayEntry::decode(&encoded(&entry)), &Ok(entry.clone()));
            prop_assert_eq!(&entry.to_string().parse(), &Ok(entry));
        }

        #[test]
        fn what_decodes_encodes_to_the_same(
            noise in prop::collection::vec(any::<u8>(), 0..150),
            flip in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut bytes = encoded(&sample());
            if let Some((at, value)) = flip {
                *at.get_mut(&mut bytes) = value;
            }
            for bytes in [bytes, noise] {
                if let Ok(entry) = RelayEntry::decode(&bytes) {
                    prop_assert_eq!(encoded(&entry), bytes);
                }
            }
        }

        #[test]
        fn no_text_is_too_strange(
            text in any::<StdString>(),
            addresses in "[0-9a-f:.,\\[\\]%#@]{0,40}",
        ) {
            for text in [text, [KEY_TEXT, "@", &addresses].concat()] {
                if let Ok(entry) = text.parse::<RelayEntry>() {
                    prop_assert_eq!(&entry.to_string().parse(), &Ok(entry));
                }
            }
        }
    }

    fn sample() -> RelayEntry {
        let addresses =
            ["192.0.2.1:4433", "[2001:db8::1]:4433"].map(|address| address.parse().unwrap());
        RelayEntry::new(PublicKey([0xab; 32]), &addresses, "eu-west").unwrap()
    }

    fn encoded(entry: &RelayEntry) -> StdVec<u8> {
        let mut out = [0; RelayEntry::LEN_MAX];
        let len = entry.encode(&mut out).unwrap();
        out[..len].to_vec()
    }
}
