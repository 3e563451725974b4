//! Addresses as the kernel has them.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// A `sockaddr_in` or `sockaddr_in6`.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub(super) struct Name([u8; NAME_LEN]);

impl Name {
    pub(super) const EMPTY: Self = Self([0; NAME_LEN]);

    /// The address as bytes, and how many of them count.
    pub(super) fn of(address: SocketAddr) -> (Self, u32) {
        let [p0, p1] = address.port().to_be_bytes();
        let mut name = [0; NAME_LEN];
        let (family, ip, len) = match &address {
            SocketAddr::V4(v4) => (AF_INET, &v4.ip().octets()[..], NAME_4_LEN),
            SocketAddr::V6(v6) => (AF_INET6, &v6.ip().octets()[..], NAME_LEN),
        };
        let [f0, f1] = family.to_ne_bytes();
        // IPv6 has its flow label before the address.
        let flow = if address.is_ipv6() { 4 } else { 0 };
        let fields = [f0, f1, p0, p1]
            .into_iter()
            .chain([0; 4].into_iter().take(flow))
            .chain(ip.iter().copied());
        for (byte, field) in name.iter_mut().zip(fields) {
            *byte = field;
        }
        (Self(name), len as u32)
    }

    /// The address, without a flow label or a scope, which say nothing about who it is.
    pub(super) fn parse(name: &[u8]) -> Option<SocketAddr> {
        let (family, rest) = name.split_first_chunk()?;
        let (port, rest) = rest.split_first_chunk()?;
        let port = u16::from_be_bytes(*port);
        match u16::from_ne_bytes(*family) {
            AF_INET => Some((Ipv4Addr::from(*rest.first_chunk::<4>()?), port).into()),
            AF_INET6 => {
                let (_flow, ip) = rest.split_first_chunk::<4>()?;
                Some((Ipv6Addr::from(*ip.first_chunk::<16>()?), port).into())
            }
            _ => None,
        }
    }

    pub(super) const fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) const fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }
}

pub(super) const NAME_LEN: usize = size_of::<libc::sockaddr_in6>();
const NAME_4_LEN: usize = size_of::<libc::sockaddr_in>();
const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        for text in ["192.0.2.1:258", "[102:304:506:708:90a:b0c:d0e:f10]:4433"] {
            let address: SocketAddr = text.parse().unwrap();
            let (name, len) = Name::of(address);
            assert_eq!(Name::parse(&name.bytes()[..len as usize]), Some(address));
            // socket2 has its own idea of the same bytes.
            let other = socket2::SockAddr::from(address);
            assert_eq!(other.len(), len);
            assert_eq!(other.as_socket(), Some(address));
            assert_eq!(name.bytes()[2..4], address.port().to_be_bytes());
        }
        assert_eq!(Name::parse(&[0; NAME_LEN]), None);
        assert_eq!(Name::parse(&[2]), None);
    }
}
