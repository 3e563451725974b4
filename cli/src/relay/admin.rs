//! The admin port of `waylane relay`.

use core::time::Duration;
use std::io::ErrorKind;
use std::thread;

use waylane_admin::Admin;
use waylane_relay::{AdminChoice, RelayHandle};

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
    let address = admin.address();
    if !address.ip().is_loopback() {
        tracing::warn!("whoever reaches the admin port sees what it shows: keep it from the world");
    }
    let top = if address == AdminChoice::USUAL {
        "waylane top".to_owned()
    } else {
        format!("waylane top --admin {address}")
    };
    eprintln!("* what it does: http://{address}/, or '{top}'");
    Ok(Some(admin))
}

/// Opens it on a thread of its own, as soon as the relay before this one has given it up.
pub(super) fn open_after(choice: AdminChoice, relay: RelayHandle) {
    let address = match choice {
        AdminChoice::Off => return,
        AdminChoice::At(address) => address,
        AdminChoice::Auto | _ => AdminChoice::USUAL,
    };
    let serve = move || {
        for _ in 0..TRIES {
            match Admin::serve(address, relay.clone()) {
                Ok(_admin) => loop {
                    thread::park();
                },
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    thread::park_timeout(BETWEEN_TRIES);
                }
                Err(error) => return tracing::error!("admin: cannot bind {address}: {error}"),
            }
        }
        tracing::error!("admin: {address} is still in use: there is no admin port");
    };
    if let Err(error) = thread::Builder::new().name("admin".to_owned()).spawn(serve) {
        tracing::error!("there is no admin port: {error}");
    }
}

const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
