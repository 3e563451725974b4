//! `waylane token`: makes the keys that tokens are signed with, issues tokens and shows what one
//! says.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use waylane_core::crypto::Crypto;
use waylane_core::id::PublicKey;
use waylane_core::token::{Claims, KeyId, Region, Token, TokenKeys};
use waylane_core::wire::base64url::{self, Base64};
use waylane_crypto::TokenSigner;
use waylane_crypto::ring::{Ring, SystemRandom};
use waylane_relay::{key_file, token_keys};

use crate::failure::Failure;

/// What `token` is asked for.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Make a key to sign tokens with; prints the public half, a line for the relay's token_keys.
    Keygen(KeygenOptions),
    /// Sign a token, and print it.
    Issue(IssueOptions),
    /// Show what a token says.
    Inspect(InspectOptions),
}

#[derive(clap::Args, Debug)]
struct KeygenOptions {
    /// Write the secret half there, readable by you only; the file must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(clap::Args, Debug)]
struct IssueOptions {
    /// The secret key to sign with, as 'waylane token keygen' wrote it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How long it is good for: a number with s, m, h or d behind it.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: u64,
    /// The player's public key, as 'waylane keygen' tells it; only who holds its secret half can
    /// use the token.
    #[arg(long, value_name = "KEY", value_parser = public_key, allow_hyphen_values = true, required_unless_present = "bearer")]
    peer: Option<PublicKey>,
    /// Good for whoever shows it, at relays that allow that (token_bearer).
    #[arg(long, conflicts_with = "peer")]
    bearer: bool,
    /// Whose sessions and rates are counted together: any name, such as an account's. Default: the
    /// player's key.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// The only region whose relays take it.
    #[arg(long, value_name = "REGION", default_value = "")]
    region: Region,
    /// Sessions of the subject at once; 0 for as many as the relay gives.
    #[arg(long, value_name = "N", default_value_t = 0)]
    sessions: u16,
    /// What all of the subject's sessions may send; 0 for what the relay gives.
    #[arg(long, value_name = "N", default_value_t = 0)]
    packets_per_second: u32,
    /// The same in bytes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    bytes_per_second: u32,
}

#[derive(clap::Args, Debug)]
struct InspectOptions {
    /// The token.
    #[arg(value_name = "TOKEN", allow_hyphen_values = true)]
    token: Token,
    /// The relay's token_keys: fails unless one of them signed the token and it has not expired.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

/// Does what is asked for.
///
/// # Errors
/// When a file cannot be used, or the token is not good.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Keygen(options) => keygen(options),
        Command::Issue(options) => issue(options),
        Command::Inspect(options) => inspect(options),
    }
}

fn keygen(options: &KeygenOptions) -> Result<(), Failure> {
    let secret = key_file::generate(&options.out).map_err(|e| Failure::new(Failure::KEY, &e))?;
    println!("{}", TokenSigner::from_secret(&secret).public());
    Ok(())
}

fn issue(options: &IssueOptions) -> Result<(), Failure> {
    let secret = key_file::load(&options.key).map_err(|e| Failure::new(Failure::KEY, &e))?;
    let mut subject = [0; 16];
    if let Some(name) = &options.subject {
        let hash = Provider::sha256(&[name.as_bytes()]);
        subject.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    }
    let claims = Claims {
        key: KeyId::default(),
        expiry_unix_s: now().saturating_add(options.expires),
        peer: options.peer,
        subject,
        region: options.region,
        sessions: options.sessions,
        packets_per_second: options.packets_per_second,
        bytes_per_second: options.bytes_per_second,
    };
    println!("{}", TokenSigner::from_secret(&secret).issue(&claims));
    Ok(())
}

fn inspect(options: &InspectOptions) -> Result<(), Failure> {
    let claims = options.token.claims();
    let own = |number: u64| if number == 0 { "the relay's".to_owned() } else { number.to_string() };
    let now = now();
    let left = claims.expiry_unix_s.checked_sub(now).filter(|left| *left > 0);
    let until = match left {
        Some(left) => format!("{} (in {left} s)", claims.expiry_unix_s),
        None => format!("{} (EXPIRED)", claims.expiry_unix_s),
    };
    let peer = claims.peer.map_or("whoever shows it".to_owned(), |key| Base64(&key.0).to_string());
    let subject = match claims.subject {
        [0, ..] if claims.subject == [0; 16] => "the player".to_owned(),
        bytes => Base64(&bytes).to_string(),
    };
    let region = if claims.region == Region::NONE { "any" } else { claims.region.as_str() };
    println!("expires             {until}");
    println!("player              {peer}");
    println!("subject             {subject}");
    println!("region              {region}");
    println!("sessions            {}", own(claims.sessions.into()));
    println!("packets a second    {}", own(claims.packets_per_second.into()));
    println!("bytes a second      {}", own(claims.bytes_per_second.into()));
    println!("key id              {}", Base64(&claims.key.0));
    let Some(file) = &options.keys else { return Ok(()) };
    let keys: TokenKeys =
        token_keys::load(file).map_err(|e| Failure::new(Failure::CONFIGURATION, &e))?;
    if !keys.signed::<Provider>(&options.token) {
        return Err(format!("none of the keys in {} signed this token", file.display()).into());
    }
    println!("signature           good");
    if left.is_none() { Err("this token has expired".to_owned().into()) } else { Ok(()) }
}

/// A number of seconds, minutes, hours or days.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "write a number with s, m, h or d behind it, such as 10m".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let mut key = PublicKey([0; 32]);
    match base64url::decode(text.as_bytes(), &mut key.0) {
        Ok(32) => Ok(key),
        _ => Err("a public key is 43 characters of base64url".to_owned()),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

type Provider = Ring<SystemRandom>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_checked() {
        assert_eq!(["90s", "10m", "2h", "1d"].map(seconds), [90, 600, 7200, 86_400].map(Ok));
        for bad in ["", "5", "m", "0s", "-1s", "1.5h", "1w", "99999999999999999999d", "5µ"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
