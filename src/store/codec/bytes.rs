//! The primitives that the codecs are made of.

use uuid::Uuid;

/// Bytes that are not what they were taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored bytes are not {what}")]
pub struct Undecodable {
    /// What was expected.
    pub what: &'static str,
}

/// Writing. Fixed-width numbers are big-endian.
pub(in crate::store) trait Output {
    fn raw(&mut self, bytes: &[u8]);
    fn u8(&mut self, value: u8);

    fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    /// Seven bits a byte, the low ones first.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    /// A signed number, small where its magnitude is.
    fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    /// A text: 0 and sixteen bytes for a uuid in its canonical form, else the
    /// length plus one and the text.
    fn text(&mut self, text: &str) {
        match canonical_uuid(text) {
            Some(uuid) => {
                self.u8(0);
                self.raw(&uuid);
            }
            None => {
                self.varint(text.len() as u64 + 1);
                self.raw(text.as_bytes());
            }
        }
    }
}

impl Output for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn u8(&mut self, value: u8) {
        self.push(value);
    }
}

/// Where in the text of a uuid each of its bytes begins.
const DIGITS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// Returns the bytes of a uuid that is written the way [`Input::text`] writes it
/// back: lower case with hyphens.
fn canonical_uuid(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let (mut bytes, mut seen) = ([0; 16], 0);
    for (byte, at) in bytes.iter_mut().zip(DIGITS) {
        let [high, low] = [at, at + 1].map(|at| VALUES[usize::from(text[at])]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    let is_canonical = seen < NO_DIGIT && [8, 13, 18, 23].iter().all(|at| text[*at] == b'-');
    is_canonical.then_some(bytes)
}

/// More than any digit's value.
const NO_DIGIT: u8 = 16;

/// What each byte is worth as a hexadecimal digit in lower case.
const VALUES: [u8; 256] = {
    let digits = b"0123456789abcdef";
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < digits.len() {
        values[digits[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Reading: what is left of the bytes, and what they are taken for.
#[derive(Debug, Clone)]
pub(in crate::store) struct Input<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Input<'a> {
    pub(in crate::store) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// Begins to read a value that starts with its version.
    pub(in crate::store) fn versioned(bytes: &'a [u8], what: &'static str) -> Result<Self, Undecodable> {
        let mut input = Self::new(bytes, what);
        input.version()?;
        Ok(input)
    }

    pub(in crate::store) fn version(&mut self) -> Result<(), Undecodable> {
        if self.u8()? == super::VERSION { Ok(()) } else { self.fail() }
    }

    pub(in crate::store) fn error(&self) -> Undecodable {
        Undecodable { what: self.what }
    }

    pub(in crate::store) fn fail<T>(&self) -> Result<T, Undecodable> {
        Err(self.error())
    }

    /// Refuses bytes that are left over.
    pub(in crate::store) fn end(&self) -> Result<(), Undecodable> {
        if self.rest.is_empty() { Ok(()) } else { self.fail() }
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns everything that is left.
    pub(in crate::store) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(in crate::store) fn raw(&mut self, len: usize) -> Result<&'a [u8], Undecodable> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.error())?;
        self.rest = rest;
        Ok(taken)
    }

    pub(in crate::store) fn array<const N: usize>(&mut self) -> Result<[u8; N], Undecodable> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(self.error())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(in crate::store) fn u8(&mut self) -> Result<u8, Undecodable> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(in crate::store) fn u16(&mut self) -> Result<u16, Undecodable> {
        self.array().map(u16::from_be_bytes)
    }

    pub(in crate::store) fn u32(&mut self) -> Result<u32, Undecodable> {
        self.array().map(u32::from_be_bytes)
    }

    pub(in crate::store) fn u64(&mut self) -> Result<u64, Undecodable> {
        self.array().map(u64::from_be_bytes)
    }

    pub(in crate::store) fn varint(&mut self) -> Result<u64, Undecodable> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        self.fail()
    }

    pub(in crate::store) fn signed(&mut self) -> Result<i64, Undecodable> {
        self.varint().map(|value| (value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count of things that take at least one byte each, so that a garbled one
    /// cannot ask for more memory than there are bytes.
    pub(in crate::store) fn count(&mut self) -> Result<usize, Undecodable> {
        let count = self.varint()?;
        usize::try_from(count).ok().filter(|count| *count <= self.rest.len()).ok_or(self.error())
    }

    pub(in crate::store) fn bytes(&mut self) -> Result<&'a [u8], Undecodable> {
        let len = self.count()?;
        self.raw(len)
    }

    pub(in crate::store) fn text<T: for<'t> From<&'t str>>(&mut self) -> Result<T, Undecodable> {
        self.text_with(|text| Some(T::from(text)))
    }

    /// Reads a text and makes something of it that can refuse.
    pub(in crate::store) fn text_with<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Undecodable> {
        let error = self.error();
        let parsed = match self.varint()? {
            0 => {
                let uuid = Uuid::from_bytes(self.array()?);
                let mut buffer = Uuid::encode_buffer();
                parse(uuid.hyphenated().encode_lower(&mut buffer))
            }
            len => {
                let len = usize::try_from(len - 1).map_err(|_| error)?;
                parse(std::str::from_utf8(self.raw(len)?).map_err(|_| error)?)
            }
        };
        parsed.ok_or(error)
    }

    pub(in crate::store) fn flag(&mut self) -> Result<bool, Undecodable> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => self.fail(),
        }
    }

    /// Reads an option whose presence is a flag.
    pub(in crate::store) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Undecodable>) -> Result<Option<T>, Undecodable> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            bytes.varint(value);
            bytes.signed(value as i64);
            let mut input = Input::new(&bytes, "numbers");
            assert_eq!((input.varint(), input.signed()), (Ok(value), Ok(value as i64)));
            assert_eq!(input.end(), Ok(()));
        }
    }

    #[test]
    fn texts_come_back_and_uuids_are_packed() {
        for (text, len) in [
            ("", 1),
            ("a", 2),
            ("6f1c3d52-8f0a-5b7e-9a44-7c1e57b00001", 17),
            ("6F1C3D52-8F0A-5B7E-9A44-7C1E57B00001", 37),
            ("6f1c3d52-8f0a-5b7e-9a44-7c1e57b0000-", 37),
            ("blåbærgrød", 14),
        ] {
            let mut bytes = Vec::new();
            bytes.text(text);
            assert_eq!(bytes.len(), len, "{text}");
            let mut input = Input::new(&bytes, "a text");
            assert_eq!(input.text::<String>().as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_garbled_count_is_refused() {
        let mut bytes = Vec::new();
        bytes.varint(u64::MAX / 2);
        assert!(Input::new(&bytes, "a count").count().is_err());
        assert!(Input::new(&bytes, "bytes").bytes().is_err());
        assert!(Input::new(&bytes, "a text").text::<String>().is_err());
        assert!(Input::new(&[0xff; 11], "a number").varint().is_err());
    }
}
