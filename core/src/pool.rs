//! Pools: fixed slices with free lists, block chains, intrusive lists.
