//! `wsb-broker init-key`

use super::args::Common;
use super::exit::{Exit, Failure};
use super::open::key_file;
use crate::store::MasterKey;

pub fn init_key(common: &Common) -> Result<Exit, Failure> {
    let path = key_file(common);
    MasterKey::create(&path).map_err(|error| Failure::new(Exit::Refused, error))?;
    println!("created {}; keep a copy of it somewhere else: without it nothing in the store can be read", path.display());
    Ok(Exit::Ok)
}
