//! `waylane directory`: makes the key that a fleet signs its lists of relays with, signs a list and
//! shows what one says.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use waylane_core::directory::RelayEntry;
use waylane_core::fleet::{FleetKey, SignedDirectory};
use waylane_crypto::FleetSigner;
use waylane_crypto::ring::{Ring, SystemRandom};
use waylane_relay::key_file;

use crate::failure::Failure;

/// What `directory` is asked for.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Make a key to sign lists with; prints the public half, which players' games are built with.
    Keygen(KeygenOptions),
    /// Sign a list of relays, and print it.
    Sign(SignOptions),
    /// Show what a signed list says.
    Inspect(InspectOptions),
}

#[derive(clap::Args, Debug)]
struct KeygenOptions {
    /// Write the secret half there, readable by you only; the file must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(clap::Args, Debug)]
struct SignOptions {
    /// The relays: a directory entry a line, as 'waylane relay' prints it; lines that are empty or
    /// begin with '#' do not count.
    #[arg(value_name = "FILE")]
    relays: PathBuf,
    /// The secret key to sign with, as 'waylane directory keygen' wrote it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A list with a larger number replaces one with a smaller. Default: the time, in seconds since
    /// 1970.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sequence: Option<u64>,
}

#[derive(clap::Args, Debug)]
struct InspectOptions {
    /// The signed list.
    #[arg(value_name = "FILE")]
    list: PathBuf,
    /// The fleet's public key: fails unless it signed the list.
    #[arg(long, value_name = "KEY", value_parser = fleet_key, allow_hyphen_values = true)]
    fleet_key: Option<FleetKey>,
}

/// Does what is asked for.
///
/// # Errors
/// When a file cannot be used, or the list is not good.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Keygen(options) => keygen(options),
        Command::Sign(options) => sign(options),
        Command::Inspect(options) => inspect(options),
    }
}

fn keygen(options: &KeygenOptions) -> Result<(), Failure> {
    let secret = key_file::generate(&options.out).map_err(|e| Failure::new(Failure::KEY, &e))?;
    println!("{}", FleetSigner::from_secret(&secret).public());
    Ok(())
}

fn sign(options: &SignOptions) -> Result<(), Failure> {
    let secret = key_file::load(&options.key).map_err(|e| Failure::new(Failure::KEY, &e))?;
    let relays = read_entries(&options.relays)?;
    let sequence = options.sequence.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().max(1)
    });
    let mut out = vec![0; SignedDirectory::LEN_MAX];
    let list = FleetSigner::from_secret(&secret)
        .sign(sequence, &relays, &mut out)
        .map_err(|error| at(&options.relays, &error))?;
    if list.len() > BY_DEFAULT {
        eprintln!(
            "* {} relays: games must raise limits.relays, which is {BY_DEFAULT} by default",
            list.len()
        );
    }
    println!("{list}");
    Ok(())
}

fn inspect(options: &InspectOptions) -> Result<(), Failure> {
    let given = std::fs::read(&options.list).map_err(|error| at(&options.list, &error))?;
    let mut binary = vec![0; SignedDirectory::LEN_MAX];
    let list = SignedDirectory::to_binary(&given, &mut binary)
        .and_then(|len| SignedDirectory::parse(binary.get(..len).unwrap_or_default()))
        .map_err(|error| at(&options.list, &error))?;
    println!("sequence            {}", list.sequence());
    println!("bytes               {}", list.as_bytes().len());
    for entry in list.entries() {
        println!("relay               {entry}");
    }
    let Some(key) = &options.fleet_key else { return Ok(()) };
    if !list.is_signed_by::<Ring<SystemRandom>>(key) {
        return Err(format!("the key {key} did not sign this list, or it was changed").into());
    }
    println!("signature           good");
    Ok(())
}

fn read_entries(path: &Path) -> Result<Vec<RelayEntry>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| at(path, &error))?;
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            line.parse().map_err(|error| at(path, &format!("line {number}: {error}")))
        })
        .collect()
}

fn at(path: &Path, error: &impl ToString) -> Failure {
    format!("{}: {}", path.display(), error.to_string()).into()
}

fn fleet_key(text: &str) -> Result<FleetKey, String> {
    text.parse().map_err(|_| "a fleet's public key is 43 characters of base64url".to_owned())
}

/// Relays that a game's directory holds unless it says otherwise.
const BY_DEFAULT: usize = waylane_core::limits::Limits::DEFAULT.relays as usize;
