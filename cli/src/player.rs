//! The options that say who a player is, and what lets it in.

use std::path::PathBuf;

use waylane::{Secret, Token};
use waylane_relay::key_file;

/// Who a player is.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Who {
    /// The player's secret key, as 'waylane keygen --out' writes it. Default: another at each start.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What the game's backend gave this player, for relays that ask for it; @FILE reads it from a
    /// file.
    #[arg(long, value_name = "TOKEN", value_parser = token, allow_hyphen_values = true)]
    token: Option<Token>,
}

impl Who {
    /// The player's key, if it is to have a certain one.
    ///
    /// # Errors
    /// When the file is no key.
    pub(crate) fn identity(&self) -> Result<Option<Secret>, String> {
        self.key.as_deref().map(key_file::load).transpose().map_err(|error| error.to_string())
    }

    /// What relays are shown.
    pub(crate) const fn token(&self) -> Option<Token> {
        self.token
    }
}

/// A token, or the one in the file that is named behind an `@`.
pub(crate) fn token(text: &str) -> Result<Token, String> {
    let word = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?,
        None => text.to_owned(),
    };
    word.trim().parse().map_err(|_| {
        format!("a token is {} characters of base64url, as a backend signs it", Token::TEXT_LEN)
    })
}
