//! What lints cannot see: files that grow, marks that were forgotten, paths of one machine,
//! `unsafe` where the design has none, locks on a datagram's way.

use std::path::{Path, PathBuf};

use crate::Failure;

/// Looks at every file of the tree but build output.
///
/// # Errors
/// Lists the places at fault.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    let mut files = Vec::new();
    collect(root, &mut files).map_err(|e| format!("the tree cannot be read: {e}"))?;
    files.sort();
    let mut faults = Vec::new();
    for file in &files {
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        // What is not text (corpora, vectors) has no marks to look for.
        if let Ok(text) = std::fs::read_to_string(file) {
            check_file(&name, &text, &mut faults);
        }
    }
    println!("{} files looked at", files.len());
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    // Cargo marks its target folders with this file, whatever they are called.
    if folder.join("CACHEDIR.TAG").exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // A folder, or in a further work tree a file.
        if entry.file_name() == ".git" {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn check_file(name: &str, text: &str, faults: &mut Vec<String>) {
    let is_rust = name.ends_with(".rs");
    let lines = text.lines().count();
    if is_rust && lines > LINES_MAX {
        faults.push(format!("{name}: {lines} lines; split it along a seam (at most {LINES_MAX})"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let mut fault = |what: &str| faults.push(format!("{name}:{number}: {what}"));
        if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(**path)) {
            fault(&format!("a path of one machine ({path})"));
        }
        if has_bare_mark(line) {
            fault("a mark without its reason");
        }
        if is_rust && MACROS.iter().any(|m| line.contains(m)) {
            fault("something is not done");
        }
        if is_rust && has_unsafe(line) && !UNSAFE_ALLOWED.iter().any(|f| name.starts_with(f)) {
            fault("unsafe belongs into runtime-linux/src/{io,memory,ebpf} and freestanding only");
        }
        if is_rust
            && LOCKS.iter().any(|lock| line.contains(lock))
            && LOCK_FREE.iter().any(|way| name.starts_with(way))
        {
            fault("a lock on the way of a forwarded datagram");
        }
    }
}

/// A mark of something left to do must be followed by a colon and a reason.
fn has_bare_mark(line: &str) -> bool {
    let words = |c: char| !(c.is_alphanumeric() || c == '_');
    let is_marked = line.split(words).any(|word| MARKS.contains(&word));
    let has_reason = MARKS.iter().any(|mark| {
        line.split_once(mark)
            .and_then(|(_, rest)| rest.strip_prefix(": "))
            .is_some_and(|reason| reason.split_whitespace().count() >= 3)
    });
    is_marked && !has_reason
}

/// Whether the line opens an unsafe block, function, trait, implementation or extern.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(UNSAFE).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let rest = code[at + UNSAFE.len()..].trim_start();
        let opens = ["{", "fn", "impl", "trait", "extern"].iter().any(|o| rest.starts_with(o));
        opens && before.is_none_or(|c| c.is_whitespace() || "({=,".contains(c))
    })
}

const LINES_MAX: usize = 800;
const UNSAFE_ALLOWED: [&str; 5] = [
    "runtime-linux/src/io",
    "runtime-linux/src/memory",
    "runtime-linux/src/ebpf",
    // Namespaces for one thread, and the tables word by word.
    "runtime-linux/tests/fast_path",
    "freestanding/",
];
/// What a datagram passes from its arrival till it is sent on.
const LOCK_FREE: [&str; 7] = [
    "core/src/relay/",
    "relay/src/worker.rs",
    "relay/src/group.rs",
    "relay/src/tables.rs",
    "relay/src/io/",
    "runtime-linux/src/io/",
    "runtime-linux/src/memory.rs",
];
const LOCKS: [&str; 5] = ["Mutex", "RwLock", "ReentrantLock", "Condvar", ".lock()"];
// Written in pieces, so that this file is not at fault itself.
const UNSAFE: &str = concat!("un", "safe");
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const MACROS: [&str; 2] = [concat!("to", "do!("), concat!("unimple", "mented!(")];
const MACHINE_PATHS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/tm", "p/w/"),
    concat!("/Us", "ers/"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, text: &str) -> usize {
        let mut faults = Vec::new();
        check_file(name, text, &mut faults);
        faults.len()
    }

    #[test]
    fn long_files() {
        assert_eq!(faults("a.rs", &"\n".repeat(LINES_MAX)), 0);
        assert_eq!(faults("a.rs", &"\n".repeat(LINES_MAX + 1)), 1);
        assert_eq!(faults("a.md", &"\n".repeat(LINES_MAX + 1)), 0);
    }

    #[test]
    fn marks_need_a_reason() {
        let mark = MARKS[0];
        assert_eq!(faults("a.rs", &format!("// {mark}")), 1);
        assert_eq!(faults("a.rs", &format!("// {mark}: later")), 1);
        assert_eq!(faults("a.rs", &format!("// {mark}: needs the transport issue first")), 0);
        assert_eq!(faults("a.rs", &format!("let {mark}S = 1;")), 0);
        assert_eq!(faults("a.rs", MACROS[0]), 1);
    }

    #[test]
    fn unsafe_code_has_its_place() {
        let block = format!("let x = {UNSAFE} {{ y }};");
        assert_eq!(faults("core/src/a.rs", &block), 1);
        assert_eq!(faults("core/src/a.rs", &format!("pub {UNSAFE} fn f() {{}}")), 1);
        assert_eq!(faults("runtime-linux/src/io/uring.rs", &block), 0);
        assert_eq!(faults("core/src/lib.rs", &format!("#![forbid({UNSAFE}_code)]")), 0);
        assert_eq!(faults("core/src/lib.rs", &format!("// no {UNSAFE} {{ }}")), 0);
    }

    #[test]
    fn no_lock_on_a_datagrams_way() {
        assert_eq!(faults("relay/src/worker.rs", "use std::sync::Mutex;"), 1);
        assert_eq!(faults("runtime-linux/src/io/mmsg.rs", "let held = self.all.lock();"), 1);
        assert_eq!(faults("relay/src/relay.rs", "use std::sync::Mutex;"), 0);
        let ways = LOCK_FREE.map(|way| format!("../{way}"));
        assert!(ways.iter().all(|way| Path::new(way).exists()), "{ways:?}");
    }

    #[test]
    fn paths_of_one_machine() {
        assert_eq!(faults("a.md", &format!("see {}me", MACHINE_PATHS[0])), 1);
        assert_eq!(faults("a.md", "see docs/wire.md"), 0);
    }
}
