//! What a player's messages must be like at the other player: a model of what was sent.

use std::collections::{BTreeMap, BTreeSet};

use waylane_core::id::Reliability;

/// What both players have sent, opened and heard.
#[derive(Default)]
pub struct Oracle {
    sides: [Side; 2],
    /// Grows whenever a connection may have begun anew: what was under way may be lost then.
    resets: u64,
}

#[derive(Default)]
struct Side {
    /// How often this player began with the other.
    life: u16,
    /// Whether it wants to be connected.
    wants: bool,
    channels: BTreeMap<u8, Channel>,
    /// What has arrived of the other side's messages.
    heard: BTreeMap<u8, Heard>,
}

#[derive(Default)]
struct Channel {
    open: Option<Reliability>,
    /// How often it was opened.
    opening: u16,
    /// Resets when it was opened.
    opened_at: u64,
    /// Number of the next message.
    next: u32,
    /// How often either side closed it.
    closes: u64,
}

/// Messages of one channel that arrived.
#[derive(Default)]
struct Heard {
    latest: Option<(u16, u16)>,
    /// The last number, and the resets and closes when it arrived.
    last: Option<(u32, [u64; 2])>,
    /// Of the latest opening, if it is not in order.
    seen: BTreeSet<u32>,
    /// The resets and closes when it began, if all events since then were certain.
    undisturbed: Option<[u64; 2]>,
}

/// What stands at a message's front.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Label {
    player: u8,
    channel: u8,
    /// How the channel is open, in a byte.
    kind: u8,
    life: u16,
    opening: u16,
    number: u32,
}

impl Oracle {
    /// A player begins with the other: nothing of what it had open is left.
    pub fn begin(&mut self, player: usize) {
        self.end(player);
        self.sides[player].life += 1;
        self.sides[player].wants = true;
    }

    /// A connection is over for a player.
    pub fn end(&mut self, player: usize) {
        self.resets += 1;
        self.sides[player].wants = false;
        self.sides[player].channels.values_mut().for_each(|channel| channel.open = None);
    }

    /// What was under way may be lost, but what is open stays open.
    pub fn reset(&mut self) {
        self.resets += 1;
    }

    /// A player has opened a channel.
    pub fn open(&mut self, player: usize, number: u8, reliability: Reliability) {
        let closes = self.closes(number);
        let resets = self.resets;
        let channel = self.sides[player].channels.entry(number).or_default();
        if channel.open.is_none() {
            let opening = channel.opening + 1;
            *channel = Channel {
                open: Some(reliability),
                opening,
                opened_at: resets + closes,
                next: 0,
                closes: channel.closes,
            };
        }
    }

    /// A channel is closed at a player.
    pub fn close(&mut self, player: usize, number: u8) {
        let channel = self.sides[player].channels.entry(number).or_default();
        channel.open = None;
        channel.closes += 1;
    }

    /// How a player has a channel open.
    #[must_use]
    pub fn is_open(&self, player: usize, number: u8) -> Option<Reliability> {
        self.sides[player].channels.get(&number)?.open
    }

    /// The next message of a player on a channel; `None` if it is too short to be told apart.
    #[must_use]
    pub fn message(&self, player: usize, number: u8, len: usize) -> Vec<u8> {
        let side = &self.sides[player];
        let Some(channel) = side.channels.get(&number).filter(|_| len >= LABEL) else {
            return vec![SHORT; len];
        };
        let label = Label {
            player: player as u8,
            channel: number,
            kind: channel.open.map_or(0, kind),
            life: side.life,
            opening: channel.opening,
            number: channel.next,
        };
        label.message(len)
    }

    /// The message was taken.
    pub fn sent(&mut self, player: usize, number: u8, message: &[u8]) {
        if message.len() >= LABEL
            && let Some(channel) = self.sides[player].channels.get_mut(&number)
        {
            channel.next += 1;
        }
    }

    /// The number of the last message that `player` has heard on this channel of those that the
    /// other sends now.
    #[must_use]
    pub fn heard(&self, player: usize, number: u8) -> Option<u32> {
        let other = &self.sides[1 - player];
        let heard = self.sides[player].heard.get(&number)?;
        let current = (other.life, other.channels.get(&number)?.opening);
        heard.last.filter(|_| heard.latest == Some(current)).map(|(number, _)| number)
    }

    /// A message has arrived at a player. `certain` says that the sender has told all its events:
    /// only then is it known whether anything may be missing.
    ///
    /// # Panics
    /// If it is not what it must be.
    pub fn received(&mut self, player: usize, number: u8, message: &[u8], certain: bool) {
        assert!(self.sides[player].wants, "nothing is heard after one's own goodbye");
        let open = self.is_open(player, number).expect("the channel is open here");
        if message.len() < LABEL {
            assert!(message.iter().all(|byte| *byte == SHORT), "a short message is as it was sent");
            return;
        }
        let label = Label::of(message);
        assert_eq!(message, label.message(message.len()), "a message is as it was sent");
        assert_eq!((usize::from(label.player), label.channel), (1 - player, number));
        assert_eq!(label.kind, kind(open), "as it was opened here");
        let ordered = open == Reliability::Reliable;
        let sender = &self.sides[1 - player];
        let sent = sender.channels.get(&number).expect("the sender has had the channel open");
        let now = [self.resets, self.closes(number)];
        let (opened_at, current) = (sent.opened_at, (sender.life, sent.opening));
        let opening = (label.life, label.opening);
        assert!(opening <= current, "it was sent");
        assert!(opening < current || label.number < sent.next, "it was sent");

        let heard = self.sides[player].heard.entry(number).or_default();
        assert!(heard.latest <= Some(opening), "nothing of an old opening after a new one");
        if heard.latest < Some(opening) {
            let nothing_lost = certain && opening == current && opened_at == now[0] + now[1];
            let undisturbed = nothing_lost.then_some(now);
            *heard = Heard { latest: Some(opening), undisturbed, ..Heard::default() };
            if ordered && nothing_lost {
                assert_eq!(label.number, 0, "the first message comes first");
            }
        }
        heard.undisturbed = heard.undisturbed.filter(|then| certain && *then == now);
        if !ordered {
            assert!(heard.seen.insert(label.number), "at most once");
            let newest = heard.last.map_or(label.number, |(last, _)| last.max(label.number));
            heard.last = Some((newest, now));
            return;
        }
        if let Some((last, then)) = heard.last {
            assert!(label.number > last, "once and in order: {} after {last}", label.number);
            if then == now && certain {
                assert_eq!(label.number, last + 1, "nothing is left out");
            }
        }
        // What arrives in uncertain times says nothing about what must come next.
        heard.last = Some((label.number, if certain { now } else { [u64::MAX; 2] }));
    }

    /// Nothing is under way any more: of a reliable channel without order, too, nothing is missing
    /// at a player.
    ///
    /// # Panics
    /// If something is.
    pub fn check_complete(&self, player: usize, number: u8) {
        let now = [self.resets, self.closes(number)];
        let other = &self.sides[1 - player];
        let (Some(heard), Some(sent)) =
            (self.sides[player].heard.get(&number), other.channels.get(&number))
        else {
            return;
        };
        let current = heard.latest == Some((other.life, sent.opening));
        if sent.open == Some(Reliability::ReliableUnordered)
            && current
            && heard.undisturbed == Some(now)
        {
            assert_eq!(heard.seen.len(), sent.next as usize, "nothing is left out");
        }
    }

    fn closes(&self, number: u8) -> u64 {
        self.sides.iter().filter_map(|side| side.channels.get(&number)).map(|c| c.closes).sum()
    }
}

impl Label {
    fn of(message: &[u8]) -> Self {
        let [player, channel, kind, l0, l1, o0, o1, n0, n1, n2, n3, ..] = *message else {
            panic!("a message with a label")
        };
        Self {
            player,
            channel,
            kind,
            life: u16::from_le_bytes([l0, l1]),
            opening: u16::from_le_bytes([o0, o1]),
            number: u32::from_le_bytes([n0, n1, n2, n3]),
        }
    }

    fn message(self, len: usize) -> Vec<u8> {
        let Self { player, channel, kind, life, opening, number } = self;
        let mut bytes = vec![player, channel, kind];
        bytes.extend(life.to_le_bytes());
        bytes.extend(opening.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        let first = number as u8;
        bytes.extend((LABEL..len).map(|n| (n as u8).wrapping_mul(31).wrapping_add(first)));
        bytes
    }
}

/// A reliability in a byte.
fn kind(reliability: Reliability) -> u8 {
    match reliability {
        Reliability::Unreliable => 0,
        Reliability::Reliable => 1,
        Reliability::UnreliableSequenced => 2,
        Reliability::ReliableUnordered => 3,
    }
}

/// Bytes of a label.
pub const LABEL: usize = 11;
const SHORT: u8 = 0xee;
