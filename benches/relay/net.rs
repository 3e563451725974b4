//! Two network namespaces and what lies between: *relay*, and *world*, its gateway for the whole
//! benchmarking range (RFC 2544), which drops and counts what arrives for it.

use core::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use crate::load::Load;

/// Where the relay listens.
pub(crate) const RELAY: &str = "198.18.0.1:4433";
/// The source's address.
pub(crate) const SOURCE: [u8; 4] = [198, 18, 0, 2];

/// The namespaces; gone when this is dropped.
pub(crate) struct Net {
    relay: String,
    world: String,
}

impl Net {
    /// Makes them, with this process's number in their names.
    pub(crate) fn new() -> Result<Self, String> {
        let pid = std::process::id();
        let net = Self { relay: format!("wlr{pid}"), world: format!("wlw{pid}") };
        let Self { relay, world } = &net;
        run(&format!("ip netns add {relay}"))?;
        run(&format!("ip netns add {world}"))?;
        run(&format!(
            "ip link add {relay} netns {relay} type veth peer name {world} netns {world}"
        ))?;
        for (name, own, other) in
            [(relay, "198.18.0.1", "198.18.0.2"), (world, "198.18.0.2", "198.18.0.1")]
        {
            let (own_mac, other_mac) = (mac(own), mac(other));
            for line in [
                "link set lo up".to_owned(),
                format!("link set {name} address {own_mac}"),
                format!("link set {name} up"),
                format!("addr add {own}/30 dev {name}"),
                format!("neigh add {other} lladdr {other_mac} dev {name} nud permanent"),
            ] {
                run(&format!("ip -n {name} {line}"))?;
            }
        }
        run(&format!("ip -n {relay} route add 198.18.0.0/15 via 198.18.0.2"))?;
        // So that it has the destinations' addresses when nothing is dropped.
        run(&format!("ip -n {world} route add local 198.19.0.0/16 dev lo"))?;
        net.nft("add table netdev sink")?;
        net.nft(&format!(
            "add chain netdev sink in {{ type filter hook ingress device {world} priority 0 ; }}"
        ))?;
        net.shut()?;
        Ok(net)
    }

    /// Drops and counts, from nothing, what arrives in the world.
    pub(crate) fn shut(&self) -> Result<(), String> {
        self.open()?;
        self.nft("add rule netdev sink in ip daddr 198.18.0.0/15 counter drop")
    }

    /// Lets pass what arrives in the world, uncounted.
    pub(crate) fn open(&self) -> Result<(), String> {
        self.nft("flush chain netdev sink in")
    }

    /// Shut, but for what goes to the source itself, if `back`.
    pub(crate) fn let_back(&self, back: bool) -> Result<(), String> {
        self.shut()?;
        if !back {
            return Ok(());
        }
        let source = Ipv4Addr::from(SOURCE);
        self.nft(&format!("insert rule netdev sink in ip daddr {source} accept"))
    }

    /// Starts this program in the relay's namespace, by the command `before` if it has any words.
    pub(crate) fn relay(&self, before: &[&str], role: &str, load: Load) -> Result<Child, String> {
        start(&self.relay, before, role, load)
    }

    /// Likewise in the world's namespace.
    pub(crate) fn world(&self, before: &[&str], role: &str, load: Load) -> Result<Child, String> {
        start(&self.world, before, role, load)
    }

    /// Starts another program in the relay's namespace.
    pub(crate) fn program(&self, line: &[&str]) -> Result<Child, String> {
        spawn(&self.relay, line)
    }

    /// Packets and bytes that have arrived in the world so far.
    pub(crate) fn sunk(&self) -> Result<(u64, u64), String> {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.world, "nft", "list", "table", "netdev", "sink"]);
        let text = finish(nft)?;
        let after = |name: &str| {
            let mut words = text.split_whitespace().skip_while(|word| *word != name);
            words.nth(1).and_then(|number| number.parse().ok())
        };
        after("packets").zip(after("bytes")).ok_or(format!("nft says {text:?}"))
    }

    /// The names of the relay's end and of the world's.
    #[cfg(feature = "ebpf")]
    pub(crate) fn interfaces(&self) -> [&str; 2] {
        [&self.relay, &self.world]
    }

    /// Has the relay's end served by a thread of the kernel on the relay's core, which counts as
    /// much as a forwarder's, and tells its number. For as long as that end has a program.
    #[cfg(feature = "ebpf")]
    pub(crate) fn serve_relay(&self) -> Result<u32, String> {
        let name = &self.relay;
        let mut set = Command::new("ip");
        set.args(["netns", "exec", name, "sh", "-c"]);
        set.arg(format!("echo 1 > /sys/class/net/{name}/threaded"));
        finish(set)?;
        let thread = kernel_thread(&format!("napi/{name}"))?;
        run(&format!("taskset -p -c 0 {thread}"))?;
        run(&format!("renice -n -15 -p {thread}"))?;
        Ok(thread)
    }

    fn nft(&self, line: &str) -> Result<(), String> {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.world, "nft"]).arg(line);
        finish(nft).map(drop)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.relay, &self.world] {
            if let Err(why) = run(&format!("ip netns del {name}")) {
                eprintln!("{why}");
            }
        }
    }
}

fn start(namespace: &str, before: &[&str], role: &str, load: Load) -> Result<Child, String> {
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let (this, load) = (this.to_string_lossy(), load.to_string());
    let line: Vec<&str> = before.iter().copied().chain([&*this, "--role", role, &load]).collect();
    spawn(namespace, &line)
}

fn spawn(namespace: &str, line: &[&str]) -> Result<Child, String> {
    Command::new("ip")
        .args(["netns", "exec", namespace])
        .args(line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("ip netns exec: {e}"))
}

/// The kernel's thread whose name begins so.
#[cfg(feature = "ebpf")]
pub(crate) fn kernel_thread(name: &str) -> Result<u32, String> {
    let processes = std::fs::read_dir("/proc").map_err(|e| e.to_string())?;
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |number: &u32| {
        let comm = std::fs::read_to_string(format!("/proc/{number}/comm"));
        comm.is_ok_and(|comm| comm.starts_with(name))
    };
    let mut found = numbers.filter(is_it);
    found.next().ok_or_else(|| format!("there is no thread {name}"))
}

/// Any two that differ; from the address, so that both sides know the other's.
pub(crate) fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [.., last] = address.octets();
    [2, 0, 0, 0, 0, last]
}

fn mac(address: &str) -> String {
    let bytes = hardware(address.parse().unwrap_or(Ipv4Addr::UNSPECIFIED));
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn run(line: &str) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    finish(command)
}

fn finish(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!(
            "{command:?}: {why}(scripts/install-relay-bench.sh installs what it needs)"
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
