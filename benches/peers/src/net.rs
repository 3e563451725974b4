//! Two ends, a lane each way, and the programs that use them, in virtual time.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;

use waylane_core::time::Instant;
use waylane_sim::workload::{Path, Samples};
use waylane_sim::{Lane, Random};

use crate::peer::{Channel, Library, Peer};

/// Two connected ends and what is on its way between them.
pub struct Net {
    /// The time it is.
    pub now: Instant,
    /// What the seed gives.
    pub random: Random,
    /// From A to B, and back.
    pub lanes: [Lane; 2],
    /// What the two programs have sent and heard.
    pub journals: [Journal; 2],
    flows: [Vec<Playing>; 2],
    peers: [Box<dyn Peer>; 2],
    wakes_at: [Instant; 2],
    flying: BinaryHeap<Reverse<Flying>>,
    flown: u64,
}

/// When a datagram arrives, its number, to which end, and its bytes.
type Flying = (Instant, u64, usize, Vec<u8>);

/// What a program has sent and heard.
#[derive(Default)]
pub struct Journal {
    /// What has arrived, in order.
    pub arrived: Vec<Arrived>,
    /// Messages sent on each channel.
    pub sent: [u64; 2],
    /// Their bytes.
    pub sent_bytes: [u64; 2],
    /// Bytes of reliable messages that have arrived, in the life of the connection.
    reliable_in: u64,
    /// Bytes of reliable messages sent, in the life of the connection.
    reliable_out: u64,
}

/// A message that has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// How it came.
    pub channel: Channel,
    /// Its number on its channel; each flow has its own first one.
    pub number: u32,
    /// Its bytes.
    pub size: usize,
    /// When it was handed over.
    pub sent: Instant,
    /// When the program was told.
    pub at: Instant,
}

/// What a program sends on one channel.
#[derive(Clone, Debug)]
pub struct Flow {
    /// How.
    pub channel: Channel,
    /// What.
    pub load: Load,
    /// The number of its first message.
    pub first: u32,
    /// From when on.
    pub starts: Instant,
    /// Until when.
    pub ends: Instant,
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum Load {
    /// A message of `size` bytes `every` so often.
    Steady {
        /// Its bytes.
        size: usize,
        /// How often.
        every: Duration,
    },
    /// These messages one after the other, as fast as they are taken.
    Once(Vec<usize>),
    /// Messages of so many bytes, as many as are taken.
    Bulk(usize),
}

struct Playing {
    flow: Flow,
    next: Instant,
    number: u32,
}

impl Net {
    /// Two ends that have connected.
    pub fn connected(seed: u64, path: &Path, library: Library) -> Self {
        let mut random = Random::new(seed);
        let peers = (library.make)(random.next_u64());
        let mut net = Self {
            now: Instant::ZERO,
            random,
            lanes: [path.direct(), path.direct()].map(Lane::of),
            journals: Default::default(),
            flows: Default::default(),
            peers,
            wakes_at: [Instant::ZERO; 2],
            flying: BinaryHeap::new(),
            flown: 0,
        };
        let limit = Duration::from_secs(60);
        let connected = net.run_until(limit, |net| net.peers.iter().all(|peer| peer.connected()));
        assert!(connected, "{}, seed {seed}: they connect", library.name);
        net
    }

    /// Gives one end's program something else to do, and an empty journal.
    pub fn play(&mut self, side: usize, at: Instant, flows: Vec<Flow>) {
        let playing = |flow: Flow| Playing { next: flow.starts, number: 0, flow };
        self.flows[side] = flows.into_iter().map(playing).collect();
        let journal = &mut self.journals[side];
        *journal = Journal {
            reliable_in: journal.reliable_in,
            reliable_out: journal.reliable_out,
            ..Journal::default()
        };
        self.peers[side].begin(at);
        self.turn(side);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.run_until(duration, |_| false);
        self.now = end;
    }

    /// Lets time pass until something holds, which is looked at after everything that happens; false
    /// if it does not come to hold.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            let arrival = self.flying.peek().map_or(Instant::FAR, |Reverse(first)| first.0);
            let side = usize::from(self.wakes_at[1] < self.wakes_at[0]);
            let next = arrival.min(self.wakes_at[side]);
            if next > end {
                return false;
            }
            self.now = self.now.max(next);
            if arrival > self.wakes_at[side] {
                self.peers[side].wake(self.now);
                self.turn(side);
            } else if let Some(Reverse((_, _, to, datagram))) = self.flying.pop() {
                self.peers[to].handle(self.now, &datagram);
                self.turn(to);
            }
        }
        true
    }

    /// One end's program has its turn, and then what it wants to send leaves.
    fn turn(&mut self, side: usize) {
        let (now, peer) = (self.now, &mut self.peers[side]);
        while let Some((channel, message)) = peer.receive(now) {
            let arrived = read(now, channel, &message);
            self.journals[side].note(arrived);
        }
        let mut next = Instant::FAR;
        let delivered = self.journals[1 - side].reliable_in;
        for playing in &mut self.flows[side] {
            playing.turn(now, peer.as_mut(), &mut self.journals[side], delivered);
            next = next.min(playing.next);
        }
        while let Some(datagram) = peer.transmit(now) {
            let arrivals = self.lanes[side].send(now, datagram.len(), &mut self.random);
            for arrival in arrivals.into_iter().flatten() {
                self.flown += 1;
                let to = 1 - side;
                self.flying.push(Reverse((arrival.at, self.flown, to, datagram.clone())));
            }
        }
        // What is due is done; nobody may ask for the same moment again without end.
        let due = peer.wakes_at().max(now + Duration::from_micros(1));
        self.wakes_at[side] = due.min(next);
    }
}

impl Journal {
    /// How long the messages of a channel took.
    pub fn latencies(&self, channel: Channel) -> Samples {
        let on = self.arrived.iter().filter(|arrived| arrived.channel == channel);
        on.map(|arrived| arrived.at.since(arrived.sent)).collect()
    }

    fn note(&mut self, arrived: Arrived) {
        if arrived.channel == Channel::Reliable {
            self.reliable_in += arrived.size as u64;
        }
        self.arrived.push(arrived);
    }
}

impl Playing {
    fn turn(&mut self, now: Instant, peer: &mut dyn Peer, journal: &mut Journal, delivered: u64) {
        if now < self.flow.starts {
            return;
        }
        if now >= self.flow.ends {
            self.next = Instant::FAR;
            return;
        }
        if let Load::Steady { size, every } = self.flow.load {
            while self.next <= now {
                self.next += every;
                self.send(now, size, peer, journal);
            }
            return;
        }
        // What there is no room for is tried again whenever this end has a turn.
        self.next = Instant::FAR;
        while let Some(size) = self.size() {
            let full = journal.reliable_out - delivered > peer.backlog();
            if full || !self.send(now, size, peer, journal) {
                break;
            }
        }
    }

    fn size(&self) -> Option<usize> {
        match &self.flow.load {
            Load::Steady { size, .. } | Load::Bulk(size) => Some(*size),
            Load::Once(sizes) => sizes.get(self.number as usize).copied(),
        }
    }

    fn send(
        &mut self,
        now: Instant,
        size: usize,
        peer: &mut dyn Peer,
        journal: &mut Journal,
    ) -> bool {
        let (channel, number) = (self.flow.channel, self.flow.first + self.number);
        let mut message = vec![number as u8; size];
        message[..8].copy_from_slice(&now.as_micros().to_le_bytes());
        message[8..12].copy_from_slice(&number.to_le_bytes());
        let taken = peer.send(now, channel, &message);
        if taken {
            self.number += 1;
            journal.sent[channel as usize] += 1;
            journal.sent_bytes[channel as usize] += size as u64;
            if channel == Channel::Reliable {
                journal.reliable_out += size as u64;
            }
        }
        taken
    }
}

fn read(at: Instant, channel: Channel, message: &[u8]) -> Arrived {
    let (sent, rest) = message.split_first_chunk().expect("a message has its time");
    let (number, rest) = rest.split_first_chunk().expect("a message has its number");
    let (sent, number) = (u64::from_le_bytes(*sent), u32::from_le_bytes(*number));
    assert!(rest.iter().all(|byte| *byte == number as u8), "a message is whole");
    Arrived { channel, number, size: message.len(), sent: Instant::from_micros(sent), at }
}
