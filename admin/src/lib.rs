//! What a relay shows its operator, by HTTP on a port of its own: `/live`, `/ready`, `/version`,
//! `/metrics`, and a page with charts at `/`.
//!
//! ```no_run
//! use waylane_admin::Admin;
//! use waylane_relay::{Config, Relay};
//!
//! let mut relay = Relay::bind(&Config::dev())?;
//! let admin = Admin::serve("127.0.0.1:9433".parse()?, relay.handle())?;
//! println!("http://{}/", admin.address());
//! relay.run()?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! It has threads of its own and reads what the relay's threads publish: nothing asked here makes
//! a datagram wait. Everything shown comes from [`metrics`], the page's charts too; none of it
//! names an address or grows with who is connected.
#![forbid(unsafe_code)]

mod answer;
mod client;
mod http;
mod metrics;
mod openmetrics;
mod process;
mod pulse;
mod scrape;

pub use client::{FetchError, fetch};
pub use http::Admin;
pub use metrics::metrics;
pub use openmetrics::Format;
pub use scrape::Scrape;
