//! What the kernel says of its links, addresses, routes, rules and neighbours (rtnetlink).

use core::net::IpAddr;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Everything at one time, or nearly.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Snapshot {
    pub(super) links: Vec<LinkMessage>,
    pub(super) addresses: Vec<AddressMessage>,
    pub(super) routes: Vec<RouteMessage>,
    pub(super) rules: Vec<RuleMessage>,
    pub(super) neighbours: Vec<NeighbourMessage>,
}

/// A socket to ask by.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(super) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// All that there is, asked for again while it changes under the question.
    pub(super) fn consistent_snapshot(&mut self) -> io::Result<Snapshot> {
        for _ in 0..TRIES {
            match self.snapshot() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                other => return other,
            }
        }
        self.snapshot()
    }

    fn snapshot(&mut self) -> io::Result<Snapshot> {
        let mut seen = Snapshot::default();
        for request in [
            RouteNetlinkMessage::GetLink(LinkMessage::default()),
            RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            RouteNetlinkMessage::GetRoute(RouteMessage::default()),
            RouteNetlinkMessage::GetRule(RuleMessage::default()),
            RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()),
        ] {
            self.ask(request, NLM_F_REQUEST | NLM_F_DUMP)?;
            self.answers(|answer| seen.add(answer))?;
        }
        Ok(seen)
    }

    /// Has the kernel find out, or make sure of, who is at `address` on the link.
    pub(super) fn resolve(&mut self, link: u32, address: IpAddr) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = link;
        message.header.flags = NeighbourFlags::Use;
        let (family, address) = match address {
            IpAddr::V4(ip) => (AddressFamily::Inet, NeighbourAddress::Inet(ip)),
            IpAddr::V6(ip) => (AddressFamily::Inet6, NeighbourAddress::Inet6(ip)),
        };
        message.header.family = family;
        message.attributes.push(NeighbourAttribute::Destination(address));
        // Without an answer: whether it helped is seen in the next snapshot.
        let flags = NLM_F_REQUEST | netlink_packet_core::NLM_F_CREATE;
        self.ask(RouteNetlinkMessage::NewNeighbour(message), flags)
    }

    fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        (header.flags, header.sequence_number) = (flags, self.sequence);
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Takes the answers to the latest request, up to the last.
    fn answers(&mut self, mut take: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(io::Error::other)?;
                let length = (message.header.length as usize).next_multiple_of(4);
                rest = rest.get(length.max(1)..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                if message.header.flags & INTERRUPTED != 0 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                if let NetlinkPayload::Done(_) = message.payload {
                    return Ok(());
                }
                if let NetlinkPayload::Error(error) = message.payload {
                    return Err(error.to_io());
                }
                if let NetlinkPayload::InnerMessage(answer) = message.payload {
                    take(answer);
                }
            }
        }
    }
}

impl Snapshot {
    fn add(&mut self, answer: RouteNetlinkMessage) {
        if let RouteNetlinkMessage::NewLink(link) = answer {
            self.links.push(link);
        } else if let RouteNetlinkMessage::NewAddress(address) = answer {
            self.addresses.push(address);
        } else if let RouteNetlinkMessage::NewRoute(route) = answer {
            self.routes.push(route);
        } else if let RouteNetlinkMessage::NewRule(rule) = answer {
            self.rules.push(rule);
        } else if let RouteNetlinkMessage::NewNeighbour(neighbour) = answer {
            self.neighbours.push(neighbour);
        }
    }
}

/// Becomes readable when something of a snapshot has changed.
pub(super) struct Changes(Socket);

impl Changes {
    pub(super) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Forgets what it was told. That something was lost is news as well.
    pub(super) fn clear(&self) {
        loop {
            match self.0.recv_from_full() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) | Ok(_) => (),
            }
        }
    }
}

const TRIES: u32 = 10;
/// NLM_F_DUMP_INTR: what was told does not belong together.
const INTERRUPTED: u16 = 0x10;
/// Links, neighbours, and addresses, routes and rules of both families (linux/rtnetlink.h).
const GROUPS: [u32; 8] = [1, 3, 5, 7, 8, 9, 11, 19];
