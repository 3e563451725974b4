//! Which next hop the kernel would choose for each address, worked out of its tables: a program in
//! the kernel cannot ask for it unless the machine is a router (`bpf_fib_lookup` wants forwarding
//! on), or without leaving by an interface that the kernel would not choose (`bpf_redirect_neigh`).
//!
//! Only what is plain is told: one gateway, or a neighbour, by the interface that datagrams come in
//! by. Everything else is left to the workers' sockets, for which the kernel decides.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's messages have many parts, of which few matter"
)]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::layout::MacAddress;
use super::netlink::Snapshot;

/// Next hops by destination, and who is on the link.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// The longest prefix that an address has counts.
    pub routes: BTreeMap<Prefix, NextHop>,
    /// Hardware addresses on the link.
    pub neighbours: BTreeMap<IpAddr, MacAddress>,
    /// Gateways whose hardware address is unknown or has not been heard of for long.
    pub unsure: Vec<IpAddr>,
}

/// All addresses that begin alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Prefix {
    /// The first of them.
    pub address: IpAddr,
    /// How many bits they share.
    pub length: u8,
}

/// Where what goes to a prefix goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NextHop {
    /// Not known here: it is for the worker's socket.
    ByWorker,
    /// To a gateway.
    Gateway {
        /// Its hardware address.
        mac: MacAddress,
        /// The longest packet, in bytes.
        mtu: u32,
    },
    /// To the destination itself.
    OnLink {
        /// The longest packet, in bytes.
        mtu: u32,
    },
}

impl Prefix {
    fn covers(&self, other: &Self) -> bool {
        let length = u32::from(self.length);
        let same = match (self.address, other.address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        self.length <= other.length && same >= length
    }
}

/// The next hops by the interface `link`, which sends packets of up to `mtu` bytes.
///
/// # Errors
/// Why they cannot be told.
pub(super) fn plan(seen: &Snapshot, link: u32, mtu: u32) -> Result<Plan, &'static str> {
    // Multicast has rules of its own.
    let unicast = |rule: &&RuleMessage| {
        matches!(rule.header.family, AddressFamily::Inet | AddressFamily::Inet6)
    };
    if !seen.rules.iter().filter(unicast).all(is_default_rule) {
        return Err("there are routing rules beyond the default ones");
    }
    let mut plan = Plan::default();
    let mut fresh = BTreeMap::new();
    for message in seen.neighbours.iter().filter(|message| message.header.ifindex == link) {
        if let Some((address, mac)) = neighbour(message) {
            plan.neighbours.insert(address, mac);
            fresh.insert(address, message.header.state != NeighbourState::Stale);
        }
    }
    let mut best: BTreeMap<Prefix, (u32, NextHop)> = BTreeMap::new();
    let mut local = Vec::new();
    for route in seen.routes.iter().filter(|route| !is_cached(route)) {
        let Some(prefix) = prefix(route) else { continue };
        match table(route) {
            TABLE_LOCAL => local.push(prefix),
            TABLE_DEFAULT => return Err("there are routes in the table \"default\""),
            TABLE_MAIN => {
                let gateway = gateway(route);
                let hop = next_hop(route, link, mtu, gateway, &plan.neighbours);
                if let Some(gateway) = gateway
                    && outgoing(route) == Some(link)
                    && !fresh.get(&gateway).copied().unwrap_or_default()
                {
                    plan.unsure.push(gateway);
                }
                let priority = priority(route);
                let known = best.entry(prefix).or_insert((priority, hop));
                if priority < known.0 {
                    *known = (priority, hop);
                } else if priority == known.0 && hop != known.1 {
                    // Two at once: which of them is for the kernel to say.
                    known.1 = NextHop::ByWorker;
                }
            }
            _ => (),
        }
    }
    // The table "local" is asked first, whatever the main one has inside its prefixes.
    best.retain(|prefix, _| !local.iter().any(|own| own.covers(prefix)));
    plan.routes.extend(best.into_iter().map(|(prefix, (_, hop))| (prefix, hop)));
    plan.routes.extend(local.into_iter().map(|prefix| (prefix, NextHop::ByWorker)));
    if plan.routes.len() > ROUTES_MAX {
        return Err("there are too many routes");
    }
    if plan.neighbours.len() > NEIGHBOURS_MAX {
        let last = plan.neighbours.keys().nth(NEIGHBOURS_MAX).copied();
        plan.neighbours.retain(|address, _| Some(*address) < last);
    }
    plan.unsure.sort_unstable();
    plan.unsure.dedup();
    Ok(plan)
}

/// The interface by which a route leaves.
pub(super) fn outgoing(route: &RouteMessage) -> Option<u32> {
    attribute(route, |a| if let RouteAttribute::Oif(link) = a { Some(*link) } else { None })
}

/// Whether a route is for all that has no other.
pub(super) fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0
        && route.header.kind == RouteType::Unicast
        && table(route) == TABLE_MAIN
}

fn next_hop(
    route: &RouteMessage,
    link: u32,
    mtu: u32,
    gateway: Option<IpAddr>,
    neighbours: &BTreeMap<IpAddr, MacAddress>,
) -> NextHop {
    let header = &route.header;
    let down = header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown);
    let is_odd = |attribute: &RouteAttribute| {
        let odd = matches!(
            attribute,
            RouteAttribute::MultiPath(_) | RouteAttribute::Encap(_) | RouteAttribute::EncapType(_)
        );
        odd || matches!(attribute, RouteAttribute::Via(_)) && gateway.is_none()
    };
    let plain = header.kind == RouteType::Unicast
        && (header.tos, header.source_prefix_length) == (0, 0)
        && outgoing(route) == Some(link);
    if down || !plain || route.attributes.iter().any(is_odd) {
        return NextHop::ByWorker;
    }
    let mtu = route_mtu(route).map_or(mtu, |own| own.min(mtu));
    match gateway {
        None => NextHop::OnLink { mtu },
        Some(gateway) => match neighbours.get(&gateway) {
            Some(mac) => NextHop::Gateway { mac: *mac, mtu },
            None => NextHop::ByWorker,
        },
    }
}

fn neighbour(message: &NeighbourMessage) -> Option<(IpAddr, MacAddress)> {
    let usable = matches!(
        message.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        if let NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) = attribute {
            address = Some(IpAddr::V4(*ip));
        } else if let NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) = attribute {
            address = Some(IpAddr::V6(*ip));
        } else if let NeighbourAttribute::LinkLayerAddress(bytes) = attribute {
            mac = MacAddress::try_from(&bytes[..]).ok();
        }
    }
    if usable { Some((address?, mac?)) } else { None }
}

/// Whether it is one of those that every machine has: the tables "local", "main", "default".
fn is_default_rule(rule: &RuleMessage) -> bool {
    let mut priority = 0;
    let mut selects = rule.header.dst_len != 0 || rule.header.src_len != 0 || rule.header.tos != 0;
    for attribute in &rule.attributes {
        if let RuleAttribute::Priority(number) = attribute {
            priority = *number;
        }
        selects |= !matches!(
            attribute,
            RuleAttribute::Priority(_)
                | RuleAttribute::Table(_)
                | RuleAttribute::Protocol(_)
                | RuleAttribute::SuppressPrefixLen(u32::MAX)
        );
    }
    let expected = match priority {
        0 => TABLE_LOCAL,
        32_766 => TABLE_MAIN,
        32_767 => TABLE_DEFAULT,
        _ => return false,
    };
    !selects
        && rule.header.action == RuleAction::ToTable
        && u32::from(rule.header.table) == expected
}

/// Whether the kernel made it up for one destination.
fn is_cached(route: &RouteMessage) -> bool {
    route.header.flags.contains(RouteFlags::Cloned)
}

fn prefix(route: &RouteMessage) -> Option<Prefix> {
    let length = route.header.destination_prefix_length;
    let destination = attribute(route, |a| match a {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    let any = match route.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    Some(Prefix { address: destination.unwrap_or(any), length })
}

fn gateway(route: &RouteMessage) -> Option<IpAddr> {
    attribute(route, |a| match a {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

fn table(route: &RouteMessage) -> u32 {
    attribute(route, |a| if let RouteAttribute::Table(table) = a { Some(*table) } else { None })
        .unwrap_or(u32::from(route.header.table))
}

fn priority(route: &RouteMessage) -> u32 {
    attribute(route, |a| if let RouteAttribute::Priority(n) = a { Some(*n) } else { None })
        .unwrap_or(0)
}

fn route_mtu(route: &RouteMessage) -> Option<u32> {
    attribute(route, |a| match a {
        RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
            RouteMetric::Mtu(mtu) => Some(*mtu),
            _ => None,
        }),
        _ => None,
    })
}

fn attribute<T>(route: &RouteMessage, get: impl FnMut(&RouteAttribute) -> Option<T>) -> Option<T> {
    route.attributes.iter().find_map(get)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

const TABLE_DEFAULT: u32 = 253;
const TABLE_MAIN: u32 = 254;
const TABLE_LOCAL: u32 = 255;
/// As many as the kernel's maps hold (`ebpf/forward.c`).
const ROUTES_MAX: usize = 1024;
const NEIGHBOURS_MAX: usize = 4096;
