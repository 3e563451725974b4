//! One declaration a key: file, environment, flags, sample and documentation derive from it.

use core::net::SocketAddr;
use core::ops::RangeInclusive;
use std::path::PathBuf;

use toml::de::DeValue;
use waylane_core::id::PublicKey;
use waylane_core::wire::base64url::{self, Base64};

use super::Config;

/// One key of the configuration: what it is called, what it takes, and what for.
pub struct Key {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) unit: &'static str,
    pub(super) range: RangeInclusive<u64>,
    pub(super) example: &'static str,
    pub(super) applies: Applies,
    pub(super) set: fn(&mut Config, Given<'_>, &RangeInclusive<u64>) -> bool,
    pub(super) show: fn(&Config) -> Option<String>,
    pub(super) same: fn(&Config, &Config) -> bool,
    pub(super) copy: fn(&mut Config, &Config),
    pub(super) kind: fn() -> &'static str,
}

/// When a changed value has an effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Applies {
    /// At the next start.
    Start,
    /// At once, when the relay is told to read its configuration again.
    Reload,
}

impl Key {
    /// Its name in a file: `burst_ms`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its name as a flag, without the hyphens before it: `burst-ms`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Its name in the environment: `WAYLANE_BURST_MS`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_uppercase())
    }

    /// What it is for, in whole sentences.
    #[must_use]
    pub const fn about(&self) -> &'static str {
        self.about
    }

    /// What it takes: kind, range, unit.
    #[must_use]
    pub fn takes(&self) -> String {
        let kind = (self.kind)();
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        match self.range.clone().into_inner() {
            (0, u64::MAX) => format!("{kind}{unit}"),
            (from, to) => format!("{from} to {to}{unit}"),
        }
    }

    /// Its default as a file has it; `None` if it has none.
    #[must_use]
    pub fn default_value(&self) -> Option<String> {
        if self.is_required() { None } else { (self.show)(&Config::defaults()) }
    }

    /// Whether a reload changes it in a running relay.
    #[must_use]
    pub fn reloads(&self) -> bool {
        self.applies == Applies::Reload
    }

    /// Whether it must be given.
    #[must_use]
    pub fn is_required(&self) -> bool {
        REQUIRED.contains(&self.name)
    }

    /// Whether it takes several values, which a flag may give one by one.
    #[must_use]
    pub fn is_list(&self) -> bool {
        [Vec::<SocketAddr>::KIND, Vec::<PublicKey>::KIND].contains(&(self.kind)())
    }

    /// Whether it takes `true` or `false`.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        (self.kind)() == bool::KIND
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

/// A value as it was written.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// In a file.
    Toml(&'a DeValue<'a>),
    /// In the environment or as a flag.
    Text(&'a str),
}

/// A type that a key can have.
pub(super) trait Setting: Sized {
    /// What is written for it.
    const KIND: &'static str;

    /// The value in a file, if it is one.
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }

    /// The value in the environment or of a flag, if it is one.
    fn from_text(text: &str) -> Option<Self>;

    /// As a file has it; `None` if there is nothing to write.
    fn literal(&self) -> Option<String>;

    /// Whether it is in a key's range.
    fn is_within(&self, _: &RangeInclusive<u64>) -> bool {
        true
    }
}

/// Puts what was given into a field, if it is of its type and in its range.
pub(super) fn read<T: Setting>(
    field: &mut T,
    given: Given<'_>,
    range: &RangeInclusive<u64>,
) -> bool {
    let value = match given {
        Given::Toml(value) => T::from_toml(value),
        Given::Text(text) => T::from_text(text.trim()),
    };
    match value.filter(|value| value.is_within(range)) {
        Some(value) => {
            *field = value;
            true
        }
        None => false,
    }
}

/// A string as TOML has it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Setting for $number {
            const KIND: &'static str = "a whole number";

            fn from_toml(value: &DeValue<'_>) -> Option<Self> {
                let integer = value.as_integer()?;
                Self::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
            }

            fn from_text(text: &str) -> Option<Self> {
                text.replace('_', "").parse().ok()
            }

            fn literal(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn is_within(&self, range: &RangeInclusive<u64>) -> bool {
                range.contains(&u64::from(*self))
            }
        }
    )*};
}
numbers!(u16, u32);

impl Setting for bool {
    const KIND: &'static str = "true or false";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn literal(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for String {
    const KIND: &'static str = "text";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn literal(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl Setting for Option<PathBuf> {
    const KIND: &'static str = "a path";

    fn from_text(text: &str) -> Option<Self> {
        // A key in place of its file's name would be printed, and become a file's name itself.
        if public_key(text).is_some() {
            return None;
        }
        // Without a name it is as if nothing was said.
        Some((!text.is_empty()).then(|| text.into()))
    }

    fn literal(&self) -> Option<String> {
        self.as_ref().map(|path| quoted(&path.to_string_lossy()))
    }
}

impl Setting for Vec<SocketAddr> {
    const KIND: &'static str = "a list of addresses with ports, such as [\"192.0.2.1:4433\", \
                                \"[2001:db8::1]:4433\"]";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value.as_array() {
            Some(array) => array.iter().map(|one| one.get_ref().as_str()?.parse().ok()).collect(),
            None => value.as_str()?.parse().ok().map(|one| vec![one]),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| part.parse().ok()).collect()
    }

    fn literal(&self) -> Option<String> {
        let quoted: Vec<_> = self.iter().map(|address| quoted(&address.to_string())).collect();
        Some(format!("[{}]", quoted.join(", ")))
    }
}

impl Setting for Vec<PublicKey> {
    const KIND: &'static str = "a list of public keys, each of 43 letters and digits";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value.as_array() {
            Some(array) => array.iter().map(|one| public_key(one.get_ref().as_str()?)).collect(),
            None => Some(vec![public_key(value.as_str()?)?]),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(public_key).collect()
    }

    fn literal(&self) -> Option<String> {
        let quoted: Vec<_> = self.iter().map(|key| quoted(&Base64(&key.0).to_string())).collect();
        Some(format!("[{}]", quoted.join(", ")))
    }
}

fn public_key(text: &str) -> Option<PublicKey> {
    let mut key = PublicKey([0; 32]);
    (base64url::decode(text.as_bytes(), &mut key.0) == Ok(key.0.len())).then_some(key)
}

/// A type with a few named values.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident, $kind:literal {
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        impl Setting for $name {
            const KIND: &'static str = $kind;

            fn from_text(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }

            fn literal(&self) -> Option<String> {
                Some(quoted(match self {
                    $(Self::$variant => $text,)*
                }))
            }
        }
    };
}
pub(super) use choice;

/// Makes [`Config`] and its table of keys from one declaration each:
/// `name: type = default, unit, range, when it applies, example;`
macro_rules! keys {
    ($(
        $(#[doc = $about:literal])+
        $name:ident: $type:ty = $default:expr, $unit:literal, $range:expr, $applies:ident, $example:literal;
    )*) => {
        /// A relay's settings.
        ///
        /// Each field is a key of the same name in a TOML file, a variable `WAYLANE_NAME` of the
        /// environment and a flag of `waylane relay`. `mode` and `listen` must be given.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub struct Config {
            $($(#[doc = $about])+ pub $name: $type,)*
        }

        impl Config {
            /// What holds where nothing is said; `mode` and `listen` mean nothing here.
            pub(super) fn defaults() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// Every key, in the order in which the sample has them.
        pub static KEYS: &[Key] = &[$(Key {
            name: stringify!($name),
            about: concat!($($about,)+),
            unit: $unit,
            range: $range,
            example: $example,
            applies: Applies::$applies,
            set: |config, given, range| read(&mut config.$name, given, range),
            show: |config| config.$name.literal(),
            same: |one, other| one.$name == other.$name,
            copy: |to, from| to.$name.clone_from(&from.$name),
            kind: || <$type as Setting>::KIND,
        },)*];
    };
}
pub(super) use keys;

/// Every variable of the environment that begins like this is a key's.
pub(super) const VARIABLE_PREFIX: &str = "WAYLANE_";
/// Nobody opens a relay by accident: these have no default.
const REQUIRED: [&str; 2] = ["mode", "listen"];
