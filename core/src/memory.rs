//! Memory lent by the caller: everything dynamic in an endpoint lives in slices made once, at start.

use crate::channel::{Block, ChannelSlot, Node};
use crate::connection::Peer;
use crate::crypto::Crypto;
use crate::endpoint::{DeadlineSlot, IndexSlot, RelaySlot, Relays, RequestSlot, index_len};
use crate::fleet::SignedDirectory;
use crate::limits::Limits;
use crate::recovery::SentSlot;
use crate::time::Instant;

/// Where an endpoint's slices come from: a heap, a `static` arena, a block handed over from C.
///
/// ```
/// use waylane_core::memory::Lender;
///
/// struct Heap;
///
/// impl Lender for Heap {
///     type Slice<T> = Box<[T]>;
///
///     fn lend<T>(&mut self, len: usize, make: fn() -> T) -> Box<[T]> {
///         (0..len).map(|_| make()).collect()
///     }
/// }
/// ```
pub trait Lender {
    /// An owned or `'static` slice.
    type Slice<T>: AsRef<[T]> + AsMut<[T]>;

    /// A slice of `len` values made by `make`. Called only while an endpoint is being made.
    fn lend<T>(&mut self, len: usize, make: fn() -> T) -> Self::Slice<T>;
}

/// All slices of one endpoint, sized by its [`Limits`].
pub(crate) struct Memory<C: Crypto, L: Lender> {
    peers: L::Slice<Peer<C>>,
    peer_index: L::Slice<IndexSlot>,
    deadlines: L::Slice<DeadlineSlot>,
    relays: L::Slice<RelaySlot<C>>,
    /// How many relays the directory has: they fill `relays` from the front, and none is taken out.
    relays_added: usize,
    /// Before this no relay has anything to do, as far as that was found out.
    relays_rest_until: Instant,
    requests: L::Slice<RequestSlot>,
    channels: L::Slice<ChannelSlot>,
    send_blocks: L::Slice<Block>,
    receive_blocks: L::Slice<Block>,
    nodes: L::Slice<Node>,
    sent: L::Slice<SentSlot>,
    lists: L::Slice<u8>,
}

/// The slices, borrowed for one call.
pub(crate) struct Lent<'a, C: Crypto> {
    pub(crate) peers: &'a mut [Peer<C>],
    pub(crate) peer_index: &'a mut [IndexSlot],
    pub(crate) deadlines: &'a mut [DeadlineSlot],
    /// Those of the directory.
    pub(crate) relays: Relays<'a, C>,
    pub(crate) requests: &'a mut [RequestSlot],
    pub(crate) channels: &'a mut [ChannelSlot],
    pub(crate) send_blocks: &'a mut [Block],
    pub(crate) receive_blocks: &'a mut [Block],
    pub(crate) nodes: &'a mut [Node],
    pub(crate) sent: &'a mut [SentSlot],
}

impl<C: Crypto, L: Lender> Memory<C, L> {
    pub(crate) fn new(limits: &Limits, lender: &mut L) -> Self {
        let peers = usize::from(limits.peers);
        let channels = &limits.channels;
        Self {
            peers: lender.lend(peers, Peer::default),
            peer_index: lender.lend(index_len(peers), IndexSlot::default),
            deadlines: lender.lend(peers, DeadlineSlot::default),
            relays: lender.lend(usize::from(limits.relays), RelaySlot::default),
            relays_added: 0,
            relays_rest_until: Instant::ZERO,
            requests: lender.lend(usize::from(limits.requests), RequestSlot::default),
            channels: lender.lend(channels.slots_total() as usize, ChannelSlot::default),
            send_blocks: lender.lend(channels.send_blocks_total() as usize, Block::default),
            receive_blocks: lender.lend(channels.receive_blocks_total() as usize, Block::default),
            nodes: lender.lend(channels.nodes_total() as usize, Node::default),
            sent: lender.lend(limits.sent_packets as usize, SentSlot::default),
            lists: lender.lend(2 * SignedDirectory::len_max(limits.relays.into()), u8::default),
        }
    }

    pub(crate) fn borrow(&mut self) -> Lent<'_, C> {
        Lent {
            peers: self.peers.as_mut(),
            peer_index: self.peer_index.as_mut(),
            deadlines: self.deadlines.as_mut(),
            relays: Relays::new(
                self.relays.as_mut().get_mut(..self.relays_added).unwrap_or_default(),
                &mut self.relays_rest_until,
            ),
            requests: self.requests.as_mut(),
            channels: self.channels.as_mut(),
            send_blocks: self.send_blocks.as_mut(),
            receive_blocks: self.receive_blocks.as_mut(),
            nodes: self.nodes.as_mut(),
            sent: self.sent.as_mut(),
        }
    }

    pub(crate) fn peers(&self) -> &[Peer<C>] {
        self.peers.as_ref()
    }

    pub(crate) fn peer_index(&self) -> &[IndexSlot] {
        self.peer_index.as_ref()
    }

    pub(crate) fn deadlines(&self) -> &[DeadlineSlot] {
        self.deadlines.as_ref()
    }

    pub(crate) fn requests(&self) -> &[RequestSlot] {
        self.requests.as_ref()
    }

    pub(crate) fn channels(&self) -> &[ChannelSlot] {
        self.channels.as_ref()
    }

    pub(crate) fn receive_blocks(&self) -> &[Block] {
        self.receive_blocks.as_ref()
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        self.nodes.as_ref()
    }

    /// Room for two signed lists, each as long as one of `limits.relays` relays can be.
    pub(crate) fn lists(&self) -> (&[u8], &[u8]) {
        let lists = self.lists.as_ref();
        lists.split_at(lists.len() / 2)
    }

    pub(crate) fn lists_mut(&mut self) -> (&mut [u8], &mut [u8]) {
        let lists = self.lists.as_mut();
        lists.split_at_mut(lists.len() / 2)
    }

    /// The relays of the directory.
    pub(crate) fn relays(&self) -> &[RelaySlot<C>] {
        self.relays.as_ref().get(..self.relays_added).unwrap_or_default()
    }

    pub(crate) fn relays_mut(&mut self) -> &mut [RelaySlot<C>] {
        self.relays_rest_until = Instant::ZERO;
        self.relays.as_mut().get_mut(..self.relays_added).unwrap_or_default()
    }

    /// Whether no relay has anything to send, to tell or to do by `now`. So it is nearly always, and
    /// then no relay is looked at.
    #[inline]
    pub(crate) fn relays_rest(&mut self, now: Instant) -> bool {
        let rest = now < self.relays_rest_until;
        debug_assert!(!rest || self.relays().iter().all(|slot| now < slot.rests_until()));
        rest || self.find_relays_resting(now)
    }

    #[inline(never)]
    fn find_relays_resting(&mut self, now: Instant) -> bool {
        let rest_until = self.relays().iter().map(RelaySlot::rests_until).min();
        self.relays_rest_until = rest_until.unwrap_or(Instant::FAR);
        now < self.relays_rest_until
    }

    /// One more relay, and its place; `None` if the directory is full.
    pub(crate) fn add_relay(&mut self) -> Option<(usize, &mut RelaySlot<C>)> {
        let place = self.relays_added;
        let slot = self.relays.as_mut().get_mut(place)?;
        self.relays_added += 1;
        self.relays_rest_until = Instant::ZERO;
        Some((place, slot))
    }
}
