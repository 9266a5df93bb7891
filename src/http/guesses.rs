//! How many unknown tokens an address may send. Bounded in memory, whoever asks.
//!
//! An address that has sent too many has to wait, and what it sends meanwhile is
//! not looked at: otherwise a limit would not slow down anybody who guesses. The
//! one exception is the token that the address was last admitted with, so that
//! whoever shares an address with a guesser is not locked out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::TokenHash;

/// How many unknown tokens an address may send at once.
const AT_ONCE: f64 = 20.0;
/// How many it may send a second from then on.
const PER_SECOND: f64 = 1.0;
/// How many addresses are remembered.
const ADDRESSES: usize = 1024;
/// How long an address is known for the token that it was admitted with.
const ADMITTED: Duration = Duration::from_secs(3600);

/// What is known of addresses.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<IpAddr, Address>>);

#[derive(Debug, Clone, Copy)]
struct Address {
    /// How many unknown tokens it may send now.
    left: f64,
    /// When that was.
    at: Instant,
    /// What it was last admitted with, and when.
    admitted: Option<(TokenHash, Instant)>,
}

impl Address {
    fn left(&self, now: Instant) -> f64 {
        (self.left + now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND).min(AT_ONCE)
    }

    fn is_admitted_with(&self, hash: &TokenHash, now: Instant) -> bool {
        self.admitted.is_some_and(|(known, at)| now.saturating_duration_since(at) < ADMITTED && known.is(hash))
    }
}

impl Guesses {
    /// Returns whether `is_known` says yes, which it is asked only if the address
    /// may still guess; otherwise for how many seconds it may not.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn admit(&self, from: IpAddr, hash: TokenHash, now: Instant, is_known: impl FnOnce() -> bool) -> Result<bool, u64> {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = network(from);
        let mut address = addresses.get(&from).copied().unwrap_or(Address { left: AT_ONCE, at: now, admitted: None });
        let left = address.left(now);
        if left < 1.0 && !address.is_admitted_with(&hash, now) {
            return Err(((1.0 - left) / PER_SECOND).ceil().max(1.0) as u64);
        }
        let known = is_known();
        address.left = if known { left } else { (left - 1.0).max(0.0) };
        address.at = now;
        if known {
            address.admitted = Some((hash, now));
        }
        if addresses.len() >= ADDRESSES && !addresses.contains_key(&from) {
            make_room(&mut addresses);
        }
        addresses.insert(from, address);
        Ok(known)
    }
}

/// Forgets the address that has been silent for longest.
fn make_room(addresses: &mut HashMap<IpAddr, Address>) {
    if let Some(oldest) = addresses.iter().min_by_key(|(_, address)| address.at).map(|(from, _)| *from) {
        addresses.remove(&oldest);
    }
}

/// Returns what stands for an address: somebody with one IPv6 address has 2^64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn guessing_is_slowed_down_and_others_are_not() {
        let guesses = Guesses::default();
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let try_at =
            |seconds: f64, from: &str, token: &str| guesses.admit(address(from), TokenHash::of(token), at(seconds), || token == "right");
        assert_eq!(try_at(0.0, "10.0.0.1", "right"), Ok(true));
        for guess in 0..20 {
            assert_eq!(try_at(0.0, "10.0.0.1", &format!("wrong {guess}")), Ok(false));
        }
        assert_eq!(try_at(0.0, "10.0.0.1", "wrong"), Err(1));
        assert_eq!(try_at(0.0, "10.0.0.1", "right"), Ok(true), "it has been admitted with that before");
        assert_eq!(try_at(0.0, "10.0.0.2", "wrong"), Ok(false), "another address");
        assert_eq!(try_at(0.5, "10.0.0.1", "wrong"), Err(1));
        assert_eq!(try_at(1.0, "10.0.0.1", "wrong"), Ok(false), "one a second");
        assert_eq!(try_at(1.0, "10.0.0.1", "wrong"), Err(1));
        // Who guesses right while waiting is not told so.
        for _ in 0..20 {
            assert_eq!(try_at(2.0, "10.0.0.3", "wrong"), Ok(false));
        }
        assert_eq!(try_at(2.0, "10.0.0.3", "right"), Err(1));
        assert_eq!(try_at(3700.0, "10.0.0.3", "right"), Ok(true));
    }

    #[test]
    fn one_network_is_one_address_and_memory_is_bounded() {
        assert_eq!(network(address("2001:db8:1:2:3:4:5:6")), network(address("2001:db8:1:2:ffff::1")));
        assert_ne!(network(address("2001:db8:1:2::1")), network(address("2001:db8:1:3::1")));
        assert_eq!(network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
        let guesses = Guesses::default();
        let now = Instant::now();
        for number in 0..3000_u32 {
            let _ =
                guesses.admit(IpAddr::from(number.to_be_bytes()), TokenHash::of("x"), now + Duration::from_millis(number.into()), || false);
        }
        let addresses = guesses.0.lock().expect("unpoisoned");
        assert_eq!(addresses.len(), ADDRESSES);
        assert!(addresses.contains_key(&IpAddr::from(2999_u32.to_be_bytes())), "the newest stay");
    }
}
