//! Two peers' channels over a bad link without anything in between.

mod expiry;
mod modes;
mod opening;
mod options;
mod promises;
mod random;
mod repeats;
mod unordered;

use std::collections::{BTreeSet, VecDeque};
use std::vec::Vec;

use super::*;
use crate::recovery::FrameList;
use crate::wire::Writer;
use crate::wire::frame::Frames;

/// Something a side's application was told.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    Opened(u8),
    Closed(u8),
    Mismatch(u8),
    Writable(u8),
    Message(u8, Vec<u8>),
}

/// One end: channels with pools of their own.
struct Side {
    limits: ChannelLimits,
    state: PoolState,
    send: Vec<Block>,
    receive: Vec<Block>,
    nodes: Vec<Node>,
    slots: Vec<ChannelSlot>,
    channels: Channels,
    told: VecDeque<Told>,
    /// Whether the application looks at its events.
    listening: bool,
    sent: VecDeque<Sent>,
    next_packet: u64,
    seen: BTreeSet<u64>,
    packets_max: usize,
    now: Instant,
    /// Whether the short ways are tried first, as an endpoint does.
    short: bool,
}

struct Sent {
    number: u64,
    list: FrameList,
    acked_at: Option<u64>,
    lost_at: u64,
}

impl Side {
    fn new(limits: ChannelLimits) -> Self {
        assert!(limits.is_consistent());
        Self {
            limits,
            state: PoolState::new(&limits),
            send: std::vec![Block::new(); limits.send_blocks_total() as usize],
            receive: std::vec![Block::new(); limits.receive_blocks_total() as usize],
            nodes: std::vec![Node::new(); limits.nodes_total() as usize],
            slots: std::vec![ChannelSlot::new(); limits.slots_total() as usize],
            channels: Channels::new(),
            told: VecDeque::new(),
            listening: true,
            sent: VecDeque::new(),
            next_packet: 0,
            seen: BTreeSet::new(),
            packets_max: 40,
            now: Instant::from_millis(5),
            short: true,
        }
    }

    fn parts(&mut self) -> (&mut Channels, Pools<'_>) {
        let memory = PoolMemory {
            send: &mut self.send,
            receive: &mut self.receive,
            nodes: &mut self.nodes,
            slots: &mut self.slots,
        };
        (&mut self.channels, Pools::new(&self.limits, &mut self.state, memory))
    }

    fn open(
        &mut self,
        channel: u8,
        options: impl Into<ChannelOptions>,
    ) -> Result<(), OpenChannelError> {
        let (channels, mut pools) = self.parts();
        channels.open(&mut pools, ChannelId(channel), options.into())
    }

    fn close(&mut self, channel: u8) -> Result<(), CloseChannelError> {
        let (channels, mut pools) = self.parts();
        channels.close(&mut pools, ChannelId(channel))
    }

    fn send(&mut self, channel: u8, data: &[u8]) -> Result<(), SendError> {
        self.send_by(channel, data, None)
    }

    fn send_by(
        &mut self,
        channel: u8,
        data: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        let now = self.now;
        if self.short {
            let (channels, pools) = self.parts();
            if channels.append(pools, ChannelId(channel), data, now, deadline) {
                return Ok(());
            }
        }
        let (channels, mut pools) = self.parts();
        channels.send(&mut pools, ChannelId(channel), data, now, deadline)
    }

    fn flush(&mut self) {
        let (channels, mut pools) = self.parts();
        channels.flush(&mut pools);
    }

    fn stats(&mut self) -> ChannelStats {
        let now = self.now;
        let (channels, pools) = self.parts();
        channels.stats(pools.slots.items(), pools.nodes.items(), now)
    }

    fn queue(&mut self, channel: u8) -> Option<ChannelQueue> {
        let now = self.now;
        let (channels, pools) = self.parts();
        channels.queue(pools.slots.items(), pools.nodes.items(), ChannelId(channel), now)
    }

    fn write(&mut self, scope: Scope, room: usize) -> (Vec<u8>, FrameList, Written) {
        let mut out = std::vec![0; room];
        let mut writer = Writer::new(&mut out);
        let mut list = FrameList::EMPTY;
        let now = self.now;
        let (channels, mut pools) = self.parts();
        let what = match scope {
            Scope::Protocol => Allowed::Protocol,
            Scope::Everything => Allowed::Everything,
        };
        let permit = Permit { what, loss: 0, now };
        let written = channels.write(&mut pools, permit, &mut writer, &mut list);
        (writer.written().to_vec(), list, written)
    }

    fn handle(&mut self, packet: &[u8]) -> Result<bool, ProtocolViolation> {
        let (channels, mut pools) = self.parts();
        let mut ack = true;
        for frame in Frames::new(packet) {
            ack &= channels
                .handle_frame(&mut pools, &frame.unwrap_or_else(|e| panic!("{e} {packet:02x?}")))?
                .ack;
        }
        Ok(ack)
    }

    fn acked(&mut self, list: FrameList) {
        let (channels, mut pools) = self.parts();
        channels.on_acked(&mut pools, list);
    }

    fn lost(&mut self, list: FrameList) {
        let (channels, mut pools) = self.parts();
        channels.on_lost(&mut pools, list);
    }

    /// The packet turns out to be lost with the next tick.
    fn lost_later(&mut self, list: FrameList) {
        self.sent.push_back(Sent { number: u64::MAX, list, acked_at: None, lost_at: 0 });
    }

    fn poll(&mut self) -> Option<Told> {
        if self.short {
            let (channels, pools) = self.parts();
            if channels.take_back(pools) {
                return None;
            }
            let (channels, pools) = self.parts();
            let (mut slots, blocks) = pools.into_received();
            if let Some(message) = channels.take_message(&mut slots, blocks.items()) {
                let (channel, payload) = message.lend(blocks.items());
                return Some(Told::Message(channel.0, bytes_of(payload)));
            }
        }
        let (channels, pools) = self.parts();
        Some(match channels.poll_event(pools)? {
            ChannelEvent::Opened { channel } => Told::Opened(channel.0),
            ChannelEvent::Closed { channel } => Told::Closed(channel.0),
            ChannelEvent::Mismatch { channel } => Told::Mismatch(channel.0),
            ChannelEvent::Writable { channel } => Told::Writable(channel.0),
            ChannelEvent::Message { channel, payload } => {
                Told::Message(channel.0, bytes_of(payload))
            }
        })
    }

    fn listen(&mut self) {
        while let Some(told) = self.poll() {
            self.told.push_back(told);
        }
    }

    fn take_told(&mut self) -> Vec<Told> {
        self.told.drain(..).collect()
    }

    fn messages(&mut self, channel: u8) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        self.told.retain(|told| {
            let wanted = matches!(told, Told::Message(number, _) if *number == channel);
            if let (true, Told::Message(_, bytes)) = (wanted, told) {
                messages.push(bytes.clone());
            }
            !wanted
        });
        messages
    }

    /// The connection ends: everything must come back.
    fn release_and_check(mut self) {
        while let Some(sent) = self.sent.pop_front() {
            self.lost(sent.list);
        }
        let (channels, mut pools) = self.parts();
        channels.release(&mut pools);
        assert_eq!(channels.accounts, Accounts::new());
        let fresh = PoolState::new(&self.limits);
        assert_eq!(self.state.shares, fresh.shares);
        for free in [self.state.send, self.state.receive, self.state.nodes, self.state.slots] {
            assert_eq!(free.taken(), 0);
        }
    }
}

fn bytes_of(payload: Payload<'_>) -> Vec<u8> {
    let mut bytes = std::vec![0; payload.len()];
    assert_eq!(payload.copy_to(&mut bytes), bytes.len());
    assert_eq!(payload.chunks().flatten().copied().collect::<Vec<u8>>(), bytes);
    bytes
}

/// How bad a link is, in percent; delays in ticks.
#[derive(Clone, Copy)]
struct Faults {
    loss: u64,
    duplicate: u64,
    late: u64,
}

const CLEAN: Faults = Faults { loss: 0, duplicate: 0, late: 0 };
const BAD: Faults = Faults { loss: 10, duplicate: 5, late: 10 };

struct Pair {
    sides: [Side; 2],
    faults: Faults,
    random: Random,
    now: u64,
    flying: Vec<Flying>,
}

#[derive(PartialEq, Eq, Debug)]
struct Flying {
    to: usize,
    at: u64,
    number: u64,
    bytes: Vec<u8>,
}

impl Pair {
    fn new(limits: ChannelLimits, faults: Faults, seed: u64) -> Self {
        Self {
            sides: [Side::new(limits), Side::new(limits)],
            faults,
            random: Random(seed),
            now: 0,
            flying: Vec::new(),
        }
    }

    fn open_both(&mut self, channel: u8, options: impl Into<ChannelOptions>) {
        let options = options.into();
        self.sides[0].open(channel, options).unwrap();
        self.sides[1].open(channel, options).unwrap();
    }

    /// One tick: what has arrived is handled, what is due is sent.
    fn tick(&mut self) {
        self.now += 1;
        let now = self.now;
        let (arrived, flying) = self.flying.drain(..).partition(|f: &Flying| f.at <= now);
        self.flying = flying;
        for packet in arrived {
            self.arrive(&packet);
        }
        for index in 0..2 {
            let side = &mut self.sides[index];
            for _ in 0..side.sent.len() {
                let sent = side.sent.pop_front().unwrap();
                if sent.acked_at.is_some_and(|at| at <= now) {
                    side.acked(sent.list);
                } else if sent.lost_at <= now {
                    side.lost(sent.list);
                } else {
                    side.sent.push_back(sent);
                }
            }
            if side.listening {
                side.listen();
            }
            self.depart(index);
        }
    }

    fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.tick();
        }
    }

    /// Runs until nothing is under way and nothing wants to be sent.
    fn settle(&mut self) {
        for _ in 0..200_000 {
            self.tick();
            let idle = |side: &Side| {
                side.sent.is_empty() && !side.channels.wants_to_send(Scope::Everything)
            };
            if self.flying.is_empty() && self.sides.iter().all(idle) {
                return;
            }
        }
        panic!("does not come to rest");
    }

    fn finish(self) {
        for side in self.sides {
            side.release_and_check();
        }
    }

    fn depart(&mut self, from: usize) {
        for _ in 0..20 {
            let side = &mut self.sides[from];
            if side.sent.len() >= side.packets_max
                || !side.channels.wants_to_send(Scope::Everything)
            {
                return;
            }
            let room = 1200 + self.random.below(200) as usize;
            let (bytes, list, written) = side.write(Scope::Everything, room);
            if bytes.is_empty() {
                assert_eq!((list, written), (FrameList::EMPTY, Written::default()));
                return;
            }
            assert!(written.ack_eliciting && bytes.len() <= room);
            let number = side.next_packet;
            side.next_packet += 1;
            side.sent.push_back(Sent { number, list, acked_at: None, lost_at: self.now + 14 });
            if self.random.chance(self.faults.loss) {
                continue;
            }
            let copies = 1 + u64::from(self.random.chance(self.faults.duplicate));
            for _ in 0..copies {
                // Late packets arrive when their sender takes them for lost and has moved on.
                let late = self.random.chance(self.faults.late);
                let jitter = if self.faults.late > 0 { self.random.below(4) } else { 0 };
                let at = self.now + 3 + jitter + if late { self.random.below(60) } else { 0 };
                self.flying.push(Flying { to: 1 - from, at, number, bytes: bytes.clone() });
            }
        }
    }

    fn arrive(&mut self, packet: &Flying) {
        let side = &mut self.sides[packet.to];
        let newest = side.seen.last().copied().unwrap_or(0);
        if packet.number + 1024 <= newest || side.seen.contains(&packet.number) {
            return;
        }
        side.seen.insert(packet.number);
        let ack = side.handle(&packet.bytes).expect("no violation between honest peers");
        if ack && !self.random.chance(self.faults.loss) {
            let at = self.now + 3;
            let sender = &mut self.sides[1 - packet.to];
            if let Some(sent) = sender.sent.iter_mut().find(|s| s.number == packet.number) {
                sent.acked_at = Some(at);
            }
        }
    }
}

/// A small generator, so that a seed says everything.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A message of a size that is log-uniform up to 2^`log_max`, numbered, with checkable bytes.
    fn message(&mut self, number: u32, log_max: u64) -> Vec<u8> {
        let log = self.below(log_max);
        let len = (1_u64 << log) + self.below(1 << log);
        numbered(number, len as usize)
    }
}

/// A message of `len` bytes (at least 4) that says its number and is unlike any other.
fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut random = Random(u64::from(number) << 32 | len as u64);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize_with(len.max(4), || random.next() as u8);
    bytes
}

fn number_of(message: &[u8]) -> u32 {
    let [a, b, c, d, ..] = *message else { panic!("a short message") };
    u32::from_le_bytes([a, b, c, d])
}

/// Enough for everything.
fn ample() -> ChannelLimits {
    ChannelLimits::for_peers(2)
}
