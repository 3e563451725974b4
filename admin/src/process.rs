//! What the system knows of this process and its sockets. Only Linux is asked; elsewhere these
//! metrics are missing.

use std::fs;

/// What the process uses.
pub(crate) struct Process {
    pub(crate) resident_bytes: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) threads: u64,
    pub(crate) open_files: usize,
}

impl Process {
    pub(crate) fn now() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Self {
            resident_bytes: field("VmRSS:")? * 1024,
            cpu_seconds: cpu_seconds(&fs::read_to_string("/proc/self/stat").ok()?)?,
            threads: field("Threads:")?,
            open_files: fs::read_dir("/proc/self/fd").ok()?.count(),
        })
    }
}

/// Fields 14 and 15 of proc(5)'s `stat`; they count from after the name, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / TICKS_A_SECOND)
}

/// Datagrams that found no room in this process's sockets on `ports` since those were opened.
pub(crate) fn overflows(ports: &[u16]) -> Option<u64> {
    let ours: Vec<u64> = fs::read_dir("/proc/self/fd").ok()?.filter_map(inode).collect();
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let tables = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
    let mut rows: Vec<(u64, u64)> = (tables.iter())
        .flat_map(|table| table.lines().filter_map(row))
        .filter(|(port, inode, _)| ports.contains(port) && ours.contains(inode))
        .map(|(_, inode, drops)| (inode, drops))
        .collect();
    // A table that changes while it is read may tell a row twice.
    rows.sort_unstable();
    rows.dedup_by_key(|(inode, _)| *inode);
    Some(rows.iter().map(|(_, drops)| drops).sum())
}

/// The inode of an open file, if it is a socket.
fn inode(entry: std::io::Result<fs::DirEntry>) -> Option<u64> {
    let link = fs::read_link(entry.ok()?.path()).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Local port, inode and drops of a row of `/proc/net/udp`.
fn row(line: &str) -> Option<(u16, u64, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((port, fields.get(9)?.parse().ok()?, fields.get(12)?.parse().ok()?))
}

/// Linux counts processor time for programs in hundredths, whatever its own clock does.
const TICKS_A_SECOND: f64 = 100.0;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_files() {
        let process = Process::now().unwrap();
        assert!(process.resident_bytes > 100_000 && process.threads >= 1);
        assert!(process.open_files >= 3 && process.cpu_seconds >= 0.0);
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }

    #[test]
    fn what_finds_no_room_is_counted_for_the_socket_of_this_port_only() {
        let small =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        small.set_recv_buffer_size(1).unwrap();
        let any: core::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        small.bind(&any.into()).unwrap();
        let address = small.local_addr().unwrap().as_socket().unwrap();
        let sender = UdpSocket::bind(any).unwrap();
        for _ in 0..100 {
            sender.send_to(&[0; 1000], address).unwrap();
        }
        let lost = overflows(&[address.port()]).unwrap();
        assert!((1..100).contains(&lost), "{lost} of 100 datagrams");
        assert_eq!(overflows(&[sender.local_addr().unwrap().port()]), Some(0));
    }
}
