//! Whether there is anything by the names that a filter says. What is mistyped is
//! refused, with what it may have been meant to be: answered with nothing, it reads as
//! if nothing were dead.

use super::Shared;
use super::access::Principal;
use super::look::look;
use super::problem::{Problem, store_failed};
use crate::config::nearest;
use crate::core::ids::Recipient;
use crate::core::outbox::{Death, Failure, Withdrawal};
use crate::core::records::Records;
use crate::core::replay::Filter;

/// Refuses a filter that says a name by which there is nothing.
///
/// # Errors
/// A problem that says which, and what there is.
pub async fn all(server: &Shared, principal: &Principal, filter: &Filter) -> Result<(), Problem> {
    if let Some(reason) = filter.reason.as_deref() {
        is_one_of("reason", reason, reasons(), "no delivery has that reason")?;
    }
    if let Some(entity) = filter.entity.as_deref() {
        type_of(server, principal, entity).await?;
    }
    match filter.recipient {
        // A vendor's own is not what it has written.
        Some(asked) if principal.scope().is_none() => recipient(server, asked).await,
        Some(_) | None => Ok(()),
    }
}

/// Every reason for which a delivery is retried, dead or withdrawn.
fn reasons() -> Vec<String> {
    let deaths = [Death::NeverAttempted, Death::RejectedByRecipient, Death::DeliveryLimit, Death::Expired, Death::Overflow];
    let names = Failure::ALL.map(Failure::name).into_iter().chain(deaths.map(Death::name)).chain(Withdrawal::ALL.map(Withdrawal::name));
    names.map(str::to_owned).collect()
}

/// Types that `routing.toml` declares, and those of which something is dead still.
async fn type_of(server: &Shared, principal: &Principal, entity: &str) -> Result<(), Problem> {
    let rules = server.rules.borrow().clone();
    if rules.message_type(entity).is_some() {
        return Ok(());
    }
    let causes = server.writer.ask(|access| access.records.causes()).await?.map_err(|error| store_failed(&error))?;
    if causes.iter().any(|(cause, _)| principal.sees(cause.recipient) && &*cause.entity == entity) {
        return Ok(());
    }
    let mut names: Vec<String> = rules.message_types().map(|kind| kind.name.to_string()).collect();
    names.sort_unstable();
    is_one_of("entity", entity, names, "routing.toml declares no such type, and nothing is dead of it")
}

/// Refuses a recipient that `routing.toml` does not have, and of which nothing is stored.
///
/// # Errors
/// A problem that says so.
pub async fn recipient(server: &Shared, asked: Recipient) -> Result<(), Problem> {
    let rules = server.rules.borrow().clone();
    if rules.recipient(asked).is_some() {
        return Ok(());
    }
    let (waiting, causes) = server.writer.ask(move |access| (access.engine.waiting(asked), access.records.causes())).await?;
    let causes = causes.map_err(|error| store_failed(&error))?;
    if waiting > 0 || causes.iter().any(|(cause, _)| cause.recipient == asked) {
        return Ok(());
    }
    if look(server, move |reader| reader.has_ended(asked)).await?.map_err(|error| store_failed(&error))? {
        return Ok(());
    }
    let names: Vec<String> = rules.recipients().map(|rule| rule.recipient.to_string()).collect();
    let hint = meant(&asked.to_string(), &names).unwrap_or_else(|| "`wsb-broker recipients list --all` has them all".to_owned());
    Err(Problem::new(400, "recipient: not known")
        .detail(format!("routing.toml has no such recipient, and nothing is stored of it; {hint}")))
}

fn is_one_of(field: &str, word: &str, names: Vec<String>, wrong: &str) -> Result<(), Problem> {
    if names.iter().any(|name| name == word) {
        return Ok(());
    }
    let hint = meant(word, &names).map(|hint| format!("{hint} ")).unwrap_or_default();
    Err(Problem::new(400, format!("{field}: not known")).detail(format!("{wrong}; {hint}there are: {}", names.join(", "))))
}

/// What a word was probably meant to be.
fn meant(word: &str, names: &[String]) -> Option<String> {
    nearest(word, names.iter().map(String::as_str)).map(|near| format!("did you mean {near}?"))
}
