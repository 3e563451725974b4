//! What several test programs share.
#![allow(dead_code, unreachable_pub)]

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use waylane_core::id::{ChannelId, PeerId};
use waylane_sim::{Hand, Heard, Random};

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Messages that can be told apart: number `n` of a stream has its own size and its own bytes.
#[derive(Clone, Copy)]
pub struct Stream {
    pub seed: u64,
    pub largest: u64,
}

impl Stream {
    pub fn message(self, n: u64) -> Vec<u8> {
        let mut random = Random::new(self.seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut data = vec![0; random.log_uniform(self.largest) as usize];
        random.fill(&mut data);
        let number = (n as u32).to_le_bytes();
        if let Some(front) = data.first_chunk_mut() {
            *front = number;
        }
        data
    }

    /// The number a message says it has; messages below four bytes say none.
    pub fn number(data: &[u8]) -> Option<u64> {
        data.first_chunk().map(|number| u64::from(u32::from_le_bytes(*number)))
    }
}

/// How far a stream has come on both of its ends.
#[derive(Default, Debug)]
pub struct Progress {
    pub sent: u64,
    pub received: u64,
    pub trouble: Vec<String>,
}

pub type Shared = Rc<RefCell<Progress>>;

/// A game that sends `count` messages of `outgoing` on a reliable channel as fast as it may, and
/// expects those of `incoming` in order; anything else it hears is trouble.
pub fn reliable_game(
    to: PeerId,
    channel: ChannelId,
    count: u64,
    (outgoing, sent): (Stream, Shared),
    (incoming, received): (Stream, Shared),
) -> impl FnMut(&mut Hand<'_>) {
    move |hand| {
        let mut progress = received.borrow_mut();
        for heard in hand.heard.drain(..) {
            if let Some((on, data)) = heard.message() {
                if on != channel || data != incoming.message(progress.received) {
                    let (at, len) = (progress.received, data.len());
                    progress
                        .trouble
                        .push(format!("{len} bytes on {on:?} in place of message {at}"));
                }
                progress.received += 1;
            } else if !matches!(
                heard,
                Heard::Writable(..)
                    | Heard::RouteUpdate(_)
                    | Heard::ChannelOpened(..)
                    | Heard::RelayConnected(_)
            ) {
                progress.trouble.push(format!("{:?}: {heard:?}", hand.now));
            }
        }
        drop(progress);
        let mut progress = sent.borrow_mut();
        while progress.sent < count
            && hand.endpoint.send_message(to, channel, &outgoing.message(progress.sent)).is_ok()
        {
            progress.sent += 1;
        }
        hand.endpoint.flush();
    }
}

/// Whether `needle` occurs in `hay`.
pub fn contains(hay: &[u8], needle: &[u8]) -> bool {
    let Some((first, _)) = needle.split_first() else { return true };
    let mut rest = hay;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
