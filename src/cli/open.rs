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
    open_by(common, store_options(common), create)
}

/// As [`open`], with options of one's own for a store that this process opens.
pub fn open_by(common: &Common, options: Options, create: Create) -> Result<Opened, Failure> {
    let refused = |error| Failure::new(Exit::Refused, error);
    match (find_by(common, options.clone())?, create) {
        (Some(opened), _) => Ok(opened),
        (None, Create::Never) => Err(refused(OpenError::Absent(common.data_dir.clone()))),
        (None, Create::IfMissing) => {
            let options = Options { create, patience: Duration::from_millis(100), ..options };
            Ok(Opened::Here(Box::new(Store::open(&options).map_err(refused)?)))
        }
    }
}

/// As [`open`], and creates nothing: `None` where there is no store and no broker.
pub fn find(common: &Common) -> Result<Option<Opened>, Failure> {
    find_by(common, store_options(common))
}

fn find_by(common: &Common, options: Options) -> Result<Option<Opened>, Failure> {
    // A broker that has it open will have it open in two seconds, too.
    let options = Options { create: Create::Never, patience: Duration::from_millis(100), ..options };
    match Store::open(&options) {
        Ok(store) => Ok(Some(Opened::Here(Box::new(store)))),
        Err(OpenError::Locked(_)) => Ok(Some(Opened::There(Admin::new(common)?))),
        Err(OpenError::Absent(_)) => {
            let admin = Admin::new(common)?;
            Ok(admin.is_known_there().then_some(Opened::There(admin)))
        }
        Err(error) => Err(Failure::new(Exit::Refused, error)),
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
