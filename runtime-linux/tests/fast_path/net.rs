//! Two network namespaces with a pair of interfaces between them: *relay*, and *world*, where the
//! players are, some on the link and some behind it.

#[path = "../../../runtime-std/tests/network_change/namespace.rs"]
mod namespace;

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::process::Command;

use waylane_core::relay::RelayLimits;
use waylane_runtime_linux::ebpf::{Hook, Program};

use self::namespace::Namespace;

/// The namespaces; gone when this is dropped.
pub(crate) struct Net {
    relay: Namespace,
    world: Namespace,
    passing: Option<Program>,
}

/// The relay's addresses (RFC 2544's and RFC 5180's ranges).
pub(crate) const RELAY: [&str; 2] = ["198.18.0.1", "2001:2::1"];
/// The players': one on the link, one behind it.
pub(crate) const PLAYERS: [[&str; 2]; 2] =
    [["198.18.0.2", "198.19.0.7"], ["2001:2::2", "2001:2:0:19::7"]];

impl Net {
    /// Makes them. Their interfaces are named as they are.
    pub(crate) fn new() -> Self {
        let (relay, world) = (Namespace::new("wr"), Namespace::new("ww"));
        let net = Self { relay, world, passing: None };
        let (Self { relay, world, .. }, [link, far_link]) = (&net, [net.interface(), net.world()]);
        relay.ip(&format!("link add {link} type veth peer name {far_link} netns {far_link}"));
        for (namespace, mac, own4, own6) in [
            (relay, RELAY_MAC, RELAY[0], RELAY[1]),
            (world, WORLD_MAC, PLAYERS[0][0], PLAYERS[1][0]),
        ] {
            let name = namespace.name();
            namespace.ip(&format!("link set {name} address {mac}"));
            namespace.ip(&format!("link set {name} up"));
            namespace.ip(&format!("addr add {own4}/30 dev {name}"));
            namespace.ip(&format!("addr add {own6}/64 dev {name} nodad"));
        }
        world.ip(&format!("addr add {}/32 dev lo", PLAYERS[0][1]));
        world.ip(&format!("addr add {}/128 dev lo nodad", PLAYERS[1][1]));
        for (to, [on_link, _]) in ["198.18.0.0/15", "::/0"].iter().zip(PLAYERS) {
            relay.ip(&format!("route add {to} via {on_link}"));
            relay.ip(&format!("neigh add {on_link} lladdr {WORLD_MAC} dev {link} nud permanent"));
        }
        for own in RELAY {
            world.ip(&format!("neigh add {own} lladdr {RELAY_MAC} dev {far_link} nud permanent"));
        }
        net
    }

    /// Makes them so that the players' packets are as a network card's, and taken by XDP.
    pub(crate) fn with_cards() -> Self {
        let mut net = Self::new();
        net.whole_checksums();
        net.take_xdp();
        net
    }

    /// Has the players send whole checksums, as a network card does.
    pub(crate) fn whole_checksums(&self) {
        self.in_world(|| set(self.world(), TX_CHECKSUMS, 0)).unwrap();
    }

    /// Makes the players' interface take what the other end sends by XDP: a pair's does only if it
    /// has a program of its own. This one, which is never begun, lets everything pass.
    pub(crate) fn take_xdp(&mut self) {
        let mut program = Program::load(RelayLimits { sessions: 8, pending: 1 }).unwrap();
        self.in_world(|| program.attach(Hook::XdpNative, self.world())).unwrap();
        self.passing = Some(program);
    }

    /// Runs `ip` in the relay's namespace.
    pub(crate) fn relay_ip(&self, line: &str) {
        self.relay.ip(line);
    }

    /// What `ip` shows of the relay's interface, as JSON.
    pub(crate) fn shown(&self) -> String {
        let name = self.interface();
        let shown = Command::new("ip").args(["-n", name, "-j", "link", "show", name]).output();
        String::from_utf8(shown.unwrap().stdout).unwrap()
    }

    /// The name of the relay's interface, and of its namespace.
    pub(crate) fn interface(&self) -> &str {
        self.relay.name()
    }

    /// Runs `ip` in the players' namespace.
    pub(crate) fn world_ip(&self, line: &str) {
        self.world.ip(line);
    }

    /// The name of the players' interface, and of their namespace.
    pub(crate) fn world(&self) -> &str {
        self.world.name()
    }

    /// Does this in the relay's namespace; threads and sockets made there stay there.
    pub(crate) fn in_relay<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.relay.inside(work)
    }

    /// Does this in the players' namespace.
    pub(crate) fn in_world<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.world.inside(work)
    }
}

/// Sets one of an interface's features (linux/ethtool.h).
fn set(interface: &str, command: u32, value: u32) -> io::Result<()> {
    let mut value = [command, value];
    // SAFETY: all zero is a request without a name.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: the request, and the two words that it points to, live through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const RELAY_MAC: &str = "02:00:00:00:00:01";
const WORLD_MAC: &str = "02:00:00:00:00:02";
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const TX_CHECKSUMS: u32 = 0x17;
