//! No hand-over: this system does not pass sockets on. Settings that ask for it are refused.

use core::convert::Infallible;
use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket;
use std::path::Path;

use waylane_core::crypto::Crypto;
use waylane_core::id::PublicKey;
use waylane_core::time::Instant;

use crate::owner::Owner;

pub(crate) struct Door(Infallible);

impl Door {
    pub(crate) fn open(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn is_at(&self, _: &Path) -> bool {
        match self.0 {}
    }

    pub(crate) fn visitor(&self) -> Option<Infallible> {
        match self.0 {}
    }
}

pub(crate) struct Successor {
    pub(crate) sessions: u64,
    never: Infallible,
}

impl Successor {
    pub(crate) fn serve<C: Crypto>(
        never: Infallible,
        _: Instant,
        _: &PublicKey,
        _: &Owner<C>,
        _: &[Vec<UdpSocket>],
        _: u32,
    ) -> io::Result<Self> {
        match never {}
    }

    pub(crate) fn finish(
        self,
        _: impl IntoIterator<Item = (SocketAddr, Vec<u8>)>,
    ) -> io::Result<()> {
        match self.never {}
    }
}

pub(crate) struct Predecessor {
    pub(crate) now: Instant,
    never: Infallible,
}

impl Predecessor {
    pub(crate) fn ask(_: &Path, _: &PublicKey, _: u32) -> io::Result<Option<Self>> {
        Ok(None)
    }

    pub(crate) fn take_sockets(&mut self) -> Vec<Vec<UdpSocket>> {
        match self.never {}
    }

    pub(crate) fn take_sessions<C: Crypto>(
        &mut self,
        _: Instant,
        _: &mut Owner<C>,
    ) -> io::Result<Option<(u64, u64)>> {
        match self.never {}
    }

    pub(crate) fn go(self) -> io::Result<Vec<(SocketAddr, Vec<u8>)>> {
        match self.never {}
    }
}

pub(crate) const FORMAT: u32 = 0;
