//! Reliable channels without order: a message is delivered as soon as all of it is there, whatever is
//! missing before it.
//!
//! What arrives lies in the stream's blocks as on an ordered channel. Each range beyond the contiguous
//! bytes knows where the first message begins of which it was told; from there on the messages in it
//! can be read one behind the other, and those that are whole have been *taken*: put into the queue
//! for the application. So what is taken of a range is one stretch, and when ranges meet, the
//! messages between their stretches are taken. Nothing else has to be remembered.
//!
//! A message is taken only if its place in the queue can be recorded. When no record is to be had, it
//! is taken later: when its range grows, or when the contiguous bytes reach it. These need none.

use super::chain::{Chain, Place};
use super::node::{Added, RANGES_MAX};
use super::receive::{VARINT_LEN_MAX, read_prefix};
use super::slot::ReceiveHalf;
use super::{Block, Channels, Node, Pools, ProtocolViolation};
use crate::pool::{Metered, NONE, Pool};

/// The whole messages of an unordered channel that the application has not seen: runs of them, in the
/// order in which they became whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    /// Where the next message begins; the first run's end if there is none.
    at: u64,
    /// End of the first run.
    end: u64,
    /// Where messages were last read.
    place: Place,
    /// Records of the other runs.
    head: u32,
    tail: u32,
}

impl Runs {
    pub(super) const fn new() -> Self {
        Self { at: 0, end: 0, place: Place::NONE, head: NONE, tail: NONE }
    }
}

/// What reading received messages takes.
pub(super) struct Stores<'s, 'p> {
    pub(super) blocks: &'s Pool<'p, Block>,
    pub(super) nodes: Metered<'s, 'p, Node>,
    pub(super) message_max: u32,
}

/// What is known of the messages in a received range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Messages {
    /// Where the first one begins.
    begin: u64,
    /// Where the first one begins that is not taken.
    next: u64,
    /// Where that ends; 0 while its length is not known.
    needed: u64,
}

impl Messages {
    /// One begins at `begin`.
    const fn at(begin: u64) -> Self {
        Self { begin, next: begin, needed: 0 }
    }
}

impl Channels {
    /// Takes a range of an unordered stream, which may begin with a message; `false` if there is no
    /// memory to remember it.
    pub(super) fn receive_unordered(
        &mut self,
        pools: &mut Pools<'_>,
        slot: u16,
        start: u64,
        at_message: bool,
        data: &[u8],
    ) -> Result<bool, ProtocolViolation> {
        let receive = &mut pools.slots[u32::from(slot)].receive;
        let Some((start, fresh)) = receive.fresh_part(start, data)? else {
            self.counters.duplicates += 1;
            return Ok(true);
        };
        let end = start + fresh.len() as u64;
        let extended = receive.chain.extend(&mut pools.receive, end);
        assert!(extended, "credit is granted only against reserved blocks");
        let place = receive.chain.place_of(&pools.receive, start);
        receive.write_missing(&mut pools.receive, &pools.nodes, start, fresh);
        let whole = receive.whole;
        let mut stores = Stores {
            blocks: &pools.receive,
            nodes: Metered {
                pool: &mut pools.nodes,
                account: &mut self.accounts.ranges,
                share: &mut pools.shares.ranges,
            },
            message_max: pools.limits.message_reliable_max,
        };
        let at_front = start == receive.contiguous;
        if at_front {
            receive.contiguous = end;
            receive.reach_ranges(&mut stores, place)?;
        } else {
            // All of it is fresh, so it begins as it did when it was sent.
            let messages = at_message.then_some(Messages::at(start));
            match receive.add_range(&mut stores, place, (start, end), messages)? {
                Added::New => {}
                Added::Duplicate => {
                    self.counters.duplicates += 1;
                    return Ok(true);
                }
                Added::NoRoom => {
                    self.counters.refused += 1;
                    return Ok(false);
                }
            }
        }
        let (news, stretched) = (receive.whole > whole, receive.is_stretched_by(end));
        if news {
            self.ready.push(&mut pools.slots, slot);
        }
        if stretched {
            self.widen_window(pools, slot);
        }
        if at_front || stretched {
            self.update_credit(pools, slot);
        }
        Ok(true)
    }
}

impl ReceiveHalf {
    /// The next whole message, of which there is one.
    pub(super) fn unordered_message(
        &mut self,
        blocks: &Pool<'_, Block>,
        nodes: &mut Metered<'_, '_, Node>,
    ) -> (u64, u64) {
        let Runs { at, end, .. } = self.runs;
        let message = prefix_at(&self.chain, blocks, &mut self.runs.place, at, end).ok().flatten();
        let (start, len) = message.unwrap_or((end, 0));
        self.runs.at = start + len;
        let next = self.runs.head;
        if self.runs.at >= end && next != NONE {
            let run = nodes.pool[next];
            (self.runs.at, self.runs.end) = (run.start, run.end());
            self.runs.head = run.next;
            if run.next == NONE {
                self.runs.tail = NONE;
            }
            self.ranges.count -= 1;
            nodes.give(next);
        }
        (start, len)
    }

    /// The first block of a message that was just read, and where in it.
    pub(super) fn unordered_place(&mut self, blocks: &Pool<'_, Block>, start: u64) -> (u32, usize) {
        self.chain.find(blocks, &mut self.runs.place, start)
    }

    /// The application has seen the message it was lent.
    pub(super) fn settle_unordered(&mut self, stores: &mut Stores<'_, '_>) {
        if self.whole == 0 {
            // There may be some for which there was no record. One that breaks a rule is noticed
            // when more arrives.
            self.take_front(stores, self.runs.place).ok();
        }
        let mut kept = self.parsed;
        if self.runs.at < self.runs.end {
            kept = kept.min(self.runs.at);
        }
        let mut next = self.runs.head;
        while next != NONE {
            let run = &stores.nodes.pool[next];
            kept = kept.min(run.start);
            next = run.next;
        }
        self.consumed = kept;
    }

    /// Forgets the messages that the application has not seen.
    pub(super) fn clear_runs(&mut self, nodes: &mut Metered<'_, '_, Node>) {
        let mut next = self.runs.head;
        while next != NONE {
            let run = next;
            next = nodes.pool[run].next;
            self.ranges.count -= 1;
            nodes.give(run);
        }
        self.runs = Runs::new();
    }

    /// Writes those of `data`'s bytes, beyond the contiguous ones, that are not there: the others
    /// may have been read already, and stay as they were.
    fn write_missing(
        &mut self,
        blocks: &mut Pool<'_, Block>,
        nodes: &Pool<'_, Node>,
        start: u64,
        data: &[u8],
    ) {
        let (mut at, mut rest) = (start, data);
        let mut next = self.ranges.head;
        while next != NONE && !rest.is_empty() {
            let Node { start: known_start, next: after, .. } = nodes[next];
            let known_end = nodes[next].end();
            next = after;
            if known_end <= at {
                continue;
            }
            let (missing, behind) = split(rest, known_start.saturating_sub(at));
            self.chain.write(blocks, at, missing);
            let (known, behind) = split(behind, known_end - at - missing.len() as u64);
            at += (missing.len() + known.len()) as u64;
            rest = behind;
        }
        self.chain.write(blocks, at, rest);
    }

    /// The contiguous bytes have grown.
    fn reach_ranges(
        &mut self,
        stores: &mut Stores<'_, '_>,
        place: Place,
    ) -> Result<(), ProtocolViolation> {
        let mut result = Ok(());
        loop {
            let head = self.ranges.head;
            let behind = if head == NONE { None } else { stores.nodes.pool[head].messages() };
            let end = self.ranges.pop_reached(&mut stores.nodes, self.contiguous);
            let Some(end) = end else { break };
            self.contiguous = self.contiguous.max(end);
            let Some(behind) = behind else { continue };
            match self.join(stores, place, self.front(), behind) {
                Ok(Some(joined)) => (self.parsed, self.needed) = (joined.next, joined.needed),
                Ok(None) => unreachable!("the range has just given its record back"),
                Err(violation) => result = Err(violation),
            }
        }
        result?;
        self.take_front(stores, place)
    }

    /// Takes what is whole of the contiguous bytes.
    fn take_front(
        &mut self,
        stores: &mut Stores<'_, '_>,
        place: Place,
    ) -> Result<(), ProtocolViolation> {
        let taken = self.take(stores, place, self.front(), self.contiguous)?;
        (self.parsed, self.needed) = (taken.next, taken.needed);
        Ok(())
    }

    const fn front(&self) -> Messages {
        Messages { begin: self.parsed, next: self.parsed, needed: self.needed }
    }

    /// Adds `start..end`, beyond the contiguous bytes, of which so many messages are known.
    fn add_range(
        &mut self,
        stores: &mut Stores<'_, '_>,
        place: Place,
        (start, end): (u64, u64),
        mut messages: Option<Messages>,
    ) -> Result<Added, ProtocolViolation> {
        let pool = &stores.nodes.pool;
        let (mut last, mut here) = (NONE, self.ranges.head);
        while here != NONE && pool[here].end() < start {
            last = here;
            here = pool[here].next;
        }
        let (mut from, mut to) = (start, end);
        let mut result = Ok(());
        if here == NONE || pool[here].start > end {
            if self.ranges.count >= RANGES_MAX {
                return Ok(Added::NoRoom);
            }
            let Some(new) = stores.nodes.take() else { return Ok(Added::NoRoom) };
            stores.nodes.pool[new] = Node { next: here, ..Node::new() };
            if last == NONE {
                self.ranges.head = new;
            } else {
                stores.nodes.pool[last].next = new;
            }
            self.ranges.count += 1;
            here = new;
        } else {
            let first = pool[here];
            if first.start <= start && end <= first.end() {
                return Ok(Added::Duplicate);
            }
            to = to.max(first.end());
            if first.start <= start {
                from = first.start;
                messages = first.messages().or(messages);
            } else {
                // Without a record for what lies between, what came first waits for what is before.
                match self.join_known(stores, place, messages, first.messages()) {
                    Ok(joined) => messages = joined.or(first.messages()),
                    Err(violation) => result = Err(violation),
                }
            }
            loop {
                let next = stores.nodes.pool[here].next;
                if next == NONE || stores.nodes.pool[next].start > to {
                    break;
                }
                let merged = stores.nodes.pool[next];
                to = to.max(merged.end());
                stores.nodes.pool[here].next = merged.next;
                self.ranges.count -= 1;
                stores.nodes.give(next);
                match self.join_known(stores, place, messages, merged.messages()) {
                    Ok(joined) => messages = joined.or(messages),
                    Err(violation) => result = Err(violation),
                }
            }
        }
        if let (Some(known), Ok(())) = (messages, result) {
            match self.take(stores, place, known, to) {
                Ok(taken) => messages = Some(taken),
                Err(violation) => result = Err(violation),
            }
        }
        stores.nodes.pool[here].set_range(from, to, messages);
        result.map(|()| Added::New)
    }

    /// As [`ReceiveHalf::join`], if anything is known of both.
    fn join_known(
        &mut self,
        stores: &mut Stores<'_, '_>,
        place: Place,
        known: Option<Messages>,
        behind: Option<Messages>,
    ) -> Result<Option<Messages>, ProtocolViolation> {
        match (known, behind) {
            (Some(known), Some(behind)) => self.join(stores, place, known, behind),
            (known, behind) => Ok(known.or(behind)),
        }
    }

    /// Takes all messages between `known` and those `behind`, which are there; `None` if there is no
    /// record for them.
    fn join(
        &mut self,
        stores: &mut Stores<'_, '_>,
        place: Place,
        known: Messages,
        behind: Messages,
    ) -> Result<Option<Messages>, ProtocolViolation> {
        let (walked, count) = self.walk(stores, place, known, behind.begin)?;
        if walked.next != behind.begin {
            return Err(ProtocolViolation::Overlap);
        }
        let pushed = self.push_run(&mut stores.nodes, (known.next, walked.next), count);
        Ok(pushed.then_some(Messages { begin: known.begin, ..behind }))
    }

    /// Takes the messages behind `known` that are whole in what is there up to `end`, unless there is
    /// no record for them.
    fn take(
        &mut self,
        stores: &mut Stores<'_, '_>,
        place: Place,
        known: Messages,
        end: u64,
    ) -> Result<Messages, ProtocolViolation> {
        let (walked, count) = self.walk(stores, place, known, end)?;
        let pushed = self.push_run(&mut stores.nodes, (known.next, walked.next), count);
        Ok(if pushed { walked } else { known })
    }

    /// Goes over the messages behind `known` that are whole in what is there up to `end`; says how
    /// many they are.
    fn walk(
        &self,
        stores: &Stores<'_, '_>,
        mut place: Place,
        known: Messages,
        end: u64,
    ) -> Result<(Messages, u32), ProtocolViolation> {
        let (mut walked, mut count) = (known, 0);
        loop {
            if walked.needed == 0 {
                let message = prefix_at(&self.chain, stores.blocks, &mut place, walked.next, end)?;
                let Some((start, len)) = message else { return Ok((walked, count)) };
                if len > u64::from(stores.message_max) {
                    return Err(ProtocolViolation::MessageTooLarge);
                }
                walked.needed = start + len;
            }
            if walked.needed > end {
                return Ok((walked, count));
            }
            walked.next = walked.needed;
            walked.needed = 0;
            count += 1;
        }
    }

    /// Queues `count` messages; `false` if there is no record for them.
    fn push_run(
        &mut self,
        nodes: &mut Metered<'_, '_, Node>,
        (from, to): (u64, u64),
        count: u32,
    ) -> bool {
        let Runs { at, end, tail, .. } = self.runs;
        if count == 0 {
            return true;
        }
        if at >= end {
            (self.runs.at, self.runs.end) = (from, to);
        } else if tail == NONE && end == from {
            self.runs.end = to;
        } else if tail != NONE && nodes.pool[tail].end() == from {
            nodes.pool[tail].len += (to - from) as u32;
        } else {
            if self.ranges.count >= RANGES_MAX {
                return false;
            }
            let Some(new) = nodes.take() else { return false };
            nodes.pool[new] = Node { start: from, len: (to - from) as u32, ..Node::new() };
            if tail == NONE {
                self.runs.head = new;
            } else {
                nodes.pool[tail].next = new;
            }
            self.runs.tail = new;
            self.ranges.count += 1;
        }
        self.whole += count;
        true
    }
}

impl Node {
    /// What a received range knows of its messages.
    fn messages(&self) -> Option<Messages> {
        let Self { before: begin, after: next, lead: needed, start, .. } = *self;
        (begin != NONE).then(|| Messages {
            begin: start + u64::from(begin),
            next: start + u64::from(next),
            needed: if needed == 0 { 0 } else { start + u64::from(needed) },
        })
    }

    fn set_range(&mut self, start: u64, end: u64, messages: Option<Messages>) {
        let distance = |offset: u64| offset.saturating_sub(start) as u32;
        (self.start, self.len) = (start, distance(end));
        (self.before, self.after, self.lead) = match messages {
            Some(known) => (distance(known.begin), distance(known.next), distance(known.needed)),
            None => (NONE, NONE, 0),
        };
    }
}

/// The message behind the length at `offset`, of a stream that is there up to `end`: where it begins
/// and its length; `None` if not all of the length is there.
fn prefix_at(
    chain: &Chain,
    blocks: &Pool<'_, Block>,
    place: &mut Place,
    offset: u64,
    end: u64,
) -> Result<Option<(u64, u64)>, ProtocolViolation> {
    let mut bytes = [0; VARINT_LEN_MAX];
    let there = end.saturating_sub(offset).min(bytes.len() as u64) as usize;
    let bytes = bytes.get_mut(..there).unwrap_or_default();
    chain.peek(blocks, place, offset, bytes);
    read_prefix(bytes, offset)
}

/// The first `len` bytes of `data`, or all of it, and the rest.
fn split(data: &[u8], len: u64) -> (&[u8], &[u8]) {
    data.split_at(usize::try_from(len).map_or(data.len(), |len| len.min(data.len())))
}
