//! Routes as applications handle them: bytes, or one word of text.

use core::fmt;
use core::str::FromStr;

use waylane_core::route::{self, RouteError};

/// Where a player can be reached now: bytes to publish, or one word of text by `to_string`. It
/// holds no address of anything.
///
/// ```no_run
/// # fn lobby_metadata(_: &str, _: String) {}
/// # fn example(net: &waylane::NetworkManager) {
/// if let Some(route) = net.route() {
///     lobby_metadata("route", route.to_string());
/// }
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Route {
    bytes: [u8; route::Route::LEN_MAX],
    len: usize,
}

impl Route {
    pub(crate) fn of(route: &route::Route) -> Self {
        let mut bytes = [0; route::Route::LEN_MAX];
        // The buffer is as long as the longest route.
        let len = route.encode(&mut bytes).unwrap_or(0);
        Self { bytes, len }
    }

    /// The route as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Route {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Route {}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        route::Route::decode(self.as_bytes()).map_err(|_| fmt::Error)?.fmt(f)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({self})")
    }
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        text.parse().map(|route| Self::of(&route))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waylane_core::crypto::Suites;
    use waylane_core::id::{ApplicationId, PublicKey, RelayId, SessionId};
    use waylane_core::route::{Epoch, RouteRelay};

    #[test]
    fn text_and_bytes_are_the_same_route() {
        let mut core =
            route::Route::new(PublicKey([7; 32]), ApplicationId(1), Suites::ALL, Epoch::default());
        for n in 1..=8 {
            let session = SessionId::new(n, n);
            core.push_relay(RouteRelay { relay: RelayId(n.into()), session }).unwrap();
        }
        let route = Route::of(&core);
        assert_eq!(route.to_string(), core.to_string());
        assert_eq!(route.to_string().parse::<Route>().unwrap(), route);
        assert_eq!(route::Route::decode(route.as_ref()).unwrap(), core);
        assert_eq!("".parse::<Route>(), Err(RouteError::Empty));
    }
}
