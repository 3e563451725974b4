//! The kernel's half, loaded: two programs, and the maps that they share with us.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray};
use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifierLinkId, TcAttachOptions};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType, TestRun as _, TestRunOptions, Xdp, XdpMode,
};
use aya::{Ebpf, EbpfLoader};
use waylane_core::relay::{Forwarding, RelayLimits};
use waylane_relay::{FastPathCounters, SharedTables};

use super::layout::{Counts, Host, MacAddress, Neighbour, Route, RouteKind, Settings};
use super::next_hops::{NextHop, Plan, Prefix};
use crate::memory;

/// The fast path's programs and maps. Nothing of it outlives this value.
pub struct Program {
    ebpf: Ebpf,
    tables: SharedTables,
    settings: Settings,
    settings_map: Array<MapData, Settings>,
    counters: PerCpuArray<MapData, Counts>,
    routes: LpmTrie<MapData, Host, Route>,
    neighbours: HashMap<MapData, Host, Neighbour>,
    mirrored: Plan,
    attached: Option<Link>,
    /// Programs refer to these by number till they are loaded.
    _tables: [Map; 2],
}

/// What holds a program at its hook.
enum Link {
    Xdp(XdpLinkId),
    Tc(SchedClassifierLinkId),
}

/// Where the kernel runs a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// In the driver, before the kernel makes a packet of it.
    XdpNative,
    /// Right behind the driver.
    XdpGeneric,
    /// Where traffic is classified (tcx).
    Tc,
}

/// At which interface, and for which of the relay's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// The interface's number.
    pub ifindex: u32,
    /// Its own hardware address.
    pub mac: MacAddress,
    /// An IPv4 and an IPv6 address of the relay's, with port.
    pub addresses: [Option<SocketAddr>; 2],
}

/// What a program makes of one frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It goes on to the sockets, as it was.
    Pass,
    /// It ends here.
    Drop,
    /// It leaves by the interface, as these bytes.
    Send(Vec<u8>),
}

impl Program {
    /// Loads the maps, for tables of these limits; no program yet.
    ///
    /// # Errors
    /// When the kernel refuses, for want of a privilege or because it is too old.
    pub fn load(limits: RelayLimits) -> io::Result<Self> {
        let number = |count: usize| u32::try_from(count).map_err(io::Error::other);
        let (entries, buckets) = (number(limits.hot_entries())?, number(limits.index_buckets())?);
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("hot", entries)
            .map_max_entries("index", buckets)
            .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/forward.o")))
            .map_err(said)?;
        let mut take = |name: &str| ebpf.take_map(name).ok_or_else(|| missing(name));
        let tables = [take("hot")?, take("index")?];
        let [Map::Array(hot), Map::Array(index)] = &tables else { return Err(missing("tables")) };
        let tables_shared = memory::lent_tables(hot.fd().as_fd(), index.fd().as_fd(), limits)?;
        let settings = Settings { buckets, last_entry: entries - 1, ..Settings::default() };
        Ok(Self {
            settings,
            settings_map: take("settings")?.try_into().map_err(said)?,
            counters: take("counters")?.try_into().map_err(said)?,
            routes: take("routes")?.try_into().map_err(said)?,
            neighbours: take("neighbours")?.try_into().map_err(said)?,
            mirrored: Plan::default(),
            attached: None,
            tables: tables_shared,
            _tables: tables,
            ebpf,
        })
    }

    /// The tables by which it forwards: the maps themselves.
    #[must_use]
    pub fn tables(&self) -> SharedTables {
        self.tables.clone()
    }

    /// Loads a program and attaches it to an interface, until it is [detached](Self::detach) or
    /// this value is dropped.
    ///
    /// # Errors
    /// When the kernel or the driver refuses.
    pub fn attach(&mut self, hook: Hook, interface: &str) -> io::Result<()> {
        self.verify(hook)?;
        let mode = if hook == Hook::XdpNative { XdpMode::Driver } else { XdpMode::Skb };
        self.attached = Some(if hook == Hook::Tc {
            // By a link alone: a filter of the older kind would outlive a crash.
            let options = TcAttachOptions::TcxOrder(LinkOrder::first());
            let ingress = TcAttachType::Ingress;
            Link::Tc(self.tc()?.attach_with_options(interface, ingress, options).map_err(said)?)
        } else {
            Link::Xdp(self.xdp()?.attach(interface, mode).map_err(said)?)
        });
        Ok(())
    }

    /// Whether a program is attached.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.attached.is_some()
    }

    /// Leaves the interface to another program, if one is attached.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn detach(&mut self) -> io::Result<()> {
        match self.attached.take() {
            Some(Link::Xdp(link)) => self.xdp()?.detach(link).map_err(said),
            Some(Link::Tc(link)) => self.tc()?.detach(link).map_err(said),
            None => Ok(()),
        }
    }

    /// Loads the program for `hook` without attaching it: enough to [`run`](Self::run) it.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn verify(&mut self, hook: Hook) -> io::Result<()> {
        let loaded = if hook == Hook::Tc { self.tc()?.load() } else { self.xdp()?.load() };
        match loaded {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
            Err(error) => Err(said(error)),
        }
    }

    /// Tells where it stands.
    ///
    /// # Errors
    /// When the kernel refuses to write the map.
    pub fn place(&mut self, place: &Place) -> io::Result<()> {
        let settings = &mut self.settings;
        (settings.ifindex, settings.mac) = (place.ifindex, place.mac);
        for (family, address) in place.addresses.iter().enumerate() {
            settings.address[family] = address.map_or([0; 4], |a| Host::of(a.ip()).words);
            settings.port[family] = address.map_or(0, |a| a.port().to_be());
        }
        self.write()
    }

    /// Forwards by these rules, on a clock whose zero was `zero` on the kernel's monotonic clock.
    ///
    /// # Errors
    /// When the kernel refuses to write the map.
    pub fn begin(&mut self, forwarding: Forwarding, zero: Duration) -> io::Result<()> {
        let key = u128::from_le_bytes(forwarding.key.to_bytes());
        self.settings.key = [key as u64, (key >> 64) as u64];
        self.settings.start_ns = zero.as_nanos() as u64;
        let prices = forwarding.prices.to_words();
        self.settings.prices = prices.first_chunk().copied().unwrap_or_default();
        // All else is there before it is on.
        self.write()?;
        self.settings.on = 1;
        self.write()
    }

    /// Leaves everything to the sockets.
    ///
    /// # Errors
    /// When the kernel refuses to write the map.
    pub fn end(&mut self) -> io::Result<()> {
        self.settings.on = 0;
        self.write()
    }

    /// What ended in it so far, on all processors.
    ///
    /// # Errors
    /// When the kernel refuses to read the map.
    pub fn counters(&self) -> io::Result<FastPathCounters> {
        let mut sum = FastPathCounters::default();
        for counts in self.counters.get(&0, 0).map_err(said)?.iter() {
            counts.add_to(&mut sum);
        }
        Ok(sum)
    }

    /// Makes the next hops what `plan` says, one after the other: in between, some are old.
    ///
    /// # Errors
    /// When the kernel refuses to write a map; then some are old till the next time.
    pub fn mirror(&mut self, plan: Plan) -> io::Result<()> {
        let old = core::mem::take(&mut self.mirrored);
        // If one is refused, all are written again next time.
        for (prefix, hop) in &plan.routes {
            if old.routes.get(prefix) != Some(hop) {
                self.routes.insert(&prefix.key(), hop.route(), 0).map_err(said)?;
            }
        }
        for prefix in gone(&old.routes, &plan.routes) {
            forgiving(self.routes.remove(&prefix.key()))?;
        }
        for (host, mac) in &plan.neighbours {
            if old.neighbours.get(host) != Some(mac) {
                let neighbour = Neighbour { mac: *mac, unused: 0 };
                self.neighbours.insert(Host::of(*host), neighbour, 0).map_err(said)?;
            }
        }
        for host in gone(&old.neighbours, &plan.neighbours) {
            forgiving(self.neighbours.remove(&Host::of(*host)))?;
        }
        self.mirrored = plan;
        Ok(())
    }

    /// What the program for `hook` makes of a frame that came in; the frame goes nowhere. For tc it
    /// may be several that the kernel has merged, of `merged` bytes each; 0: it is one.
    ///
    /// # Errors
    /// When the kernel refuses to run it.
    pub fn run(&mut self, hook: Hook, frame: &[u8], merged: u32) -> io::Result<Outcome> {
        let mut out = vec![0; frame.len() + ROOM];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut out);
        let mut context = [0; SKB_LEN];
        if hook == Hook::Tc {
            context[SKB_GSO_SIZE..][..4].copy_from_slice(&merged.to_ne_bytes());
            options.ctx_in = Some(&context);
        }
        let (result, pass, drop, send) = if hook == Hook::Tc {
            (self.tc()?.test_run(options), TC_NEXT, TC_DROP, TC_REDIRECT)
        } else {
            (self.xdp()?.test_run(options), XDP_PASS, XDP_DROP, XDP_TX)
        };
        let result = result.map_err(said)?;
        out.truncate(result.data_size_out as usize);
        let verdict = result.return_value;
        if verdict == send {
            return Ok(Outcome::Send(out));
        }
        if verdict == pass && out == frame {
            return Ok(Outcome::Pass);
        }
        if verdict == drop { Ok(Outcome::Drop) } else { Err(io::Error::other(verdict.to_string())) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.settings_map.set(0, self.settings, 0).map_err(said)
    }

    fn xdp(&mut self) -> io::Result<&mut Xdp> {
        let program = self.ebpf.program_mut(XDP).ok_or_else(|| missing(XDP))?;
        program.try_into().map_err(said)
    }

    fn tc(&mut self) -> io::Result<&mut SchedClassifier> {
        let program = self.ebpf.program_mut(TC).ok_or_else(|| missing(TC))?;
        program.try_into().map_err(said)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::XdpNative => "native XDP",
            Self::XdpGeneric => "generic XDP",
            Self::Tc => "tc",
        })
    }
}

impl Prefix {
    fn key(&self) -> Key<Host> {
        // Before the address stand the 32 bits of its family.
        Key::new(32 + u32::from(self.length), Host::of(self.address))
    }
}

impl NextHop {
    const fn route(self) -> Route {
        match self {
            Self::ByWorker => Route { mac: [0; 6], kind: RouteKind::ByWorker as u16, mtu: 0 },
            Self::Gateway { mac, mtu } => Route { mac, kind: RouteKind::Gateway as u16, mtu },
            Self::OnLink { mtu } => Route { mac: [0; 6], kind: RouteKind::OnLink as u16, mtu },
        }
    }
}

/// What `old` has and `new` has not.
fn gone<'o, K: Ord, V>(
    old: &'o BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> impl Iterator<Item = &'o K> {
    old.keys().filter(|key| !new.contains_key(*key))
}

/// What is not there need not be removed.
fn forgiving(removed: Result<(), MapError>) -> io::Result<()> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other.map_err(said),
    }
}

/// An error with all its causes, as the log shows it.
fn said(error: impl core::error::Error) -> io::Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    io::Error::other(text)
}

fn missing(what: &str) -> io::Error {
    io::Error::other(format!("the compiled program has no {what}"))
}

const XDP: &str = "waylane_xdp";
const TC: &str = "waylane_tc";
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const TC_DROP: u32 = 2;
const TC_REDIRECT: u32 = 7;
const TC_NEXT: u32 = u32::MAX;
/// `struct __sk_buff` up to and with `gso_size` (linux/bpf.h).
const SKB_GSO_SIZE: usize = 176;
const SKB_LEN: usize = 184;
/// More than a frame may grow.
const ROOM: usize = 256;
