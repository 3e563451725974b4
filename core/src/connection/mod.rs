//! One association between two peers: keys, packets, paths.
