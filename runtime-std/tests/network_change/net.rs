//! Two network namespaces: *relay*, where relay and a player are, and *roamer*, whose player has two
//! links there, as a telephone has.

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The namespaces; gone when this is dropped.
pub(crate) struct Net {
    relay: String,
    roamer: String,
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
    /// Makes them, with this process's number in their names. The roamer has both links, and no
    /// address and no route yet.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let net = Self { relay: format!("wlr{mark}"), roamer: format!("wlp{mark}") };
        let Self { relay, roamer } = &net;
        for name in [relay, roamer] {
            run(&format!("ip netns add {name}"));
            run(&format!("ip -n {name} link set lo up"));
        }
        run(&format!("ip -n {relay} addr add {}/32 dev lo", RELAY[0]));
        run(&format!("ip -n {relay} addr add {}/128 dev lo nodad", RELAY[1]));
        for Link { name, via, .. } in [WIFI, MOBILE] {
            run(&format!(
                "ip link add {name} netns {relay} type veth peer name {name} netns {roamer}"
            ));
            run(&format!("ip -n {relay} addr add {}/30 dev {name}", via[0]));
            run(&format!("ip -n {relay} addr add {}/64 dev {name} nodad", via[1]));
            run(&format!("ip -n {relay} link set {name} up"));
        }
        net
    }

    /// Brings a link up with the roamer's address of this family, and makes it the way to all else.
    pub(crate) fn join(&self, link: Link, family: Family) {
        let (own, name) = (link.own[family as usize], link.name);
        self.roamer_ip(&format!("link set {name} up"));
        self.roamer_ip(&match family {
            Family::V4 => format!("addr add {own}/30 dev {name}"),
            Family::V6 => format!("addr add {own}/64 dev {name} nodad"),
        });
        self.route(link, family);
    }

    /// Makes a link the way to all else.
    pub(crate) fn route(&self, link: Link, family: Family) {
        let via = link.via[family as usize];
        self.roamer_ip(&format!("route replace default via {via} dev {}", link.name));
    }

    /// Takes a link away: its addresses and the routes over it go with it.
    pub(crate) fn leave(&self, link: Link) {
        self.roamer_ip(&format!("addr flush dev {}", link.name));
        self.roamer_ip(&format!("link set {} down", link.name));
    }

    /// Runs `ip` in the roamer's namespace.
    pub(crate) fn roamer_ip(&self, line: &str) {
        run(&format!("ip -n {} {line}", self.roamer));
    }

    /// Does this in the relay's namespace; threads and sockets made there stay there.
    pub(crate) fn at_relay<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.relay, work)
    }

    /// Does this in the roamer's namespace.
    pub(crate) fn at_roamer<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.roamer, work)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.relay, &self.roamer] {
            drop(Command::new("ip").args(["netns", "del", name]).status());
        }
    }
}

fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/var/run/netns/{namespace}")).unwrap();
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn run(line: &str) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {why}(this test needs root and iproute2)");
}
