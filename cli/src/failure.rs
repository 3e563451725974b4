//! Why a command did not do what it was asked for, and the exit code that says so.

/// What is told, and by which exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) why: String,
}

impl Failure {
    /// The command line, the environment or a configuration file does not serve. Clap ends by the
    /// same code.
    pub(crate) const CONFIGURATION: u8 = 2;
    /// An address cannot be listened on.
    pub(crate) const LISTEN: u8 = 3;
    /// A file with keys cannot be used.
    pub(crate) const KEY: u8 = 4;

    pub(crate) fn new(code: u8, why: &impl ToString) -> Self {
        Self { code, why: why.to_string() }
    }
}

/// Anything else.
impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self { code: 1, why }
    }
}
