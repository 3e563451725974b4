//! What `ebpf/forward.c` and this crate write for each other, laid out as it is there.

use core::net::IpAddr;

use aya::Pod;
use waylane_relay::FastPathCounters;

/// A hardware address of Ethernet's.
pub type MacAddress = [u8; 6];

/// What the programs go by; all zero is off.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub(super) struct Settings {
    pub(super) key: [u64; 2],
    pub(super) start_ns: u64,
    pub(super) on: u32,
    pub(super) buckets: u32,
    pub(super) last_entry: u32,
    /// What packets, bytes and bursts cost: the sender's, its source's, the destination's, all
    /// together's.
    pub(super) prices: [u32; 12],
    pub(super) ifindex: u32,
    pub(super) mac: MacAddress,
    /// In network order, as all that is compared to a packet.
    pub(super) port: [u16; 2],
    pub(super) unused: [u16; 3],
    pub(super) address: [[u32; 4]; 2],
}

/// What ended on one processor.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub(super) struct Counts {
    received_bytes: u64,
    forwarded: u64,
    forwarded_bytes: u64,
    malformed: u64,
    over_budget: u64,
    source_over_budget: u64,
    destination_over_budget: u64,
    total_over_budget: u64,
    no_destination: u64,
    to_itself: u64,
}

impl Counts {
    pub(super) const fn add_to(&self, sum: &mut FastPathCounters) {
        sum.received_bytes += self.received_bytes;
        let sum = &mut sum.forward;
        sum.forwarded += self.forwarded;
        sum.forwarded_bytes += self.forwarded_bytes;
        sum.malformed += self.malformed;
        sum.over_budget += self.over_budget;
        sum.source_over_budget += self.source_over_budget;
        sum.destination_over_budget += self.destination_over_budget;
        sum.total_over_budget += self.total_over_budget;
        sum.no_destination += self.no_destination;
        sum.to_itself += self.to_itself;
    }
}

/// An address without a port: family (4 or 6), and four words in network order.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub(super) struct Host {
    pub(super) family: u32,
    pub(super) words: [u32; 4],
}

impl Host {
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(ip) => Self { family: 4, words: [u32::from_ne_bytes(ip.octets()), 0, 0, 0] },
            IpAddr::V6(ip) => {
                let octets = ip.octets();
                let mut host = Self { family: 6, words: [0; 4] };
                for (word, bytes) in host.words.iter_mut().zip(octets.as_chunks().0) {
                    *word = u32::from_ne_bytes(*bytes);
                }
                host
            }
        }
    }
}

/// By which next hop a range of addresses is reached.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Route {
    pub(super) mac: MacAddress,
    pub(super) kind: u16,
    pub(super) mtu: u32,
}

/// How a route's next hop is found.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(super) enum RouteKind {
    ByWorker = 0,
    Gateway = 1,
    OnLink = 2,
}

/// Who is at an address on the link.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Neighbour {
    pub(super) mac: MacAddress,
    pub(super) unused: u16,
}

// SAFETY: `repr(C)` and integers only, without padding between or after them (see the sizes).
unsafe impl Pod for Settings {}
// SAFETY: as above.
unsafe impl Pod for Counts {}
// SAFETY: as above.
unsafe impl Pod for Host {}
// SAFETY: as above.
unsafe impl Pod for Route {}
// SAFETY: as above.
unsafe impl Pod for Neighbour {}

const _: () = {
    assert!(size_of::<Settings>() == 136);
    assert!(size_of::<Counts>() == 80);
    assert!(size_of::<Host>() == 20);
    assert!(size_of::<Route>() == 12);
    assert!(size_of::<Neighbour>() == 8);
};
