//! Waylane beside its peers: the same workloads on the same simulated links, in virtual time.
//!
//! Peers speak over one lane each way (`Path::direct`), Waylane through a relay, whose bytes count
//! and whose two legs share the same round trip. Workloads and figures are those of
//! `waylane_sim::workload`; percentiles are pooled over all seeds, other figures the runs' median.
#![forbid(unsafe_code)]

pub mod count;
pub mod enet;
pub mod frames;
pub mod host;
pub mod loopback;
pub mod net;
pub mod node;
pub mod peer;
pub mod quic;
pub mod table;
pub mod workloads;
