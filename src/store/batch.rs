//! The rows that one commit changes. sled's own batch cannot be read back, and a
//! backup under way has to hear of every change.

use sled::IVec;

/// Changes of rows, to be applied as one; of several of one row the last counts.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<(IVec, Option<IVec>)>);

impl Batch {
    pub fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.0.push((key.into(), Some(value.into())));
    }

    pub fn remove(&mut self, key: impl Into<IVec>) {
        self.0.push((key.into(), None));
    }

    /// Returns the changes in order, `None` for a row that goes.
    pub fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.0.iter().map(|(key, value)| (&**key, value.as_deref()))
    }

    /// Returns what sled applies.
    pub fn to_sled(&self) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (key, value) in &self.0 {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch
    }
}
