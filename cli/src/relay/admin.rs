//! The admin port of `waylane relay`.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::thread;

use waylane_admin::Admin;
use waylane_relay::{AdminChoice, RelayHandle};

use super::log;
use crate::failure::Failure;

/// Opens it where the settings say, and says where that is.
///
/// # Errors
/// When the address that they name cannot be had.
pub(super) fn open(choice: AdminChoice, relay: RelayHandle) -> Result<Option<Admin>, Failure> {
    let opened = match choice {
        AdminChoice::Off => return Ok(None),
        AdminChoice::At(address) => Admin::serve(address, relay).map_err(|error| (address, error)),
        AdminChoice::Auto | _ => {
            let usual = AdminChoice::USUAL;
            let opened = match Admin::serve(usual, relay.clone()) {
                // Another relay of this machine has it.
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    Admin::serve((usual.ip(), 0).into(), relay)
                }
                opened => opened,
            };
            opened.map_err(|error| (usual, error))
        }
    };
    let admin = opened.map_err(|(address, error)| {
        let why = format!("admin: cannot bind {address}: {error}; name another, or \"off\"");
        Failure::new(Failure::LISTEN, &why)
    })?;
    tell(&admin);
    Ok(Some(admin))
}

/// Opens it on a thread of its own, as soon as the relay before this one has given it up.
pub(super) fn open_after(choice: AdminChoice, relay: RelayHandle) {
    let address = match choice {
        AdminChoice::Off => return,
        AdminChoice::At(address) => address,
        AdminChoice::Auto | _ => AdminChoice::USUAL,
    };
    let serve = move || match when_free(address, &relay).or_else(|error| match choice {
        // It was another relay's all the time.
        AdminChoice::Auto => Admin::serve((address.ip(), 0).into(), relay),
        AdminChoice::Off | AdminChoice::At(_) | _ => Err(error),
    }) {
        Ok(admin) => {
            tell(&admin);
            loop {
                thread::park();
            }
        }
        Err(error) => {
            tracing::error!("there is no admin port: admin: cannot bind {address}: {error}");
        }
    };
    if let Err(error) = thread::Builder::new().name("admin".to_owned()).spawn(serve) {
        tracing::error!("there is no admin port: {error}");
    }
}

fn when_free(address: SocketAddr, relay: &RelayHandle) -> io::Result<Admin> {
    let mut tries = TRIES;
    loop {
        match Admin::serve(address, relay.clone()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => {
                tries -= 1;
                thread::park_timeout(BETWEEN_TRIES);
            }
            other => return other,
        }
    }
}

fn tell(admin: &Admin) {
    let address = admin.address();
    if !address.ip().is_loopback() {
        tracing::warn!("whoever reaches the admin port sees what it shows: keep it from the world");
    }
    let top = if address == AdminChoice::USUAL {
        "waylane top".to_owned()
    } else {
        format!("waylane top --admin {address}")
    };
    log::say(format_args!("what it does: http://{address}/, or '{top}'"));
}

const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
