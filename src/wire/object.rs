//! Reads a JSON object into the few members that matter, each as the slice of
//! JSON that it is, without copying. Repeated members are seen, which a serde
//! derive would report with the content of the message in its words.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::refusal::{Reason, Refusal};
use crate::core::ids::Malformed;

/// Why an object could not be read.
pub(super) enum Unreadable {
    /// It is not an object, or not JSON at all. Never displayed as it is: serde
    /// quotes the message in some of its errors.
    Json(serde_json::Error),
    /// A member that matters stands in it more than once. Which of them a
    /// parser takes differs between parsers, hence none may.
    Repeated(&'static str),
}

/// Reads the members whose names are the ends of `paths`, after `prefix` bytes.
pub(super) fn members<'a, const N: usize>(json: &'a str, prefix: usize, paths: &[&'static str; N]) -> Result<[Field<'a>; N], Unreadable> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let (found, repeated) = deserializer.deserialize_map(Members { prefix, paths }).map_err(Unreadable::Json)?;
    deserializer.end().map_err(Unreadable::Json)?;
    match repeated {
        Some(path) => Err(Unreadable::Repeated(path)),
        None => Ok(std::array::from_fn(|i| Field { path: paths[i], json: found[i] })),
    }
}

struct Members<'t, const N: usize> {
    prefix: usize,
    paths: &'t [&'static str; N],
}

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = ([Option<&'de str>; N], Option<&'static str>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        let mut repeated = None;
        while let Some(place) = map.next_key_seed(Place { prefix: self.prefix, paths: self.paths })? {
            match place.and_then(|place| Some((found.get_mut(place)?, self.paths.get(place)?))) {
                Some((slot, path)) => {
                    if slot.replace(map.next_value::<&'de RawValue>()?.get()).is_some() {
                        repeated = repeated.or(Some(*path));
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok((found, repeated))
    }
}

/// Which of the members a key names, if any.
struct Place<'t> {
    prefix: usize,
    paths: &'t [&'static str],
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.paths.iter().position(|path| path.get(self.prefix..) == Some(key)))
    }
}

/// One member: where it stands, and its JSON, if it is there.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    path: &'static str,
    json: Option<&'a str>,
}

impl<'a> Field<'a> {
    /// Returns its JSON; `null` counts as absent.
    pub(super) fn json(&self) -> Option<&'a str> {
        self.json.filter(|json| *json != "null")
    }

    /// Returns its text, when it is a text.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        let json = self.json()?;
        let inner = json.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
    }

    /// Returns what `parse` makes of its text, or `None` when it is absent. A
    /// value that is no text is refused as the empty text is: by every parser.
    pub(super) fn parsed<T>(&self, reason: Reason, parse: impl FnOnce(&str) -> Result<T, Malformed>) -> Result<Option<T>, Refusal> {
        if self.json().is_none() {
            return Ok(None);
        }
        parse(&self.text().unwrap_or_default()).map(Some).map_err(|malformed| Refusal::malformed(reason, self.path, malformed))
    }

    /// Returns its whole number, or `None` when it is absent. Neither `"1"` nor
    /// `1.0` is a whole number.
    pub(super) fn integer(&self, reason: Reason, expected: &'static str) -> Result<Option<i64>, Refusal> {
        self.json().map(|json| json.parse().map_err(|_| self.refuse(reason, expected))).transpose()
    }

    /// Makes a refusal of this field.
    pub(super) fn refuse(&self, reason: Reason, expected: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(reason, self.path, expected)
    }
}
