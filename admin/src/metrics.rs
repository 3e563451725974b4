//! What a relay's metrics are. `docs/operating.md` says what each of them means to an operator;
//! a test holds the two together.

use core::time::Duration;

use waylane_relay::{RelayHandle, RelayState};

use crate::openmetrics::{Format, Text, family};
use crate::process::{self, Process};

/// The relay's metrics as text in this format, `uptime` after it began to be watched.
///
/// Every family and every value of every label is there from the start, so that a rate of nothing
/// is 0 and not a gap.
#[must_use]
pub fn metrics(relay: &RelayHandle, uptime: Duration, format: Format) -> String {
    // Which datagrams the sockets had no room for is asked first: it was before what is counted.
    let overflows = process::overflows(&relay.about().ports);
    let mut text = Text::new(format);
    about(&mut text, relay, uptime);
    let counters = relay.counters();
    let (workers, owner) = (&counters.workers, &counters.owner);
    let (control, fast_path) = (&owner.control, &counters.fast_path.forward);

    text.counter(
        family("waylane_received_packets", "Datagrams that came in."),
        counters.received(),
    );
    text.counter(
        family("waylane_received_bytes", "UDP payload bytes that came in."),
        counters.received_bytes(),
    );
    text.counters(
        family("waylane_forwarded_packets", "Datagrams sent on, by what sent them."),
        "path",
        [("socket", workers.forward.forwarded), ("kernel", fast_path.forwarded)],
    );
    text.counters(
        family("waylane_forwarded_bytes", "UDP payload bytes sent on, by what sent them."),
        "path",
        [("socket", workers.forward.forwarded_bytes), ("kernel", fast_path.forwarded_bytes)],
    );
    text.counters(
        family("waylane_consumed_packets", "Datagrams that were for the relay itself, by kind."),
        "kind",
        [
            ("hello", control.hellos),
            ("bind", control.binds),
            ("resume", control.resumes),
            ("repeated", control.repeated),
            ("refused", control.refused),
            ("keep_alive", control.keep_alives),
            ("directory", control.directory_asks),
            ("unbind", control.unbinds),
            ("probe", control.probes),
        ],
    );
    text.counters(
        family("waylane_dropped_packets", "Datagrams dropped, by reason."),
        "reason",
        counters.drops(),
    );
    text.counter(
        family("waylane_reply_packets", "Datagrams of the relay's own that the system took."),
        owner.replies,
    );
    text.counter(family("waylane_reply_bytes", "Their UDP payload bytes."), owner.reply_bytes);
    text.counter(
        family("waylane_reply_failures", "Datagrams of its own that the system did not take."),
        owner.replies_failed,
    );
    text.counters(
        family("waylane_handshakes", "What became of those who asked for a session."),
        "outcome",
        [
            ("begun", control.sessions_begun),
            ("resumed", control.sessions_resumed),
            ("refused", control.refused),
            ("unproven", control.unproven),
        ],
    );
    text.counters(
        family("waylane_refusals", "Those who were refused, by what they were told."),
        "reason",
        control.refusals.iter(),
    );
    text.counters(
        family("waylane_sessions_ended", "Sessions that ended, by how."),
        "reason",
        [
            ("left", control.unbinds),
            ("silent", control.sessions_expired),
            ("token", control.sessions_token_ended),
        ],
    );
    text.gauge(family("waylane_sessions", "Sessions live now."), control.sessions_live);

    let spread = &counters.spread;
    text.histogram(
        family("waylane_batch_packets", "Datagrams received at once."),
        &spread.batches,
        1.0,
    );
    text.histogram(
        family("waylane_run_packets", "Datagrams sent as one, for the system to cut."),
        &spread.runs,
        1.0,
    );
    text.histogram(
        family("waylane_residence_seconds", "Time from a batch's receipt until all of it is sent."),
        &spread.residence_us,
        1e-6,
    );
    if let Some(overflows) = overflows {
        text.counter(
            family(
                "waylane_receive_overflow_packets",
                "Datagrams that found no room in the sockets; they are not among those received.",
            ),
            overflows,
        );
    }
    if let Some(process) = Process::now() {
        show_process(&mut text, &process);
    }
    text.end()
}

fn about(text: &mut Text, relay: &RelayHandle, uptime: Duration) {
    let (about, state) = (relay.about(), relay.state());
    text.info(
        family("waylane_build", "Which program this is."),
        &[("version", env!("CARGO_PKG_VERSION")), ("os", std::env::consts::OS)],
    );
    text.info(
        family("waylane_relay", "What this relay was set up as."),
        &[("region", &about.region)],
    );
    text.gauge(
        family("waylane_uptime_seconds", "Time since the relay was started."),
        format_args!("{:.3}", uptime.as_secs_f64()),
    );
    let is = |which| u8::from(state == which);
    text.gauge(
        family("waylane_ready", "1 while the relay takes new sessions, else 0."),
        is(RelayState::Serving),
    );
    text.gauge(
        family("waylane_draining", "1 while the relay waits for its sessions to leave, else 0."),
        is(RelayState::Draining),
    );
    text.gauge(family("waylane_workers", "Threads that forward."), about.workers);
    text.gauge(
        family("waylane_sessions_max", "Sessions that the relay has room for."),
        about.sessions_max,
    );
}

/// By the names that Prometheus's own clients give these.
fn show_process(text: &mut Text, process: &Process) {
    text.gauge(
        family("process_resident_memory_bytes", "Memory that the process has in RAM."),
        process.resident_bytes,
    );
    text.counter(
        family("process_cpu_seconds", "Processor time used, in the program and for it."),
        format_args!("{:.2}", process.cpu_seconds),
    );
    text.gauge(family("process_open_fds", "Files and sockets open."), process.open_files);
    text.gauge(family("process_threads", "Threads."), process.threads);
}
