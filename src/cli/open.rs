//! How a command gets at what is stored: through the running broker if there is
//! one, otherwise by opening the store itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::admin::Admin;
use super::args::Common;
use super::exit::{Exit, Failure};
use crate::core::engine::{Engine, Limits};
use crate::core::policy::Rules;
use crate::store::{Create, MasterKey, OpenError, Options, Store};
use crate::writer::Commit;

/// What is stored.
pub enum Opened {
    /// No broker runs on it.
    Here(Box<Store>),
    /// A broker runs, and answers for it.
    There(Admin),
}

/// Returns where the master key is.
pub fn key_file(common: &Common) -> PathBuf {
    common.key_file.clone().unwrap_or_else(|| MasterKey::default_path(&common.data_dir))
}

/// Returns how the store is opened.
pub fn store_options(common: &Common) -> Options {
    let mut options = Options::new(&common.data_dir);
    options.key_file = key_file(common);
    if let Some(list) = &common.erased_list {
        options.erased_list.clone_from(list);
    }
    options
}

/// Opens what is stored, or finds the broker that has it open, or with a token the
/// one that runs elsewhere. Only a command that brings something to store may create
/// a store, and only where no broker would take it: a mistyped directory would become
/// one, with a key.
pub fn open(common: &Common, create: Create) -> Result<Opened, Failure> {
    // A broker that has it open will have it open in two seconds, too.
    let options = Options { create: Create::Never, patience: Duration::from_millis(100), ..store_options(common) };
    let refused = |error| Failure::new(Exit::Refused, error);
    match Store::open(&options) {
        Ok(store) => Ok(Opened::Here(Box::new(store))),
        Err(OpenError::Locked(_)) => Ok(Opened::There(Admin::new(common)?)),
        Err(error @ OpenError::Absent(_)) => match (Admin::new(common)?, create) {
            (admin, _) if admin.is_known_there() => Ok(Opened::There(admin)),
            (_, Create::Never) => Err(refused(error)),
            (_, Create::IfMissing) => Ok(Opened::Here(Box::new(Store::open(&Options { create, ..options }).map_err(refused)?))),
        },
        Err(error) => Err(refused(error)),
    }
}

/// Returns the engine over what is stored, for a command that decides without a
/// broker: by `rules`, and as a broker is once it runs. What was in the journal only has
/// rows by then, or nothing that waits would be found by its citizen.
pub fn engine_over(store: &mut Store, rules: Rules) -> Result<Engine, Failure> {
    let refused = |error| Failure::new(Exit::Refused, error);
    let mut engine = Engine::new(Arc::new(rules), Limits::default());
    engine.recover(store).map_err(refused)?;
    Commit::commit(store, true).map_err(refused)?;
    Ok(engine)
}
