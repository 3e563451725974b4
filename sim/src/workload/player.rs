//! What the players of a workload do: they send by a plan and note what arrives when.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use waylane_core::endpoint::SendError;
use waylane_core::id::{ChannelId, PeerId};
use waylane_core::time::Instant;

use super::samples::Samples;
use crate::player::{App, Hand, Heard};

/// What a player sends on one channel.
#[derive(Clone, Debug)]
pub struct Flow {
    /// To whom.
    pub to: PeerId,
    /// On which channel.
    pub channel: ChannelId,
    /// What.
    pub load: Load,
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
        /// Its bytes, at least [`Flow::SIZE_MIN`].
        size: usize,
        /// How often.
        every: Duration,
    },
    /// These messages one after the other, as fast as they are taken.
    Once(Vec<usize>),
    /// Messages of so many bytes, as many as are taken.
    Bulk(usize),
}

impl Flow {
    /// Every message holds when it was sent, and its number.
    pub const SIZE_MIN: usize = 12;
}

/// A message that has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// From whom.
    pub from: PeerId,
    /// On which channel.
    pub channel: ChannelId,
    /// Its number on its channel, from 0.
    pub number: u32,
    /// Its bytes.
    pub size: usize,
    /// When it was handed to the sender's endpoint.
    pub sent: Instant,
    /// When the receiver's application was told.
    pub at: Instant,
}

/// What a player has sent and heard.
#[derive(Clone, Default, Debug)]
pub struct Journal {
    /// What has arrived, in order.
    pub arrived: Vec<Arrived>,
    /// Messages sent to each peer on each channel.
    pub sent: BTreeMap<(PeerId, ChannelId), u64>,
    /// Their bytes.
    pub sent_bytes: BTreeMap<(PeerId, ChannelId), u64>,
    /// How much has arrived from each peer on each channel.
    arrived_count: BTreeMap<(PeerId, ChannelId), u64>,
    /// The latest route to tell others, until somebody takes it.
    pub route: Option<String>,
    /// Messages of a steady flow for which there was no room.
    pub refused: u64,
    /// What must not happen.
    pub trouble: Vec<String>,
}

/// A journal that the test reads while the player writes it.
pub type SharedJournal = Rc<RefCell<Journal>>;

impl Journal {
    /// How long the messages of a channel took.
    #[must_use]
    pub fn latencies(&self, channel: ChannelId) -> Samples {
        self.on(channel).map(|arrived| arrived.at.since(arrived.sent)).collect()
    }

    /// The bytes that have arrived on a channel from `from` up to `until`.
    #[must_use]
    pub fn bytes_from(&self, from: PeerId, channel: ChannelId, until: Instant) -> u64 {
        let arrived =
            self.on(channel).filter(|arrived| arrived.from == from && arrived.at <= until);
        arrived.map(|arrived| arrived.size as u64).sum()
    }

    /// How many messages have arrived from a peer on a channel.
    #[must_use]
    pub fn arrived_on(&self, from: PeerId, channel: ChannelId) -> u64 {
        self.arrived_count.get(&(from, channel)).copied().unwrap_or_default()
    }

    /// How many messages were sent on a channel, to whomever.
    #[must_use]
    pub fn sent_on(&self, channel: ChannelId) -> u64 {
        self.sent.iter().filter(|((_, on), _)| *on == channel).map(|(_, sent)| sent).sum()
    }

    /// What has arrived on a channel.
    pub fn on(&self, channel: ChannelId) -> impl Iterator<Item = &Arrived> {
        self.arrived.iter().filter(move |arrived| arrived.channel == channel)
    }

    fn hear(&mut self, now: Instant, heard: &Heard) {
        if let Heard::Message(from, channel, data) = heard {
            let (from, channel, size) = (*from, *channel, data.len());
            match read(data) {
                Some((sent, number)) => {
                    *self.arrived_count.entry((from, channel)).or_default() += 1;
                    self.arrived.push(Arrived { from, channel, number, size, sent, at: now });
                }
                None => self.trouble.push(format!("{now:?}: {size} bytes are not whole")),
            }
        } else if let Heard::RouteUpdate(route) = heard {
            self.route = Some(route.to_string());
        } else if matches!(heard, Heard::PeerDisconnected(..) | Heard::ChannelClosed(..)) {
            self.trouble.push(format!("{now:?}: {heard:?}"));
        }
    }
}

/// The program of a player that sends these flows and notes what it hears in `journal`.
pub fn play(flows: Vec<Flow>, journal: SharedJournal) -> App {
    let mut flows: Vec<_> = flows.into_iter().map(Playing::new).collect();
    Box::new(move |hand| {
        let mut journal = journal.borrow_mut();
        for heard in hand.heard.drain(..) {
            journal.hear(hand.now, &heard);
        }
        for flow in &mut flows {
            flow.turn(hand, &mut journal);
        }
        hand.endpoint.flush();
        *hand.wakes_at = flows.iter().map(|flow| flow.next).min().unwrap_or(Instant::FAR);
    })
}

/// A flow and how far it is.
struct Playing {
    flow: Flow,
    /// When it has something to send; never while it waits for room.
    next: Instant,
    number: u32,
    message: Vec<u8>,
}

impl Playing {
    const fn new(flow: Flow) -> Self {
        let next = flow.starts;
        Self { flow, next, number: 0, message: Vec::new() }
    }

    fn turn(&mut self, hand: &mut Hand<'_>, journal: &mut Journal) {
        if hand.now < self.flow.starts {
            return;
        }
        if hand.now >= self.flow.ends {
            self.next = Instant::FAR;
            return;
        }
        if let Load::Steady { size, every } = self.flow.load {
            while self.next <= hand.now {
                self.next += every;
                if !self.send(size, hand, journal) {
                    journal.refused += 1;
                }
            }
            return;
        }
        // What there is no room for waits for the event that says there is.
        self.next = Instant::FAR;
        while let Some(size) = self.size() {
            if !self.send(size, hand, journal) {
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

    fn send(&mut self, size: usize, hand: &mut Hand<'_>, journal: &mut Journal) -> bool {
        write(&mut self.message, size, hand.now, self.number);
        match hand.endpoint.send_message(self.flow.to, self.flow.channel, &self.message) {
            Ok(()) => {
                self.number += 1;
                let key = (self.flow.to, self.flow.channel);
                *journal.sent.entry(key).or_default() += 1;
                *journal.sent_bytes.entry(key).or_default() += size as u64;
                true
            }
            Err(SendError::Full { .. }) => false,
            Err(error) => {
                journal.trouble.push(format!("{:?}: not sent: {error}", hand.now));
                false
            }
        }
    }
}

/// When it was sent, its number, and then bytes that follow from the number.
fn write(message: &mut Vec<u8>, size: usize, now: Instant, number: u32) {
    message.clear();
    message.extend_from_slice(&now.as_micros().to_le_bytes());
    message.extend_from_slice(&number.to_le_bytes());
    message.resize(size.max(Flow::SIZE_MIN), filler(number));
}

fn read(message: &[u8]) -> Option<(Instant, u32)> {
    let (sent, rest) = message.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let number = u32::from_le_bytes(*number);
    let whole = rest.iter().all(|byte| *byte == filler(number));
    whole.then(|| (Instant::from_micros(u64::from_le_bytes(*sent)), number))
}

const fn filler(number: u32) -> u8 {
    (number.wrapping_mul(0x9e37_79b9) >> 24) as u8
}
