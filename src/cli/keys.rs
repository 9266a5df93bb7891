//! `wsb-broker init-key` and `rotate-key`

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::admin::Admin;
use super::args::{Common, RotateKeyArguments};
use super::audit::local_deed;
use super::exit::{Exit, Failure};
use super::open::{key_file, store_options};
use crate::app::now;
use crate::core::audit::Action;
use crate::ops;
use crate::store::{Create, KeyError, MasterKey, OpenError, Options, Store, admit_key, keep_former_key, keep_only_key};
use crate::writer::Commit;

pub fn init_key(common: &Common) -> Result<Exit, Failure> {
    let path = key_file(common);
    MasterKey::create(&path).map_err(refused)?;
    answer_line!("created {}; keep a copy of it somewhere else: without it nothing in the store can be read", path.display());
    Ok(Exit::Ok)
}

/// Works beside a running broker: that has read its key, and reads none again.
pub fn rotate_key(common: &Common, arguments: &RotateKeyArguments) -> Result<Exit, Failure> {
    let path = key_file(common);
    let present = MasterKey::load(&path).map_err(refused)?;
    match &arguments.new_key_file {
        Some(new) => {
            let further = load_or_create(new, common)?;
            admit_key(&common.data_dir, &present, &further).map_err(refused)?;
            note(common, &format!("the key of {} is admitted too", new.display()), "admitted");
            answer_line!(
                "both keys open the store now; put {} in the place of {}, restart, and then run `wsb-broker rotate-key --finish`",
                new.display(),
                path.display()
            );
        }
        None if arguments.undo => {
            keep_former_key(&common.data_dir, &present).map_err(refused)?;
            note(common, &format!("the exchange is undone: only the key of {} is kept", path.display()), "undone");
            answer_line!("the exchange is undone: only the key of {} opens the store, and the new one does not", path.display());
        }
        None => {
            keep_only_key(&common.data_dir, &present).map_err(refused)?;
            note(common, &format!("only the key of {} is kept", path.display()), "finished");
            answer_line!(
                "only the key of {} opens the store now; backups made before open with the key of their time: keep it as long as them",
                path.display()
            );
        }
    }
    Ok(Exit::Ok)
}

/// Notes in the audit log what was done, or has the broker note it that has the store
/// open. It is done already: that it could not be noted is told, and undoes nothing.
fn note(common: &Common, about: &str, step: &str) {
    let options = Options { create: Create::Never, patience: Duration::from_millis(100), ..store_options(common) };
    let noted = match Store::open(&options) {
        Ok(mut store) => ops::note(&mut store, now(), local_deed(Action::KeyRotated, about))
            .and_then(|()| Commit::commit(&mut store, true))
            .map_err(|error| error.to_string()),
        Err(OpenError::Locked(_)) => note_there(common, step).map_err(|failure| {
            format!("a broker has the store open ({failure}): with the token of an operator the step can be repeated, and is noted then")
        }),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = noted {
        say_line!("done, and not noted in the audit log: {why}");
    }
}

/// Has the broker that runs note a step.
fn note_there(common: &Common, step: &str) -> Result<(), Failure> {
    let body = json!({ "step": step }).to_string();
    Admin::new(common)?.post("/master-key/exchanged", "application/json", body.as_bytes()).map(drop)
}

fn load_or_create(path: &Path, common: &Common) -> Result<MasterKey, Failure> {
    MasterKey::check_place(path, &common.data_dir).map_err(refused)?;
    match MasterKey::load(path) {
        Err(KeyError::Missing(_)) => MasterKey::create(path).map_err(refused),
        loaded => loaded.map_err(refused),
    }
}

fn refused(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Exit::Refused, error)
}
