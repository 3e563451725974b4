//! Brings the datagrams of a batch into an order in which many to one destination leave at once.
//!
//! Only datagrams of different senders are interchanged: whoever sends to somebody is heard there
//! in the order of sending. A *run* is what a system with segmentation takes as one: neighbours to
//! one destination of equal length, of which the last may be shorter.

use core::net::SocketAddr;

use crate::io::Outgoing;

/// What is to be sent of one batch.
pub(crate) struct Grouping {
    waiting: Vec<Waiting>,
    /// Hash of the destination and number in `waiting`: sorting these moves less than sorting that.
    keys: Vec<u64>,
    ordered: Vec<Outgoing>,
}

#[derive(Clone, Copy)]
struct Waiting {
    outgoing: Outgoing,
    sender: SenderBit,
}

impl Grouping {
    /// For batches of so many at most.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            waiting: Vec::with_capacity(capacity),
            keys: Vec::with_capacity(capacity),
            ordered: Vec::with_capacity(capacity),
        }
    }

    /// Adds a datagram that came from `from`.
    pub(crate) fn push(&mut self, from: SocketAddr, outgoing: Outgoing) {
        let number = self.waiting.len() as u64;
        // Two destinations of one hash stand together; that costs a run and no more.
        self.keys.push(mixed(outgoing.to) & DESTINATION | number);
        self.waiting.push(Waiting { outgoing, sender: SenderBit(1 << (mixed(from) >> 58)) });
    }

    /// All of them, grouped, and forgets them at the next call.
    pub(crate) fn take(&mut self) -> &[Outgoing] {
        self.ordered.clear();
        self.keys.sort_unstable();
        let mut keys = self.keys.as_mut_slice();
        while let Some(first) = keys.first() {
            let destination = first & DESTINATION;
            let count = keys.iter().take_while(|key| **key & DESTINATION == destination).count();
            let (group, rest) = keys.split_at_mut(count);
            order(&self.waiting, group, &mut self.ordered);
            keys = rest;
        }
        self.keys.clear();
        self.waiting.clear();
        &self.ordered
    }
}

/// The runs of what is to be sent, in order, each short enough to leave at once; what is longer
/// than `segment_len_max` stands alone.
pub fn runs(outgoing: &[Outgoing], segment_len_max: usize) -> impl Iterator<Item = &[Outgoing]> {
    let mut rest = outgoing;
    core::iter::from_fn(move || {
        let (run, after) = rest.split_at(first_run(rest, segment_len_max));
        rest = after;
        (!run.is_empty()).then_some(run)
    })
}

fn first_run(outgoing: &[Outgoing], segment_len_max: usize) -> usize {
    let Some(first) = outgoing.first() else { return 0 };
    if first.len > segment_len_max {
        return 1;
    }
    let mut count = 1;
    let mut bytes = first.len;
    for next in outgoing.iter().skip(1) {
        bytes += next.len;
        let fits = next.to == first.to && next.len <= first.len && next.len > 0;
        if !fits || count == RUN_MAX || bytes > RUN_BYTES_MAX {
            break;
        }
        count += 1;
        if next.len < first.len {
            break;
        }
    }
    count
}

/// Appends one destination's datagrams in as few runs as their senders' order allows.
fn order(waiting: &[Waiting], group: &mut [u64], ordered: &mut Vec<Outgoing>) {
    let of = |key: u64| waiting.get(key as u32 as usize);
    let mut left = group;
    while let Some(head) = left.first().and_then(|key| of(*key)) {
        let len = head.outgoing.len;
        // What is not taken moves to the front, in its order; nobody's datagram overtakes it.
        let mut passed = 0_u64;
        let mut kept = 0;
        for place in 0..left.len() {
            let Some(next) = left.get(place).and_then(|key| of(*key)) else { continue };
            if next.outgoing.len == len && passed & next.sender.0 == 0 {
                ordered.push(next.outgoing);
            } else {
                passed |= next.sender.0;
                left.swap(kept, place);
                kept += 1;
            }
        }
        (left, _) = left.split_at_mut(kept);
        left = close(left, len, of, ordered);
    }
}

/// Closes a run with the next datagram, if it is shorter than the others.
fn close<'k, 'w>(
    left: &'k mut [u64],
    len: usize,
    of: impl Fn(u64) -> Option<&'w Waiting>,
    ordered: &mut Vec<Outgoing>,
) -> &'k mut [u64] {
    match left.first().and_then(|key| of(*key)) {
        Some(next) if next.outgoing.len < len => {
            ordered.push(next.outgoing);
            left.split_first_mut().map_or(&mut [], |(_, rest)| rest)
        }
        _ => left,
    }
}

/// One of 64 bits for a sender: two with the same bit are taken for one, which keeps an order that
/// nobody asked for and no more.
#[derive(Clone, Copy)]
struct SenderBit(u64);

fn mixed(address: SocketAddr) -> u64 {
    let ip = match address {
        SocketAddr::V4(v4) => u64::from(v4.ip().to_bits()),
        SocketAddr::V6(v6) => {
            let bits = v6.ip().to_bits();
            bits as u64 ^ (bits >> 64) as u64
        }
    };
    (ip << 16 ^ u64::from(address.port())).wrapping_mul(SPREAD)
}

/// The part of a key that tells the destination; the rest is a number in `waiting`.
const DESTINATION: u64 = u64::MAX << 32;
/// Kernels take 64 segments at least.
const RUN_MAX: usize = 64;
/// What one IPv4 packet holds, less its headers, with room for a tunnel's.
const RUN_BYTES_MAX: usize = 65_000;
/// An odd number without a pattern (2⁶⁴ divided by the golden ratio).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 4433))
    }

    /// Sender, destination and length of each.
    fn grouped(datagrams: &[(u8, u8, usize)]) -> Vec<Outgoing> {
        let mut grouping = Grouping::new(datagrams.len());
        for (index, &(from, to, len)) in datagrams.iter().enumerate() {
            grouping.push(address(from), Outgoing { index, len, to: address(to) });
        }
        grouping.take().to_vec()
    }

    proptest! {
        #[test]
        fn each_leaves_once_and_none_overtakes_its_senders_others(
            datagrams in prop::collection::vec((0u8..6, 0u8..6, 28usize..34), 0..256),
        ) {
            let ordered = grouped(&datagrams);
            let mut indices: Vec<usize> = ordered.iter().map(|o| o.index).collect();
            for from in 0..6 {
                for to in 0..6 {
                    let pair = |&index: &usize| (datagrams[index].0, datagrams[index].1) == (from, to);
                    let sent: Vec<usize> = indices.iter().copied().filter(pair).collect();
                    prop_assert!(sent.is_sorted(), "{} to {}: {:?}", from, to, sent);
                }
            }
            indices.sort_unstable();
            prop_assert!(indices.into_iter().eq(0..datagrams.len()));
            prop_assert!(ordered.iter().all(|o| o.len == datagrams[o.index].2));
        }

        #[test]
        fn runs_are_what_segmentation_takes(
            datagrams in prop::collection::vec((0u8..4, 0u8..3, 1400usize..1404), 0..256),
        ) {
            let ordered = grouped(&datagrams);
            let mut seen = Vec::new();
            for run in runs(&ordered, usize::MAX) {
                let (last, others) = run.split_last().unwrap();
                prop_assert!(others.iter().all(|o| o.len == run[0].len));
                prop_assert!(last.len <= run[0].len);
                prop_assert!(run.iter().all(|o| o.to == run[0].to));
                prop_assert!(run.len() <= 64 && run.iter().map(|o| o.len).sum::<usize>() <= 65_000);
                seen.extend_from_slice(run);
            }
            prop_assert_eq!(seen, ordered);
        }
    }

    #[test]
    fn equal_lengths_of_different_senders_join() {
        // Two lengths in turn, each from its own sender: two runs, not eight.
        let datagrams: Vec<_> = (0..8).map(|n| (n, 9, if n % 2 == 0 { 127 } else { 67 })).collect();
        let ordered = grouped(&datagrams);
        let lens = |run: &[Outgoing]| run.iter().map(|o| o.len).collect::<Vec<_>>();
        let runs: Vec<_> = runs(&ordered, usize::MAX).map(lens).collect();
        assert_eq!(runs, [vec![127, 127, 127, 127, 67], vec![67, 67, 67]]);
        // All of one sender: its order is kept, and a shorter one closes each run.
        let datagrams: Vec<_> = datagrams.iter().map(|&(_, to, len)| (1, to, len)).collect();
        let ordered = grouped(&datagrams);
        assert_eq!(
            super::runs(&ordered, usize::MAX).map(lens).collect::<Vec<_>>(),
            vec![vec![127, 67]; 4]
        );
    }
}
