//! Player-to-player networking through relays: the portable client.
//!
//! Two players know each other's peer id and route (from a lobby, a friend list, a chat), connect,
//! and open the same channels to each other. What they send goes through a relay, encrypted from
//! end to end: no player learns another's address, no relay can read what it carries.
//!
//! # The run loop
//!
//! [`run_callbacks`](NetworkManager::run_callbacks) at the start of the frame gives out everything
//! that arrived; [`flush`](NetworkManager::flush) at its end writes everything that was sent.
//!
//! ```no_run
//! use waylane::{Config, Event, NetworkManager, Reliability};
//!
//! # struct Game;
//! # impl Game {
//! #     fn new() -> Self { Game }
//! #     fn publish(&mut self, _key: &str, _value: String) {}
//! #     fn other_player(&self) -> (u64, String) { (1234, String::new()) }
//! #     fn on_message(&mut self, _peer: u64, _channel: u8, _data: &[u8]) {}
//! #     fn running(&self) -> bool { false }
//! #     fn frame(&mut self) -> Vec<u8> { Vec::new() }
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut game = Game::new();
//! # let relay = "";
//! let mut net = NetworkManager::new(Config {
//!     directory: vec![relay.parse()?], // as the relay prints it
//!     application: 12345,
//!     ..Config::default()
//! })?;
//! game.publish("peer_id", net.peer_id().to_string());
//!
//! // Who the other player is and where they are reached, as they published it.
//! let (other, route) = game.other_player();
//! net.connect_peer(other, route)?;
//! net.open_channel(other, 0, Reliability::Unreliable)?;
//! net.open_channel(other, 1, Reliability::Reliable)?;
//! net.send_message(other, 1, b"loot")?; // waits until they are connected
//!
//! while game.running() {
//!     net.run_callbacks(|net, event| match event {
//!         // A callback may use every verb: `net` is the manager.
//!         Event::Message { peer, channel, data } => game.on_message(peer, channel, data),
//!         Event::RouteUpdate { route } => game.publish("route", route.to_string()),
//!         Event::PeerDisconnected { peer, reason } => println!("{peer} is gone: {reason}"),
//!         _ => {}
//!     });
//!     let position = game.frame();
//!     net.send_message(other, 0, &position)?;
//!     net.flush();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A program without frames of its own calls [`wait`](NetworkManager::wait) in between. Nothing
//! else blocks, there is no hidden thread, and no callback comes outside `run_callbacks`. A pause
//! of 20 s without any call is fine.
//!
//! # Channels
//!
//! A channel is a number from 0 to 255, [reliable](Reliability::Reliable) (every message arrives
//! once, whole and in order, or the peer is reported lost) or
//! [unreliable](Reliability::Unreliable) (whole messages, at most once, never sent again). Or
//! [unordered](Reliability::ReliableUnordered): reliable, but nothing waits for what was sent before
//! it; or [sequenced](Reliability::UnreliableSequenced): unreliable, and never older than what was
//! delivered. [`ChannelOptions`] say which channels go first. A channel carries data once both
//! players have opened it the same way. A full queue is an answer, `SendError::Full`, and
//! [`Event::Writable`] follows.
//!
//! # Without a lobby
//!
//! [`invite`](NetworkManager::invite) makes one word that a person passes on;
//! [`accept_invite`](NetworkManager::accept_invite) connects by it, and the host sees
//! [`Event::PeerRequest`].
#![forbid(unsafe_code)]

mod clock;
mod config;
mod directory;
mod emulation;
mod event;
mod heap;
mod invite;
mod manager;
mod meter;
mod pump;
mod route;
mod socket;
mod stats;

pub use config::{Config, StartError};
pub use directory::DirectoryFileError;
pub use emulation::{LinkEmulation, LinkEmulationError};
pub use event::Event;
pub use invite::{AcceptInviteError, MakeInviteError};
pub use manager::NetworkManager;
pub use route::Route;
pub use socket::SocketError;
pub use stats::{Stats, Traffic};

pub use waylane_core::channel::{ChannelOptions, ChannelQueue};
pub use waylane_core::crypto::Secret;
pub use waylane_core::directory::{RelayEntry, RelayEntryError};
pub use waylane_core::endpoint::{
    AddRelayError, ChosenAs, CloseChannelError, ConfigError, ConnectError, ConnectionQuality,
    Counters, DisconnectReason, OpenChannelError, Refusal, RelayChoice, RelayLostReason,
    RelayPolicy, RelayRefusedReason, RelayState, RelayStatus, SendError, SendRate,
    SetDirectoryError, UnknownPeer, UnknownRelay,
};
pub use waylane_core::fleet::{FleetKey, SignedDirectory, SignedDirectoryError};
pub use waylane_core::id::{RelayId, Reliability};
pub use waylane_core::invite::InviteError;
pub use waylane_core::limits::{Limits, LimitsError};
pub use waylane_core::route::RouteError;
pub use waylane_core::token::{Claims, Token};

// The README's program is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
