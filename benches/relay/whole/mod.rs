//! Set-up M2: the whole cost of a datagram, what the driver and the stack do for it included, so
//! that forwarders in the kernel compare with others.
//!
//! The relay's end of the pair is served by a thread of the kernel on the forwarder's core, and
//! gets single frames made on the other core. Cost is what that thread and the forwarder ran for.
//! The world drops on the relay's core too, which stands for a driver's transmit: what comes as a
//! packet as in M1, what comes as a frame by a program.

mod programs;

use core::time::Duration;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Child;
use std::thread;
use std::time::Instant;

use crate::load::Load;
use crate::net::Net;
use crate::relays::{Tally, WARM_UP, WINDOW};

pub(crate) use programs::{relay, sink, source};

/// All forwarders under both loads, in turn, and under three times as much; `once` is as little as
/// shows that it works.
pub(crate) fn compare(net: &Net, rounds: usize, once_only: bool) -> Result<(), String> {
    println!(
        "\n| whole cost | forwarder | ns a datagram | naive ÷ this | bare ÷ this | thousand/s | core ours |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
    let cases = if once_only { &[1000][..] } else { &[1000, 1_000_000] };
    let mut measured = Vec::new();
    for &sessions in cases {
        let load = Load::random(sessions);
        let mut paced = Vec::new();
        for mode in MODES {
            // In the kernel what finds no room in the ring costs the relay's core nothing; sockets
            // get a little more than they can take.
            let a_second = match mode.is_in_kernel() {
                true => 0,
                false => {
                    let easy = Load { a_second: EASY, ..load };
                    (SHARE / once(net, mode, easy)?.cost()) as u32
                }
            };
            paced.push(Load { a_second, ..load });
        }
        let mut tallies = MODES.map(|_| Vec::new());
        for _ in 0..rounds {
            for ((mode, load), tallies) in MODES.iter().zip(&paced).zip(&mut tallies) {
                tallies.push(once(net, *mode, *load)?);
            }
        }
        let medians = tallies.map(|mut tallies| Tally::median(&mut tallies));
        let of = |name| MODES.iter().position(|mode| mode.name == name).map(|n| medians[n].cost());
        let [naive, bare] = ["naive", "bare"].map(|name| of(name).unwrap_or(f64::NAN));
        for (mode, median) in MODES.iter().zip(&medians) {
            let cost = median.cost();
            println!(
                "| {sessions} at random | {} | {cost:.0} | {:.2} | {:.2} | {:.0} | {:.0} % |",
                mode.name,
                naive / cost,
                bare / cost,
                median.rate(),
                median.ours(),
            );
        }
        measured.push((paced, medians));
    }
    match measured.first() {
        Some((paced, medians)) if !once_only => overload(net, rounds, paced, medians),
        _ => Ok(()),
    }
}

/// What is left of the goodput when three times as much comes, in which receiving for nothing takes
/// its share, or to those in the kernel as much as the source can.
fn overload(net: &Net, rounds: usize, paced: &[Load], medians: &[Tally]) -> Result<(), String> {
    println!(
        "\n| whole cost under overload | thousand/s | a second of the core, against the maximum |"
    );
    println!("| --- | ---: | ---: |");
    for ((mode, load), before) in MODES.iter().zip(paced).zip(medians) {
        let a_second = match mode.is_in_kernel() {
            true => (ABOVE * 1e9 / before.cost()) as u32,
            false => load.a_second * 3,
        };
        let load = Load { a_second, ..*load };
        let tallies: Result<Vec<_>, _> = (0..rounds).map(|_| once(net, *mode, load)).collect();
        let tally = Tally::median(&mut tallies?);
        // What was measured before was the overload of those in the kernel.
        let (maximum, over) = if mode.is_in_kernel() { (&tally, before) } else { (before, &tally) };
        let left = maximum.cost() / over.cost();
        println!("| {} | {:.0} | {left:.2} |", mode.name, over.rate());
    }
    Ok(())
}

/// One window of a forwarder.
fn once(net: &Net, mode: Mode, load: Load) -> Result<Tally, String> {
    let [relay_end, world_end] = net.interfaces();
    let mut relay = net.relay(&[], &format!("whole {} {relay_end}", mode.name), load)?;
    let result = (|| {
        heard(&mut relay)?;
        let kernel = net.serve_relay()?;
        let mut sink = mode
            .sends_frames
            .then(|| net.world(&[], &format!("sink {world_end}"), load))
            .transpose()?;
        if let Some(sink) = &mut sink {
            heard(sink)?;
        }
        let source = net.world(&[], &format!("frames {world_end}"), load);
        let tally = source.and_then(|mut source| {
            let tally = heard(&mut source).and_then(|_| {
                thread::park_timeout(WARM_UP);
                let threads = [kernel, relay.id()];
                let (before, start) = ((sunk(net, &mut sink)?, ran(&threads)?), Instant::now());
                thread::park_timeout(WINDOW);
                let (after, wall) = ((sunk(net, &mut sink)?, ran(&threads)?), start.elapsed());
                let [frames, bytes] = [0, 1].map(|n| after.0[n] - before.0[n]);
                let [cpu, waited] = [0, 1].map(|n| after.1[n] - before.1[n]);
                Ok(Tally { datagrams: frames, bytes, offered: 0, cpu, waited, wall })
            });
            end(source);
            tally
        });
        if let Some(sink) = sink {
            end(sink);
        }
        tally
    })();
    end(relay);
    result.map_err(|why| format!("{}: {why}", mode.name))
}

/// Datagrams and their bytes that have arrived in the world.
fn sunk(net: &Net, sink: &mut Option<Child>) -> Result<[u64; 2], String> {
    let Some(sink) = sink else {
        // Of what was segmented the counter sees one packet with one header.
        let (packets, bytes) = net.sunk()?;
        let payload = bytes - packets * 28;
        return Ok([payload / PAYLOAD, payload]);
    };
    let asked = sink.stdin.as_mut().map(|input| input.write_all(b"\n"));
    asked.ok_or("no input")?.map_err(|error| error.to_string())?;
    let said = heard(sink)?;
    let mut numbers = said.split_whitespace().filter_map(|n| n.parse().ok());
    let frames = numbers.next().ok_or_else(|| format!("the sink says {said:?}"))?;
    Ok([frames, frames * PAYLOAD])
}

/// The next line that a process says.
fn heard(process: &mut Child) -> Result<String, String> {
    let out = process.stdout.as_mut().ok_or("no output")?;
    let mut line = String::new();
    // It says a line when it is asked, so that none is lost with this reader.
    BufReader::new(out).read_line(&mut line).map_err(|error| error.to_string())?;
    if line.is_empty() { Err("a process ended too soon".to_owned()) } else { Ok(line) }
}

/// How long these processes' threads have run, and have waited to, with the kernel's thread for
/// what is put off on the relay's core.
fn ran(processes: &[u32]) -> Result<[Duration; 2], String> {
    let put_off = crate::net::kernel_thread("ksoftirqd/0")?;
    let mut both = [0, 0];
    for process in processes.iter().chain([&put_off]) {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
        for task in tasks.map_err(|error| error.to_string())?.flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let numbers = text.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
            for (sum, number) in both.iter_mut().zip(numbers) {
                *sum += number;
            }
        }
    }
    Ok(both.map(Duration::from_nanos))
}

/// Processes of this bench end when they are told to.
fn end(mut process: Child) {
    drop(process.kill());
    drop(process.wait());
}

/// A forwarder under test.
#[derive(Clone, Copy)]
struct Mode {
    name: &'static str,
    /// By the driver's way, past what makes packets of frames.
    sends_frames: bool,
}

impl Mode {
    fn is_in_kernel(self) -> bool {
        self.sends_frames || self.name == "tc"
    }
}

const MODES: [Mode; 6] = [
    Mode { name: "naive", sends_frames: false },
    Mode { name: "mmsg", sends_frames: false },
    Mode { name: "uring", sends_frames: false },
    Mode { name: "tc", sends_frames: false },
    Mode { name: "xdp", sends_frames: true },
    Mode { name: "bare", sends_frames: true },
];
/// What each datagram carries.
const PAYLOAD: u64 = 64;
/// A second, to see what a datagram costs when nothing is in the way.
const EASY: u32 = 100_000;
/// Nanoseconds of a second that are ours, or a little more.
const SHARE: f64 = 1e9;
/// A little more than can be taken.
const ABOVE: f64 = 1.1;
