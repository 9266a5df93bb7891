//! Sealing: AES-256-GCM with a random nonce in front and the tag behind, bound
//! to the key of the row that holds it, so that no row can stand in for
//! another.
//!
//! Nonces are random even where a number would do: after a crash the same
//! place in the journal is given again, to another event, while the lost bytes
//! may have reached the disk. 96 random bits under a key of one citizen, or of
//! one store with some ten thousand rows a day, do not repeat.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// What seals and unseals. Kept as bytes: expanding it costs less than the
/// memory that thousands of expanded ones would take.
#[derive(Clone)]
pub(super) struct SealKey([u8; 32]);

/// Something could not be sealed or unsealed: no randomness, a wrong key, an
/// erased one, or garbled bytes. Which of these cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsealable;

/// Seals; only the writer has one.
pub(super) struct Sealer {
    random: SystemRandom,
    pool: [u8; NONCE_LEN * 341],
    used: usize,
}

impl SealKey {
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    fn expanded(&self) -> Result<LessSafeKey, Unsealable> {
        UnboundKey::new(&AES_256_GCM, &self.0).map(LessSafeKey::new).map_err(|_| Unsealable)
    }

    /// Returns what was sealed.
    pub fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Unsealable)?;
        let mut bytes = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self.expanded()?.open_in_place(nonce, Aad::from(bound_to), &mut bytes).map_err(|_| Unsealable)?.len();
        bytes.truncate(len);
        Ok(bytes)
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl Sealer {
    pub fn new() -> Self {
        Self { random: SystemRandom::new(), pool: [0; NONCE_LEN * 341], used: NONCE_LEN * 341 }
    }

    /// Appends what `write` appends, sealed.
    pub fn seal(&mut self, key: &SealKey, bound_to: &[u8], out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Unsealable> {
        let nonce = self.nonce()?;
        out.extend_from_slice(&nonce);
        let start = out.len();
        write(out);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.expanded()?.seal_in_place_separate_tag(nonce, Aad::from(bound_to), &mut out[start..]);
        out.extend_from_slice(tag.map_err(|_| Unsealable)?.as_ref());
        Ok(())
    }

    /// Draws many nonces at once: a system call for each would cost more than
    /// the sealing.
    fn nonce(&mut self) -> Result<[u8; NONCE_LEN], Unsealable> {
        if self.used == self.pool.len() {
            self.random.fill(&mut self.pool).map_err(|_| Unsealable)?;
            self.used = 0;
        }
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&self.pool[self.used..self.used + NONCE_LEN]);
        self.used += NONCE_LEN;
        Ok(nonce)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_row_unseal() {
        let (key, other) = (SealKey::new([1; 32]), SealKey::new([2; 32]));
        let mut sealer = Sealer::new();
        let mut sealed = Vec::new();
        sealer.seal(&key, b"row", &mut sealed, |out| out.extend_from_slice(b"0101901234")).expect("sealed");
        assert_eq!(sealed.len(), 10 + NONCE_LEN + 16);
        assert_eq!(key.open(b"row", &sealed), Ok(b"0101901234".to_vec()));
        assert_eq!(key.open(b"wor", &sealed), Err(Unsealable));
        assert_eq!(other.open(b"row", &sealed), Err(Unsealable));
        for len in 0..sealed.len() {
            assert_eq!(key.open(b"row", &sealed[..len]), Err(Unsealable));
        }
    }

    #[test]
    fn nonces_differ() {
        let mut sealer = Sealer::new();
        let nonces: std::collections::HashSet<_> = (0..2000).map(|_| sealer.nonce().expect("a nonce")).collect();
        assert_eq!(nonces.len(), 2000);
    }
}
