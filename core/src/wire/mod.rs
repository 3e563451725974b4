//! Bytes on the wire: views and representations, no state.
