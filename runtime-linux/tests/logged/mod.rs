//! What is logged while a test runs.

use std::io;
use std::sync::{Arc, Mutex};

/// Does this, and tells what this thread logged meanwhile.
pub(crate) fn logged<T>(work: impl FnOnce() -> T) -> (T, String) {
    let log = Log::default();
    let shown = log.clone();
    let writer = move || shown.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
    let done = tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap().clone();
    (done, String::from_utf8(bytes).unwrap())
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
