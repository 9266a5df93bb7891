//! 64-bit keyed fingerprints: SipHash-2-4. They lead to candidates only; what
//! is found is always compared in full. Keyed, so that whoever reads the files
//! without the key cannot tell whether a known id is among them.

/// A fingerprint function.
#[derive(Debug, Clone)]
pub(super) struct Fingerprints(u64, u64);

impl Fingerprints {
    pub fn new(key: &[u8; 16]) -> Self {
        let key = u128::from_le_bytes(*key);
        Self(key as u64, (key >> 64) as u64)
    }

    /// Returns the fingerprint.
    pub fn of(&self, bytes: &[u8]) -> u64 {
        let mut v = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last[7] = bytes.len() as u8;
        for word in words.iter().chain(std::iter::once(&last)) {
            let word = u64::from_le_bytes(*word);
            v[3] ^= word;
            round(&mut v);
            round(&mut v);
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        for _ in 0..4 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the authors of SipHash. Fingerprints are stored: these
    /// values may never change.
    #[test]
    fn is_siphash_2_4() {
        let bytes: Vec<u8> = (0..64).collect();
        let key: [u8; 16] = bytes[..16].try_into().expect("16 bytes");
        let fingerprints = Fingerprints::new(&key);
        for (len, expected) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
            (63, 0x958a_324c_eb06_4572),
        ] {
            assert_eq!(fingerprints.of(&bytes[..len]), expected, "{len}");
        }
    }
}
