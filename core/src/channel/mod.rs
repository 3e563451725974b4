//! Channels: reliable streams of messages, unreliable messages, credit.
