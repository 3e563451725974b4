//! One checked set of limits.
