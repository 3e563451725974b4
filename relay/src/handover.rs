//! An upgrade without loss: the running relay gives its sockets and sessions to the next one over
//! a Unix socket that only their user can open.
//!
//! ```text
//! next → running   hello: version of this, format of the records, public key
//! running → next   reply; then for each worker its sockets (SCM_RIGHTS)
//! running → next   keys and a record for each session, if both know the format
//!                  (the workers of the running one go on forwarding all this time)
//! next → running   go
//! running → next   what the workers had still handed to the owner; the end
//! ```
//!
//! From the go on nobody receives until the next one's workers do: what comes waits in the sockets.
//! If anything fails before it, the running one goes on as if nothing had been.

use core::mem::MaybeUninit;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::fs::{self, Permissions};
use std::io::{self, BufReader, BufWriter, IoSlice, IoSliceMut, Read, Write};

use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use waylane_core::crypto::Crypto;
use waylane_core::id::PublicKey;
use waylane_core::relay::{HANDOVER_FORMAT, HANDOVER_KEYS_LEN, HANDOVER_RECORD_LEN};
use waylane_core::time::Instant;

use crate::owner::Owner;

/// Where the next relay knocks.
pub(crate) struct Door {
    listener: UnixListener,
    /// What the file is, by which it can be told from another one of the same name.
    file: (u64, u64),
}

impl Door {
    /// Opens it at `path`, in place of what is there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut own = path.as_os_str().to_owned();
        own.push(format!(".{}", std::process::id()));
        let own = Path::new(&own);
        let _ = fs::remove_file(own);
        let listener = UnixListener::bind(own)?;
        // Nobody finds it by its name before it is closed to others.
        fs::set_permissions(own, Permissions::from_mode(0o600))?;
        fs::rename(own, path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, file: file_of(path)? })
    }

    /// Whether it is still this one that is found at `path`.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        file_of(path).is_ok_and(|file| file == self.file)
    }

    /// Who knocks, if anybody does.
    pub(crate) fn visitor(&self) -> Option<UnixStream> {
        self.listener.accept().ok().map(|(stream, _)| stream)
    }
}

/// The relay that takes this one's place, and has all it needs for it.
pub(crate) struct Successor {
    stream: UnixStream,
    pub(crate) sessions: u64,
}

impl Successor {
    /// Gives it everything, and waits for its go.
    pub(crate) fn serve<C: Crypto>(
        mut stream: UnixStream,
        now: Instant,
        key: &PublicKey,
        owner: &Owner<C>,
        sockets: &[Vec<UdpSocket>],
        format: u32,
    ) -> io::Result<Self> {
        prepare(&stream)?;
        let hello = Hello::read(&mut stream)?;
        if hello.key != *key {
            stream.write_all(&[ANOTHER_RELAY])?;
            return Err(io::Error::other("it has another key"));
        }
        let same_format = hello.format == format;
        stream.write_all(&[if same_format { WITH_SESSIONS } else { SOCKETS_ONLY }])?;
        stream.write_all(&now.as_micros().to_le_bytes())?;
        stream.write_all(&[u8::try_from(sockets.len()).unwrap_or(u8::MAX)])?;
        for set in sockets.iter().take(usize::from(u8::MAX)) {
            send_sockets(&stream, set)?;
        }
        let sessions = if same_format { give_sessions(&stream, owner)? } else { 0 };
        let mut go = [0];
        stream.read_exact(&mut go)?;
        Ok(Self { stream, sessions })
    }

    /// Gives it the last datagrams, and the sockets are its own.
    pub(crate) fn finish(
        self,
        letters: impl IntoIterator<Item = (SocketAddr, Vec<u8>)>,
    ) -> io::Result<()> {
        let mut out = BufWriter::new(&self.stream);
        for (from, bytes) in letters {
            let ip = match from.ip() {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            out.write_all(&u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes())?;
            out.write_all(&ip.octets())?;
            out.write_all(&from.port().to_le_bytes())?;
            out.write_all(&bytes)?;
        }
        out.write_all(&[0; 2])?;
        out.flush()
    }
}

/// The relay whose place this one takes.
pub(crate) struct Predecessor {
    stream: BufReader<UnixStream>,
    sockets: Vec<Vec<UdpSocket>>,
    has_sessions: bool,
    /// Its clock.
    pub(crate) now: Instant,
}

impl Predecessor {
    /// Asks the relay that waits at `path`; `None` if none does.
    pub(crate) fn ask(path: &Path, key: &PublicKey, format: u32) -> io::Result<Option<Self>> {
        let mut stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) => {
                let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
                return if nobody.contains(&error.kind()) { Ok(None) } else { Err(error) };
            }
        };
        prepare(&stream)?;
        Hello { format, key: *key }.write(&mut stream)?;
        let mut reply = [0];
        stream.read_exact(&mut reply)?;
        if reply == [ANOTHER_RELAY] {
            return Err(io::Error::other("the relay that runs there has another key"));
        }
        let mut micros = [0; 8];
        stream.read_exact(&mut micros)?;
        let now = Instant::from_micros(u64::from_le_bytes(micros));
        let mut count = [0];
        stream.read_exact(&mut count)?;
        let sockets = (0..count[0]).map(|_| receive_sockets(&stream)).collect::<io::Result<_>>()?;
        let has_sessions = reply == [WITH_SESSIONS];
        Ok(Some(Self { stream: BufReader::new(stream), sockets, has_sessions, now }))
    }

    /// Its sockets, for each worker one of each family.
    pub(crate) fn take_sockets(&mut self) -> Vec<Vec<UdpSocket>> {
        core::mem::take(&mut self.sockets)
    }

    /// Takes its sessions over, and says how many and how many had no place. Without a format that
    /// both know there are none: clients come back as after a restart.
    pub(crate) fn take_sessions<C: Crypto>(
        &mut self,
        now: Instant,
        owner: &mut Owner<C>,
    ) -> io::Result<Option<(u64, u64)>> {
        if !self.has_sessions {
            return Ok(None);
        }
        let mut keys = [0; HANDOVER_KEYS_LEN];
        self.stream.read_exact(&mut keys)?;
        let control = owner.control_mut();
        control.take_handover_keys(now, &keys);
        let (mut taken, mut lost) = (0, 0);
        loop {
            let mut more = [0];
            self.stream.read_exact(&mut more)?;
            if more == [0] {
                return Ok(Some((taken, lost)));
            }
            let mut record = [0; HANDOVER_RECORD_LEN];
            self.stream.read_exact(&mut record)?;
            let place = control.take_handover_record(now, &record);
            *(if place { &mut taken } else { &mut lost }) += 1;
        }
    }

    /// Has it stop, and returns what it had no time to answer.
    pub(crate) fn go(mut self) -> io::Result<Vec<(SocketAddr, Vec<u8>)>> {
        self.stream.get_mut().write_all(&[1])?;
        let mut letters = Vec::new();
        loop {
            let mut len = [0; 2];
            self.stream.read_exact(&mut len)?;
            if len == [0; 2] {
                return Ok(letters);
            }
            let (mut ip, mut port) = ([0; 16], [0; 2]);
            self.stream.read_exact(&mut ip)?;
            self.stream.read_exact(&mut port)?;
            let mut bytes = vec![0; usize::from(u16::from_le_bytes(len))];
            self.stream.read_exact(&mut bytes)?;
            let ip = Ipv6Addr::from(ip).to_canonical();
            letters.push((SocketAddr::new(ip, u16::from_le_bytes(port)), bytes));
        }
    }
}

/// The first words.
struct Hello {
    format: u32,
    key: PublicKey,
}

impl Hello {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&[&MAGIC[..], &self.format.to_le_bytes(), &self.key.0].concat())
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        let (mut magic, mut format, mut key) = ([0; 8], [0; 4], [0; 32]);
        from.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(io::Error::other("it does not speak this version of the hand-over"));
        }
        from.read_exact(&mut format)?;
        from.read_exact(&mut key)?;
        Ok(Self { format: u32::from_le_bytes(format), key: PublicKey(key) })
    }
}

fn file_of(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

fn prepare(stream: &UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn give_sessions<C: Crypto>(stream: &UnixStream, owner: &Owner<C>) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 16, stream);
    let control = owner.control();
    out.write_all(&control.handover_keys())?;
    let (mut after, mut sessions) = (None, 0);
    while let Some((slot, record)) = control.handover_record(after) {
        out.write_all(&[1])?;
        out.write_all(&record)?;
        (after, sessions) = (Some(slot), sessions + 1);
    }
    out.write_all(&[0])?;
    out.flush()?;
    Ok(sessions)
}

fn send_sockets(stream: &UnixStream, sockets: &[UdpSocket]) -> io::Result<()> {
    let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FAMILIES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    sendmsg(stream, &[IoSlice::new(&[1])], &mut control, SendFlags::empty())?;
    Ok(())
}

fn receive_sockets(stream: &UnixStream) -> io::Result<Vec<UdpSocket>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FAMILIES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let mut sockets: Vec<UdpSocket> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            sockets.extend(fds.map(|fd: OwnedFd| UdpSocket::from(fd)));
        }
    }
    if sockets.is_empty() { Err(io::ErrorKind::InvalidData.into()) } else { Ok(sockets) }
}

/// The last byte is the version of this.
const MAGIC: [u8; 8] = *b"waylane\x01";
const ANOTHER_RELAY: u8 = 0;
const SOCKETS_ONLY: u8 = 1;
const WITH_SESSIONS: u8 = 2;
/// Sockets of one worker at most.
const FAMILIES: usize = 2;
/// Longer than either needs for anything; the service manager's watchdog waits longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What this program writes and reads.
pub(crate) const FORMAT: u32 = HANDOVER_FORMAT;
