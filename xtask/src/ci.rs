//! All of CI, in the order in which failures are cheapest to learn.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::{
    Failure, bare, benches, demo, ebpf, fuzz, loom, metadata, packaging, paths, sanitizer,
    scenarios, targets, tidy, watching,
};

/// Runs every step whose name holds one of `words` (without words all of [`STEPS`]), the later ones
/// even if an earlier one failed, and prints a table.
///
/// # Errors
/// Names the steps that failed.
pub(crate) fn run(root: &Path, words: &[String]) -> Result<(), Failure> {
    let named =
        |step: &&Step| words.is_empty() || words.iter().any(|word| step.name.contains(word));
    let done: Vec<Done> = STEPS.iter().filter(named).map(|step| perform(step, root)).collect();
    if done.is_empty() {
        return Err(format!("no step has any of these words in its name: {}", words.join(" ")));
    }
    print_table(&done);
    let failed: Vec<&str> =
        done.iter().filter(|d| d.outcome.is_err()).map(|d| d.step.name).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("ci failed: {}", failed.join(", "))) }
}

/// Runs cargo with these arguments and environment, its output going where ours goes.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn cargo(root: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<(), Failure> {
    println!("$ cargo {}", args.join(" "));
    let status = cargo_command(root)
        .args(args)
        .envs(env.iter().copied())
        .status()
        .map_err(|e| format!("cargo cannot be started: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed: {status}", args[0])) }
}

/// Runs a program, or a script by its name in the workspace, its output going where ours goes.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn execute(root: &Path, program: &Path, args: &[&str]) -> Result<(), Failure> {
    println!("$ {} {}", program.display(), args.join(" "));
    let status = Command::new(root.join(program)).args(args).current_dir(root).status();
    let status = status.map_err(|e| format!("{}: {e}", program.display()))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", program.display())) }
}

/// Builds the example and the command as the tests did, and says where they are.
///
/// # Errors
/// When they do not build.
pub(crate) fn programs(root: &Path) -> Result<PathBuf, Failure> {
    // `cargo run` would leave out what only tests and examples need of dependencies: other
    // features, so all of them once more.
    cargo(root, &["build", WORKSPACE, "--bin", "waylane", "--example", "two_players"], &[])?;
    Ok(bare::target_directory(root)?.join("debug"))
}

/// What nearly every step selects, whatever it runs: what is selected decides the dependencies'
/// features, and with other features everything is built once more.
pub(crate) const WORKSPACE: &str = "--workspace";

/// The cargo that runs us, at the workspace's root.
pub(crate) fn cargo_command(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    // Set for this crate by the cargo that runs it; other packages must not inherit them.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME"] {
        command.env_remove(name);
    }
    command
}

struct Step {
    name: &'static str,
    run: fn(&Path) -> Result<(), Failure>,
}

struct Done {
    step: &'static Step,
    outcome: Result<(), Failure>,
    took: Duration,
    /// What the step's programs computed; nothing where the system does not say.
    computed: Option<Duration>,
}

static STEPS: [Step; 36] = [
    Step { name: "tidy", run: tidy::check },
    Step { name: "format", run: |root| cargo(root, &["fmt", "--all", "--check"], &[]) },
    Step { name: "licences", run: metadata::check_licences },
    Step { name: "core's dependencies", run: metadata::check_core },
    Step { name: "core without std and alloc", run: bare::check },
    Step { name: "clippy", run: clippy },
    Step { name: "documentation", run: documentation },
    Step { name: "tests", run: |root| cargo(root, &["test"], &[]) },
    Step { name: "tests of the tools", run: tests_of_tools },
    Step { name: "example two_players", run: two_players },
    Step { name: "demo", run: demo::check },
    Step { name: "random scenarios", run: scenarios::check },
    Step { name: "paths over a thousand seeds", run: paths::check },
    Step { name: "benches", run: benches::check },
    Step { name: "relay bench, as root", run: benches::relay },
    Step { name: "fast path, as root", run: ebpf::check },
    Step { name: "changing networks, as root", run: changing_networks },
    Step { name: "watching: install", run: watching::install },
    Step { name: "watching: page, terminal, Prometheus", run: watching::check },
    Step { name: "packaging: install", run: packaging::install },
    Step { name: "packaging: what ships", run: packaging::check },
    Step { name: "packaging: image", run: packaging::image },
    Step { name: "packaging: operating.md", run: packaging::follow },
    Step { name: "packaging: service", run: packaging::service },
    Step { name: "fuzz", run: fuzz::check },
    Step { name: "loom", run: loom::check },
    Step { name: "back ends, sanitized", run: sanitizer::check },
    Step { name: "freestanding: host", run: targets::freestanding_host },
    Step { name: "machines: install", run: targets::install },
    Step { name: "machines: Cortex-M4", run: targets::freestanding_board },
    Step { name: "machines: wasm", run: targets::freestanding_web },
    Step { name: "machines: big-endian", run: targets::tests_big_endian },
    Step { name: "machines: 32-bit ARM", run: targets::tests_32_bit },
    Step { name: "machines: 64-bit ARM", run: targets::tests_arm_64 },
    Step { name: "machines: Windows tests", run: targets::tests_windows },
    Step { name: "machines: Windows demo", run: targets::demo_windows },
];

fn perform(step: &'static Step, root: &Path) -> Done {
    println!("\n=== {}", step.name);
    let (start, before) = (Instant::now(), children_computed());
    let outcome = (step.run)(root);
    let took = start.elapsed();
    let computed = children_computed().zip(before).map(|(after, before)| after - before);
    let cost = cost(took, computed);
    match &outcome {
        Ok(()) => println!("--- {}: ok, {cost}", step.name),
        Err(why) => println!("--- {}: FAILED, {cost}\n{why}", step.name),
    }
    Done { step, outcome, took, computed }
}

fn print_table(done: &[Done]) {
    println!("\n{:<38} {:>8} {:>8}  outcome", "step", "seconds", "of CPU");
    for d in done {
        let outcome = if d.outcome.is_ok() { "ok" } else { "FAILED" };
        println!("{:<38} {}  {outcome}", d.step.name, columns(d.took, d.computed));
    }
    let all = done.iter().map(|d| d.computed).sum();
    println!("{:<38} {}", "all", columns(done.iter().map(|d| d.took).sum(), all));
}

fn columns(took: Duration, computed: Option<Duration>) -> String {
    let computed = computed.map_or("-".to_owned(), |time| format!("{:.1}", time.as_secs_f32()));
    format!("{:>8.1} {computed:>8}", took.as_secs_f32())
}

fn cost(took: Duration, computed: Option<Duration>) -> String {
    let computed = computed.map(|time| format!(", {:.1} s of CPU", time.as_secs_f32()));
    format!("{:.1} s{}", took.as_secs_f32(), computed.unwrap_or_default())
}

/// The CPU time of all children so far that have ended, and of theirs, by proc(5).
fn children_computed() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold blanks. Behind it `state` is the third field; `cutime` and
    // `cstime` are the 16th and 17th, in hundredths of a second on every Linux.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (field(16)? + field(17)?)))
}

fn clippy(root: &Path) -> Result<(), Failure> {
    cargo(root, &["clippy", WORKSPACE, "--all-targets", "--", "-D", "warnings"], &[])
}

fn documentation(root: &Path) -> Result<(), Failure> {
    cargo(root, &["doc", WORKSPACE, "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
}

/// What `cargo test` leaves out: it runs the tests of default members only.
fn tests_of_tools(root: &Path) -> Result<(), Failure> {
    let selected = metadata::tests_of_tools(root)?;
    let selected: Vec<&str> = selected.iter().map(String::as_str).collect();
    cargo(root, &[&["test", WORKSPACE][..], &selected].concat(), &[])
}

/// A player whose links come and go, in network namespaces.
fn changing_networks(root: &Path) -> Result<(), Failure> {
    cargo(root, &["test", WORKSPACE, "--test", "network_change"], &[])
}

fn two_players(root: &Path) -> Result<(), Failure> {
    execute(root, &programs(root)?.join("examples/two_players"), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_children_compute_is_counted() {
        let Some(before) = children_computed() else { return };
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        assert!(
            Command::new("sh").args(["-c", busy]).status().is_ok_and(|status| status.success())
        );
        assert!(children_computed().is_some_and(|after| after > before));
    }
}
