//! `wsb-broker check`

use super::args::Common;
use super::exit::{Exit, Failure};
use super::run::sources;
use crate::config::{LoadError, load_retention, load_routing};
use crate::core::policy::Rules;
use crate::core::schedule::Schedule;

/// Checks both files, whatever is found in the first.
pub fn check(common: &Common) -> Result<Exit, Failure> {
    let sources = sources(common);
    let routing = accepted(load_routing(&sources.routing))?;
    let retention = accepted(load_retention(&sources))?;
    if let Some(rules) = &routing {
        let types = rules.message_types().count();
        let recipients = rules.recipients().count();
        println!("{}: ok, {types} types and {recipients} recipients", common.routing.display());
    }
    if let Some(schedule) = &retention {
        let path = sources.retention_path();
        let name = if path.exists() { path.display().to_string() } else { "the built-in retention.toml".to_owned() };
        println!("{name}: ok, {} rules", schedule.rules().count());
    }
    let (Some(rules), Some(schedule)) = (routing, retention) else { return Ok(Exit::No) };
    notes(&rules, &schedule).iter().for_each(|note| println!("note: {note}"));
    Ok(Exit::Ok)
}

/// Shows the mistakes of a file; `None` where there are any.
fn accepted<T>(loaded: Result<T, LoadError>) -> Result<Option<T>, Failure> {
    match loaded {
        Ok(loaded) => Ok(Some(loaded)),
        Err(error @ LoadError::Invalid { .. }) => {
            eprint!("{}", error.rendered());
            Ok(None)
        }
        Err(error @ (LoadError::Missing { .. } | LoadError::Unreadable { .. })) => Err(Failure::new(Exit::Usage, error)),
    }
}

/// Says where the two files do not fit together. Not mistakes: a type that is
/// not declared is quarantined, and an area without a notice is told to nobody.
fn notes(rules: &Rules, schedule: &Schedule) -> Vec<String> {
    let mut notes = Vec::new();
    for rule in schedule.rules() {
        for entity in rule.entities.iter().filter(|entity| rules.message_type(entity).is_none()) {
            notes.push(format!("rule {} covers {entity}, which routing.toml does not declare: its period never begins", rule.id));
        }
        let told_as = rules.notice(&rule.id).map(|notice| &*notice.name);
        if rule.notice.as_deref() != told_as {
            let said = |name: Option<&str>| name.map_or_else(|| "no notice".to_owned(), str::to_owned);
            notes.push(format!(
                "rule {} says that {} follows, and routing.toml that {} does",
                rule.id,
                said(rule.notice.as_deref()),
                said(told_as)
            ));
        }
    }
    notes
}
