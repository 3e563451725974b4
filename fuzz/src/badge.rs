//! The token a peer shows: a good one, or one with a single fault that a relay must find.

use waylane_core::id::PublicKey;
use waylane_core::relay::TokenRules;
use waylane_core::token::{Claims, Region, Token, TokenKey, TokenKeys};

use crate::script::Script;
use crate::toy::sign;

/// What a peer shows to a relay.
#[derive(Clone, Debug)]
pub struct Badge {
    /// What goes into Bind and Resume.
    pub token: Vec<u8>,
    /// When it expires, in seconds since 1970; `None`: the relay must never take it.
    pub good_until_unix_s: Option<u64>,
}

impl Badge {
    /// A token of `peer`, as the script says: most are good.
    pub fn new(unix_s: u64, peer: &PublicKey, script: &mut Script<'_>) -> Self {
        let (how, fault) = (script.byte(), script.byte());
        let mut key = SIGNER;
        let mut claims = Claims {
            key: SIGNER.id::<crate::toy::Toy>(),
            expiry_unix_s: unix_s + [600, 5, 70, 0][usize::from(how & 3)],
            peer: Some(*peer),
            subject: [how & 4; 16],
            region: if how & 8 == 0 { region("eu") } else { Region::NONE },
            sessions: u16::from(how >> 4 & 3),
            packets_per_second: if how & 64 == 0 { 0 } else { 50 },
            bytes_per_second: if how & 64 == 0 { 0 } else { 100_000 },
        };
        match fault {
            1 => claims.peer = None,
            2 => claims.peer = Some(PublicKey([3; 32])),
            3 => claims.region = region("us"),
            4 => key = TokenKey([8; 32]),
            5 => claims.key.0[0] ^= 1,
            _ => {}
        }
        let mut token = Token::new(&claims, |message| sign(&key.0, message)).as_bytes().to_vec();
        match fault {
            6 => token[script.below(Token::LEN)] ^= 1,
            7 => token.truncate(script.below(Token::LEN)),
            _ => {}
        }
        let good_until_unix_s = (!(1..=7).contains(&fault)).then_some(claims.expiry_unix_s);
        Self { token, good_until_unix_s }
    }

    /// Whether a relay takes it now.
    #[must_use]
    pub fn is_good(&self, unix_s: u64) -> bool {
        self.good_until_unix_s.is_some_and(|end| unix_s < end)
    }
}

/// Whose tokens the relay takes.
///
/// # Panics
/// Never.
#[must_use]
pub fn rules() -> TokenRules {
    let keys = TokenKeys::new(&[TokenKey([6; 32]), SIGNER]).expect("few keys");
    TokenRules { keys, bearer: false, region: region("eu") }
}

fn region(name: &str) -> Region {
    name.parse().expect("a good name")
}

const SIGNER: TokenKey = TokenKey([7; 32]);
