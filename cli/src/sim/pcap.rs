//! A capture file: pcap's classic format with raw IP packets (link type 101). The headers are made
//! up from the virtual addresses; each datagram is there as it leaves its sender, and again as it
//! reaches its receiver.

use core::net::{IpAddr, SocketAddr};
use std::io::{self, Write};

use waylane_sim::{Sight, Way};

/// A capture on its way to a file.
pub(super) struct Capture<W> {
    out: W,
    /// The first thing that went wrong; what comes then is not written.
    outcome: io::Result<()>,
}

impl<W: Write> Capture<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        // Magic number for microseconds, version 2.4, no time zone, no accuracy.
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        out.write_all(&2u16.to_le_bytes())?;
        out.write_all(&4u16.to_le_bytes())?;
        out.write_all(&[0; 8])?;
        out.write_all(&SNAP_LEN.to_le_bytes())?;
        out.write_all(&LINK_TYPE_RAW.to_le_bytes())?;
        Ok(Self { out, outcome: Ok(()) })
    }

    pub(super) fn take(&mut self, sight: &Sight<'_>) {
        if self.outcome.is_ok() {
            self.outcome = self.write(sight);
        }
    }

    /// Whether all could be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        core::mem::replace(&mut self.outcome, Ok(()))?;
        self.out.flush()
    }

    fn write(&mut self, sight: &Sight<'_>) -> io::Result<()> {
        let (from, to) = match sight.way {
            Way::Up => (sight.address, sight.other),
            Way::Down => (sight.other, sight.address),
        };
        let packet = packet(from, to, sight.bytes);
        let micros = sight.now.as_micros();
        let seconds = (micros / 1_000_000) as u32;
        let length = packet.len() as u32;
        for number in [seconds, (micros % 1_000_000) as u32, length, length] {
            self.out.write_all(&number.to_le_bytes())?;
        }
        self.out.write_all(&packet)
    }
}

/// The IP packet that would carry this payload.
fn packet(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let udp_len = (8 + payload.len()) as u16;
    let mut udp = Vec::with_capacity(usize::from(udp_len));
    for number in [from.port(), to.port(), udp_len, 0] {
        udp.extend_from_slice(&number.to_be_bytes());
    }
    udp.extend_from_slice(payload);
    let (from, to) = (octets(from.ip()), octets(to.ip()));
    let pseudo = [&from[..], &to, &[0, UDP], &udp_len.to_be_bytes()].concat();
    let sum = match checksum(&[&pseudo, &udp]) {
        // Zero would mean that there is none (RFC 768).
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut packet = if from.len() == 4 {
        let length = (20 + udp_len).to_be_bytes();
        let mut header =
            [&[0x45, 0], &length[..], &[0, 0, 0x40, 0, HOPS, UDP, 0, 0], &from, &to].concat();
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    } else {
        [&[0x60, 0, 0, 0], &udp_len.to_be_bytes()[..], &[UDP, HOPS], &from, &to].concat()
    };
    packet.extend_from_slice(&udp);
    packet
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The Internet checksum (RFC 1071) over parts of even length, the last of which may be odd.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for chunk in parts.iter().flat_map(|part| part.chunks(2)) {
        let low = chunk.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_be_bytes([chunk[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

const UDP: u8 = 17;
const HOPS: u8 = 64;
const SNAP_LEN: u32 = 65_535;
/// LINKTYPE_RAW: the packet begins with its IP header, whose version says which.
const LINK_TYPE_RAW: u32 = 101;

#[cfg(test)]
mod tests {
    use waylane_sim::PlayerNo;

    use super::*;

    /// Sums up to zero, as a receiver checks it.
    fn is_right(parts: &[&[u8]]) -> bool {
        checksum(parts) == 0
    }

    #[test]
    fn packets_have_the_headers_that_tools_expect() {
        for (from, to, header) in [
            ("198.18.0.1:1000", "198.19.0.1:4433", 20),
            ("[2001:db8::1]:1000", "[2001:db8:8000::1]:4433", 40),
        ] {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let packet = packet(from, to, b"hello");
            assert_eq!(packet.len(), header + 8 + 5);
            let (ip, udp) = packet.split_at(header);
            assert_eq!(ip[0] >> 4, if header == 20 { 4 } else { 6 });
            assert!(header == 40 || is_right(&[ip]), "{ip:?}");
            let addresses = if header == 20 { &ip[12..] } else { &ip[8..] };
            assert!(is_right(&[addresses, &[0, UDP, 0, 13], udp]), "{udp:?}");
            assert_eq!(udp[..4], [0x03, 0xe8, 0x11, 0x51]);
            assert_eq!(&udp[8..], b"hello");
        }
    }

    #[test]
    fn a_capture_says_when_and_how_much() {
        let mut capture = Capture::new(Vec::new()).unwrap();
        let address = "198.18.0.1:1000".parse().unwrap();
        capture.take(&Sight {
            now: waylane_core::time::Instant::from_micros(3_000_007),
            player: PlayerNo(0),
            way: Way::Up,
            address,
            other: address,
            bytes: b"hello",
        });
        capture.finish().unwrap();
        let (head, record) = capture.out.split_at(24);
        assert_eq!(head[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(head[20..], 101u32.to_le_bytes());
        let number = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
        assert_eq!([number(0), number(4), number(8), number(12)], [3, 7, 33, 33]);
        assert_eq!(record.len(), 16 + 33);
    }
}
