//! Packet protection: sealing, opening, key update, replay windows.

mod keys;
mod replay;

pub use keys::{
    KeyPhase, KeysExhausted, Opened, Packet, PacketKeys, RejectedPacket, SEAL_LIMIT,
    UPDATE_INTERVAL, UPDATE_PACKETS, UpdateTooEarly,
};
pub use replay::{ControlWindow, PacketWindow, Replay, ReplayWindow};
