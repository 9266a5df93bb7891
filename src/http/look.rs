//! Looking at what is stored, beside the writer: however long a list takes, no
//! traffic waits for it.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::Server;
use super::problem::Problem;
use crate::store::Reader;

/// How many look at once; others wait for their turn.
const AT_ONCE: usize = 2;

/// How long somebody waits for an answer.
const LIMIT: Duration = Duration::from_secs(60);

/// The read side of the store, and who is using it.
pub struct Looking {
    reader: Reader,
    turns: Semaphore,
}

impl Looking {
    /// Returns the read side with nobody using it.
    #[must_use]
    pub fn new(reader: Reader) -> Self {
        Self { reader, turns: Semaphore::new(AT_ONCE) }
    }
}

/// Runs `job` on a thread that may wait for the disk.
pub(super) async fn look<T: Send + 'static>(server: &Server, job: impl FnOnce(&Reader) -> T + Send + 'static) -> Result<T, Problem> {
    let reader = server.looking.reader.clone();
    let looked = async {
        let _turn = server.looking.turns.acquire().await.map_err(|_| ())?;
        tokio::task::spawn_blocking(move || job(&reader)).await.map_err(|_| ())
    };
    match tokio::time::timeout(LIMIT, looked).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(())) => Err(Problem::new(500, "the store could not be looked at")),
        Err(_) => Err(Problem::new(503, "the store does not answer in time").detail("ask for less, or again")),
    }
}
