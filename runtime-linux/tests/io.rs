//! The suite over the back ends of this system.
#![cfg(target_os = "linux")]

#[path = "../../relay/tests/suite/mod.rs"]
mod suite;

use suite::rig::over;
use suite::suite_over;
use waylane_runtime_linux::io::{Mmsg, Uring};

suite_over!(mmsg_v4, |peers| super::over("127.0.0.1:0", peers, super::Mmsg::new));
suite_over!(mmsg_v6, |peers| super::over("[::1]:0", peers, super::Mmsg::new));
suite_over!(unmerged_v4, |peers| super::over("127.0.0.1:0", peers, super::Mmsg::unmerged));
suite_over!(uring_v4, |peers| super::over("127.0.0.1:0", peers, super::Uring::new));
suite_over!(uring_v6, |peers| super::over("[::1]:0", peers, super::Uring::new));
