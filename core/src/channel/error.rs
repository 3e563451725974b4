//! What can go wrong with a channel.

use core::fmt;

/// Why a channel was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum OpenChannelError {
    /// The application has it open with the other reliability.
    AlreadyOpenOtherwise,
    /// There is no memory for another channel now.
    Full,
    /// A weight of 0.
    Weight,
    /// A redundancy above 3.
    Redundancy,
}

impl fmt::Display for OpenChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyOpenOtherwise => "the channel is open with the other reliability",
            Self::Full => "no memory for another channel",
            Self::Weight => "the weight is 0; give 1 to 255",
            Self::Redundancy => "the redundancy is above 3; give 0 to 3, or none",
        })
    }
}

impl core::error::Error for OpenChannelError {}

/// Why a channel was not closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CloseChannelError {
    /// The application has not opened it.
    NotOpen,
}

impl fmt::Display for CloseChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOpen => "the channel is not open",
        })
    }
}

impl core::error::Error for CloseChannelError {}

/// Why a message was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The application has not opened the channel.
    NotOpen,
    /// There is no room for it now; `Writable` follows when there is.
    Full {
        /// The largest message that there is room for.
        room: usize,
    },
    /// No message of this size is ever sent on this channel.
    TooLarge {
        /// The largest that is.
        max: usize,
    },
    /// It was to expire, and the channel is reliable.
    CannotExpire,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the channel is not open"),
            Self::Full { room } => write!(f, "the queue has room for {room} bytes only"),
            Self::TooLarge { max } => write!(f, "messages may have {max} bytes at most"),
            Self::CannotExpire => f.write_str("reliable messages do not expire"),
        }
    }
}

impl core::error::Error for SendError {}

/// What the other side did that the protocol forbids; the connection cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// It named an incarnation that cannot have begun.
    Incarnation,
    /// It opened a channel with one reliability and then used it with the other.
    Reliability,
    /// It sent more than it had credit for.
    Credit,
    /// A message is larger than we take.
    MessageTooLarge,
    /// A message's length is not in its shortest form.
    Length,
    /// Fragments of one message disagree about its length.
    Fragment,
    /// Messages of an unordered channel lie across each other.
    Overlap,
}

impl fmt::Display for ProtocolViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incarnation => "a channel incarnation that cannot have begun",
            Self::Reliability => "a channel used against its reliability",
            Self::Credit => "more data than there was credit for",
            Self::MessageTooLarge => "a message larger than allowed",
            Self::Length => "a message length not in its shortest form",
            Self::Fragment => "fragments that contradict each other",
            Self::Overlap => "messages that lie across each other",
        })
    }
}

impl core::error::Error for ProtocolViolation {}
