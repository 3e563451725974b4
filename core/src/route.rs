//! Where a peer can be reached now.
