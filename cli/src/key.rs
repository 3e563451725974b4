//! `waylane keygen`: makes a secret key.

use std::path::PathBuf;

use waylane_core::crypto::{Crypto, Secret};
use waylane_core::id::{PeerId, RelayId};
use waylane_core::wire::base64url::Base64;
use waylane_crypto::ring::{Ring, SystemRandom};
use waylane_relay::key_file;

/// What `keygen` is asked for.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Write the secret key there, readable by you only; the file must not exist yet. Without it
    /// the key is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Makes a key, and says whose it would be.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let secret = match &options.out {
        Some(file) => key_file::generate(file).map_err(|e| e.to_string())?,
        None => {
            let mut secret = Secret::default();
            Ring::new().random(&mut secret.0);
            println!("{}", Base64(&secret.0));
            secret
        }
    };
    let public = Provider::x25519_public(&secret);
    let hash = Provider::sha256(&[&public.0]);
    eprintln!("* public key: {}", Base64(&public.0));
    eprintln!("* as a relay: {}", RelayId::from_key_hash(&hash));
    eprintln!("* as a peer: {}", PeerId::from_key_hash(&hash));
    Ok(())
}

type Provider = Ring<SystemRandom>;
