//! Acknowledgements, round-trip times, loss detection, congestion control.
