//! `wsb-broker backup`, `restore` and `verify`

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::args::{BackupArguments, Common, Format, RestoreArguments};
use super::audit::local_deed;
use super::exit::{Exit, Failure};
use super::open::{Opened, open_by, store_options};
use super::terminal::Progress;
use crate::app::now;
use crate::core::audit::Action;
use crate::ops;
use crate::store::{self, BackupError, Create, Erasures, OpenError, Options, RestoreError, Restored, Store};
use crate::writer::Commit;

/// How often a running broker is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

pub fn backup(common: &Common, arguments: &BackupArguments) -> Result<Exit, Failure> {
    let unusable = |error| Failure::new(Exit::Usage, error).in_file(&arguments.to);
    let to = std::path::absolute(&arguments.to).map_err(unusable)?;
    let options = Options { least_free: arguments.min_free_mib << 20, ..store_options(common) };
    let answer = match open_by(common, options, Create::Never)? {
        Opened::Here(mut store) => {
            let mut progress = Progress::new("copying rows", 0);
            let manifest = store.back_up(&to, now(), |rows| progress.at(rows)).map_err(|error| backup_failure(error, &to))?;
            progress.end();
            let noted = ops::note(&mut *store, now(), local_deed(Action::BackedUp, &to.display().to_string()));
            noted.and_then(|()| Commit::commit(&mut *store, true)).map_err(|error| Failure::new(Exit::Refused, error))?;
            let (rows, _) = manifest.records();
            json!({ "state": "done", "to": to, "at": manifest.at.to_string(), "last_seq": manifest.last_seq, "rows": rows })
        }
        Opened::There(admin) => {
            admin.post("/backup", "application/json", json!({ "to": to }).to_string().as_bytes())?;
            let mut progress = Progress::new("copying rows", 0);
            let done = loop {
                let answer = admin.get("/backup")?;
                progress.at(answer["rows"].as_u64().unwrap_or(0));
                match answer["state"].as_str() {
                    Some("running") => std::thread::sleep(ASK_EVERY),
                    _ => break answer,
                }
            };
            progress.end();
            if done["state"] != "done" {
                let why = done["why"].as_str().unwrap_or("the broker does not say why");
                return Err(Failure::words(Exit::No, format!("no backup was taken: {why}")));
            }
            done
        }
    };
    match arguments.format {
        Format::Json => answer_line!("{answer}"),
        Format::Table => {
            answer_line!("backup of {} rows, up to event {}, in {}", answer["rows"], answer["last_seq"], to.display());
            answer_line!("the master key is not in it: keep that, and the list of erased citizens, apart");
        }
    }
    Ok(Exit::Ok)
}

fn backup_failure(error: BackupError, to: &Path) -> Failure {
    let exit = match &error {
        BackupError::Occupied(_) | BackupError::InsideStore(_) | BackupError::UnderWay | BackupError::NoRoom { .. } => Exit::Refused,
        BackupError::RanOut(_) | BackupError::Io { .. } | BackupError::Store(_) => Exit::No,
    };
    Failure::new(exit, error).in_file(to)
}

pub fn restore(common: &Common, arguments: &RestoreArguments) -> Result<Exit, Failure> {
    let options = store_options(common);
    let mut progress = Progress::new("writing rows", 0);
    let restored = store::restore(&arguments.from, &options, arguments.erasures.as_deref(), |rows| progress.at(rows));
    let Restored { manifest, erasures } = restored.map_err(restore_failure)?;
    let list = options.erased_list.clone();
    let mut store = Store::open(&Options { create: Create::Never, ..options }).map_err(|error| Failure::new(Exit::Refused, error))?;
    let from = std::path::absolute(&arguments.from).unwrap_or_else(|_| arguments.from.clone());
    let about = format!("from {}, the backup of {}, up to event {}", from.display(), manifest.at, manifest.last_seq);
    let noted = ops::note(&mut store, now(), local_deed(Action::Restored, &about));
    noted.and_then(|()| Commit::commit(&mut store, true)).map_err(|error| Failure::new(Exit::Refused, error))?;
    progress.end();
    answer_line!("restored {} from the backup of {}, up to event {}", common.data_dir.display(), manifest.at, manifest.last_seq);
    if store.erased_again() > 0 {
        answer_line!("citizens erased since, and now again: {}", store.erased_again());
    }
    let known = match erasures {
        Erasures::Listed => return Ok(Exit::Ok),
        Erasures::Until(at) => format!("after {at}, when the backup with that list was taken,"),
        Erasures::Unknown => format!("after {}, when the backup was taken,", manifest.at),
    };
    say_line!(
        "warning: nothing says who was erased {known} and whoever was is back in {}; if that may be anybody, put the newest list of erased citizens in the place of {} before the broker starts, or restore once more with --erasures",
        common.data_dir.display(),
        list.display()
    );
    Ok(Exit::Ok)
}

fn restore_failure(error: RestoreError) -> Failure {
    let exit = match &error {
        RestoreError::Backup(_) | RestoreError::NoStore => Exit::No,
        RestoreError::Occupied(_)
        | RestoreError::WrongKey(_)
        | RestoreError::NoList(_)
        | RestoreError::List { .. }
        | RestoreError::OtherStore(_)
        | RestoreError::Key(_)
        | RestoreError::RootKey(_)
        | RestoreError::Open(_)
        | RestoreError::Io(_)
        | RestoreError::Sled(_) => Exit::Refused,
    };
    Failure::new(exit, error)
}

pub fn verify(common: &Common) -> Result<Exit, Failure> {
    let options = Options { create: Create::Never, patience: Duration::from_millis(100), ..store_options(common) };
    let mut store = Store::open(&options).map_err(|error| {
        let exit = match &error {
            OpenError::Damaged { .. } | OpenError::CutShort { .. } | OpenError::ExtentUnreadable(_) => Exit::No,
            // Of whatever keeps it from being looked at.
            _ => Exit::Refused,
        };
        Failure::new(exit, error)
    })?;
    let mut progress = Progress::new("checking rows", 0);
    let verified = store.verify(|why| answer_line!("{why}"), |rows| progress.at(rows)).map_err(|error| Failure::new(Exit::No, error))?;
    progress.end();
    if verified.breaches == 0 {
        answer_line!("{}: ok, {} rows", common.data_dir.display(), verified.rows);
        return Ok(Exit::Ok);
    }
    answer_line!("{}: {} of {} rows and their indexes are broken", common.data_dir.display(), verified.breaches, verified.rows);
    Ok(Exit::No)
}
