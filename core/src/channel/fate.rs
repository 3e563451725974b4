//! What becomes of sent packets: acknowledged or lost.

use super::node::NodeKind;
use super::slot::State;
use super::{Channels, Node, Pools};
use crate::id::ChannelId;
use crate::pool::{Metered, NONE};
use crate::recovery::FrameList;

impl Channels {
    /// The other side has the packet that `list` was written into.
    pub fn on_acked(&mut self, pools: &mut Pools<'_>, list: FrameList) {
        let mut next = list.0;
        while next != NONE {
            let index = next;
            let node = pools.nodes[index];
            next = node.next;
            if node.kind == NodeKind::Sent {
                pools.slots[u32::from(node.slot)].send.unlink(&mut pools.nodes, index);
                self.repeats.forget(node.slot, node.start, node.end());
            }
            self.give_sent(pools, index);
            match node.kind {
                NodeKind::Sent => {
                    self.release_sent(pools, node.slot);
                    self.check_drained(pools, node.slot);
                }
                NodeKind::Repeat => self.on_repeat_acked(pools, &node),
                NodeKind::Close => {
                    if let Some(slot) = self.slot_in_state(pools, &node, |s| s == State::Closing) {
                        self.finish_close(pools, slot);
                    }
                }
                NodeKind::Open | NodeKind::Credit | NodeKind::Detached | NodeKind::Lost => {}
            }
        }
    }

    /// The packet that `list` was written into is lost, or counts as lost: what still matters of it
    /// is sent again.
    pub fn on_lost(&mut self, pools: &mut Pools<'_>, list: FrameList) {
        let mut next = list.0;
        while next != NONE {
            let index = next;
            let node = pools.nodes[index];
            next = node.next;
            if node.kind == NodeKind::Sent {
                self.requeue(pools, index);
                continue;
            }
            self.give_sent(pools, index);
            let in_use = |state| matches!(state, State::Open | State::Draining);
            match node.kind {
                NodeKind::Open => {
                    if let Some(slot) = self.slot_in_state(pools, &node, in_use) {
                        pools.slots[u32::from(slot)].due.open = true;
                        self.relist(pools, slot);
                    }
                }
                NodeKind::Credit => {
                    let slot = self.slot_in_state(pools, &node, in_use);
                    // Only the newest word counts.
                    let newest =
                        |slot: &u16| pools.slots[u32::from(*slot)].receive.granted == node.start;
                    if let Some(slot) = slot.filter(newest) {
                        pools.slots[u32::from(slot)].due.credit = true;
                        self.relist(pools, slot);
                    }
                }
                NodeKind::Close => {
                    if let Some(slot) = self.slot_in_state(pools, &node, |s| s == State::Closing) {
                        pools.slots[u32::from(slot)].due.close = true;
                        self.relist(pools, slot);
                    }
                }
                NodeKind::Sent | NodeKind::Detached | NodeKind::Lost | NodeKind::Repeat => {}
            }
        }
    }

    fn requeue(&mut self, pools: &mut Pools<'_>, index: u32) {
        let slot = pools.nodes[index].slot;
        pools.nodes[index].kind = NodeKind::Lost;
        pools.nodes[index].next = NONE;
        let send = &mut pools.slots[u32::from(slot)].send;
        if send.lost_tail == NONE {
            send.lost_head = index;
        } else {
            pools.nodes[send.lost_tail].next = index;
        }
        send.lost_tail = index;
        self.relist(pools, slot);
    }

    pub(super) fn give_sent(&mut self, pools: &mut Pools<'_>, index: u32) {
        Metered {
            pool: &mut pools.nodes,
            account: &mut self.accounts.sent,
            share: &mut pools.shares.sent,
        }
        .give(index);
    }

    /// The slot of the channel that a control frame was about, if it is still that incarnation's.
    pub(super) fn slot_in_state(
        &self,
        pools: &Pools<'_>,
        node: &Node,
        wanted: impl Fn(State) -> bool,
    ) -> Option<u16> {
        let channel = ChannelId(node.slot as u8);
        if self.incarnation(channel).0 != node.incarnation {
            return None;
        }
        self.slot_of(channel).filter(|slot| wanted(pools.slots[u32::from(*slot)].state))
    }
}
