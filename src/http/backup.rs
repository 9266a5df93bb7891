//! `/api/v1/backup`: the store copied while the broker goes on.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::Principal;
use super::audit::audit;
use super::extract::Body;
use super::problem::{Problem, store_failed};
use crate::app::now;
use crate::core::audit::Action;
use crate::core::time::Moment;
use crate::store::{BackupError, Manifest};

/// How the latest backup is.
#[derive(Debug, Default)]
pub struct Backups(Mutex<Latest>);

#[derive(Debug, Default)]
struct Latest {
    stage: Stage,
    /// Of when the latest is that was completed, whatever came after it.
    completed: Option<Moment>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    None,
    Running {
        to: PathBuf,
        rows: u64,
    },
    Done {
        to: PathBuf,
        manifest: Manifest,
    },
    Failed {
        to: PathBuf,
        why: String,
    },
}

impl Backups {
    /// Begins with what is known of the time before this process.
    #[must_use]
    pub fn after(completed: Option<Moment>) -> Self {
        Self(Mutex::new(Latest { completed, ..Latest::default() }))
    }

    /// Returns of when the latest is that was completed.
    pub(super) fn latest(&self) -> Option<Moment> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).completed
    }

    fn set(&self, stage: Stage) {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Stage::Done { manifest, .. } = &stage {
            latest.completed = Some(manifest.at);
        }
        latest.stage = stage;
    }

    pub(super) fn describe(&self) -> Value {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut described = match &latest.stage {
            Stage::None => json!({ "state": "none" }),
            Stage::Running { to, rows } => json!({ "state": "running", "to": to, "rows": rows }),
            Stage::Done { to, manifest } => {
                let (rows, changes) = manifest.records();
                json!({
                    "state": "done",
                    "to": to,
                    "at": manifest.at.to_string(),
                    "last_seq": manifest.last_seq,
                    "erasures": manifest.erasures,
                    "rows": rows,
                    "changes": changes,
                })
            }
            Stage::Failed { to, why } => json!({ "state": "failed", "to": to, "why": why }),
        };
        described["latest_at"] = latest.completed.map(|at| at.to_string()).into();
        described
    }
}

/// Where a backup goes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    to: PathBuf,
}

/// `POST /api/v1/backup`: begins one, in a directory of the broker's machine.
pub async fn start(State(server): State<Shared>, principal: Principal, Body(order): Body<Order>) -> Result<Json<Value>, Problem> {
    if !order.to.is_absolute() {
        return Err(Problem::new(400, "to: not an absolute path"));
    }
    let to = order.to.clone();
    let deed = principal.does(Action::BackedUp, &to.display().to_string());
    let begun = server
        .writer
        .ask(move |access| {
            let begun = access.records.begin_backup(&to)?;
            audit(access, deed).map_err(BackupError::Store)?;
            Ok(begun)
        })
        .await?;
    let copying = begun.map_err(|error| problem(&error))?;
    server.backups.set(Stage::Running { to: order.to.clone(), rows: 0 });
    let answer = server.backups.describe();
    tokio::spawn(async move {
        let stage = match finish(&server, &order.to, copying).await {
            Ok(manifest) => {
                tracing::info!(to = %order.to.display(), last_seq = manifest.last_seq, "backup taken");
                Stage::Done { to: order.to, manifest }
            }
            Err(why) => {
                tracing::error!(to = %order.to.display(), %why, "no backup was taken; what there was of it is removed");
                Stage::Failed { to: order.to, why }
            }
        };
        server.backups.set(stage);
    });
    Ok(Json(answer))
}

/// `GET /api/v1/backup`: how far it is, or how the latest one ended.
pub async fn show(State(server): State<Shared>) -> Json<Value> {
    Json(server.backups.describe())
}

async fn finish(server: &Shared, to: &std::path::Path, mut copying: crate::store::Copying) -> Result<Manifest, String> {
    let watched = std::sync::Arc::clone(server);
    let place = to.to_owned();
    let copied = tokio::task::spawn_blocking(move || {
        let told = copying.copy_rows(&mut |rows| watched.backups.set(Stage::Running { to: place.clone(), rows }));
        told.map(|()| copying)
    });
    let taken = async {
        let mut copying = copied.await.map_err(|error| error.to_string())?.map_err(words)?;
        let noted = server.writer.ask(|access| access.records.end_backup()).await.map_err(words)?.map_err(words)?;
        let finished = tokio::task::spawn_blocking(move || {
            copying.copy_keys()?;
            copying.finish(noted, now())
        });
        finished.await.map_err(|error| error.to_string())?.map_err(words)
    };
    let taken = taken.await;
    // Whatever has become of it: keys may be overwritten again.
    server.writer.ask(|access| access.records.release_keys()).await.map_err(words)?;
    taken
}

fn words(error: impl std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn problem(error: &BackupError) -> Problem {
    match error {
        BackupError::Occupied(_) | BackupError::UnderWay => Problem::new(409, error.to_string()),
        BackupError::InsideStore(_) | BackupError::NoRoom { .. } | BackupError::RanOut(_) | BackupError::Io { .. } => {
            Problem::new(422, words(error))
        }
        BackupError::Store(error) => store_failed(error),
    }
}
