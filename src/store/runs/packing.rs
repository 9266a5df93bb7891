//! How keys lie in a row of a set that keys can be removed from: each as how many
//! bytes it shares with the key before, and the rest. In the ledger most keys
//! differ from the one before in the recipient only, so that an entry takes some
//! six bytes instead of fourteen. The other set holds fingerprints, which have
//! nothing in common; there keys lie as they are.

/// Appends a key; `before` is the one before it in the row.
pub(super) fn pack<const KEY: usize>(row: &mut Vec<u8>, before: Option<&[u8; KEY]>, key: &[u8; KEY]) {
    let shared = before.map_or(0, |before| before.iter().zip(key).take_while(|(a, b)| a == b).count());
    row.push(shared as u8);
    row.extend_from_slice(&key[shared..]);
}

/// Reverses [`pack`], key by key; `None` for bytes that are no such row.
pub(super) fn unpack<const KEY: usize>(mut row: &[u8]) -> Option<Vec<[u8; KEY]>> {
    let mut keys: Vec<[u8; KEY]> = Vec::new();
    while let Some((shared, rest)) = row.split_first() {
        let shared = usize::from(*shared);
        let mut key = match (keys.last(), shared) {
            (_, 0) => [0; KEY],
            (Some(before), 1..) => *before,
            (None, 1..) => return None,
        };
        let own = key.get_mut(shared..)?;
        let (bytes, rest) = rest.split_at_checked(own.len())?;
        own.copy_from_slice(bytes);
        keys.push(key);
        row = rest;
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(keys: &[[u8; 4]]) -> Vec<u8> {
        let mut row = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            pack(&mut row, at.checked_sub(1).map(|before| &keys[before]), key);
        }
        row
    }

    #[test]
    fn what_is_shared_is_written_once() {
        let keys = [*b"aaaa", *b"aaab", *b"abab", *b"bbbb", *b"bbbb"];
        let row = packed(&keys);
        assert_eq!(row, b"\0aaaa\x03b\x01bab\0bbbb\x04");
        assert_eq!(unpack(&row), Some(keys.to_vec()));
        assert_eq!(unpack::<4>(&[]), Some(Vec::new()));
    }

    #[test]
    fn bytes_that_are_no_row_are_refused() {
        let row = packed(&[*b"aaaa", *b"aaab", *b"abab"]);
        for end in 0..row.len() {
            let keys = unpack::<4>(&row[..end]);
            assert!(keys.is_none_or(|keys| keys.len() < 3), "cut at {end}");
        }
        assert_eq!(unpack::<4>(b"\x01aaa"), None, "nothing comes before the first");
        assert_eq!(unpack::<4>(b"\0aaaa\x05"), None, "no key is so long");
    }
}
