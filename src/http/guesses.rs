//! How many unknown tokens an address may send. Bounded in memory, whoever asks.
//!
//! An address that has sent too many has to wait, and wrong tokens are answered
//! with that alone. A right one that we made is let in meanwhile, whoever else
//! guesses behind the same address: it is one of 2^256, so that to be told at once
//! of a right one helps nobody who tries, at any rate; looking costs a comparison
//! with each known hash, in the same time whatever was sent, and what was sent has
//! been hashed already.
//!
//! What does not look like ours can only be a `WSB_ADMIN_TOKEN` that somebody made
//! up, and may be found by trying. Of those only the one that the address was last
//! admitted with is let in meanwhile; any other is not looked at, or the limit
//! would slow down nobody.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{TokenHash, is_like_ours};

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
    /// Which made-up token it was last admitted with, and when.
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

/// What an address has sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    hash: TokenHash,
    /// Whether it might be found by trying.
    is_guessable: bool,
}

impl Sent {
    /// Returns what is looked at of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self { hash: TokenHash::of(token), is_guessable: !is_like_ours(token) }
    }

    /// Returns its hash.
    #[must_use]
    pub fn hash(&self) -> &TokenHash {
        &self.hash
    }
}

impl Guesses {
    /// Returns whether `is_known` says yes. While the address may not guess it is
    /// asked only of what cannot be guessed, and a no is the seconds to wait.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn admit(&self, from: IpAddr, sent: Sent, now: Instant, is_known: impl FnOnce() -> bool) -> Result<bool, u64> {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = network(from);
        let mut address = addresses.get(&from).copied().unwrap_or(Address { left: AT_ONCE, at: now, admitted: None });
        let left = address.left(now);
        let must_wait = left < 1.0;
        let is_looked_at = !must_wait || !sent.is_guessable || address.is_admitted_with(&sent.hash, now);
        let known = is_looked_at && is_known();
        if must_wait && !known {
            return Err(((1.0 - left) / PER_SECOND).ceil().max(1.0) as u64);
        }
        address.left = if known { left } else { left - 1.0 };
        address.at = now;
        if known && sent.is_guessable {
            address.admitted = Some((sent.hash, now));
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
    use crate::config::new_token;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn guessing_is_slowed_down_and_others_are_not() {
        let guesses = Guesses::default();
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let try_at =
            |seconds: f64, from: &str, token: &str| guesses.admit(address(from), Sent::of(token), at(seconds), || token == "right");
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

    /// Behind one address of a proxy somebody guesses, and many work.
    #[test]
    fn a_token_that_cannot_be_guessed_is_always_let_in() {
        let guesses = Guesses::default();
        let now = Instant::now();
        let made: Vec<String> = (0..3).map(|_| new_token().expect("randomness").reveal().clone()).collect();
        let is_right = |token: &str| token == "made up" || made.iter().any(|one| one == token);
        let try_ = |token: &str| guesses.admit(address("10.0.0.1"), Sent::of(token), now, || is_right(token));
        assert_eq!(try_("made up"), Ok(true));
        for guess in 0..20 {
            assert_eq!(try_(&format!("wrong {guess}")), Ok(false));
        }
        for token in &made {
            assert_eq!(try_(token), Ok(true), "it has never been seen from there");
            assert_eq!(try_(&format!("wsb_{}", "0".repeat(64))), Err(1), "a wrong one that looks alike");
        }
        assert_eq!(try_("made up"), Ok(true), "others were admitted since");
        assert_eq!(try_("wrong"), Err(1));
    }

    #[test]
    fn one_network_is_one_address_and_memory_is_bounded() {
        assert_eq!(network(address("2001:db8:1:2:3:4:5:6")), network(address("2001:db8:1:2:ffff::1")));
        assert_ne!(network(address("2001:db8:1:2::1")), network(address("2001:db8:1:3::1")));
        assert_eq!(network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
        let guesses = Guesses::default();
        let now = Instant::now();
        for number in 0..3000_u32 {
            let _ = guesses.admit(IpAddr::from(number.to_be_bytes()), Sent::of("x"), now + Duration::from_millis(number.into()), || false);
        }
        let addresses = guesses.0.lock().expect("unpoisoned");
        assert_eq!(addresses.len(), ADDRESSES);
        assert!(addresses.contains_key(&IpAddr::from(2999_u32.to_be_bytes())), "the newest stay");
    }
}
