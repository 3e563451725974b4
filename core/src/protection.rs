//! Packet protection: sealing, opening, key update, replay windows.
