//! Limits, settings, keys, handshakes and recovery at the ends of their ranges.

use waylane_core::channel::ChannelLimits;
use waylane_core::crypto::{Crypto, Secret, Suite};
use waylane_core::endpoint::Config;
use waylane_core::id::{PacketNumber, PeerId, PublicKey};
use waylane_core::limits::Limits;
use waylane_core::noise::{self, Initiator, KeyPair, Responder};
use waylane_core::pool::Quota;
use waylane_core::protection::{KeyPhase, Packet, PacketKeys, PacketWindow};
use waylane_core::recovery::{
    AckWanted, Arrival, ControllerKind, EndDelay, Fixed, FrameList, NewPacket, PathIndex,
    RateBounds, Received, Recovery, Rtt, SentFree, SentPool, SentSlot, Steered,
};
use waylane_core::relay::{AnswerRates, Budget, Prices, Rate, RelayConfig};
use waylane_core::time::Instant;

use super::{Dice, ignore};

/// Checks of settings: whatever they hold, an answer. Returns whether it was yes.
pub(crate) fn settings(dice: &Dice) -> u64 {
    let quota = || Quota { guaranteed: dice.word(), shared: dice.word(), peer_max: dice.word() };
    let mut limits = Limits::for_peers(dice.word() as u16);
    let mut channels = limits.channels;
    for _ in 0..dice.below(4) {
        match dice.below(12) {
            0 => limits.peers = dice.word() as u16,
            1 => limits.relays = dice.word() as u8,
            2 => limits.requests = dice.word() as u8,
            3 => limits.sent_packets = dice.word(),
            4 => channels = ChannelLimits::for_peers(dice.word()),
            5 => channels.message_reliable_max = dice.word(),
            6 => channels.message_unreliable_max = dice.word(),
            7 => channels.send_blocks = quota(),
            8 => channels.receive_blocks = quota(),
            9 => (channels.sent_nodes, channels.range_nodes) = (quota(), quota()),
            10 => channels.slots = quota(),
            _ => (channels.window_initial, channels.window_max) = (dice.word(), dice.word()),
        }
    }
    limits.channels = channels;
    let sums = [channels.send_blocks_total(), channels.nodes_total(), channels.slots_total()];
    let fits = limits.check().is_ok();
    assert!(!fits || sums.iter().all(|sum| *sum < u64::from(u32::MAX)), "{limits:?}");
    let _ = (channels.is_consistent(), channels.completion_blocks());
    ignore(channels.receive_blocks_total());
    let mut config = Config::default();
    config.limits = limits;
    config.idle_timeout = dice.duration();
    config.connect_timeout = dice.duration();
    let rate = || Rate { per_second: dice.word(), burst: dice.word() };
    let rates = || AnswerRates { total: rate(), per_prefix: rate() };
    let mut relay = RelayConfig { answers: rates(), binds: rates(), ..RelayConfig::default() };
    relay.limits.sessions = dice.word();
    relay.limits.pending = dice.word();
    relay.lifetime = dice.duration();
    relay.keep_alive = dice.duration();
    let budget = || Budget {
        packets_per_second: dice.word(),
        bytes_per_second: dice.word(),
        burst_ms: dice.word(),
    };
    (relay.budget, relay.source) = (budget(), budget());
    (relay.destination, relay.total) = (budget(), Some(budget()));
    (relay.handshakes.sender, relay.handshakes.destination) = (rate(), rate());
    (relay.handshakes.source, relay.handshakes.total) = (rate(), Some(rate()));
    let prices = Prices::of(&relay);
    assert_eq!(Prices::from_words(prices.to_words()), prices);
    let _ = (config.check(), relay.check(), relay.limits.index_buckets());
    u64::from(fits)
}

/// Seals and opens in slices of every length; returns how often something opened.
pub(crate) fn keys<C: Crypto>(dice: &Dice) -> u64 {
    let secret = Secret(dice.bytes32());
    let mut now = Instant::from_micros(dice.extreme());
    let mut keys = PacketKeys::<C>::new(Suite::ChaChaPoly, &secret, &secret, now);
    let mut window = PacketWindow::new();
    let mut opened = 0;
    for _ in 0..20 {
        now += dice.duration();
        let number = PacketNumber(dice.extreme());
        let ad = dice.bytes(8);
        let mut buffer = dice.bytes(40);
        let phase = KeyPhase(dice.below(2) == 0);
        match dice.below(4) {
            // Its documentation asks for room for a tag.
            0 if buffer.len() >= 16 => ignore(keys.seal(number, &ad, &mut buffer)),
            1 => ignore((keys.acknowledged(number), keys.should_update(now), keys.update(now))),
            2 if buffer.len() >= 16 => {
                let phase = keys.key_phase();
                ignore(keys.seal(number, &ad, &mut buffer));
                let packet = Packet { phase, number, ad: &ad };
                opened += u64::from(keys.open(now, dice.duration(), &packet, &mut buffer).is_ok());
            }
            _ => {
                let packet = Packet { phase, number, ad: &ad };
                ignore(keys.open(now, dice.duration(), &packet, &mut buffer));
            }
        }
        if window.check(number.0).is_ok() {
            window.mark(number.0);
        }
    }
    opened
}

/// Handshakes in slices of every length, of keys of every kind; returns how many came through.
pub(crate) fn handshakes<C: Crypto>(dice: &Dice, crypto: &mut C) -> u64 {
    let [one, other] = [(); 2].map(|()| KeyPair::generate(crypto));
    let low_order = PublicKey([0; 32]);
    let remote = if dice.below(8) == 0 { low_order } else { *other.public() };
    let suite = dice.pick([Suite::ChaChaPoly, Suite::AesGcm]);
    let (prologue, mix) = (dice.bytes(100), dice.bytes(20));
    let payload = dice.bytes(300);
    let mut out = vec![0; dice.pick([0, 31, 32, 95, 96, 500, 1472])];
    let secret = one.agree::<C>(&remote).unwrap_or_default();
    let initiator = Initiator::<C>::new(suite, &prologue, &one, &remote, &secret);
    let Ok((len, waiting)) =
        initiator.write_message_1(KeyPair::generate(crypto), &payload, &mut out)
    else {
        return 0;
    };
    damage(dice, &mut out);
    let end = dice.pick([len, len, len, dice.below(len as u64 + 1) as usize]);
    let responder = Responder::<C>::new(suite, &prologue, &other);
    let Ok(received) = responder.read_message_1(&mut out[..end]) else { return 0 };
    let mut answer = vec![0; dice.pick([0, 31, 47, 48, 500, 500])];
    let answered =
        received.reply.write_message_2(&KeyPair::generate(crypto), &mix, &payload, &mut answer);
    let Ok((len, _)) = answered else { return 0 };
    damage(dice, &mut answer);
    let end = dice.pick([len, len, dice.below(len as u64 + 1) as usize]);
    let id = PeerId::from_key_hash(&dice.bytes32());
    ignore(noise::initiation_mac::<C>(&noise::mac_key::<C>(&payload, id), &mix, &payload, &remote));
    u64::from(waiting.read_message_2(&one, &mix, &mut answer[..end]).is_ok())
}

/// Recovery fed with every time, size and number; returns how many packets were acknowledged.
pub(crate) fn recovery(dice: &Dice) -> u64 {
    let controller = || {
        let fixed = Fixed { window: dice.extreme(), rate: Some(dice.extreme()) };
        let bounds = RateBounds { min: dice.extreme(), max: dice.extreme() };
        dice.pick([ControllerKind::Steered(Steered::new(bounds)), ControllerKind::Fixed(fixed)])
    };
    let mut recovery = Recovery::new(controller());
    let (mut slots, mut free) = ([SentSlot::default(); 12], SentFree::default());
    let mut pool = SentPool::new(&mut slots, &mut free);
    let mut received = Received::new();
    let mut rtt = Rtt::assuming(dice.duration());
    let mut now = Instant::from_micros(dice.extreme());
    let mut acked = 0;
    let mut sink = |_, packet: waylane_core::recovery::SentPacket| ignore(packet.frames);
    for _ in 0..60 {
        let path = PathIndex::new(dice.below(6) as usize).unwrap_or_default();
        let delay = EndDelay { ack: dice.duration(), host: dice.duration() };
        let size = dice.word() as u16;
        match dice.below(12) {
            0..=3 => {
                let frames = FrameList(dice.word());
                let ack_eliciting = dice.below(4) != 0;
                let frames = if ack_eliciting { frames } else { FrameList::EMPTY };
                received.on_packet_sent(now);
                let ack = received.on_ack_sent(now, dice.word() as usize, dice.below(2) == 0);
                let patient = dice.below(2) == 0;
                let mtu_probe = dice.below(8) == 0;
                let new = NewPacket { path, size, ack_eliciting, frames, ack, patient, mtu_probe };
                ignore(recovery.on_sent(now, new, &mut pool));
                received.on_ack_acknowledged(ack);
            }
            4..=5 => {
                let next = recovery.next_number().0;
                let high =
                    dice.pick([next.saturating_sub(1), dice.below(next + 1), dice.extreme()]);
                let low = dice.pick([high.saturating_sub(dice.below(4)), dice.extreme()]);
                let ranges = [(PacketNumber(low), PacketNumber(high))];
                let before = recovery.stats().packets_acked;
                ignore(recovery.on_ack(now, ranges, delay, &mut pool, &mut sink));
                acked += recovery.stats().packets_acked - before;
            }
            6..=7 => {
                now = dice.pick([now, recovery.poll_timeout().unwrap_or(now).max(now)]);
                ignore(recovery.on_timeout(now, &mut pool, &mut sink));
            }
            8 => recovery.set_initial_rtt(path, dice.duration()),
            9 => match dice.below(4) {
                0 => recovery.abandon_path(path, &mut pool, &mut sink),
                1 => recovery.abandon_all(&mut pool, &mut sink),
                2 => recovery.reset_path(path, controller()),
                _ => ignore(recovery.take_oldest_frames(path, &mut pool)),
            },
            10 => {
                // Numbers are below 2⁶² (RFC 9000 §12.3).
                let number = PacketNumber(dice.pick([dice.below(300), dice.extreme() >> 2]));
                let wants = dice.pick([AckWanted::Not, AckWanted::Late, AckWanted::Soon]);
                let host_delay = dice.duration();
                received.on_received(now, Arrival { number, size, wants, host_delay });
                ignore(received.rides(now));
                let _ = (received.ack_delay(now), received.ack_deadline(), received.largest());
                ignore((received.ranges().count(), received.wants_acknowledgement()));
            }
            _ => now += dice.duration(),
        }
        rtt.update(now, dice.duration(), delay);
        let _ = (rtt.pto(dice.duration()), rtt.loss_delay(), rtt.jitter(), rtt.variation());
        let _ = (recovery.window(path), recovery.pacing_rate(path), recovery.loss(path));
        let _ = (recovery.room(now, path, size), recovery.urgent_room(now, size));
        match dice.below(8) {
            0 => recovery.on_app_limited(path),
            1 => recovery.on_urgent_sent(size),
            _ => {}
        }
        let _ = (recovery.oldest(path, &pool), recovery.largest_acked());
    }
    acked
}

fn damage(dice: &Dice, bytes: &mut [u8]) {
    if dice.below(2) == 0
        && let Some(at) = dice.place(bytes)
    {
        bytes[at] ^= 1 << dice.below(8);
    }
}
