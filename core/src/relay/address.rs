//! A source address as the tables hold it: five words, the same bytes as on the wire.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address and port as five words, laid out as an in-kernel path reads them.
///
/// Four words hold the address's bytes in network order (IPv4 in the first word, the rest zero);
/// the fifth is `family << 16 | port` with family 4 or 6. Flow labels and scope ids are not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) words: [u32; 4],
    pub(crate) family_port: u32,
}

impl Address {
    /// Whether the family is one that a live session has.
    pub(crate) const fn is_live(self) -> bool {
        matches!(self.family_port >> 16, FAMILY_4 | FAMILY_6)
    }

    /// The address that `family_port` and `words` spell; `None` for a family that is neither.
    pub(crate) fn to_socket_addr(self) -> Option<SocketAddr> {
        let port = u16::try_from(self.family_port & 0xffff).ok()?;
        let [a, b, c, d] = self.words.map(u32::to_ne_bytes);
        let ip = match self.family_port >> 16 {
            FAMILY_4 => IpAddr::V4(Ipv4Addr::from(a)),
            FAMILY_6 => {
                let [a, b, c, d] = [a, b, c, d].map(u32::from_be_bytes);
                IpAddr::V6(Ipv6Addr::from(
                    u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d),
                ))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// The three little-endian 64-bit words that the index hashes.
    pub(crate) fn hash_words(self) -> [u64; 3] {
        // The bytes are what is pinned, not the machine's words: an in-kernel path on the other
        // byte order hashes the same 24 bytes.
        let [a, b, c, d] = self.words.map(|w| u64::from(u32::from_le_bytes(w.to_ne_bytes())));
        [a | b << 32, c | d << 32, u64::from(self.family_port)]
    }

    /// Whose sessions are counted together: an IPv4 address's or an IPv6 /64's.
    pub(crate) fn source(self) -> Self {
        let [first, second, ..] = self.words;
        let words = if self.family_port >> 16 == FAMILY_4 {
            [first, 0, 0, 0]
        } else {
            [first, second, 0, 0]
        };
        Self { words, family_port: self.family_port & !0xffff }
    }

    /// What the reply limit counts together: an IPv4 /24 or an IPv6 /48.
    pub(crate) fn prefix(self) -> Self {
        let [first, second, ..] = self.words;
        let words = if self.family_port >> 16 == FAMILY_4 {
            [first & u32::from_ne_bytes([0xff, 0xff, 0xff, 0]), 0, 0, 0]
        } else {
            [first, second & u32::from_ne_bytes([0xff, 0xff, 0, 0]), 0, 0]
        };
        Self { words, family_port: self.family_port & !0xffff }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let port = u32::from(address.port());
        match address.ip() {
            IpAddr::V4(ip) => Self {
                words: [u32::from_ne_bytes(ip.octets()), 0, 0, 0],
                family_port: FAMILY_4 << 16 | port,
            },
            IpAddr::V6(ip) => {
                let bits = u128::from(ip);
                let word = |shift: u32| u32::from_ne_bytes(((bits >> shift) as u32).to_be_bytes());
                Self {
                    words: [word(96), word(64), word(32), word(0)],
                    family_port: FAMILY_6 << 16 | port,
                }
            }
        }
    }
}

const FAMILY_4: u32 = 4;
const FAMILY_6: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_table() {
        for text in ["192.0.2.1:4433", "[2001:db8::1:2]:65535", "0.0.0.0:0", "[::]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::from(address).to_socket_addr(), Some(address), "{text}");
        }
        assert_eq!(Address { words: [0; 4], family_port: 0 }.to_socket_addr(), None);
    }

    #[test]
    fn memory_holds_network_order() {
        let v6 =
            Address::from("[102:304:506:708:90a:b0c:d0e:f10]:258".parse::<SocketAddr>().unwrap());
        let bytes: std::vec::Vec<u8> = v6.words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        assert_eq!(bytes, (1..=16).collect::<std::vec::Vec<u8>>());
        assert_eq!(v6.family_port, 0x0006_0102);
        assert_eq!(v6.hash_words(), [0x0807_0605_0403_0201, 0x100f_0e0d_0c0b_0a09, 0x0006_0102]);
    }

    #[test]
    fn prefixes_join_neighbours_only() {
        let prefix = |s: &str| Address::from(s.parse::<SocketAddr>().unwrap()).prefix();
        assert_eq!(prefix("192.0.2.1:1"), prefix("192.0.2.200:9"));
        assert_ne!(prefix("192.0.2.1:1"), prefix("192.0.3.1:1"));
        assert_eq!(prefix("[2001:db8:1:2::1]:1"), prefix("[2001:db8:1:9::7]:5"));
        assert_ne!(prefix("[2001:db8:1::1]:1"), prefix("[2001:db8:2::1]:1"));
        assert_ne!(prefix("0.0.0.0:1"), prefix("[::]:1"));
    }
}
