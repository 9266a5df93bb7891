//! The secrets under which numbers are hashed in row keys. Two places of 32
//! random bytes in a file outside of sled, overwritten in place.
//!
//! A removed row stays readable in sled's files for a while, and whoever has the
//! master key could try numbers on its hash. Hence hashes are made with a secret
//! besides, and after an erasure all of them are made anew with the other one,
//! some rows at a time; then the former is overwritten, and what is left of the
//! removed row is noise.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::codec::{Input, Output, Undecodable};

/// What the file begins with.
const HEADER: &[u8; 32] = b"wsb number keys, format 1       ";

/// What stands for a number in row keys: which secret, and the hash.
pub(super) type NumberPlace = [u8; 17];

/// How far the secrets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turnover {
    /// Which secret new rows are made with: 0 or 1.
    pub current: u8,
    pub stage: Stage,
    /// Whether the current one has to go as well, once the former is gone.
    pub is_wanted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Every row is made with the current secret.
    Steady,
    /// Some rows may still be made with the other one.
    UnderWay,
    /// No row is, and the other one is to be overwritten.
    Over,
}

impl Turnover {
    pub const FIRST: Self = Self { current: 0, stage: Stage::Steady, is_wanted: false };

    pub fn former(self) -> u8 {
        1 - self.current
    }

    pub fn encode(self) -> Vec<u8> {
        let mut out = vec![1];
        out.u8(self.current);
        out.u8(match self.stage {
            Stage::Steady => 0,
            Stage::UnderWay => 1,
            Stage::Over => 2,
        });
        out.u8(u8::from(self.is_wanted));
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut input = Input::versioned(bytes, "which number key is in use")?;
        let current = u8::from(input.flag()?);
        let stage = match input.u8()? {
            0 => Stage::Steady,
            1 => Stage::UnderWay,
            2 => Stage::Over,
            _ => return input.fail(),
        };
        let turnover = Self { current, stage, is_wanted: input.flag()? };
        input.end()?;
        Ok(turnover)
    }
}

/// The secrets in use.
#[derive(Debug)]
pub(super) struct Numbering {
    file: File,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    turnover: Turnover,
    keys: [hmac::Key; 2],
}

impl Numbering {
    /// Opens or creates the file; one that rows were made with is refused if it is cut
    /// short.
    pub fn open(path: &Path, are_needed: bool) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if file.metadata()?.len() < 96 {
            if are_needed {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is cut short"));
            }
            // Cut short by a crash: nothing was ever made with these.
            let mut bytes = [0; 96];
            bytes[..32].copy_from_slice(HEADER);
            random(&mut bytes[32..])?;
            file.write_all_at(&bytes, 0)?;
            file.sync_all()?;
        }
        let mut bytes = [0; 96];
        file.read_exact_at(&mut bytes, 0)?;
        if bytes[..32] != *HEADER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file of number keys, or of a newer format"));
        }
        let keys = [key(&bytes[32..64]), key(&bytes[64..])];
        Ok(Self { file, state: RwLock::new(State { turnover: Turnover::FIRST, keys }) })
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn turnover(&self) -> Turnover {
        self.read(|state| state.turnover)
    }

    pub fn set_turnover(&self, turnover: Turnover) {
        self.write(|state| state.turnover = turnover);
    }

    /// Returns what stands in row keys for the digest of a number, by a secret.
    pub fn place_by(&self, which: u8, digest: &[u8; 16]) -> NumberPlace {
        let mut place = [0; 17];
        place[0] = which;
        self.read(|state| {
            place[1..].copy_from_slice(&hmac::sign(&state.keys[usize::from(which & 1)], digest).as_ref()[..16]);
        });
        place
    }

    /// Returns where new rows are put.
    pub fn place(&self, digest: &[u8; 16]) -> NumberPlace {
        self.place_by(self.turnover().current, digest)
    }

    /// Returns everywhere that rows may be, the likeliest first.
    pub fn places(&self, digest: &[u8; 16]) -> Vec<NumberPlace> {
        let turnover = self.turnover();
        let mut places = vec![self.place_by(turnover.current, digest)];
        if turnover.stage == Stage::UnderWay {
            places.push(self.place_by(turnover.former(), digest));
        }
        places
    }

    /// Overwrites a secret, and returns when that is on disk.
    pub fn renew(&self, which: u8) -> io::Result<()> {
        let mut fresh = [0; 32];
        random(&mut fresh)?;
        self.file.write_all_at(&fresh, 32 + 32 * u64::from(which & 1))?;
        self.file.sync_all()?;
        self.write(|state| state.keys[usize::from(which & 1)] = key(&fresh));
        Ok(())
    }
}

fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    SystemRandom::new().fill(bytes).map_err(|_| io::Error::other("no randomness from the system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_secret_leads_elsewhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("keys");
        let numbering = Numbering::open(&path, false).expect("a file");
        let digest = [7; 16];
        let before = [0, 1].map(|which| numbering.place_by(which, &digest));
        assert_ne!(before[0][1..], before[1][1..]);
        assert_eq!(numbering.places(&digest), [before[0]]);
        numbering.set_turnover(Turnover { current: 1, stage: Stage::UnderWay, is_wanted: false });
        assert_eq!(numbering.places(&digest), [before[1], before[0]]);
        numbering.renew(0).expect("renewed");
        for numbering in [&numbering, &Numbering::open(&path, false).expect("the file")] {
            assert_ne!(numbering.place_by(0, &digest), before[0]);
            assert_eq!(numbering.place_by(1, &digest), before[1]);
        }
    }

    #[test]
    fn how_far_it_is_comes_back() {
        for current in [0, 1] {
            for stage in [Stage::Steady, Stage::UnderWay, Stage::Over] {
                for is_wanted in [false, true] {
                    let turnover = Turnover { current, stage, is_wanted };
                    assert_eq!(Turnover::decode(&turnover.encode()), Ok(turnover));
                }
            }
        }
        assert!(Turnover::decode(&[1, 0, 3, 0]).is_err());
    }
}
