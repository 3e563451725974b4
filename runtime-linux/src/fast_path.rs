//! Whether the kernel forwards, and by which tables the relay then goes.

use core::net::SocketAddr;

use waylane_relay::{Config, FastPath, FastPathChoice, SharedTables, StartError};

/// The fast path that was asked for, if it is to be had, and its tables; or says why not.
///
/// # Errors
/// When it is asked for by name and not part of this program.
pub(crate) fn attach(
    config: &Config,
    local: &[SocketAddr],
) -> Result<Option<Attached>, StartError> {
    if config.fast_path == FastPathChoice::Off {
        return Ok(None);
    }
    match attach_here(config, local)? {
        Ok(attached) => Ok(Some(attached)),
        Err(why) if config.fast_path == FastPathChoice::Auto => {
            tracing::info!("no fast path: {why}");
            Ok(None)
        }
        Err(why) => {
            tracing::warn!("no fast path, the workers forward everything: {why}");
            Ok(None)
        }
    }
}

/// What forwards, and by which tables.
pub(crate) type Attached = (SharedTables, Box<dyn FastPath>);

#[cfg(feature = "ebpf")]
fn attach_here(
    config: &Config,
    local: &[SocketAddr],
) -> Result<Result<Attached, String>, StartError> {
    Ok(crate::ebpf::attach(config, local))
}

#[cfg(not(feature = "ebpf"))]
fn attach_here(config: &Config, _: &[SocketAddr]) -> Result<Result<Attached, String>, StartError> {
    use waylane_relay::ConfigError;

    if config.fast_path == FastPathChoice::Auto {
        return Ok(Err("this program is built without the feature \"ebpf\"".to_owned()));
    }
    let fix = "this program is built without it: build it with --features ebpf, or write \"auto\" or \
               \"off\"";
    Err(StartError::Config(ConfigError::new("fast_path", fix)))
}
