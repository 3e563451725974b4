//! A relay that is sent more than it can take, by peers that come, go and move and by others that
//! mean it ill: it loses no session, grows by nothing, and can account for every datagram.
//!
//! Twenty seconds for all back ends together; `WAYLANE_SOAK_SECONDS=60` makes it as many for each.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

#[path = "../../relay/tests/running/mod.rs"]
mod running;
mod soaking;

use core::time::Duration;

use running::Running;
use soaking::{Load, lasts, not_taken, soak};
use waylane_relay::{Config, IoChoice};
use waylane_runtime_linux::back_end;

#[test]
fn overload_loses_no_session_no_memory_and_no_count() {
    for io in [IoChoice::Mmsg, IoChoice::Uring, IoChoice::Std] {
        let mut config = Config::dev();
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        // So small that what the workers do not take at once is lost.
        (config.io, config.workers, config.socket_buffer) = (io, 2, 64 << 10);
        let relay = Running::start(&config, back_end).unwrap();
        let load = Load::new(&relay, [127, 0]);
        let lost = || not_taken(load.port());
        let soaked = soak(&format!("{io:?}"), relay, &load, lost, lasts(TOGETHER / 3));
        assert_eq!(soaked.counters.received() + soaked.lost, soaked.sent);
        assert!(soaked.lost > 0, "it was no overload: {soaked:?}");
    }
}

const TOGETHER: Duration = Duration::from_secs(20);
