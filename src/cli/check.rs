//! `wsb-broker check`

use super::args::Common;
use super::exit::{Exit, Failure};
use crate::config::{LoadError, load_routing};

pub fn check(common: &Common) -> Result<Exit, Failure> {
    match load_routing(&common.routing) {
        Ok(rules) => {
            let types = rules.message_types().count();
            let recipients = rules.recipients().count();
            println!("{}: ok, {types} types and {recipients} recipients", common.routing.display());
            Ok(Exit::Ok)
        }
        Err(error @ LoadError::Invalid { .. }) => {
            eprint!("{}", error.rendered());
            Ok(Exit::No)
        }
        Err(error @ (LoadError::Missing { .. } | LoadError::Unreadable { .. })) => Err(Failure::new(Exit::Usage, error)),
    }
}
