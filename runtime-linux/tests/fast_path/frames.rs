//! Ethernet frames with a datagram for the relay in them: made, and taken apart, in a second way
//! that knows nothing of the C program's.

use core::net::{IpAddr, SocketAddr};

/// A frame of one UDP datagram, every part of which can be other than it should.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) to_mac: [u8; 6],
    pub(crate) from_mac: [u8; 6],
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) service: u8,
    pub(crate) hops: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) checksum: Checksum,
}

/// What stands where the UDP checksum should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Checksum {
    /// What is right.
    Right,
    /// Zero: there is none.
    None,
    /// The pseudo-header's sum: the rest is left to hardware.
    LeftToHardware,
    /// What is wrong by so much, and stays so.
    WrongBy(u16),
}

impl Frame {
    /// As it is on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = [self.to_mac, self.from_mac].concat();
        let udp_len = (self.payload.len() + 8) as u16;
        let mut pseudo = Vec::new();
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                out.extend([0x08, 0x00]);
                let mut header = vec![0x45, self.service];
                header.extend((udp_len + 20).to_be_bytes());
                header.extend([0, 0, 0x40, 0, self.hops, 17, 0, 0]);
                header.extend(from.octets());
                header.extend(to.octets());
                let checksum = !sum(&header);
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
                pseudo.extend_from_slice(&header[12..20]);
                out.extend(header);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                out.extend([0x86, 0xdd]);
                out.extend([0x60 | self.service >> 4, self.service << 4, 0, 0]);
                out.extend(udp_len.to_be_bytes());
                out.extend([17, self.hops]);
                out.extend(from.octets());
                out.extend(to.octets());
                pseudo.extend(from.octets());
                pseudo.extend(to.octets());
            }
            other => panic!("two families: {other:?}"),
        }
        pseudo.extend([0, 17]);
        pseudo.extend(udp_len.to_be_bytes());
        let mut udp = Vec::new();
        udp.extend(self.from.port().to_be_bytes());
        udp.extend(self.to.port().to_be_bytes());
        udp.extend(udp_len.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend_from_slice(&self.payload);
        let right = match !sum(&[pseudo.clone(), udp.clone()].concat()) {
            0 => 0xffff,
            other => other,
        };
        let checksum = match self.checksum {
            Checksum::Right => right,
            Checksum::None => 0,
            Checksum::LeftToHardware => sum(&pseudo),
            Checksum::WrongBy(difference) => right ^ difference,
        };
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        out.extend(udp);
        out
    }
}

/// Where a frame's UDP header begins, if it is a plain datagram from one address to another: no
/// options, no part of one, nothing behind it, every length right.
pub(crate) fn plain(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr, usize)> {
    let (from, to, udp): (IpAddr, IpAddr, usize) = match bytes.get(12..14)? {
        [0x08, 0x00] => {
            let ip = bytes.get(14..34)?;
            let ok = ip[0] == 0x45
                && usize::from(u16::from_be_bytes([ip[2], ip[3]])) == bytes.len() - 14
                && u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff == 0
                && ip[9] == 17
                && sum(ip) == 0xffff;
            let at = |n: usize| <[u8; 4]>::try_from(&ip[n..n + 4]).unwrap();
            ok.then_some((at(12).into(), at(16).into(), 34))?
        }
        [0x86, 0xdd] => {
            let ip = bytes.get(14..54)?;
            let ok = ip[0] >> 4 == 6
                && usize::from(u16::from_be_bytes([ip[4], ip[5]])) == bytes.len() - 54
                && ip[6] == 17;
            let at = |n: usize| <[u8; 16]>::try_from(&ip[n..n + 16]).unwrap();
            ok.then_some((at(8).into(), at(24).into(), 54))?
        }
        _ => return None,
    };
    let header = bytes.get(udp..udp + 8)?;
    let word = |n: usize| u16::from_be_bytes([header[n], header[n + 1]]);
    let none_in_v6 = word(6) == 0 && from.is_ipv6();
    if usize::from(word(4)) != bytes.len() - udp || none_in_v6 {
        return None;
    }
    Some((SocketAddr::new(from, word(0)), SocketAddr::new(to, word(2)), udp))
}

/// The sum of the pseudo-header of a plain frame.
pub(crate) fn pseudo_sum(bytes: &[u8], udp: usize) -> u16 {
    let addresses = if udp == 34 { &bytes[26..34] } else { &bytes[22..54] };
    sum(&[addresses, &[0, 17], &bytes[udp + 4..udp + 6]].concat())
}

/// The Internet checksum's sum (RFC 1071).
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
