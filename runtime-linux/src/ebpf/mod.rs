//! The fast path: forwards data between live sessions in the kernel, by the relay's own tables.
//!
//! `ebpf/forward.c` is the kernel's half: an XDP and a tc program over arrays that are mapped here
//! as the [`SharedTables`](waylane_relay::SharedTables). [`Program`] loads it; the rest finds the interface and keeps next hops
//! as the kernel has them. Everything is held by descriptors of this process: when it ends,
//! however it ends, the kernel detaches and frees it all.

mod interface;
mod layout;
mod mirror;
mod netlink;
mod next_hops;
mod program;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use waylane_core::relay::Forwarding;
use waylane_relay::{Config, FastPath, FastPathChoice, FastPathCounters};

use crate::fast_path::Attached;
use interface::{Interface, Wanted};
pub use layout::MacAddress;
use mirror::Mirror;
use netlink::Netlink;
pub use next_hops::{NextHop, Plan, Prefix};
pub use program::{Hook, Outcome, Place, Program};

/// Loads what was asked for, for an interface where the relay is reached. A relay over it has to be
/// over its tables too.
///
/// # Errors
/// Why there is none.
pub(crate) fn attach(config: &Config, local: &[SocketAddr]) -> Result<Attached, String> {
    let wanted = Wanted {
        name: Some(config.interface.clone()).filter(|name| !name.is_empty()),
        local: local.to_vec(),
        announce: config.announce.clone(),
    };
    let seen = Netlink::new().and_then(|mut netlink| netlink.consistent_snapshot());
    let seen = seen.map_err(|error| format!("the kernel does not show its network: {error}"))?;
    let found = interface::find(&seen, &wanted)?;
    let wanted = Wanted { name: Some(found.name.clone()), ..wanted };
    next_hops::plan(&seen, found.place.ifindex, found.mtu)?;
    let mut program = Program::load(config.limits()).map_err(|error| error.to_string())?;
    let hooks = hooks(config.fast_path, &found);
    // Attached it is later; what the kernel refuses altogether is told now.
    let verified = hooks.iter().map(|hook| program.verify(*hook)).reduce(Result::or);
    if let Some(Err(error)) = verified {
        return Err(error.to_string());
    }
    let tables = program.tables();
    let program = Arc::new(Mutex::new(program));
    let mirror = Mirror::start(Arc::clone(&program), wanted);
    let mirror = mirror.map_err(|error| error.to_string())?;
    let served: Vec<String> =
        found.place.addresses.iter().flatten().map(ToString::to_string).collect();
    let served = served.join(" and ");
    Ok((
        tables,
        Box::new(AtInterface { program, hooks, name: found.name, served, _mirror: mirror }),
    ))
}

/// What is tried, in order.
fn hooks(asked: FastPathChoice, found: &Interface) -> &'static [Hook] {
    match asked {
        FastPathChoice::Xdp => &[Hook::XdpNative, Hook::XdpGeneric, Hook::Tc],
        FastPathChoice::Tc => &[Hook::Tc],
        FastPathChoice::Auto if !found.is_veth => &[Hook::XdpNative, Hook::Tc, Hook::XdpGeneric],
        // At a pair of interfaces the other end may not take what XDP sends, and nobody says so.
        FastPathChoice::Auto | FastPathChoice::Off | _ => &[Hook::Tc],
    }
}

/// A fast path at an interface, for as long as it lives.
#[derive(Debug)]
struct AtInterface {
    program: Arc<Mutex<Program>>,
    hooks: &'static [Hook],
    /// The interface's.
    name: String,
    /// The relay's addresses there.
    served: String,
    _mirror: Mirror,
}

impl AtInterface {
    fn program(&self) -> MutexGuard<'_, Program> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches what was asked for, or what comes next below it, and says which.
    fn attach(&self, program: &mut Program) -> io::Result<()> {
        for hook in self.hooks {
            match program.attach(*hook, &self.name) {
                Ok(()) => {
                    tracing::info!("fast path by {hook} at {}, for {}", self.name, self.served);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!("{hook} is not to be had at {}: {error}", self.name);
                }
            }
        }
        Err(io::Error::other(format!("nothing can be attached at {}", self.name)))
    }
}

impl FastPath for AtInterface {
    fn begin(&self, forwarding: Forwarding, zero: Instant) -> io::Result<()> {
        let since = zero.elapsed();
        let mut program = self.program();
        // Not before: XDP has room for one program, and until now it may have been that of the
        // relay whose place this one takes.
        if !program.is_attached() {
            self.attach(&mut program)?;
        }
        program.begin(forwarding, monotonic()?.saturating_sub(since))
    }

    fn end(&self) {
        let mut program = self.program();
        if let Err(error) = program.end().and_then(|()| program.detach()) {
            tracing::warn!("the fast path stays on: {error}");
        }
    }

    fn counters(&self) -> FastPathCounters {
        self.program().counters().unwrap_or_else(|error| {
            tracing::debug!(%error, "the fast path's counters cannot be read");
            FastPathCounters::default()
        })
    }
}

/// The clock that programs in the kernel read.
fn monotonic() -> io::Result<Duration> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a struct of this very type.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
}
