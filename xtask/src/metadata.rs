//! What is linked: licences and bans against `deny.toml`, and core's few dependencies. Offline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::Failure;
use crate::ci::cargo_command;

/// Every package of the lock file has an allowed licence, and none is banned.
///
/// # Errors
/// Lists the packages at fault.
pub(crate) fn check_licences(root: &Path) -> Result<(), Failure> {
    let rules = Rules::read(root)?;
    let metadata = read(root)?;
    let mut faults = Vec::new();
    let packages = list(&metadata, "packages");
    for package in packages {
        let name = text(package, "name");
        if rules.banned.contains(name) {
            faults.push(format!("{name}: banned by deny.toml"));
        }
        let licence = text(package, "license");
        if !is_allowed(licence, &rules.allowed) {
            faults.push(format!("{name}: licence '{licence}' is not in deny.toml's list"));
        }
    }
    println!("{} packages, {} allowed licences", packages.len(), rules.allowed.len());
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// What `waylane-core` links is heapless and what heapless needs.
///
/// # Errors
/// Names the dependency that should not be there.
pub(crate) fn check_core(root: &Path) -> Result<(), Failure> {
    let metadata = read(root)?;
    let names: BTreeMap<&str, &str> =
        list(&metadata, "packages").iter().map(|p| (text(p, "id"), text(p, "name"))).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"], "nodes").iter().map(|n| (text(n, "id"), n)).collect();
    let core = names.iter().find(|(_, name)| **name == "waylane-core").map(|(id, _)| *id);
    let mut open = vec![core.ok_or("no package waylane-core")?];
    let mut linked = BTreeSet::new();
    while let Some(id) = open.pop() {
        for dependency in list(nodes[id], "deps") {
            // What only models under loom link is in no build.
            let is_normal = list(dependency, "dep_kinds")
                .iter()
                .any(|k| k["kind"].is_null() && k["target"] != "cfg(loom)");
            let id = text(dependency, "pkg");
            if is_normal && linked.insert(names[id]) {
                open.push(id);
            }
        }
    }
    println!("waylane-core links {linked:?}");
    let strangers: Vec<&&str> = linked.iter().filter(|n| !CORE_MAY_LINK.contains(n)).collect();
    if strangers.is_empty() { Ok(()) } else { Err(format!("core links {strangers:?}")) }
}

/// How cargo is told to run the tests of all members that are no default ones. They are named, as a
/// selection of packages would build the dependencies with other features.
///
/// # Errors
/// When a library among them has tests inside: it cannot be named.
pub(crate) fn tests_of_tools(root: &Path) -> Result<Vec<String>, Failure> {
    let metadata = read(root)?;
    let members = list(&metadata, "workspace_members");
    let default = list(&metadata, "workspace_default_members");
    let mut selected = Vec::new();
    for package in list(&metadata, "packages") {
        let id = &package["id"];
        if !members.contains(id) || default.contains(id) {
            continue;
        }
        for target in list(package, "targets").iter().filter(|target| target["test"] == true) {
            let name = text(target, "name");
            let kind = match target["kind"][0].as_str() {
                Some("test") => "--test",
                Some("bin") => "--bin",
                _ => return Err(format!("{name}: put its tests into tests/, and `test = false`")),
            };
            selected.extend([kind.to_owned(), name.to_owned()]);
        }
    }
    // Without any name cargo would run all tests.
    if selected.is_empty() {
        Err("no member has tests of its own".to_owned())
    } else {
        Ok(selected)
    }
}

/// What cargo knows of the workspace and of everything it links.
///
/// # Errors
/// When cargo cannot say.
pub(crate) fn read(root: &Path) -> Result<Value, Failure> {
    let output = cargo_command(root)
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .map_err(|e| format!("cargo metadata cannot be started: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))
}

/// `heapless`, and what it needs itself.
const CORE_MAY_LINK: [&str; 4] = ["heapless", "hash32", "byteorder", "stable_deref_trait"];

/// The two lists of `deny.toml` that we check.
struct Rules {
    allowed: BTreeSet<String>,
    banned: BTreeSet<String>,
}

impl Rules {
    fn read(root: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(root.join("deny.toml"))
            .map_err(|e| format!("deny.toml cannot be read: {e}"))?;
        let table: toml::Table = text.parse().map_err(|e| format!("deny.toml: {e}"))?;
        let strings = |section: &str, key: &str, field: Option<&str>| -> BTreeSet<String> {
            let entries = table.get(section).and_then(|s| s.get(key)).and_then(|v| v.as_array());
            let entries = entries.into_iter().flatten();
            let strings = entries.filter_map(|e| match field {
                Some(field) => e.get(field)?.as_str(),
                None => e.as_str(),
            });
            strings.map(str::to_owned).collect()
        };
        let rules = Self {
            allowed: strings("licenses", "allow", None),
            banned: strings("bans", "deny", Some("crate")),
        };
        // An empty list would be a check that cannot fail.
        if rules.allowed.is_empty() || rules.banned.is_empty() {
            return Err("deny.toml: licenses.allow or bans.deny is missing".to_owned());
        }
        Ok(rules)
    }
}

/// Whether an SPDX expression is satisfied by the allowed licences. `/` is an old way to say OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let satisfied = any_of(&words, &mut at, allowed);
    satisfied && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut satisfied = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        satisfied |= all_of(words, at, allowed);
    }
    satisfied
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut satisfied = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        satisfied &= one(words, at, allowed);
    }
    satisfied
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let satisfied = any_of(words, at, allowed);
        *at += 1;
        return satisfied;
    }
    let mut licence = (*word).to_owned();
    if let (Some(&"WITH"), Some(exception)) = (words.get(*at), words.get(*at + 1)) {
        *at += 2;
        licence = format!("{licence} WITH {exception}");
    }
    allowed.contains(&licence)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        let allowed: BTreeSet<String> =
            ["MIT", "ISC", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
                .map(str::to_owned)
                .into();
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "Apache-2.0 AND ISC",
            "(GPL-3.0 OR MIT) AND ISC",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "MIT ISC"] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }
}
