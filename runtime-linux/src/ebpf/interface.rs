//! At which interface the relay's datagrams come in.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's messages have many parts, of which few matter"
)]

use core::net::{IpAddr, SocketAddr};

use netlink_packet_route::address::{AddressAttribute, AddressScope};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage};

use super::layout::MacAddress;
use super::netlink::Snapshot;
use super::next_hops::{is_default, outgoing};
use super::program::Place;

/// An Ethernet interface at which the relay listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) place: Place,
    /// The longest IP packet it sends, in bytes.
    pub(super) mtu: u32,
    /// One end of a pair, whose other end has to be ready for what XDP sends.
    pub(super) is_veth: bool,
}

/// What is looked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its name, if the operator says which.
    pub(super) name: Option<String>,
    /// What the relay listens on.
    pub(super) local: Vec<SocketAddr>,
    /// By which players reach it.
    pub(super) announce: Vec<SocketAddr>,
}

/// The interface that is wanted.
///
/// # Errors
/// Why there is none, and what to do.
pub(super) fn find(seen: &Snapshot, wanted: &Wanted) -> Result<Interface, String> {
    if wanted.local.iter().all(|address| address.ip().is_loopback()) {
        return Err("it listens on loopback addresses only".to_owned());
    }
    let link = match &wanted.name {
        Some(asked) => {
            seen.links.iter().find(|link| name(link) == Some(asked)).ok_or_else(|| {
                format!("there is no interface {asked}: see \"ip link\" for those there are")
            })?
        }
        None => chosen(seen, wanted)?,
    };
    let name = name(link).cloned().unwrap_or_default();
    let ethernet = link.header.link_layer_type == LinkLayerType::Ether;
    let Some(mac) = mac(link).filter(|_| ethernet) else {
        return Err(format!("{name} is no Ethernet interface"));
    };
    let own: Vec<IpAddr> = addresses(seen, link.header.index).collect();
    let served = [true, false].map(|v4| served(wanted, &own, v4));
    if served == [None, None] {
        return Err(format!("{name} has none of the addresses that the relay listens on"));
    }
    let place = Place { ifindex: link.header.index, mac, addresses: served };
    Ok(Interface { name, place, mtu: mtu(link), is_veth: is_veth(link) })
}

/// The interface that has an address listened on, or announced, or else the default route.
fn chosen<'s>(seen: &'s Snapshot, wanted: &Wanted) -> Result<&'s LinkMessage, String> {
    let listened = wanted.local.iter().filter(|address| !address.ip().is_unspecified());
    let named = listened.chain(&wanted.announce).map(SocketAddr::ip);
    let by_address = named.filter_map(|ip| {
        let has = |link: &&LinkMessage| addresses(seen, link.header.index).any(|own| own == ip);
        seen.links.iter().find(has)
    });
    let by_route = seen.routes.iter().filter(|route| is_default(route)).filter_map(|route| {
        let link = outgoing(route)?;
        seen.links.iter().find(|message| message.header.index == link)
    });
    let not_loopback = |link: &&LinkMessage| link.header.link_layer_type == LinkLayerType::Ether;
    by_address.chain(by_route).find(not_loopback).ok_or_else(|| {
        "no Ethernet interface has an address listened on or the default route: name one by \
         \"interface\""
            .to_owned()
    })
}

/// The one address of a family that is served at an interface with these addresses: the one
/// listened on, or, if that is any, the announced one, or else the interface's first.
fn served(wanted: &Wanted, own: &[IpAddr], v4: bool) -> Option<SocketAddr> {
    let local = *wanted.local.iter().find(|address| address.is_ipv4() == v4)?;
    if !local.ip().is_unspecified() {
        return own.contains(&local.ip()).then_some(local);
    }
    let announced = wanted.announce.iter().map(SocketAddr::ip).find(|ip| own.contains(ip));
    let announced = announced.filter(|ip| ip.is_ipv4() == v4);
    let first = own.iter().copied().find(|ip| ip.is_ipv4() == v4);
    Some(SocketAddr::new(announced.or(first)?, local.port()))
}

/// The addresses of an interface that the world knows; its own, where the other end has one too.
fn addresses(seen: &Snapshot, link: u32) -> impl Iterator<Item = IpAddr> {
    let of_link = seen.addresses.iter().filter(move |address| address.header.index == link);
    let known = of_link.filter(|address| address.header.scope == AddressScope::Universe);
    known.filter_map(|message| {
        let (mut address, mut local) = (None, None);
        for attribute in &message.attributes {
            if let AddressAttribute::Address(ip) = attribute {
                address = Some(*ip);
            } else if let AddressAttribute::Local(ip) = attribute {
                local = Some(*ip);
            }
        }
        local.or(address)
    })
}

fn name(link: &LinkMessage) -> Option<&String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })
}

fn mac(link: &LinkMessage) -> Option<MacAddress> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => MacAddress::try_from(&bytes[..]).ok(),
        _ => None,
    })
}

fn mtu(link: &LinkMessage) -> u32 {
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    mtu.unwrap_or(0)
}

fn is_veth(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Veth)),
        _ => false,
    })
}
