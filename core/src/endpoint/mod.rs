//! The client: peers, relays, channels behind one sans-IO face.
