//! The processes of set-up M2: each loads its program, attaches it, says so, and serves till it is
//! ended.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::process::Command;
use std::time::Instant as StdInstant;

use aya::maps::{Array, HashMap, PerCpuArray};
use aya::programs::xdp::XdpMode;
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use waylane_core::id::SessionId;
use waylane_core::time::Instant;
use waylane_relay::{BackEnd, Config, FastPathChoice, IoChoice, Worker};
use waylane_runtime_linux::back_end;
use waylane_runtime_linux::io::pin;

use crate::load::{Load, SENDER_PORT, SENDERS, addresses, limits, names, prefer_us, sessions};
use crate::net::{RELAY, SOURCE, hardware};
use crate::relays::{Team, bound};

/// The relay's end: a forwarder over sockets behind a program that lets everything pass, as a
/// driver would, or one in the kernel.
pub(crate) fn relay(mode: &str, interface: &str, load: Load) -> io::Result<()> {
    prefer_us();
    pin(0)?;
    if mode == "bare" {
        let mut programs = load_programs("homes", load.sessions)?;
        let mut homes: HashMap<_, u64, u64> = map(&mut programs, "homes")?;
        for (name, address) in names(load).iter().zip(addresses(load)).take(load.sessions as usize)
        {
            homes.insert(first_bytes(*name), home(address), 0).map_err(io::Error::other)?;
        }
        attach(&mut programs, "bare", interface)?;
        println!("ready");
        return wait_for_ever();
    }
    if mode == "xdp" {
        return fast_path(FastPathChoice::Xdp, interface, load);
    }
    let mut programs = load_programs("homes", 1)?;
    attach(&mut programs, "pass", interface)?;
    if mode == "tc" {
        return fast_path(FastPathChoice::Tc, interface, load);
    }
    let mut team = Team::new(mode, load, bound(1, 4 << 20)?)?;
    let forwarder = team.forwarders.first_mut().ok_or(io::ErrorKind::NotFound)?;
    forwarder.start(Duration::from_secs(1))?;
    println!("ready");
    loop {
        forwarder.turn()?;
    }
}

/// Ours in the kernel, with a worker for what it leaves.
fn fast_path(choice: FastPathChoice, interface: &str, load: Load) -> io::Result<()> {
    let limits = limits(load);
    let mut config = Config::dev();
    config.listen = vec![RELAY.parse().map_err(io::Error::other)?];
    (config.sessions, config.pending) = (limits.sessions, limits.pending);
    (config.io, config.workers) = (IoChoice::Mmsg, 1);
    (config.fast_path, config.interface) = (choice, interface.to_owned());
    let BackEnd { mut workers, tables, fast_path, outlet: _outlet, .. } =
        back_end(&config, None).map_err(io::Error::other)?;
    let fast_path = fast_path.ok_or_else(|| io::Error::other("there is no fast path"))?;
    let (owner, _) = sessions(load, limits, tables);
    let io = workers.pop().ok_or(io::ErrorKind::NotFound)?;
    let mut worker = Worker::new(&owner, io);
    worker.start()?;
    let start = StdInstant::now();
    fast_path.begin(owner.forwarding(), start)?;
    if choice == FastPathChoice::Xdp && !is_native(interface)? {
        return Err(io::Error::other("it is not in the driver"));
    }
    println!("ready");
    loop {
        worker.turn(Duration::from_secs(1), || Instant::ZERO + start.elapsed())?;
    }
}

/// Whether the driver itself runs a program at this interface.
fn is_native(interface: &str) -> io::Result<bool> {
    let shown = Command::new("ip").args(["-o", "link", "show", "dev", interface]).output()?;
    Ok(String::from_utf8_lossy(&shown.stdout).contains(" xdp "))
}

/// The world's end, where frames come from: on the other core.
pub(crate) fn source(interface: &str, load: Load) -> io::Result<()> {
    prefer_us();
    pin(1)?;
    let mut programs = load_programs("names", load.destinations)?;
    let mut table: Array<_, u64> = map(&mut programs, "names")?;
    for (n, name) in (0..).zip(&names(load)[..load.destinations as usize]) {
        table.set(n, first_bytes(*name), 0).map_err(io::Error::other)?;
    }
    let mut plans: Array<_, [u8; PLAN_LEN]> = map(&mut programs, "plans")?;
    plans.set(0, plan(interface, load)?, 0).map_err(io::Error::other)?;
    let program = loaded(&mut programs, "source")?;
    println!("ready");
    let frame = [0; HEADERS_LEN + 64];
    loop {
        let options = TestRunOptions {
            data_in: Some(&frame),
            repeat: REPEAT,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        program.test_run(options).map_err(io::Error::other)?;
    }
}

/// The world's end, where frames go to: tells how many came whenever it is asked by a line.
pub(crate) fn sink(interface: &str) -> io::Result<()> {
    let mut programs = load_programs("homes", 1)?;
    let sinks: PerCpuArray<_, [u64; 2]> = map(&mut programs, "sinks")?;
    attach(&mut programs, "sink", interface)?;
    println!("ready");
    for line in io::stdin().lines() {
        line?;
        let each = sinks.get(&0, 0).map_err(io::Error::other)?;
        let sum = |n: usize| each.iter().map(|sunk| sunk[n]).sum::<u64>();
        println!("{} {}", sum(0), sum(1));
    }
    Ok(())
}

fn load_programs(table: &str, len: u32) -> io::Result<Ebpf> {
    EbpfLoader::new()
        .map_max_entries(table, len)
        .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/frames.o")))
        .map_err(io::Error::other)
}

fn map<M: TryFrom<aya::maps::Map, Error: Into<Box<dyn core::error::Error + Send + Sync>>>>(
    programs: &mut Ebpf,
    name: &str,
) -> io::Result<M> {
    let map = programs.take_map(name).ok_or(io::ErrorKind::NotFound)?;
    map.try_into().map_err(io::Error::other)
}

fn loaded<'p>(programs: &'p mut Ebpf, name: &str) -> io::Result<&'p mut Xdp> {
    let program = programs.program_mut(name).ok_or(io::ErrorKind::NotFound)?;
    let program: &mut Xdp = program.try_into().map_err(io::Error::other)?;
    program.load().map_err(io::Error::other)?;
    Ok(program)
}

/// For as long as `programs` lives.
fn attach(programs: &mut Ebpf, name: &str, interface: &str) -> io::Result<()> {
    loaded(programs, name)?.attach(interface, XdpMode::Driver).map_err(io::Error::other)?;
    Ok(())
}

/// `struct plan`.
fn plan(interface: &str, load: Load) -> io::Result<[u8; PLAN_LEN]> {
    let relay: SocketAddr = RELAY.parse().map_err(io::Error::other)?;
    let SocketAddr::V4(relay) = relay else { return Err(io::ErrorKind::Unsupported.into()) };
    let source = Ipv4Addr::from(SOURCE);
    let mut headers = Vec::new();
    headers.extend(hardware(*relay.ip()));
    headers.extend(hardware(source));
    headers.extend([0x08, 0x00, 0x45, 0x00, 0, 20 + 8 + 64, 0, 0, 0x40, 0x00, 64, 17, 0, 0]);
    headers.extend(source.octets());
    headers.extend(relay.ip().octets());
    let words = headers[14..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    headers[24..26].copy_from_slice(&checksum.to_be_bytes());
    // The source's port comes later. Without a checksum, which UDP over IPv4 need not have: neither
    // side of the comparison computes one.
    headers.extend([0, 0]);
    headers.extend(relay.port().to_be_bytes());
    headers.extend([0, 8 + 64, 0, 0]);
    let number = std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"))?;
    let number: u32 = number.trim().parse().map_err(io::Error::other)?;
    let nanoseconds = match load.a_second {
        0 => 0,
        a_second => (u64::from(BURST) * 1_000_000_000 / u64::from(a_second)) as u32,
    };
    let mut plan = headers;
    plan.extend(SENDER_PORT.to_ne_bytes());
    plan.extend((SENDERS as u16).to_ne_bytes());
    plan.extend([0, 0]);
    for word in [number, load.destinations, load.at_once, nanoseconds] {
        plan.extend(word.to_ne_bytes());
    }
    plan.resize(PLAN_LEN, 0);
    plan.try_into().map_err(|_| io::Error::other("a plan of another length"))
}

/// `struct home`.
fn home(address: SocketAddr) -> u64 {
    let SocketAddr::V4(v4) = address else { return 0 };
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&v4.ip().octets());
    bytes[4..6].copy_from_slice(&v4.port().to_be_bytes());
    u64::from_ne_bytes(bytes)
}

/// What a datagram to this session begins with.
fn first_bytes(name: SessionId) -> u64 {
    let mut bytes = [0x80; 8];
    bytes[1..].copy_from_slice(&name.to_bytes());
    u64::from_ne_bytes(bytes)
}

fn wait_for_ever() -> io::Result<()> {
    loop {
        std::thread::park();
    }
}

/// Ethernet, IPv4 and UDP.
const HEADERS_LEN: usize = 42;
const PLAN_LEN: usize = 80;
/// As in frames.c.
const BURST: u32 = 32;
/// Frames between two looks for signals are fewer; frames in one call.
const REPEAT: u32 = 1 << 24;
const BATCH: u32 = 64;
