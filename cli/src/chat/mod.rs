//! `waylane host` and `waylane join`: lines typed here are seen there.

mod beats;
mod room;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;

use waylane::{Config, NetworkManager};
use waylane_core::directory::RelayEntry;
use waylane_core::invite::Invite;

use crate::link::Link;
use crate::player::Who;
use room::{Role, Room};

/// What `host` is asked for.
#[derive(clap::Args, Debug)]
pub(crate) struct HostOptions {
    /// The directory entry of a relay to be reached at, as `waylane relay` prints it; the first is
    /// home, the others are only trusted.
    #[arg(long, value_name = "ENTRY", allow_hyphen_values = true)]
    relay: Vec<RelayEntry>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    link: Link,
}

/// What `join` is asked for.
#[derive(clap::Args, Debug)]
pub(crate) struct JoinOptions {
    /// What `waylane host` printed.
    #[arg(value_name = "INVITE")]
    invite: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    link: Link,
}

/// Waits for joiners until standard input closes.
///
/// # Errors
/// When the network cannot be started.
pub(crate) fn host(options: HostOptions) -> Result<(), String> {
    if options.relay.is_empty() {
        return Err("no relay: start one by 'waylane relay --dev' and give the entry it prints \
                    by --relay ENTRY"
            .to_owned());
    }
    let net = start(options.relay, &options.who, &options.link)?;
    Room::new(net, Role::Host, interruption()?).run()
}

/// Joins a host until standard input closes or the host leaves.
///
/// # Errors
/// When the network cannot be started or the invite cannot be used.
pub(crate) fn join(options: &JoinOptions) -> Result<(), String> {
    let invite: Invite = options.invite.parse().map_err(|e| format!("this invite: {e}"))?;
    let net = start(Vec::new(), &options.who, &options.link)?;
    for entry in invite.entries() {
        eprintln!("* trusting the invite's relay {entry}");
    }
    let invite = invite.to_string();
    Room::new(net, Role::Guest { invite }, interruption()?).run()
}

fn start(directory: Vec<RelayEntry>, who: &Who, link: &Link) -> Result<NetworkManager, String> {
    let config = Config {
        directory,
        identity: who.identity()?,
        token: who.token(),
        application: APPLICATION,
        idle_timeout: IDLE_TIMEOUT,
        outgoing: link.emulation(0),
        incoming: link.emulation(1),
        ..Config::default()
    };
    NetworkManager::new(config).map_err(|e| e.to_string())
}

/// Becomes true at Ctrl-C and when asked to terminate, so that the others are told goodbye.
fn interruption() -> Result<Arc<AtomicBool>, String> {
    let is_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_asked);
    ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed))
        .map_err(|e| format!("Ctrl-C cannot be caught: {e}"))?;
    Ok(is_asked)
}

/// Players of other programs do not connect to this one's.
const APPLICATION: u64 = 0x6368_6174;
/// People wait for a relay to come back longer than a game would.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
