//! The suite over the portable back end and over a fake.

#[path = "suite/fake.rs"]
mod fake;
mod suite;

use fake::fake;
use suite::rig::over;
use suite::suite_over;
use waylane_relay::io::Udp;

suite_over!(udp_v4, |peers| super::over("127.0.0.1:0", peers, super::Udp::new));
suite_over!(udp_v6, |peers| super::over("[::1]:0", peers, super::Udp::new));
suite_over!(memory, |peers| Some(super::fake(peers)));
