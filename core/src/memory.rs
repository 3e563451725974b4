//! Memory lent by the caller.
