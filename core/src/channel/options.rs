//! What an application may choose when it opens a channel.

use super::OpenChannelError;
use crate::id::Reliability;

/// How a channel is to be. Made from a [`Reliability`], which both sides must agree on; everything
/// else is this side's alone, about what it sends, and may be changed by opening again.
///
/// ```
/// # use waylane_core::channel::ChannelOptions;
/// # use waylane_core::id::Reliability;
/// let input = ChannelOptions { class: 0, ..Reliability::Reliable.into() };
/// assert_eq!((input.class, input.weight, input.redundancy), (0, 1, None));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChannelOptions {
    /// What the channel promises.
    pub reliability: Reliability,
    /// Channels of a lower class always leave first: as long as they have something that may leave,
    /// higher ones wait. By default 1.
    pub class: u8,
    /// The channel's share among those of its class: so many frames leave in a row when they take
    /// turns. From 1, the default, to 255.
    pub weight: u8,
    /// In so many later packets small reliable messages (up to 256 bytes) are repeated, 0 to 3.
    /// `None`, the default, goes by the loss: 1, or 2 from 5 % on, and only while repeats are a
    /// small share of what is sent.
    pub redundancy: Option<u8>,
}

impl ChannelOptions {
    /// The defaults, with this reliability.
    #[must_use]
    pub const fn new(reliability: Reliability) -> Self {
        Self { reliability, class: 1, weight: 1, redundancy: None }
    }

    /// Whether a channel can be like this.
    pub(super) fn check(&self) -> Result<(), OpenChannelError> {
        if self.weight == 0 {
            return Err(OpenChannelError::Weight);
        }
        if self.redundancy.is_some_and(|times| times > REDUNDANCY_MAX) {
            return Err(OpenChannelError::Redundancy);
        }
        Ok(())
    }
}

impl From<Reliability> for ChannelOptions {
    fn from(reliability: Reliability) -> Self {
        Self::new(reliability)
    }
}

/// Repeats of one message at most.
const REDUNDANCY_MAX: u8 = 3;
