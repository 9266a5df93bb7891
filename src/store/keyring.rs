//! The keys of citizens: one slot of 32 random bytes each, in a file outside of
//! sled, where overwriting in place is possible. Erasing a citizen overwrites
//! the slot; what was sealed under it is noise from then on, in every file and
//! in every backup of the store that does not hold the old slot.
//!
//! Slots are made 4096 at a time, so that a new citizen costs no `fsync`. A
//! slot is never given twice.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::core::citizen::RecordKind;
use crate::core::ids::{ExternalId, Personnummer};

use super::fingerprint::Fingerprints;
use super::numbering::Numbering;
use super::root::RootKey;
use super::seal::SealKey;

/// How many slots are made at a time.
const BLOCK: u32 = 4096;
/// The bytes of one slot.
const SLOT: usize = 32;
/// What the file begins with, padded to the size of a slot; then slot 0 begins.
const HEADER: &[u8; SLOT] = b"wsb citizen keys, format 1      ";

/// All keys, and what they derive from.
#[derive(Debug)]
pub(super) struct Keyring {
    file: File,
    /// How many slots the file has, all of them on disk.
    slots: AtomicU32,
    random: SystemRandom,
    slot_key: hmac::Key,
    number_key: hmac::Key,
    record_key: hmac::Key,
    /// Of marks and WSB ids, in the index of events.
    pub events: Fingerprints,
    /// Seals what concerns the store as a whole.
    pub store: SealKey,
    /// Kept in the store to tell a wrong key.
    pub check: [u8; 16],
    /// The secrets under which numbers are hashed in row keys.
    pub numbering: Numbering,
}

/// What a slot's key is used for.
#[derive(Debug, Clone)]
pub(super) struct CitizenKey {
    /// Seals what is stored about the citizen.
    pub seal: SealKey,
    /// Of records, in the ledger and among what has ended.
    pub records: Fingerprints,
}

impl CitizenKey {
    /// Returns the fingerprint of a record in the ledger.
    pub fn record(&self, entity: &str, record: &ExternalId) -> u64 {
        // No id has a zero byte, so it is nothing that `record_of_any_type` is of.
        self.records.of(&[entity.as_bytes(), &[0], record.identity().as_bytes()].concat())
    }

    /// Returns the fingerprint of a record in what was entered in the ledger until
    /// decision 0078.
    pub fn record_of_any_type(&self, record: &ExternalId) -> u64 {
        self.records.of(record.identity().as_bytes())
    }
}

impl Keyring {
    /// Opens or creates the file of slots.
    pub fn open(path: &Path, root: &RootKey, numbering: Numbering) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let len = file.metadata()?.len();
        if len < SLOT as u64 {
            file.write_all_at(HEADER, 0)?;
            file.sync_all()?;
        } else {
            let mut header = [0; SLOT];
            file.read_exact_at(&mut header, 0)?;
            if header != *HEADER {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file of citizen keys, or of a newer format"));
            }
        }
        // What a crash left of a block beyond the last whole one was never given away.
        let slots = (len / SLOT as u64).saturating_sub(1) / u64::from(BLOCK) * u64::from(BLOCK);
        Ok(Self {
            record_key: hmac_key(root, "records"),
            file,
            slots: AtomicU32::new(u32::try_from(slots).unwrap_or(u32::MAX)),
            random: SystemRandom::new(),
            slot_key: hmac::Key::new(hmac::HMAC_SHA512, &root.subkey("citizens")),
            number_key: hmac_key(root, "numbers"),
            events: Fingerprints::new(&first(&root.subkey("events"))),
            store: SealKey::new(root.subkey("store")),
            check: check_value(root),
            numbering,
        })
    }

    /// Returns how many slots there are.
    pub fn slots(&self) -> u32 {
        self.slots.load(Ordering::Acquire)
    }

    /// Makes sure that `slot` exists; only the writer calls this.
    pub fn provide(&self, slot: u32) -> io::Result<()> {
        while slot >= self.slots() {
            let mut block = vec![0; SLOT * BLOCK as usize];
            self.fill(&mut block)?;
            self.file.write_all_at(&block, offset(self.slots()))?;
            self.file.sync_all()?;
            self.slots.fetch_add(BLOCK, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Returns the random bytes of a slot.
    pub fn seed(&self, slot: u32) -> io::Result<[u8; SLOT]> {
        let mut seed = [0; SLOT];
        self.file.read_exact_at(&mut seed, offset(slot))?;
        Ok(seed)
    }

    /// Derives the keys of a slot.
    pub fn citizen(&self, slot: u32) -> io::Result<CitizenKey> {
        let mut bytes = [0; SLOT + 4];
        bytes[..SLOT].copy_from_slice(&self.seed(slot)?);
        bytes[SLOT..].copy_from_slice(&slot.to_be_bytes());
        let tag = hmac::sign(&self.slot_key, &bytes);
        Ok(CitizenKey { seal: SealKey::new(first(tag.as_ref())), records: Fingerprints::new(&first(&tag.as_ref()[32..])) })
    }

    /// Overwrites slots, and returns when that is on disk. The keys that they
    /// gave are gone for good.
    pub fn erase(&self, slots: &[u32]) -> io::Result<()> {
        for slot in slots {
            let mut noise = [0; SLOT];
            self.fill(&mut noise)?;
            self.file.write_all_at(&noise, offset(*slot))?;
        }
        self.file.sync_all()
    }

    /// Returns the digest of a personnummer; what stands in row keys is made of
    /// it by [`Numbering`].
    pub fn number(&self, personnummer: &Personnummer) -> [u8; 16] {
        first(hmac::sign(&self.number_key, personnummer.digits().as_bytes()).as_ref())
    }

    /// Returns what stands for a record in the key of the row that says whose it is.
    pub fn record(&self, kind: RecordKind, record: &ExternalId) -> [u8; 16] {
        let mut text = vec![kind.number()];
        text.extend_from_slice(record.identity().as_bytes());
        first(hmac::sign(&self.record_key, &text).as_ref())
    }

    /// As [`Keyring::record`], for a record that has a clock.
    pub fn kept_record(&self, entity: &str, record: &ExternalId) -> [u8; 16] {
        // After the kinds of `RecordKind::number`.
        let mut text = vec![7];
        text.extend_from_slice(entity.as_bytes());
        text.push(0);
        text.extend_from_slice(record.identity().as_bytes());
        first(hmac::sign(&self.record_key, &text).as_ref())
    }

    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.random.fill(bytes).map_err(|_| io::Error::other("no randomness from the system"))
    }
}

/// Returns what is kept in a store to tell whether a key is its own.
pub(super) fn check_value(root: &RootKey) -> [u8; 16] {
    first(&root.subkey("check"))
}

/// Makes every slot from `first` on anew, in a file that nobody has open.
pub(super) fn renew_from(path: &Path, first: u32) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let random = SystemRandom::new();
    let mut at = offset(first);
    let len = file.metadata()?.len();
    while at < len {
        let mut slots = vec![0; usize::try_from(len - at).unwrap_or(usize::MAX).min(SLOT * BLOCK as usize)];
        random.fill(&mut slots).map_err(|_| io::Error::other("no randomness from the system"))?;
        file.write_all_at(&slots, at)?;
        at += slots.len() as u64;
    }
    file.sync_all()
}

fn hmac_key(root: &RootKey, purpose: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &root.subkey(purpose))
}

fn offset(slot: u32) -> u64 {
    (u64::from(slot) + 1) * SLOT as u64
}

/// Returns the first bytes of something that is at least as long.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut first = [0; N];
    first.copy_from_slice(&bytes[..N]);
    first
}

#[cfg(test)]
mod tests {
    use super::super::master::MasterKey;
    use super::*;

    fn keyring() -> (tempfile::TempDir, Keyring) {
        let dir = tempfile::tempdir().expect("a directory");
        let master = MasterKey::create(&dir.path().join("key")).expect("a key");
        let root = RootKey::create(dir.path(), &master).expect("a root key");
        let numbering = Numbering::open(&dir.path().join("numbers"), false).expect("a key file");
        let keyring = Keyring::open(&dir.path().join("slots"), &root, numbering).expect("a key file");
        (dir, keyring)
    }

    #[test]
    fn a_slot_keeps_its_key_until_it_is_erased() {
        let (dir, keyring) = keyring();
        keyring.provide(5000).expect("slots");
        assert_eq!(keyring.slots(), 2 * BLOCK);
        let before = std::fs::read(dir.path().join("slots")).expect("the file");
        let of = |slot| keyring.citizen(slot).expect("a key").records.of(b"x");
        let (one, other) = (of(4999), of(5000));
        assert_ne!(one, other);
        keyring.erase(&[5000]).expect("erased");
        assert_eq!(of(4999), one);
        assert_ne!(of(5000), other);
        let after = std::fs::read(dir.path().join("slots")).expect("the file");
        let at = offset(5000) as usize;
        assert_eq!(before.len(), after.len());
        assert_ne!(before[at..at + SLOT], after[at..at + SLOT]);
        assert_eq!(before[..at], after[..at]);
    }

    #[test]
    fn half_a_block_is_made_again() {
        let (dir, keyring) = keyring();
        keyring.provide(0).expect("slots");
        let path = dir.path().join("slots");
        let file = OpenOptions::new().append(true).open(&path).expect("the file");
        std::io::Write::write_all(&mut &file, &[7; 1000]).expect("written");
        let master = MasterKey::load(&dir.path().join("key")).expect("the key");
        let root = RootKey::open(dir.path(), &master).expect("the root key");
        let numbering = || Numbering::open(&dir.path().join("numbers"), false).expect("a key file");
        let again = Keyring::open(&path, &root, numbering()).expect("a key file");
        assert_eq!(again.slots(), BLOCK);
        again.provide(BLOCK).expect("slots");
        assert_eq!(std::fs::metadata(&path).expect("the file").len(), offset(2 * BLOCK));
        std::fs::write(&path, [b'x'; 64]).expect("written");
        assert_eq!(Keyring::open(&path, &root, numbering()).expect_err("no key file").kind(), io::ErrorKind::InvalidData);
    }
}
