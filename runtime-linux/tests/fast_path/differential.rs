//! The same packets, well-meant and hostile, through `core::relay::Forwarder` and through the
//! programs in the kernel: verdicts, destinations, bytes, counters, and every word of the tables.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use waylane_core::id::PublicKey;
use waylane_core::noise::KeyPair;
use waylane_core::relay::{
    Budget, Control, DropReason, Forwarder, Forwarding, HashKey, HotEntry, IndexBucket, Pending,
    RelayConfig, RelayLimits, RelayMemory, Session, Tables, Verdict,
};
use waylane_core::time::Instant;
use waylane_crypto::Seeded;
use waylane_crypto::ring::Ring;
use waylane_relay::{FastPathCounters, SharedTables};
use waylane_runtime_linux::ebpf::{Hook, NextHop, Outcome, Place, Plan, Prefix, Program};

use crate::frames::{Checksum, Frame, plain, pseudo_sum, sum};

#[test]
fn xdp_does_what_the_forwarder_does() {
    everything_is_the_same(Hook::XdpNative);
}

#[test]
fn tc_does_what_the_forwarder_does() {
    everything_is_the_same(Hook::Tc);
}

/// The C program looks for an address in the two buckets of the vectors, and in no other.
#[test]
fn addresses_stand_where_the_vectors_say() {
    let vectors = include_str!("../../../vectors/relay_index.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let mut world = World::new(Hook::XdpNative, 0);
    let key = HashKey::from_bytes(core::array::from_fn(|i| i as u8));
    world.program.begin(Forwarding { key, ..world.forwarding }, world.zero).unwrap();
    let kernel = world.kernel.clone();
    let (hot, index) = (kernel.tables().hot, kernel.tables().index);
    assert_eq!(index.len() as u64, vectors["buckets"].as_u64().unwrap());
    for vector in vectors["addresses"].as_array().unwrap() {
        let address: SocketAddr = vector["address"].as_str().unwrap().parse().unwrap();
        let bytes: Vec<u8> = (0..24)
            .map(|at| u8::from_str_radix(&vector["bytes"].as_str().unwrap()[2 * at..][..2], 16))
            .collect::<Result<_, _>>()
            .unwrap();
        let entry = view(&hot[7]);
        for (word, bytes) in entry[2..6].iter().zip(bytes.as_chunks().0) {
            word.store(u32::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        let family: u32 = if address.is_ipv4() { 4 } else { 6 };
        entry[6].store(family << 16 | u32::from(address.port()), Ordering::Relaxed);
        let fingerprint = u32::from_str_radix(vector["fingerprint"].as_str().unwrap(), 16).unwrap();
        let mut payload = vec![0x80; 40];
        payload[1..4].fill(0xff);
        let place = place();
        let frame = Frame {
            to_mac: place.mac,
            from_mac: place.mac,
            from: address,
            to: place.addresses[usize::from(address.is_ipv6())].unwrap(),
            service: 0,
            hops: 1,
            payload,
            checksum: Checksum::Right,
        };
        for (number, bucket) in index.iter().enumerate() {
            for other in index {
                view_bucket(other).iter().for_each(|word| word.store(0, Ordering::Relaxed));
            }
            let words = view_bucket(bucket);
            words[2 * (number % 8)].store(fingerprint, Ordering::Relaxed);
            words[2 * (number % 8) + 1].store(8, Ordering::Relaxed);
            // Who is found is told that there is no such destination.
            let is_there = [&vector["first"], &vector["second"]].contains(&&number.into());
            let expected = if is_there { Outcome::Drop } else { Outcome::Pass };
            let outcome = world.program.run(Hook::XdpNative, &frame.bytes(), 0).unwrap();
            assert_eq!(outcome, expected, "{address} in {number}");
        }
    }
}

fn everything_is_the_same(hook: Hook) {
    let mut seen = [0; COUNTERS + 1];
    for seed in 0..SEEDS {
        let world = World::new(hook, seed).run();
        for (sum, count) in seen.iter_mut().zip(world) {
            *sum += count;
        }
    }
    assert!(seen.iter().all(|count| *count > 20), "every verdict is met: {seen:?}");
}

/// A relay's sessions in two places: on the heap, for core, and in the kernel's maps.
struct World {
    hook: Hook,
    random: Random,
    program: Program,
    kernel: SharedTables,
    model: Tables<'static>,
    forwarding: Forwarding,
    plan: Plan,
    /// The relay's zero on the kernel's clock.
    zero: Duration,
    sessions: Vec<(SocketAddr, [u8; 7])>,
    seen: [u32; COUNTERS + 1],
}

impl World {
    fn new(hook: Hook, seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
        let limits = RelayLimits { sessions: 61, pending: 64 };
        let mut config = RelayConfig { limits, ..RelayConfig::default() };
        if seed.is_multiple_of(2) {
            config.total = Some(config.budget);
        }
        if seed % 4 < 2 {
            // Dearer than a sender's own.
            config.source = Budget { packets_per_second: 5000, ..config.budget };
        }
        let hot: &[HotEntry] =
            (0..limits.hot_entries()).map(|_| HotEntry::new()).collect::<Vec<_>>().leak();
        let index: &[IndexBucket] =
            (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect::<Vec<_>>().leak();
        let sessions: Box<[Session]> = (0..limits.sessions).map(|_| Session::new()).collect();
        let pending: Box<[Pending]> = (0..limits.pending).map(|_| Pending::new()).collect();
        let memory = RelayMemory { hot, index, sessions, pending };
        let mut crypto = Ring::with_random(Seeded::new(seed));
        let secret = KeyPair::generate(&mut crypto).secret().clone();
        let mut control = Control::new(Instant::ZERO, &config, secret, crypto, memory).unwrap();
        let mut sessions = Vec::new();
        for n in 0..40u8 {
            let address = random.address();
            if sessions.iter().any(|(other, _)| *other == address) {
                continue;
            }
            let id = control.insert(Instant::ZERO, &PublicKey([n; 32]), address).unwrap();
            sessions.push((address, id.to_bytes()));
        }
        let mut program = Program::load(limits).expect("root, and a kernel with eBPF");
        program.verify(hook).unwrap();
        program.place(&place()).unwrap();
        let plan = plan();
        program.mirror(plan.clone()).unwrap();
        // The clock of ticks goes round every 268 s: begin anywhere.
        let zero = now().saturating_sub(Duration::from_millis(random.below(600_000)));
        let forwarding = control.forwarding();
        program.begin(forwarding, zero).unwrap();
        let kernel = program.tables();
        let model = Tables { hot, index };
        let seen = [0; COUNTERS + 1];
        Self { hook, random, program, kernel, model, forwarding, plan, zero, sessions, seen }
    }

    /// How often each verdict was met.
    fn run(mut self) -> [u32; COUNTERS + 1] {
        for _ in 0..CASES {
            let (frame, merged) = self.frame();
            self.shake();
            self.compare(&frame, merged);
        }
        self.seen
    }

    /// Sends one frame both ways.
    fn compare(&mut self, frame: &[u8], merged: u32) {
        let before = words(self.model.hot);
        // What the clock decides while both look is tried again: each try begins the same.
        loop {
            self.restore(&before);
            let counted = self.program.counters().unwrap();
            let early = self.ticks_now();
            let outcome = self.program.run(self.hook, frame, merged).unwrap();
            let late = self.ticks_now();
            let after = words(self.kernel.tables().hot);
            let count = self.program.counters().unwrap();
            let first = self.expect(early, frame, merged);
            let lowest = words(self.model.hot);
            write(self.model.hot, &before);
            let last = self.expect(late, frame, merged);
            let highest = words(self.model.hot);
            write(self.model.hot, &before);
            if first != last {
                continue;
            }
            let (expected, counter) = first;
            assert_eq!(outcome, expected, "{:?} for {frame:02x?}", self.hook);
            let bytes = if expected == Outcome::Pass { 0 } else { payload_len(frame) };
            assert_eq!(count, counted_more(counted, counter, bytes), "for {frame:02x?}");
            for (slot, kernel) in after.iter().enumerate() {
                for (word, kernel) in kernel.iter().enumerate() {
                    let (low, high) = (lowest[slot][word], highest[slot][word]);
                    let within = kernel.wrapping_sub(low) <= high.wrapping_sub(low);
                    assert!(within, "word {word} of {slot}: {kernel}, not {low} to {high}");
                }
            }
            self.seen[counter.map_or(0, |counter| counter as usize + 1)] += 1;
            write(self.model.hot, &after);
            return;
        }
    }

    /// What core makes of a frame at this moment, as the program should.
    fn expect(&self, now: Instant, bytes: &[u8], merged: u32) -> (Outcome, Option<Counter>) {
        let pass = (Outcome::Pass, None);
        let place = place();
        let Some((from, to, udp)) = plain(bytes).filter(|_| merged == 0) else { return pass };
        let checksum = u16::from_be_bytes([bytes[udp + 6], bytes[udp + 7]]);
        let unfinished = checksum == pseudo_sum(bytes, udp);
        if bytes[..6] != place.mac || !place.addresses.contains(&Some(to)) || unfinished {
            return pass;
        }
        let payload = &bytes[udp + 8..];
        if payload.first().is_some_and(|kind| (0x40..=0x42).contains(kind)) && payload.len() >= 8 {
            return pass;
        }
        // A forwarder of its own for what is only asked: nothing is charged for what passes.
        let before = words(self.model.hot);
        let forwarder = Forwarder::new(self.model, self.forwarding);
        let verdict = forwarder.forward(now, from, payload);
        let dropped = |counter| (Outcome::Drop, Some(counter));
        match verdict {
            Verdict::Control | Verdict::Unbound => pass,
            Verdict::Drop(DropReason::Malformed) => dropped(Counter::Malformed),
            Verdict::Drop(_) if self.passes_before(from, payload, bytes) => {
                write(self.model.hot, &before);
                pass
            }
            Verdict::Drop(DropReason::OverBudget) => dropped(Counter::OverBudget),
            Verdict::Drop(DropReason::SourceOverBudget) => dropped(Counter::SourceOverBudget),
            Verdict::Drop(DropReason::DestinationOverBudget) => {
                dropped(Counter::DestinationOverBudget)
            }
            Verdict::Drop(DropReason::TotalOverBudget) => dropped(Counter::TotalOverBudget),
            Verdict::Drop(DropReason::NoDestination) => dropped(Counter::NoDestination),
            Verdict::Drop(DropReason::ToItself) => dropped(Counter::ToItself),
            Verdict::Drop(other) => panic!("{other:?} of data"),
            Verdict::Forward { to: destination } => {
                let Some(mac) = self.way(from, destination, bytes) else {
                    write(self.model.hot, &before);
                    return pass;
                };
                let frame = Frame {
                    to_mac: mac,
                    from_mac: place.mac,
                    from: to,
                    to: destination,
                    service: 0,
                    hops: 64,
                    payload: payload.to_vec(),
                    checksum: Checksum::Right,
                };
                (Outcome::Send(carry_checksum(frame.bytes(), bytes, udp)), Some(Counter::Forwarded))
            }
        }
    }

    /// Whether it is handed on for its destination's sake before any budget is asked.
    fn passes_before(&self, from: SocketAddr, payload: &[u8], bytes: &[u8]) -> bool {
        let id: [u8; 7] = payload[1..8].try_into().unwrap();
        let live = self.sessions.iter().find(|(_, other)| *other == id);
        let live = live.filter(|_| self.is_live(id));
        let own =
            self.sessions.iter().any(|(address, other)| *address == from && other[..3] == id[..3]);
        live.is_some_and(|(to, _)| !own && self.way(from, *to, bytes).is_none())
    }

    fn is_live(&self, id: [u8; 7]) -> bool {
        let slot = u32::from_le_bytes([id[0], id[1], id[2], 0]) as usize;
        let family = view(&self.model.hot[slot])[6].load(Ordering::Relaxed) >> 16;
        family == 4 || family == 6
    }

    /// The next hop's address on the way to `to`, if the program may take it.
    fn way(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Option<[u8; 6]> {
        let length = bytes.len() as u32 - 14;
        if from.is_ipv4() != to.is_ipv4() {
            return None;
        }
        let (_, hop) = self
            .plan
            .routes
            .iter()
            .filter(|(prefix, _)| within(prefix, to.ip()))
            .max_by_key(|(prefix, _)| prefix.length)?;
        match *hop {
            NextHop::ByWorker => None,
            NextHop::Gateway { mac, mtu } => (length <= mtu).then_some(mac),
            NextHop::OnLink { mtu } if length > mtu => None,
            NextHop::OnLink { .. } => self.plan.neighbours.get(&to.ip()).copied(),
        }
    }

    /// A frame, mostly good, and whether it is several merged ones.
    fn frame(&mut self) -> (Vec<u8>, u32) {
        let random = &mut self.random;
        let sender = random.below(self.sessions.len() as u64) as usize;
        let receiver = random.below(self.sessions.len() as u64) as usize;
        let (mut from, _) = self.sessions[sender];
        let (_, id) = self.sessions[receiver];
        let place = place();
        let to = place.addresses[usize::from(from.is_ipv6())].unwrap();
        let len = match random.below(8) {
            0 => random.below(40),
            1 => 1440 + random.below(60),
            _ => 28 + random.below(1445),
        };
        let mut payload: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
        if let Some(head) = payload.first_chunk_mut::<8>() {
            head[0] = 0x80 + random.below(8) as u8;
            head[1..].copy_from_slice(&id);
            match random.below(16) {
                0 => head[0] = random.below(256) as u8,
                1 => head[1 + random.below(7) as usize] ^= 1 << random.below(8),
                2 => head[1..4].copy_from_slice(&61u32.to_le_bytes()[..3]),
                _ => (),
            }
        }
        if random.below(16) == 0 {
            from = random.address_of(from.is_ipv4());
        }
        let mut frame = Frame {
            to_mac: place.mac,
            from_mac: [2, 0, 0, 0, 0, 9],
            from,
            to,
            service: random.below(256) as u8,
            hops: 1 + random.below(255) as u8,
            payload,
            checksum: match random.below(16) {
                0 => Checksum::None,
                1 => Checksum::LeftToHardware,
                2 => Checksum::WrongBy(1 + random.below(0xffff) as u16),
                _ => Checksum::Right,
            },
        };
        match random.below(24) {
            0 => frame.to.set_port(1 + random.below(65_535) as u16),
            1 => frame.to_mac = [0, 0, 0, 0, 0, 9],
            2 => frame.to = SocketAddr::new(frame.from.ip(), frame.to.port()),
            _ => (),
        }
        let mut bytes = frame.bytes();
        match random.below(12) {
            0 => {
                // Something in the headers, the checksum of which may be mended.
                let at = 6 + random.below(56) as usize % (bytes.len() - 6);
                bytes[at] ^= 1 << random.below(8);
                if bytes[12..14] == [0x08, 0x00] && random.below(2) == 0 {
                    bytes[24..26].fill(0);
                    let checksum = !sum(&bytes[14..34]);
                    bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
                }
            }
            1 => {
                // The kernel tries no tc program on less than an IP header.
                let least = if self.hook == Hook::Tc { 54 } else { 14 };
                bytes.truncate(least + random.below(100) as usize);
            }
            2 => bytes.extend([0; 7]),
            3 => {
                // A VLAN's tag.
                bytes.splice(12..12, [0x81, 0x00, 0, 5]);
            }
            _ => (),
        }
        let merged = self.hook == Hook::Tc && self.random.below(20) == 0;
        (bytes, if merged { 100 } else { 0 })
    }

    /// Puts budgets, prices and sessions into other states; some of them are ones that only an
    /// owner in the midst of its work would leave.
    fn shake(&mut self) {
        let now = ticks(self.ticks_now());
        for entry in self.model.hot {
            let words = view(entry);
            for bucket in &words[7..13] {
                let until = match self.random.below(8) {
                    0 => now.wrapping_add(2_000_000),
                    1 => now.wrapping_add(self.forwarding.prices.sender.burst + 8_000_000),
                    2 => now.wrapping_add(self.forwarding.prices.sender.burst + 30_000_000),
                    3 => self.random.below(1 << 32) as u32,
                    _ => now.wrapping_sub(self.random.below(1_000_000) as u32),
                };
                bucket.store(until, Ordering::Relaxed);
            }
            for own in &words[13..15] {
                let price = if self.random.below(8) == 0 { self.random.below(100_000) } else { 0 };
                own.store(price as u32, Ordering::Relaxed);
            }
            let payer = match self.random.below(8) {
                0 => self.random.below(110) as u32,
                1..4 => ACCOUNT | self.random.below(110) as u32,
                _ => 0,
            };
            words[15].store(payer, Ordering::Relaxed);
            // Ends, or comes back.
            if words[6].load(Ordering::Relaxed) & 0xffff != 0 {
                let family = words[6].load(Ordering::Relaxed) & !ENDED;
                let ended = if self.random.below(12) == 0 { ENDED } else { 0 };
                words[6].store(family | ended, Ordering::Relaxed);
            }
        }
    }

    /// Makes both tables the same.
    fn restore(&self, hot: &[[u32; 16]]) {
        write(self.model.hot, hot);
        write(self.kernel.tables().hot, hot);
        for (to, from) in self.kernel.tables().index.iter().zip(self.model.index) {
            for (to, from) in view_bucket(to).iter().zip(view_bucket(from)) {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    fn ticks_now(&self) -> Instant {
        Instant::ZERO + now().saturating_sub(self.zero)
    }
}

/// Where the program counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Counter {
    Forwarded,
    Malformed,
    OverBudget,
    SourceOverBudget,
    DestinationOverBudget,
    NoDestination,
    ToItself,
    TotalOverBudget,
}

fn counted_more(
    before: FastPathCounters,
    counter: Option<Counter>,
    bytes: u64,
) -> FastPathCounters {
    let mut after = before;
    let counters = &mut after.forward;
    if counter.is_some() {
        after.received_bytes += bytes;
    }
    if counter == Some(Counter::Forwarded) {
        counters.forwarded_bytes += bytes;
    }
    match counter {
        None => (),
        Some(Counter::Forwarded) => counters.forwarded += 1,
        Some(Counter::Malformed) => counters.malformed += 1,
        Some(Counter::OverBudget) => counters.over_budget += 1,
        Some(Counter::SourceOverBudget) => counters.source_over_budget += 1,
        Some(Counter::DestinationOverBudget) => counters.destination_over_budget += 1,
        Some(Counter::TotalOverBudget) => counters.total_over_budget += 1,
        Some(Counter::NoDestination) => counters.no_destination += 1,
        Some(Counter::ToItself) => counters.to_itself += 1,
    }
    after
}

/// `right`, with a checksum that is as right or as wrong as that of `bytes` was.
fn carry_checksum(mut right: Vec<u8>, bytes: &[u8], udp: usize) -> Vec<u8> {
    let field = |bytes: &[u8]| u16::from_be_bytes([bytes[udp + 6], bytes[udp + 7]]);
    let was = field(bytes);
    if was == 0 {
        right[udp + 6..udp + 8].fill(0);
        return right;
    }
    // The sum over everything is -0 where it is right; what it is off by, it stays off by.
    let total = |bytes: &[u8]| {
        let pseudo = pseudo_sum(bytes, udp);
        sum(&bytes[udp..]).carrying(pseudo)
    };
    let off = total(bytes);
    let mut without = right.clone();
    without[udp + 6..udp + 8].fill(0);
    let rest = total(&without);
    // field + rest = off, in ones' complement.
    let value = off.carrying(!rest);
    let value = if value == 0 { 0xffff } else { value };
    right[udp + 6..udp + 8].copy_from_slice(&value.to_be_bytes());
    right
}

/// Addition in ones' complement.
trait Carrying {
    fn carrying(self, other: Self) -> Self;
}

impl Carrying for u16 {
    fn carrying(self, other: Self) -> Self {
        let sum = u32::from(self) + u32::from(other);
        ((sum & 0xffff) + (sum >> 16)) as Self
    }
}

fn payload_len(frame: &[u8]) -> u64 {
    let (_, _, udp) = plain(frame).unwrap();
    (frame.len() - udp - 8) as u64
}

fn place() -> Place {
    Place {
        ifindex: 1,
        // As the loopback interface's, at which the kernel tries tc programs.
        mac: [0; 6],
        addresses: [
            Some("198.18.0.1:4433".parse().unwrap()),
            Some("[2001:2::1]:4434".parse().unwrap()),
        ],
    }
}

/// A default route, a link with one neighbour known, and a part of it by the worker.
fn plan() -> Plan {
    let gateway = NextHop::Gateway { mac: [2, 0, 0, 0, 0, 1], mtu: 1480 };
    let small = NextHop::Gateway { mac: [2, 0, 0, 0, 0, 2], mtu: 700 };
    let on_link = NextHop::OnLink { mtu: 1490 };
    let prefix = |text: &str, length| Prefix { address: text.parse().unwrap(), length };
    Plan {
        routes: [
            (prefix("0.0.0.0", 0), gateway),
            (prefix("198.18.0.0", 29), on_link),
            (prefix("198.18.0.16", 28), small),
            (prefix("198.18.0.24", 29), NextHop::ByWorker),
            (prefix("::", 0), gateway),
            (prefix("2001:2::", 125), on_link),
            (prefix("2001:2::10", 124), small),
            (prefix("2001:2::18", 125), NextHop::ByWorker),
        ]
        .into(),
        neighbours: (2..5)
            .flat_map(|n| [host(true, n), host(false, n)].map(|ip| (ip, [2, 0, 0, 0, 1, n])))
            .collect(),
        unsure: Vec::new(),
    }
}

fn within(prefix: &Prefix, ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (32, u128::from(ip.to_bits()) << 96),
        IpAddr::V6(ip) => (128, ip.to_bits()),
    };
    let ((width, network), (other, ip)) = (bits(prefix.address), bits(ip));
    let shift = 128 - u32::from(prefix.length);
    width == other && (network ^ ip).checked_shr(shift).unwrap_or_default() == 0
}

fn host(v4: bool, n: u8) -> IpAddr {
    if v4 {
        IpAddr::V4(Ipv4Addr::new(198, 18, 0, n))
    } else {
        IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, n.into()))
    }
}

/// The kernel's monotonic clock.
fn now() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a struct of this very type.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) }, 0);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn ticks(now: Instant) -> u32 {
    (now.as_micros() * 16) as u32
}

fn words(hot: &[HotEntry]) -> Vec<[u32; 16]> {
    let load = |entry| {
        let words = view(entry);
        core::array::from_fn(|n| words[n].load(Ordering::Relaxed))
    };
    hot.iter().map(load).collect()
}

fn write(hot: &[HotEntry], words: &[[u32; 16]]) {
    for (entry, words) in hot.iter().zip(words) {
        for (to, from) in view(entry).iter().zip(words) {
            to.store(*from, Ordering::Relaxed);
        }
    }
}

fn view(entry: &HotEntry) -> &[AtomicU32; 16] {
    // SAFETY: an entry is sixteen `AtomicU32` in order (`repr(C)`; core pins where each is).
    unsafe { &*core::ptr::from_ref(entry).cast() }
}

fn view_bucket(bucket: &IndexBucket) -> &[AtomicU32; 16] {
    // SAFETY: as above: eight pairs of `AtomicU32`.
    unsafe { &*core::ptr::from_ref(bucket).cast() }
}

/// Numbers from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn address(&mut self) -> SocketAddr {
        let v4 = self.below(2) == 0;
        self.address_of(v4)
    }

    fn address_of(&mut self, v4: bool) -> SocketAddr {
        let n = 2 + self.below(30) as u8;
        SocketAddr::new(host(v4, n), 1 + self.below(3) as u16)
    }
}

const ACCOUNT: u32 = 1 << 31;
const ENDED: u32 = 1 << 31;
const COUNTERS: usize = Counter::TotalOverBudget as usize + 1;
const SEEDS: u64 = 4;
const CASES: u32 = 2500;
