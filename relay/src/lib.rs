//! The Waylane relay: worker loop, portable I/O, configuration.
