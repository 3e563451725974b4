//! Two network namespaces: *relay*, where relay and a player are, and *roamer*, whose player has two
//! links there, as a telephone has.

use crate::namespace::Namespace;

/// The namespaces; gone when this is dropped.
pub(crate) struct Net {
    relay: Namespace,
    roamer: Namespace,
}

/// One of the roamer's links.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// The name of the interface at both ends.
    name: &'static str,
    /// The roamer's addresses there.
    pub(crate) own: [&'static str; 2],
    /// The relay's end of the link, by which all else is reached.
    via: [&'static str; 2],
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// The relay's addresses, on no link (RFC 2544's and RFC 5180's ranges).
pub(crate) const RELAY: [&str; 2] = ["198.18.0.1", "2001:2::1"];

pub(crate) const WIFI: Link = Link {
    name: "wifi",
    own: ["198.18.1.2", "2001:2:0:1::2"],
    via: ["198.18.1.1", "2001:2:0:1::1"],
};

pub(crate) const MOBILE: Link = Link {
    name: "mobile",
    own: ["198.18.2.2", "2001:2:0:2::2"],
    via: ["198.18.2.1", "2001:2:0:2::1"],
};

impl Net {
    /// Makes them. The roamer has both links, and no address and no route yet.
    pub(crate) fn new() -> Self {
        let net = Self { relay: Namespace::new("wlr"), roamer: Namespace::new("wlp") };
        let Self { relay, roamer } = &net;
        relay.ip(&format!("addr add {}/32 dev lo", RELAY[0]));
        relay.ip(&format!("addr add {}/128 dev lo nodad", RELAY[1]));
        for Link { name, via, .. } in [WIFI, MOBILE] {
            relay
                .ip(&format!("link add {name} type veth peer name {name} netns {}", roamer.name()));
            relay.ip(&format!("addr add {}/30 dev {name}", via[0]));
            relay.ip(&format!("addr add {}/64 dev {name} nodad", via[1]));
            relay.ip(&format!("link set {name} up"));
        }
        net
    }

    /// Brings a link up with the roamer's address of this family, and makes it the way to all else.
    pub(crate) fn join(&self, link: Link, family: Family) {
        let (own, name) = (link.own[family as usize], link.name);
        self.roamer.ip(&format!("link set {name} up"));
        self.roamer.ip(&match family {
            Family::V4 => format!("addr add {own}/30 dev {name}"),
            Family::V6 => format!("addr add {own}/64 dev {name} nodad"),
        });
        self.route(link, family);
    }

    /// Makes a link the way to all else.
    pub(crate) fn route(&self, link: Link, family: Family) {
        let via = link.via[family as usize];
        self.roamer.ip(&format!("route replace default via {via} dev {}", link.name));
    }

    /// Takes a link away: its addresses and the routes over it go with it.
    pub(crate) fn leave(&self, link: Link) {
        self.roamer.ip(&format!("addr flush dev {}", link.name));
        self.roamer.ip(&format!("link set {} down", link.name));
    }

    /// Runs `ip` in the roamer's namespace.
    pub(crate) fn roamer_ip(&self, line: &str) {
        self.roamer.ip(line);
    }

    /// Does this in the relay's namespace; threads and sockets made there stay there.
    pub(crate) fn at_relay<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.relay.inside(work)
    }

    /// Does this in the roamer's namespace.
    pub(crate) fn at_roamer<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.roamer.inside(work)
    }
}
