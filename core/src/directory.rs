//! The relays a client trusts.
