//! The relay: control and forwarding.
