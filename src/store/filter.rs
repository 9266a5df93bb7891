//! A Bloom filter in blocks of one cache line: a question costs one miss.

/// Bits for each key; about one wrong "maybe" in a hundred.
const BITS_PER_KEY: usize = 12;
/// Bits set in the block for each key.
const PROBES: u32 = 6;

type Block = [u64; 8];

/// Says "no" for sure, or "maybe".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter(Vec<Block>);

impl Filter {
    /// Makes an empty filter for about that many keys.
    pub fn for_keys(keys: usize) -> Self {
        Self(vec![[0; 8]; (keys * BITS_PER_KEY).div_ceil(512).max(1)])
    }

    pub fn insert(&mut self, hash: u64) {
        let at = self.block(hash);
        for bit in bits(hash) {
            self.0[at][usize::from(bit >> 6)] |= 1 << (bit & 63);
        }
    }

    pub fn may_hold(&self, hash: u64) -> bool {
        let block = &self.0[self.block(hash)];
        bits(hash).all(|bit| block[usize::from(bit >> 6)] & 1 << (bit & 63) != 0)
    }

    /// Returns the bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flatten().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Reverses [`Filter::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (blocks, rest) = bytes.as_chunks::<64>();
        let word = |block: &[u8; 64], at: usize| block[at * 8..].first_chunk::<8>().map_or(0, |word| u64::from_be_bytes(*word));
        let blocks: Vec<Block> = blocks.iter().map(|block| std::array::from_fn(|at| word(block, at))).collect();
        (rest.is_empty() && !blocks.is_empty()).then_some(Self(blocks))
    }

    fn block(&self, hash: u64) -> usize {
        // The high half chooses the block, the low bits are chosen from another mix of the hash.
        ((hash >> 32) as usize * self.0.len()) >> 32
    }
}

fn bits(hash: u64) -> impl Iterator<Item = u16> {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (hash >> 29);
    (0..PROBES).map(move |probe| (mixed >> (probe * 9)) as u16 & 511)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        super::super::fingerprint::Fingerprints::new(&[3; 16]).of(&number.to_be_bytes())
    }

    #[test]
    fn holds_what_was_put_in_and_little_else() {
        let mut filter = Filter::for_keys(20_000);
        (0..20_000).for_each(|number| filter.insert(hash(number)));
        let filter = Filter::from_bytes(&filter.to_bytes()).expect("a filter");
        assert!((0..20_000).all(|number| filter.may_hold(hash(number))));
        let wrong = (20_000..120_000).filter(|number| filter.may_hold(hash(*number))).count();
        assert!(wrong < 1500, "{wrong} of 100000");
    }
}
