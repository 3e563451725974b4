//! What a session costs in user space, by what the process has more of afterwards.

use std::io::{self, Read as _};

use waylane_core::relay::RelayLimits;
use waylane_runtime_linux::memory::tables;

use crate::load::{Load, SENDERS, sessions};
use crate::net::Net;

/// What the second of two relays has more than the first, for each session that it has more: both
/// as full as their limits allow, and of sizes that leave no huge page half empty.
pub(crate) fn compare(net: &Net) -> Result<(), String> {
    let [few, many] = [1_u32 << 17, 1 << 20];
    let (less, more) = (once(net, few)?, once(net, many)?);
    println!(
        "\nmemory a session, from {few} to {many} sessions: {:.1} B (of {more} B altogether)",
        (more - less) as f64 / f64::from(many - few)
    );
    Ok(())
}

fn once(net: &Net, sessions: u32) -> Result<u64, String> {
    let mut relay = net.relay(&[], "memory", Load::random(sessions - SENDERS - 1))?;
    let mut told = String::new();
    let read = relay.stdout.take().map(|mut out| out.read_to_string(&mut told));
    drop(relay.wait());
    drop(read);
    told.trim().parse().map_err(|_| format!("the relay said {told:?}"))
}

/// The relay's process.
pub(crate) fn run(load: Load) -> io::Result<()> {
    let limits = RelayLimits { sessions: load.sessions + SENDERS + 1, pending: 64 };
    let before = resident()?;
    let (shared, _) = tables(limits)?;
    let (owner, names) = sessions(load, limits, shared);
    drop(names);
    let grown = resident()? - before;
    drop(owner);
    println!("{grown}");
    Ok(())
}

fn resident() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.map(|pages| pages * 4096).ok_or_else(|| io::Error::other("no statm"))
}
