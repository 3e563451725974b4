//! What a person passes on without a lobby.
