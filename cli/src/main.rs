//! The waylane command: a relay, two people talking through it, a demonstration, a simulator.

mod chat;
mod demo;
mod directory;
mod failure;
mod input;
mod key;
mod link;
mod player;
mod relay;
mod sim;
mod token;
mod top;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use failure::Failure;

/// Game data from player to player through relays, encrypted from end to end.
#[derive(Parser, Debug)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a relay.
    Relay(relay::Options),
    /// Watch a relay: what it carries, drops and uses, once a second.
    Top(top::Options),
    /// Make a secret key for a relay or a player.
    Keygen(key::Options),
    /// Make, sign and read tokens: what lets players in at relays that ask for one.
    Token(token::Options),
    /// Make, sign and read lists of relays: what tells players' games which there are.
    Directory(directory::Options),
    /// Wait for others: prints an invite for them; lines typed here are seen there.
    Host(chat::HostOptions),
    /// Join a host by its invite; lines typed here are seen there.
    Join(chat::JoinOptions),
    /// Run a relay and two players on this machine, and show what they see.
    Demo(demo::Options),
    /// Try Waylane out in a simulated network: in virtual time, the same each time.
    Sim(sim::Options),
    /// The demo's relay.
    #[command(hide = true)]
    DemoRelay,
    /// One of the demo's players.
    #[command(hide = true)]
    DemoPlayer(demo::player::Options),
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, why }) => {
            eprintln!("waylane: {why}");
            ExitCode::from(code)
        }
    }
}

fn perform(command: Command) -> Result<(), Failure> {
    let outcome = match command {
        Command::Relay(options) => return relay::run(&options),
        Command::Token(options) => return token::run(&options),
        Command::Directory(options) => return directory::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Keygen(options) => key::run(&options),
        Command::Host(options) => chat::host(options),
        Command::Join(options) => chat::join(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Sim(options) => sim::run(&options).map_err(|why| why.to_string()),
        Command::DemoRelay => demo::relay::run(),
        Command::DemoPlayer(options) => demo::player::run(&options),
    };
    outcome.map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_of_all_commands_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_entry_may_begin_with_a_hyphen() {
        // As one key in 64 does.
        let entry = "-345tPZneR2irSHxRMS5S4vz2ITDQL8ltxaG2QmJ0jw@127.0.0.1:4433";
        for command in ["host", "demo"] {
            let parsed =
                Arguments::try_parse_from(["waylane", command, "--relay", entry, "--loss", "20"]);
            assert!(parsed.is_ok(), "{command}: {parsed:?}");
        }
    }
}
