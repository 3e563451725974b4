//! What forwarding one datagram costs a relay: a naive forwarder, ours by each back end, and
//! coturn, under the same load in network namespaces that are made for it and removed again. Needs
//! root, `ip`, `nft`, `chrt` and coturn.
//!
//! The namespaces' processes are this program again, with `--role`.

#[cfg(target_os = "linux")]
mod cli;
#[cfg(target_os = "linux")]
mod costs;
#[cfg(target_os = "linux")]
mod coturn;
#[cfg(target_os = "linux")]
mod drained;
#[cfg(target_os = "linux")]
mod latency;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod net;
#[cfg(target_os = "linux")]
mod overload;
#[cfg(target_os = "linux")]
mod relays;
#[cfg(target_os = "linux")]
mod strangers;
#[cfg(all(target_os = "linux", feature = "ebpf"))]
mod whole;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    let done = cli::main();
    #[cfg(not(target_os = "linux"))]
    let done = Err("this bench needs Linux".to_owned());
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("relay bench: {why}");
            std::process::ExitCode::FAILURE
        }
    }
}
