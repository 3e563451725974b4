//! Player-to-player networking through relays: the portable client.
