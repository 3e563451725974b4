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

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::{RouteHeader, RouteNextHop};

    use super::*;

    const LINK: u32 = 3;
    const MTU: u32 = 1500;
    const MAC: MacAddress = [2, 0, 0, 0, 0, 1];

    #[test]
    fn a_gateway_a_link_and_what_is_local() {
        let seen = Snapshot {
            routes: vec![
                route(254, "0.0.0.0", 0, Some("192.0.2.1"), LINK),
                route(254, "192.0.2.0", 24, None, LINK),
                route(254, "198.51.100.0", 24, None, LINK + 1),
                of_type(route(255, "192.0.2.7", 32, None, LINK), RouteType::Local),
                route(254, "::", 0, Some("fe80::1"), LINK),
                route(52, "203.0.113.0", 24, None, LINK),
            ],
            neighbours: vec![
                heard("192.0.2.1", NeighbourState::Reachable),
                heard("192.0.2.9", NeighbourState::Stale),
                heard("192.0.2.10", NeighbourState::Failed),
            ],
            ..Snapshot::default()
        };
        let plan = plan(&seen, LINK, MTU).unwrap();
        assert_eq!(
            plan.routes,
            [
                (prefix("0.0.0.0", 0), NextHop::Gateway { mac: MAC, mtu: MTU }),
                (prefix("192.0.2.0", 24), NextHop::OnLink { mtu: MTU }),
                (prefix("192.0.2.7", 32), NextHop::ByWorker),
                (prefix("198.51.100.0", 24), NextHop::ByWorker),
                (prefix("::", 0), NextHop::ByWorker),
            ]
            .into()
        );
        let known: Vec<_> = plan.neighbours.keys().map(ToString::to_string).collect();
        assert_eq!(known, ["192.0.2.1", "192.0.2.9"]);
        assert_eq!(plan.unsure, [IpAddr::V6("fe80::1".parse().unwrap())]);
    }

    #[test]
    fn of_several_routes_the_preferred_counts_and_a_tie_is_the_kernels() {
        let with = |priorities: [u32; 2]| {
            let gateways = ["192.0.2.1", "192.0.2.2"].into_iter().zip(priorities);
            let routes = gateways.map(|(gateway, priority)| {
                let mut route = route(254, "0.0.0.0", 0, Some(gateway), LINK);
                route.attributes.push(RouteAttribute::Priority(priority));
                route
            });
            let neighbours = vec![heard("192.0.2.1", NeighbourState::Permanent)];
            let seen = Snapshot { routes: routes.collect(), neighbours, ..Snapshot::default() };
            plan(&seen, LINK, MTU).unwrap().routes[&prefix("0.0.0.0", 0)]
        };
        assert_eq!(with([5, 9]), NextHop::Gateway { mac: MAC, mtu: MTU });
        assert_eq!(with([9, 5]), NextHop::ByWorker, "nobody knows the other gateway");
        assert_eq!(with([5, 5]), NextHop::ByWorker);
    }

    #[test]
    fn odd_routes_are_the_workers() {
        let plain = || route(254, "192.0.2.0", 24, None, LINK);
        let hop = |route: RouteMessage| {
            let seen = Snapshot { routes: vec![route], ..Snapshot::default() };
            plan(&seen, LINK, MTU).unwrap().routes[&prefix("192.0.2.0", 24)]
        };
        assert_eq!(hop(plain()), NextHop::OnLink { mtu: MTU });
        let mut narrow = plain();
        narrow.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(600)]));
        assert_eq!(hop(narrow), NextHop::OnLink { mtu: 600 });
        let mut several = plain();
        several.attributes.push(RouteAttribute::MultiPath(vec![RouteNextHop::default()]));
        let mut down = plain();
        down.header.flags = RouteFlags::Linkdown;
        let mut by_service = plain();
        by_service.header.tos = 8;
        for odd in [several, down, by_service, of_type(plain(), RouteType::BlackHole)] {
            assert_eq!(hop(odd.clone()), NextHop::ByWorker, "{odd:?}");
        }
    }

    #[test]
    fn what_is_local_goes_before_what_is_inside_it() {
        let seen = Snapshot {
            routes: vec![
                of_type(route(255, "198.18.0.0", 16, None, 1), RouteType::Local),
                route(254, "198.18.7.0", 24, None, LINK),
                route(254, "198.19.0.0", 16, None, LINK),
            ],
            ..Snapshot::default()
        };
        let plan = plan(&seen, LINK, MTU).unwrap();
        assert_eq!(plan.routes.get(&prefix("198.18.7.0", 24)), None);
        assert_eq!(plan.routes[&prefix("198.19.0.0", 16)], NextHop::OnLink { mtu: MTU });
    }

    #[test]
    fn rules_of_ones_own_and_too_many_routes_are_refused() {
        let rule = |priority, table, more: Option<RuleAttribute>| {
            let mut rule = RuleMessage::default();
            rule.header.family = AddressFamily::Inet;
            (rule.header.table, rule.header.action) = (table, RuleAction::ToTable);
            rule.attributes.push(RuleAttribute::Priority(priority));
            rule.attributes.extend(more);
            rule
        };
        let with = |rules| plan(&Snapshot { rules, ..Snapshot::default() }, LINK, MTU).is_ok();
        assert!(with(vec![rule(0, 255, None), rule(32_766, 254, None), rule(32_767, 253, None)]));
        assert!(!with(vec![rule(0, 255, None), rule(100, 52, None)]));
        assert!(!with(vec![rule(32_766, 254, Some(RuleAttribute::FwMark(7)))]));
        let route = |n: u16| route(254, &format!("10.{}.{}.0", n >> 8, n & 0xff), 24, None, LINK);
        let seen = Snapshot { routes: (0..1025).map(route).collect(), ..Snapshot::default() };
        assert!(plan(&seen, LINK, MTU).is_err());
    }

    fn route(
        table: u8,
        destination: &str,
        length: u8,
        gateway: Option<&str>,
        link: u32,
    ) -> RouteMessage {
        let destination: IpAddr = destination.parse().unwrap();
        let mut route = RouteMessage::default();
        route.header = RouteHeader {
            address_family: match destination {
                IpAddr::V4(_) => AddressFamily::Inet,
                IpAddr::V6(_) => AddressFamily::Inet6,
            },
            destination_prefix_length: length,
            table,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        if length > 0 {
            route.attributes.push(RouteAttribute::Destination(destination.into()));
        }
        if let Some(gateway) = gateway {
            let gateway: IpAddr = gateway.parse().unwrap();
            route.attributes.push(RouteAttribute::Gateway(gateway.into()));
        }
        route.attributes.push(RouteAttribute::Oif(link));
        route
    }

    fn of_type(mut route: RouteMessage, kind: RouteType) -> RouteMessage {
        route.header.kind = kind;
        route
    }

    fn heard(address: &str, state: NeighbourState) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        (message.header.ifindex, message.header.state) = (LINK, state);
        let address = NeighbourAddress::Inet(address.parse().unwrap());
        message.attributes = vec![
            NeighbourAttribute::Destination(address),
            NeighbourAttribute::LinkLayerAddress(MAC.to_vec()),
        ];
        message
    }

    fn prefix(address: &str, length: u8) -> Prefix {
        Prefix { address: address.parse().unwrap(), length }
    }
}
