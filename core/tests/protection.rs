//! Packet protection: our own vectors, key update, what forgeries and reordering do.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod crypto_support;

use core::time::Duration;

use crypto_support::{
    SUITES, from_hex, hex, key_from_hex, over_every_provider, read_vectors, suite_named,
    vectors_path,
};
use serde_json::{Value, json};
use waylane_core::crypto::{Crypto, Secret, Suite, TAG_LEN};
use waylane_core::id::{PacketNumber, PeerId, PublicKey};
use waylane_core::noise::{
    Mac, initiation_mac, mac_key, resume_keys, resume_request_key, resumption_secret,
};
use waylane_core::protection::{
    KeyPhase, Opened, Packet, PacketKeys, RejectedPacket, UPDATE_INTERVAL, UpdateTooEarly,
};
use waylane_core::time::Instant;
use waylane_crypto::Seeded;
use waylane_crypto::pure::Pure;
use waylane_crypto::ring::Ring;

over_every_provider!(
    the_committed_vectors_hold,
    the_committed_vectors_open,
    packets_open_both_ways_in_any_order,
    an_update_is_followed,
    both_may_update_at_once,
    many_updates_in_turn,
    overtaken_packets_open_while_the_old_key_is_kept,
    an_update_waits_for_the_last_one,
    updates_fall_due_by_time,
    forgeries_change_nothing,
    macs_compare_whole,
);

/// Run with `WAYLANE_WRITE_VECTORS=1` to write the file anew after a change of the wire format.
fn the_committed_vectors_hold<C: Crypto>() {
    let vectors = generate_vectors::<C>();
    if std::env::var_os("WAYLANE_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
        std::fs::write(vectors_path(VECTORS), text).unwrap();
    }
    assert_eq!(vectors, read_vectors(VECTORS));
}

fn the_committed_vectors_open<C: Crypto>() {
    let vectors = read_vectors(VECTORS);
    for connection in vectors["packets"].as_array().unwrap() {
        let suite = suite_named(connection["suite"].as_str().unwrap());
        let key = Secret(key_from_hex(&connection["key"]));
        let mut keys = PacketKeys::<C>::new(suite, &Secret([0; 32]), &key, Instant::ZERO);
        for packet in connection["packets"].as_array().unwrap() {
            let ad = from_hex(&packet["associated_data"]);
            let mut buffer = from_hex(&packet["sealed"]);
            let plain = from_hex(&packet["plain"]);
            let packet = Packet {
                phase: KeyPhase(ad[0] & 4 != 0),
                number: PacketNumber(packet["number"].as_u64().unwrap()),
                ad: &ad,
            };
            keys.open(Instant::ZERO, KEEP, &packet, &mut buffer).unwrap();
            assert_eq!(buffer[..plain.len()], plain);
        }
    }
}

fn generate_vectors<C: Crypto>() -> Value {
    json!({
        "source": "Written by core/tests/protection.rs; all bytes are hexadecimal.",
        "packets": SUITES.map(generate_packets::<C>),
        "derived": generate_derived::<C>(),
    })
}

/// wire.md §1.1 and §1.3: three packets in phase 0, two in phase 1.
fn generate_packets<C: Crypto>(suite: Suite) -> Value {
    let key: [u8; 32] = core::array::from_fn(|i| i as u8);
    let mut keys = PacketKeys::<C>::new(suite, &Secret(key), &Secret(key), Instant::ZERO);
    let mut packets = vec![];
    for (index, number) in [0, 1, 0x1234, 0x1235, 0x0123_4567].into_iter().enumerate() {
        if index == 3 {
            keys.acknowledged(PacketNumber(0x1234));
            keys.update(Instant::ZERO).unwrap();
        }
        // First byte with a packet number of 4 bytes, connection index 0x0201, the number.
        let first = 0x83 | u8::from(keys.key_phase().0) << 2;
        let ad = [&[first, 0x01, 0x02][..], &(number as u32).to_be_bytes()].concat();
        let plain: Vec<u8> = (0..index * 11 + 1).map(|i| 0xa0 ^ i as u8).collect();
        let mut buffer = [&plain[..], &[0; TAG_LEN]].concat();
        keys.seal(PacketNumber(number), &ad, &mut buffer).unwrap();
        packets.push(json!({
            "number": number,
            "associated_data": hex(&ad),
            "plain": hex(&plain),
            "sealed": hex(&buffer),
        }));
    }
    json!({ "suite": format!("{suite:?}"), "key": hex(&key), "packets": packets })
}

/// wire.md §1.2 and §3.
fn generate_derived<C: Crypto>() -> Value {
    let (secret, peer) = (Secret([1; 32]), PeerId::new(0x0102_0304_0506_0708).unwrap());
    let by_pair = mac_key::<C>(&secret.0, peer);
    let by_invite = mac_key::<C>(&[2; 16], peer);
    let mac = initiation_mac::<C>(&by_pair, b"before", b"after", &PublicKey([3; 32]));
    let resumption = resumption_secret::<C>(&Secret([5; 32]));
    let request = resume_request_key::<C>(&resumption, &[6; 16]);
    let keys = resume_keys::<C>(&resumption, &[6; 16], &[7; 16]);
    json!({
        "static_static": hex(&secret.0),
        "initiator": hex(&peer.get().to_le_bytes()),
        "mac_key": hex(&by_pair.0),
        "invite_secret": hex(&[2; 16]),
        "mac_key_of_invite": hex(&by_invite.0),
        "mac_before": hex(b"before"),
        "mac_after": hex(b"after"),
        "mac_receiver": hex(&[3; 32]),
        "mac": hex(&mac.0),
        "bind_peer_to_relay": hex(&[5; 32]),
        "resumption_secret": hex(&resumption.0),
        "resume_nonce": hex(&[6; 16]),
        "resume_request_key": hex(&request.0),
        "resumed_nonce": hex(&[7; 16]),
        "resume_peer_to_relay": hex(&keys.peer_to_relay.0),
        "resume_relay_to_peer": hex(&keys.relay_to_peer.0),
        "next_resumption_secret": hex(&keys.resumption.0),
    })
}

fn packets_open_both_ways_in_any_order<C: Crypto>() {
    for suite in SUITES {
        let (mut a, mut b) = pair::<C>(suite);
        for number in [0, 5, 3, 1 << 40, 4] {
            let mut sealed = Sealed::by(&mut a, number);
            assert_eq!(sealed.open(&mut b, Instant::ZERO), SAME_PHASE);
            assert_eq!(&sealed.buffer[..TEXT.len()], TEXT);
            assert_eq!(Sealed::by(&mut b, number).open(&mut a, Instant::ZERO), SAME_PHASE);
        }
    }
}

fn an_update_is_followed<C: Crypto>() {
    let (mut a, mut b) = pair::<C>(Suite::ChaChaPoly);
    round_trip(&mut a, &mut b, 0);
    let before = Sealed::by(&mut b, 1);
    a.update(Instant::ZERO).unwrap();
    assert_eq!(a.key_phase(), KeyPhase(true));
    assert_eq!(b.key_phase(), KeyPhase(false));

    // What b sealed before it heard of the update still opens, and changes nothing at a.
    assert_eq!({ before }.open(&mut a, Instant::ZERO), SAME_PHASE);
    assert_eq!(Sealed::by(&mut a, 1).open(&mut b, Instant::ZERO), NEW_PHASE);
    assert_eq!(b.key_phase(), KeyPhase(true));
    assert_eq!(Sealed::by(&mut a, 2).open(&mut b, Instant::ZERO), SAME_PHASE);
    assert_eq!(Sealed::by(&mut b, 2).open(&mut a, Instant::ZERO), NEW_PHASE);
    assert_eq!(a.key_phase(), KeyPhase(true), "following does not answer with another update");
    assert_eq!(Sealed::by(&mut b, 3).open(&mut a, Instant::ZERO), SAME_PHASE);
}

fn both_may_update_at_once<C: Crypto>() {
    let (mut a, mut b) = pair::<C>(Suite::AesGcm);
    round_trip(&mut a, &mut b, 0);
    a.update(Instant::ZERO).unwrap();
    b.update(Instant::ZERO).unwrap();
    assert_eq!(Sealed::by(&mut a, 1).open(&mut b, Instant::ZERO), NEW_PHASE);
    assert_eq!(Sealed::by(&mut b, 1).open(&mut a, Instant::ZERO), NEW_PHASE);
    assert_eq!((a.key_phase(), b.key_phase()), (KeyPhase(true), KeyPhase(true)));
    round_trip(&mut a, &mut b, 2);
}

fn many_updates_in_turn<C: Crypto>() {
    let (mut a, mut b) = pair::<C>(Suite::ChaChaPoly);
    let mut now = Instant::ZERO;
    for turn in 0..10 {
        let phase = KeyPhase(turn % 2 == 0);
        round_trip_at(&mut a, &mut b, turn * 2, now);
        now += KEEP;
        let (first, second) = if turn % 3 == 0 { (&mut b, &mut a) } else { (&mut a, &mut b) };
        first.update(now).unwrap();
        assert_eq!(Sealed::by(first, turn * 2 + 1).open(second, now), NEW_PHASE);
        assert_eq!(Sealed::by(second, turn * 2 + 1).open(first, now), NEW_PHASE);
        assert_eq!((first.key_phase(), second.key_phase()), (phase, phase));
    }
}

fn overtaken_packets_open_while_the_old_key_is_kept<C: Crypto>() {
    let (mut a, mut b) = pair::<C>(Suite::ChaChaPoly);
    round_trip(&mut a, &mut b, 0);
    let (mut late, mut later) = (Sealed::by(&mut a, 1), Sealed::by(&mut a, 2));
    a.update(Instant::ZERO).unwrap();
    let mut also_overtaken = Sealed::by(&mut a, 3);
    let start = Instant::from_millis(5);
    assert_eq!(Sealed::by(&mut a, 4).open(&mut b, start), NEW_PHASE);

    let last_moment = start + KEEP - Duration::from_micros(1);
    assert_eq!(late.open(&mut b, last_moment), SAME_PHASE);
    assert_eq!(&late.buffer[..TEXT.len()], TEXT);
    assert_eq!(also_overtaken.open(&mut b, last_moment), SAME_PHASE);
    assert_eq!(later.open(&mut b, start + KEEP), Err(RejectedPacket::Forged));
    assert_eq!(b.key_phase(), KeyPhase(true));
    assert_eq!(Sealed::by(&mut a, 5).open(&mut b, start + KEEP), SAME_PHASE);
}

fn an_update_waits_for_the_last_one<C: Crypto>() {
    let (mut a, mut b) = pair::<C>(Suite::ChaChaPoly);
    assert_eq!(a.update(Instant::ZERO), Err(UpdateTooEarly), "nothing was sent");
    assert_eq!(Sealed::by(&mut a, 7).open(&mut b, Instant::ZERO), SAME_PHASE);
    a.acknowledged(PacketNumber(6));
    assert_eq!(a.update(Instant::ZERO), Err(UpdateTooEarly), "nothing of this phase arrived");
    a.acknowledged(PacketNumber(7));
    assert_eq!(a.update(Instant::ZERO), Ok(()));

    assert_eq!(Sealed::by(&mut a, 8).open(&mut b, Instant::ZERO), NEW_PHASE);
    a.acknowledged(PacketNumber(7));
    assert_eq!(a.update(Instant::ZERO), Err(UpdateTooEarly), "only the old phase is acknowledged");
    a.acknowledged(PacketNumber(8));
    assert_eq!(a.update(Instant::ZERO), Err(UpdateTooEarly), "the peer has not followed");
    assert_eq!(Sealed::by(&mut b, 0).open(&mut a, Instant::ZERO), NEW_PHASE);
    assert_eq!(a.update(Instant::ZERO), Err(UpdateTooEarly), "the old key is still kept");
    assert_eq!(a.update(Instant::ZERO + KEEP), Ok(()));
    assert_eq!(a.key_phase(), KeyPhase(false));
    assert_eq!(Sealed::by(&mut a, 9).open(&mut b, Instant::ZERO + KEEP), NEW_PHASE);
}

fn updates_fall_due_by_time<C: Crypto>() {
    let (mut a, mut b) = pair::<C>(Suite::ChaChaPoly);
    let hour = Instant::ZERO + UPDATE_INTERVAL;
    assert!(!a.should_update(hour), "not before anything was acknowledged");
    round_trip(&mut a, &mut b, 0);
    assert!(!a.should_update(hour - Duration::from_micros(1)));
    assert!(a.should_update(hour));
    a.update(hour).unwrap();
    assert_eq!(Sealed::by(&mut a, 1).open(&mut b, hour), NEW_PHASE);
    round_trip_at(&mut a, &mut b, 2, hour);
    // Who followed counts its hour from then, too.
    let before = hour + UPDATE_INTERVAL - Duration::from_micros(1);
    assert!(!a.should_update(before) && !b.should_update(before));
    assert!(a.should_update(hour + UPDATE_INTERVAL) && b.should_update(hour + UPDATE_INTERVAL));
}

fn forgeries_change_nothing<C: Crypto>() {
    for suite in SUITES {
        let (mut a, mut b) = pair::<C>(suite);
        round_trip(&mut a, &mut b, 0);
        for phase in [KeyPhase(false), KeyPhase(true)] {
            for number in [0, 1, 1000] {
                let ad = *b"ad";
                let mut forged = Sealed { phase, number, ad, buffer: [9; TEXT.len() + TAG_LEN] };
                assert_eq!(forged.open(&mut b, Instant::ZERO), Err(RejectedPacket::Forged));
            }
        }
        // The phase bit alone cannot be turned: the key would be another.
        let mut turned = Sealed::by(&mut a, 1);
        turned.phase = turned.phase.flipped();
        assert_eq!(turned.open(&mut b, Instant::ZERO), Err(RejectedPacket::Forged));
        let mut changed = Sealed::by(&mut a, 2);
        changed.ad[0] ^= 1;
        assert_eq!(changed.open(&mut b, Instant::ZERO), Err(RejectedPacket::Forged));
        let mut short = [0; TAG_LEN - 1];
        let packet = Packet { phase: KeyPhase(false), number: PacketNumber(3), ad: b"ad" };
        let result = b.open(Instant::ZERO, KEEP, &packet, &mut short);
        assert_eq!(result, Err(RejectedPacket::Forged));

        assert_eq!(b.key_phase(), KeyPhase(false));
        assert_eq!(Sealed::by(&mut a, 3).open(&mut b, Instant::ZERO), SAME_PHASE);
        a.update(Instant::ZERO).unwrap();
        assert_eq!(Sealed::by(&mut a, 4).open(&mut b, Instant::ZERO), NEW_PHASE);
    }
}

fn macs_compare_whole<C: Crypto>() {
    let peer = PeerId::new(77).unwrap();
    let mac = |secret: u8, before: &[u8], after: &[u8], receiver: u8| {
        let key = mac_key::<C>(&[secret; 32], peer);
        initiation_mac::<C>(&key, before, after, &PublicKey([receiver; 32]))
    };
    let true_mac = mac(1, b"before", b"after", 3);
    assert_eq!(true_mac, mac(1, b"before", b"after", 3));
    for other in [
        mac(2, b"before", b"after", 3),
        mac(1, b"Before", b"after", 3),
        mac(1, b"before", b"After", 3),
        mac(1, b"before", b"after", 4),
    ] {
        assert_ne!(true_mac, other);
    }
    for place in 0..true_mac.0.len() {
        let mut changed = true_mac;
        changed.0[place] ^= 0x80;
        assert_ne!(true_mac, changed, "byte {place}");
    }
    assert_eq!(Mac([0; 8]), Mac([0; 8]));
}

/// A packet on its way.
struct Sealed {
    phase: KeyPhase,
    number: u64,
    ad: [u8; 2],
    buffer: [u8; TEXT.len() + TAG_LEN],
}

impl Sealed {
    fn by<C: Crypto>(keys: &mut PacketKeys<C>, number: u64) -> Self {
        let (phase, ad) = (keys.key_phase(), *b"ad");
        let mut buffer = [0; TEXT.len() + TAG_LEN];
        buffer[..TEXT.len()].copy_from_slice(TEXT);
        keys.seal(PacketNumber(number), &ad, &mut buffer).unwrap();
        Self { phase, number, ad, buffer }
    }

    fn open<C: Crypto>(
        &mut self,
        keys: &mut PacketKeys<C>,
        now: Instant,
    ) -> Result<Opened, RejectedPacket> {
        let Self { phase, number, ad, buffer } = self;
        let packet = Packet { phase: *phase, number: PacketNumber(*number), ad };
        keys.open(now, KEEP, &packet, buffer)
    }
}

/// Both ends of a connection at time 0.
fn pair<C: Crypto>(suite: Suite) -> (PacketKeys<C>, PacketKeys<C>) {
    let (ab, ba) = (Secret([1; 32]), Secret([2; 32]));
    let a = PacketKeys::new(suite, &ab, &ba, Instant::ZERO);
    (a, PacketKeys::new(suite, &ba, &ab, Instant::ZERO))
}

fn round_trip<C: Crypto>(a: &mut PacketKeys<C>, b: &mut PacketKeys<C>, number: u64) {
    round_trip_at(a, b, number, Instant::ZERO);
}

/// A packet each way, both acknowledged.
fn round_trip_at<C: Crypto>(
    a: &mut PacketKeys<C>,
    b: &mut PacketKeys<C>,
    number: u64,
    now: Instant,
) {
    Sealed::by(a, number).open(b, now).unwrap();
    Sealed::by(b, number).open(a, now).unwrap();
    a.acknowledged(PacketNumber(number));
    b.acknowledged(PacketNumber(number));
}

const TEXT: &[u8; 13] = b"frames inside";
const KEEP: Duration = Duration::from_millis(300);
const SAME_PHASE: Result<Opened, RejectedPacket> = Ok(Opened { phase_changed: false });
const NEW_PHASE: Result<Opened, RejectedPacket> = Ok(Opened { phase_changed: true });
const VECTORS: &str = "protection.json";
