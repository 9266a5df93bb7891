//! The store as the writer commits it.

use super::Commit;
use crate::store::{Durability, Store, StoreError};

impl Commit for Store {
    fn commit(&mut self, durable: bool) -> Result<(), StoreError> {
        Store::commit(self, if durable { Durability::Flush } else { Durability::Lazy })
    }

    fn has_staged(&self) -> bool {
        Store::has_staged(self)
    }

    fn has_staged_rows(&self) -> bool {
        Store::has_staged_rows(self)
    }

    fn changes(&self) -> u64 {
        Store::changes(self)
    }
}
