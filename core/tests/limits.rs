//! `docs/limits.md` says what the code does: its tables are read and compared, so that neither can
//! change without the other.
// The page's sizes are those of the machines that most programs run on.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
// Helpers here are parts of tests too; the lint knows only functions marked as such.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use waylane_core::channel::{BLOCK_DATA, ChannelLimits};
use waylane_core::endpoint::{Config, Endpoint, SendRate};
use waylane_core::fleet::SignedDirectory;
use waylane_core::limits::{Limits, LimitsError};
use waylane_core::memory::Lender;
use waylane_core::pool::Quota;
use waylane_core::protection::{
    ControlWindow, PacketWindow, SEAL_LIMIT, UPDATE_INTERVAL, UPDATE_PACKETS,
};
use waylane_core::recovery::{
    INITIAL_WINDOW, MAX_ACK_DELAY, MAX_PATHS, MAX_RANGES, PATIENT_ACK_DELAY,
};
use waylane_core::relay::{
    HotEntry, IndexBucket, Pending, RelayConfig, RelayLimits, SESSION_BYTES, Session,
};
use waylane_core::time::Instant;
use waylane_core::wire::DATAGRAM_LEN_MAX;
use waylane_crypto::Seeded;
use waylane_crypto::ring::Ring;

const PAGE: &str = include_str!("../../docs/limits.md");

type Provider = Ring<Seeded>;

#[test]
fn every_limit_of_a_relay_names_a_test_that_there_is() {
    let (_, after) = PAGE.split_once("and by which test").unwrap();
    let table = after.split("\n## ").next().unwrap();
    let tests =
        [include_str!("relay.rs"), include_str!("relay_limits.rs"), include_str!("tokens/main.rs")];
    let named: Vec<_> = table.split('`').skip(1).step_by(2).collect();
    let named: Vec<_> = named.into_iter().filter(|name| name.matches('_').count() > 3).collect();
    assert!(named.len() >= 19, "{named:?}");
    for name in named {
        let test = format!("#[test]\nfn {name}() {{");
        assert!(tests.iter().any(|file| file.contains(&test)), "there is no test {name}");
    }
}

#[test]
fn defaults_and_constants_are_as_documented() {
    let documented = numbers(|heading| !heading.starts_with("Memory"));
    let code: BTreeMap<String, u64> = endpoint_settings()
        .into_iter()
        .chain(constants())
        .chain(relay_settings())
        .map(|(name, value)| (name.to_owned(), value))
        .chain(channel_limits())
        .collect();
    assert_eq!(documented, code);
}

#[test]
fn an_endpoint_borrows_what_the_page_says() {
    let documented = numbers(|heading| heading == "Memory of an endpoint");
    for peers in [1, 3, 64, 1000] {
        let limits = Limits::for_peers(peers);
        let (slices, counts) = (lent(limits), counts(&limits));
        assert_eq!(slices.len(), counts.len());
        for (slice, (name, count)) in slices.into_iter().zip(counts) {
            assert!(slice.type_name.contains(short(name)), "{name}: {}", slice.type_name);
            assert_eq!(slice.len as u64, count, "{name} for {peers} peers");
            let page = documented[name];
            let size = slice.size as u64;
            // Prepared keys differ from machine to machine.
            let slack = if ["Peer", "RelaySlot"].contains(&name) { page / 10 } else { 0 };
            assert!(size.abs_diff(page) <= slack, "{name} is {size} bytes, the page says {page}");
        }
    }
}

#[test]
fn an_idle_peer_takes_at_most_8_kib() {
    let slices = lent(Limits::for_peers(1));
    let peer = slices.iter().find(|slice| slice.type_name.contains("::Peer")).unwrap();
    assert!(peer.size <= 8 * 1024, "{}", peer.size);
}

#[test]
fn the_sums_are_right() {
    let documented = numbers(|heading| heading == "Memory of an endpoint");
    let close = |size: usize, name: &str| {
        let page = documented[name];
        assert!((size as u64).abs_diff(page) <= page / 100, "{name}: {size}, the page says {page}");
    };
    let bytes = |limits| lent(limits).iter().map(|slice| slice.size * slice.len).sum::<usize>();
    let (one, two) = (bytes(Limits::for_peers(64)), bytes(Limits::for_peers(128)));
    let each = (two - one) / 64;
    close(one, "64 peers");
    close(each, "each peer, by default");
    close(one - 64 * each, "shared, by default");
    close(bytes(Limits::for_peers(1)), "for_peers(1)");

    let small = |peers| {
        let mut limits = Limits::for_peers(peers);
        limits.channels.message_reliable_max = 16 * 1024;
        limits.channels.message_unreliable_max = 16 * 1024;
        limits.channels.send_blocks.guaranteed = 38;
        assert_eq!(limits.check(), Ok(()));
        bytes(limits)
    };
    let each = (small(128) - small(64)) / 64;
    let sentence = PAGE.lines().find(|line| line.contains("a peer costs")).unwrap();
    let page = number(sentence.split("a peer costs ").nth(1).unwrap()).unwrap();
    assert!((each as u64).abs_diff(page) <= page / 100, "{each}, the page says {page}");
}

#[test]
fn a_relay_costs_what_the_page_says() {
    let documented = numbers(|heading| heading == "Memory of a relay");
    let limits = RelayLimits::default();
    let sessions = limits.sessions as usize;
    let by_default = limits.hot_entries() * size_of::<HotEntry>()
        + sessions * size_of::<Session>()
        + limits.index_buckets() * size_of::<IndexBucket>()
        + limits.pending as usize * size_of::<Pending>();
    let code = [
        ("HotEntry", size_of::<HotEntry>()),
        ("Session", size_of::<Session>()),
        ("IndexBucket", size_of::<IndexBucket>()),
        ("Pending", size_of::<Pending>()),
        ("each session", SESSION_BYTES),
        ("by default", by_default),
    ];
    let code = code.map(|(name, size)| (name.to_owned(), size as u64));
    assert_eq!(documented, BTreeMap::from(code));
}

#[test]
fn blocks_for_is_the_formula_of_the_page() {
    let blocks_for = |bytes: u32| (bytes + 8).div_ceil(BLOCK_DATA as u32) + 1;
    for message_reliable_max in [1, 500, 508, 4096, 65_536, 262_144, 1 << 24] {
        let limits = ChannelLimits { message_reliable_max, ..ChannelLimits::DEFAULT };
        assert_eq!(limits.completion_blocks(), blocks_for(message_reliable_max));
    }
    assert_eq!(ChannelLimits::DEFAULT.window_initial, blocks_for(256 * 1024));
    let smallest = Limits::DEFAULT.channels.receive_blocks.guaranteed / 8;
    assert_eq!(smallest, blocks_for(1024));
}

#[test]
fn both_ends_of_each_documented_range_hold() {
    let check = |change: Change| {
        let mut limits = Limits::DEFAULT;
        change(&mut limits);
        limits.check()
    };
    let channels = Err(LimitsError::Channels);
    let fine: [Change; 9] = [
        |l| *l = Limits::for_peers(15_000),
        |l| *l = Limits::for_peers(1),
        |l| l.relays = 64,
        |l| l.relays = 1,
        |l| l.requests = 0,
        |l| l.sent_packets = 16,
        |l| l.channels.sent_nodes.guaranteed = 8,
        |l| l.channels.window_initial = 4,
        |l| l.channels.send_blocks.peer_max = 1_048_576,
    ];
    for (n, change) in fine.into_iter().enumerate() {
        assert_eq!(check(change), Ok(()), "{n}");
    }
    let wrong: [(Change, _); 15] = [
        (|l| *l = Limits::for_peers(15_001), Err(LimitsError::Peers)),
        (|l| *l = Limits::for_peers(0), Err(LimitsError::Peers)),
        (|l| l.relays = 0, Err(LimitsError::Relays)),
        (|l| l.relays = 65, Err(LimitsError::Relays)),
        (|l| l.requests = 17, Err(LimitsError::Requests)),
        (|l| l.sent_packets = 15, Err(LimitsError::SentPackets)),
        (|l| l.channels.peers_max = 63, channels),
        (|l| l.channels.message_reliable_max = 16_777_217, channels),
        (|l| l.channels.message_unreliable_max = 0, channels),
        (|l| l.channels.send_blocks.guaranteed = 517, channels),
        (|l| l.channels.receive_blocks.guaranteed = 4 * 4 - 1, channels),
        (|l| l.channels.receive_blocks.peer_max = 4 * 256 - 1, channels),
        (|l| l.channels.sent_nodes.guaranteed = 7, channels),
        (|l| l.channels.window_initial = 3, channels),
        (|l| l.channels.window_max = 1_048_577, channels),
    ];
    for (n, (change, expected)) in wrong.into_iter().enumerate() {
        assert_eq!(check(change), expected, "{n}");
    }
}

type Change = fn(&mut Limits);

/// One slice that an endpoint borrowed.
struct Slice {
    type_name: &'static str,
    size: usize,
    len: usize,
}

/// A heap that keeps a list of what it lent.
struct Ledger(Vec<Slice>);

impl Lender for Ledger {
    type Slice<T> = Box<[T]>;

    fn lend<T>(&mut self, len: usize, make: fn() -> T) -> Box<[T]> {
        let type_name = core::any::type_name::<T>();
        self.0.push(Slice { type_name, size: size_of::<T>(), len });
        (0..len).map(|_| make()).collect()
    }
}

fn lent(limits: Limits) -> Vec<Slice> {
    let mut ledger = Ledger(Vec::new());
    let mut config = Config::default();
    config.limits = limits;
    let crypto = Provider::with_random(Seeded::new(1));
    let endpoint = Endpoint::new(Instant::ZERO, &config, crypto, &mut ledger);
    assert!(endpoint.is_ok());
    ledger.0
}

/// What "how many" says on the page, in the order of its lines.
fn counts(limits: &Limits) -> [(&'static str, u64); 11] {
    let channels = &limits.channels;
    let peers = u64::from(limits.peers);
    let of = |quota: &Quota| u64::from(quota.guaranteed) * peers + u64::from(quota.shared);
    let completion = u64::from(channels.completion_blocks()) * peers;
    [
        ("Peer", peers),
        ("IndexSlot", (2 * peers).next_power_of_two()),
        ("DeadlineSlot", peers),
        ("RelaySlot", limits.relays.into()),
        ("RequestSlot", limits.requests.into()),
        ("ChannelSlot", of(&channels.slots)),
        ("Block (sending)", of(&channels.send_blocks)),
        ("Block (receiving)", of(&channels.receive_blocks) + completion),
        ("Node", of(&channels.sent_nodes) + of(&channels.range_nodes)),
        ("SentSlot", limits.sent_packets.into()),
        ("u8 (signed lists)", 2 * SignedDirectory::len_max(limits.relays.into()) as u64),
    ]
}

fn endpoint_settings() -> Vec<(&'static str, u64)> {
    let config = Config::default();
    let SendRate::Adaptive { bytes_per_second_min, bytes_per_second_max } = config.rate else {
        panic!("{:?}", config.rate)
    };
    vec![
        ("idle_timeout", config.idle_timeout.as_secs()),
        ("connect_timeout", config.connect_timeout.as_secs()),
        ("rate.bytes_per_second_min", bytes_per_second_min),
        ("rate.bytes_per_second_max", bytes_per_second_max),
        ("relays.sessions_max", config.relays.sessions_max.into()),
        ("peers", config.limits.peers.into()),
        ("relays", config.limits.relays.into()),
        ("requests", config.limits.requests.into()),
        ("sent_packets", config.limits.sent_packets.into()),
    ]
}

fn channel_limits() -> Vec<(String, u64)> {
    // Taken apart, so that a new limit does not compile until the page has it.
    let ChannelLimits {
        peers_max,
        message_reliable_max,
        message_unreliable_max,
        send_blocks,
        receive_blocks,
        sent_nodes,
        range_nodes,
        slots,
        window_initial,
        window_max,
    } = Limits::DEFAULT.channels;
    let quotas = [
        ("send_blocks", send_blocks),
        ("receive_blocks", receive_blocks),
        ("sent_nodes", sent_nodes),
        ("range_nodes", range_nodes),
        ("slots", slots),
    ];
    let single = [
        ("peers_max", peers_max),
        ("message_reliable_max", message_reliable_max),
        ("message_unreliable_max", message_unreliable_max),
        ("window_initial", window_initial),
        ("window_max", window_max),
    ];
    let of_quota = |(name, quota): (&str, Quota)| {
        let Quota { guaranteed, shared, peer_max } = quota;
        [("guaranteed", guaranteed), ("shared", shared), ("peer_max", peer_max)]
            .map(|(part, value)| (format!("{name}.{part}"), value.into()))
    };
    let single = single.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    quotas.into_iter().flat_map(of_quota).chain(single).collect()
}

fn constants() -> Vec<(&'static str, u64)> {
    vec![
        ("DATAGRAM_LEN_MAX", DATAGRAM_LEN_MAX as u64),
        ("BLOCK_DATA", BLOCK_DATA as u64),
        ("MAX_PATHS", MAX_PATHS as u64),
        ("MAX_RANGES", MAX_RANGES as u64),
        ("PacketWindow::SIZE", PacketWindow::SIZE),
        ("ControlWindow::SIZE", ControlWindow::SIZE),
        ("INITIAL_WINDOW", INITIAL_WINDOW),
        ("MAX_ACK_DELAY", MAX_ACK_DELAY.as_millis() as u64),
        ("PATIENT_ACK_DELAY", PATIENT_ACK_DELAY.as_millis() as u64),
        ("UPDATE_PACKETS", UPDATE_PACKETS),
        ("UPDATE_INTERVAL", UPDATE_INTERVAL.as_secs()),
        ("SEAL_LIMIT", SEAL_LIMIT),
    ]
}

fn relay_settings() -> Vec<(&'static str, u64)> {
    let config = RelayConfig::default();
    vec![
        ("limits.sessions", config.limits.sessions.into()),
        ("limits.pending", config.limits.pending.into()),
        ("budget.packets_per_second", config.budget.packets_per_second.into()),
        ("budget.bytes_per_second", config.budget.bytes_per_second.into()),
        ("budget.burst_ms", config.budget.burst_ms.into()),
        ("source.packets_per_second", config.source.packets_per_second.into()),
        ("source.bytes_per_second", config.source.bytes_per_second.into()),
        ("source.burst_ms", config.source.burst_ms.into()),
        ("destination.packets_per_second", config.destination.packets_per_second.into()),
        ("destination.bytes_per_second", config.destination.bytes_per_second.into()),
        ("destination.burst_ms", config.destination.burst_ms.into()),
        ("handshakes.sender.per_second", config.handshakes.sender.per_second.into()),
        ("handshakes.sender.burst", config.handshakes.sender.burst.into()),
        ("handshakes.source.per_second", config.handshakes.source.per_second.into()),
        ("handshakes.source.burst", config.handshakes.source.burst.into()),
        ("handshakes.destination.per_second", config.handshakes.destination.per_second.into()),
        ("handshakes.destination.burst", config.handshakes.destination.burst.into()),
        ("sessions_per_source", config.sessions_per_source.into()),
        ("sessions_per_subject", config.sessions_per_subject.into()),
        ("lifetime", config.lifetime.as_secs()),
        ("keep_alive", config.keep_alive.as_secs()),
        ("ticket_lifetime", config.ticket_lifetime.as_secs()),
        ("answers.total.per_second", config.answers.total.per_second.into()),
        ("answers.total.burst", config.answers.total.burst.into()),
        ("answers.per_prefix.per_second", config.answers.per_prefix.per_second.into()),
        ("answers.per_prefix.burst", config.answers.per_prefix.burst.into()),
        ("binds.total.per_second", config.binds.total.per_second.into()),
        ("binds.total.burst", config.binds.total.burst.into()),
        ("binds.per_prefix.per_second", config.binds.per_prefix.per_second.into()),
        ("binds.per_prefix.burst", config.binds.per_prefix.burst.into()),
    ]
}

/// First and second column of the page's tables under headings that are `wanted`.
fn numbers(wanted: impl Fn(&str) -> bool) -> BTreeMap<String, u64> {
    let mut heading = "";
    let mut found = BTreeMap::new();
    for line in PAGE.lines() {
        heading = line.strip_prefix("## ").unwrap_or(heading);
        let mut cells = line.split('|').skip(1).map(str::trim);
        if let (Some(name), Some(value)) = (cells.next(), cells.next().and_then(number))
            && wanted(heading)
        {
            let name = name.replace('`', "");
            assert_eq!(found.insert(name, value), None, "twice on the page: {line}");
        }
    }
    assert!(!found.is_empty());
    found
}

/// The number that `text` begins with, with commas between thousands.
fn number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(text.len());
    text[..end].replace(',', "").parse().ok()
}

fn short(name: &str) -> &str {
    name.split(' ').next().unwrap()
}
