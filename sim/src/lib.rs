//! Deterministic worlds of Waylane endpoints, relays and links.
