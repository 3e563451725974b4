//! An endpoint taken apart for one call, and the small steps that every family of methods needs.

use super::queue::Queue;
use super::{Endpoint, IndexSlot, RequestSlot, deadlines, index};
use crate::channel::{PoolMemory, Pools, Scope};
use crate::connection::{Context, Peer, RelayIndex};
use crate::crypto::Crypto;
use crate::endpoint::DeadlineSlot;
use crate::id::PeerId;
use crate::memory::Lender;
use crate::recovery::SentPool;

/// Everything of an endpoint, borrowed apart.
pub(super) struct Parts<'a, C: Crypto> {
    pub(super) peers: &'a mut [Peer<C>],
    pub(super) index: &'a mut [IndexSlot],
    pub(super) deadlines: &'a mut [DeadlineSlot],
    pub(super) requests: &'a mut [RequestSlot],
    pub(super) unflushed: &'a mut Queue,
    pub(super) transmit: &'a mut Queue,
    pub(super) events: &'a mut Queue,
    pub(super) context: Context<'a, C>,
}

impl<C: Crypto, L: Lender> Endpoint<C, L> {
    pub(super) fn parts(&mut self) -> Parts<'_, C> {
        let state = &mut self.state;
        let lent = self.memory.borrow();
        let pools = PoolMemory {
            send: lent.send_blocks,
            receive: lent.receive_blocks,
            nodes: lent.nodes,
            slots: lent.channels,
        };
        Parts {
            peers: lent.peers,
            index: lent.peer_index,
            deadlines: lent.deadlines,
            requests: lent.requests,
            unflushed: &mut state.unflushed,
            transmit: &mut state.transmit,
            events: &mut state.events,
            context: Context {
                now: state.now,
                waited: state.waited,
                crypto: &mut state.crypto,
                identity: &state.identity,
                me: state.me,
                settings: &state.settings,
                relays: lent.relays,
                pools: Pools::new(&state.limits.channels, &mut state.pools, pools),
                sent: SentPool::new(lent.sent, &mut state.sent),
                counters: &mut state.counters,
                route: state.route.as_ref(),
                stamp: &mut state.stamp,
                unix_micros: state.unix_micros,
            },
        }
    }

    /// Does something with one peer and brings its queues and its deadline up to date.
    pub(super) fn with_peer<R>(
        &mut self,
        slot: usize,
        act: impl FnOnce(&mut Peer<C>, &mut Context<'_, C>) -> R,
    ) -> R {
        let mut parts = self.parts();
        let answer = act(&mut parts.peers[slot], &mut parts.context);
        parts.refresh(slot);
        answer
    }

    /// Does something with every peer because of a relay.
    pub(super) fn with_peers(
        &mut self,
        relay: RelayIndex,
        act: impl Fn(&mut Peer<C>, &mut Context<'_, C>, RelayIndex),
    ) {
        for slot in 0..self.memory.peers().len() {
            if self.memory.peers()[slot].id().is_some() {
                self.with_peer(slot, |peer, context| act(peer, context, relay));
            }
        }
    }

    pub(super) fn find(&self, peer: PeerId) -> Option<usize> {
        index::find(self.memory.peer_index(), peer)
    }

    /// The slot of a peer that the application has.
    pub(super) fn live(&self, peer: PeerId) -> Option<usize> {
        self.find(peer).filter(|slot| self.memory.peers()[*slot].is_live())
    }

    pub(super) fn free_slot(&self) -> Option<usize> {
        self.memory.peers().iter().position(|peer| peer.id().is_none())
    }

    pub(super) fn has_left(&self, peer: PeerId) -> bool {
        self.find(peer).is_some() || self.state.left.iter().any(|left| *left == peer)
    }

    /// The answer to a command about a peer that is not there.
    pub(super) fn gone<E>(&self, peer: PeerId, error: E) -> Result<(), E> {
        if self.has_left(peer) { Ok(()) } else { Err(error) }
    }

    pub(super) fn remember_left(&mut self, peer: PeerId) {
        if self.state.left.back() == Some(&peer) {
            return;
        }
        if self.state.left.is_full() {
            self.state.left.pop_front();
        }
        let _ = self.state.left.push_back(peer);
    }

    /// Frees the slot if nothing is left to do with it.
    pub(super) fn tidy(&mut self, slot: usize) {
        if self.memory.peers()[slot].is_done() {
            self.free(slot);
        }
    }

    pub(super) fn free(&mut self, slot: usize) {
        let mut parts = self.parts();
        if let Some(id) = parts.peers[slot].id() {
            index::remove(parts.index, id);
        }
        parts.peers[slot].release(&mut parts.context);
        parts.refresh(slot);
    }
}

impl<C: Crypto> Parts<'_, C> {
    /// Queues and deadline of a peer that may have changed.
    pub(super) fn refresh(&mut self, slot: usize) {
        self.requeue(slot);
        self.set_deadline(slot);
    }

    /// Queues of a peer that may have changed, but for its timers.
    pub(super) fn requeue(&mut self, slot: usize) {
        let peer = &self.peers[slot];
        let tells = peer.has_events();
        let sends = peer.wants_transmit(&self.context, Scope::Everything);
        if tells {
            self.events.push(self.peers, slot);
        }
        if sends {
            self.transmit.push(self.peers, slot);
        }
    }

    pub(super) fn set_deadline(&mut self, slot: usize) {
        deadlines::set(self.deadlines, slot, self.peers[slot].deadline());
    }
}
