//! Where a relay shows its operator what it does.

use core::net::SocketAddr;

use super::key::{Setting, quoted};

/// Where a relay's admin port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AdminChoice {
    /// At [`AdminChoice::USUAL`], or at a free port of the same address if that is taken.
    Auto,
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl AdminChoice {
    /// Where it is if nothing is said, and where `waylane top` looks: on loopback.
    pub const USUAL: SocketAddr =
        SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), 9433);
}

impl Setting for AdminChoice {
    const KIND: &'static str = "\"auto\", \"off\" or an address with port";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "off" => Some(Self::Off),
            address => address.parse().ok().map(Self::At),
        }
    }

    fn literal(&self) -> Option<String> {
        Some(match self {
            Self::Auto => quoted("auto"),
            Self::Off => quoted("off"),
            Self::At(address) => quoted(&address.to_string()),
        })
    }
}
