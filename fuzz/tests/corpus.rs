//! The committed corpora are a regression suite.

use std::path::Path;

use waylane_fuzz::{TARGETS, replay};

#[test]
fn every_committed_input_passes() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let inputs = replay::inputs(&folder).unwrap();
        assert!(inputs.len() >= 10, "the corpus of {name} has {} inputs", inputs.len());
        for (file, input) in inputs {
            // Shown by the test harness if the target panics.
            println!("{}", file.display());
            target(&input);
        }
    }
}
