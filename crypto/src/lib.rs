//! Cryptography providers for waylane-core.
