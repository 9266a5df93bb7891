//! Keys gathered in memory until they are sorted into a run. In buckets by the
//! hash of their prefix: adding one and asking for one that is not there, which
//! every event does several times, each touch a line or two of memory.

/// How many buckets there are: some 32 keys in each when they are written.
const BUCKETS: usize = 4096;

/// A set of keys of `KEY` bytes, searched by their first `PREFIX` bytes.
#[derive(Debug)]
pub(super) struct Gathered<const KEY: usize, const PREFIX: usize> {
    /// Each in order: one citizen may have a hundred thousand keys in one.
    buckets: Vec<Vec<[u8; KEY]>>,
    len: usize,
}

impl<const KEY: usize, const PREFIX: usize> Gathered<KEY, PREFIX> {
    pub fn new() -> Self {
        Self { buckets: vec![Vec::new(); BUCKETS], len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds a key; returns whether it was not there.
    pub fn insert(&mut self, hash: u64, key: [u8; KEY]) -> bool {
        let bucket = &mut self.buckets[bucket(hash)];
        let Err(at) = bucket.binary_search(&key) else { return false };
        bucket.insert(at, key);
        self.len += 1;
        true
    }

    /// Takes a key away, if it is there.
    pub fn remove(&mut self, hash: u64, key: &[u8; KEY]) {
        let bucket = &mut self.buckets[bucket(hash)];
        if let Ok(at) = bucket.binary_search(key) {
            bucket.remove(at);
            self.len -= 1;
        }
    }

    /// Returns the keys with the prefix, in order.
    pub fn find(&self, hash: u64, prefix: &[u8; PREFIX]) -> impl Iterator<Item = &[u8; KEY]> {
        let bucket = &self.buckets[bucket(hash)];
        let from = bucket.partition_point(|key| key[..PREFIX] < prefix[..]);
        bucket[from..].iter().take_while(move |key| key.starts_with(prefix))
    }

    /// Returns every key, in no particular order.
    pub fn all(&self) -> impl Iterator<Item = &[u8; KEY]> {
        self.buckets.iter().flatten()
    }

    /// Takes everything, in order.
    pub fn take_sorted(&mut self) -> Vec<[u8; KEY]> {
        let mut keys: Vec<_> = Vec::with_capacity(self.len);
        // The buckets keep their memory for the keys to come.
        self.buckets.iter_mut().for_each(|bucket| keys.append(bucket));
        keys.sort_unstable();
        self.len = 0;
        keys
    }
}

fn bucket(hash: u64) -> usize {
    // Of a small number, as a citizen's, the hash has its low bits only.
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_set_that_can_be_searched_by_prefix() {
        let mut gathered = Gathered::<4, 3>::new();
        let hash = |key: &[u8; 4]| u64::from(key[2]) << 20;
        for key in [*b"abc1", *b"abc2", *b"abd1", *b"abc1"] {
            gathered.insert(hash(&key), key);
        }
        assert_eq!(gathered.len(), 3);
        let mut found: Vec<_> = gathered.find(hash(b"abc0"), b"abc").collect();
        found.sort_unstable();
        assert_eq!(found, [b"abc1", b"abc2"]);
        assert_eq!(gathered.take_sorted(), [*b"abc1", *b"abc2", *b"abd1"]);
        assert_eq!(gathered.len(), 0);
    }
}
