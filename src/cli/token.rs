//! `wsb-broker token`

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;

use super::args::{Format, TokenArguments, TokenCommand};
use super::exit::{Exit, Failure};
use crate::config::{Role, TokenHash, TokensError, check_token_name, load_tokens, new_token, parse_tokens, token_lines};

pub fn token(arguments: &TokenArguments) -> Result<Exit, Failure> {
    match &arguments.command {
        TokenCommand::Create { name, role, file, format } => create(name, role, file.as_deref(), *format),
        TokenCommand::Check { file } => check(file),
    }
}

fn create(name: &str, role: &str, file: Option<&Path>, format: Format) -> Result<Exit, Failure> {
    check_token_name(name).map_err(|hint| Failure::words(Exit::Usage, format!("--name: {hint}")))?;
    let role = Role::parse(role).map_err(|hint| Failure::words(Exit::Usage, format!("--role: {hint}")))?;
    let token = new_token().map_err(|error| Failure::new(Exit::Refused, error))?;
    let hash = TokenHash::of(token.reveal());
    let lines = token_lines(name, role, &hash);
    if let Some(file) = file {
        append(file, &lines)?;
    }
    match format {
        Format::Json => println!(
            "{}",
            json!({ "name": name, "role": role.to_string(), "token": token.reveal(), "hash": hash.to_string(), "lines": lines })
        ),
        Format::Table => {
            println!("token, shown this once: {}", token.reveal());
            match file {
                Some(file) => println!("added to {}", file.display()),
                None => print!("lines for the file of tokens:\n\n{lines}"),
            }
        }
    }
    Ok(Exit::Ok)
}

/// Adds lines to a file, unless it would be invalid then.
fn append(file: &Path, lines: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::words(Exit::Refused, format!("{}: {error}", file.display()));
    let before = match load_tokens(file) {
        Ok(_) => std::fs::read_to_string(file).map_err(failed)?,
        Err(TokensError::Missing(_)) => String::new(),
        Err(error) => return Err(refused(&error)),
    };
    let gap = if before.is_empty() || before.ends_with("\n\n") { "" } else { "\n" };
    let added = format!("{gap}{lines}");
    parse_tokens(&format!("{before}{added}")).map_err(|mistakes| {
        let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
        Failure::words(Exit::No, format!("nothing was added: {first}"))
    })?;
    let mut open = OpenOptions::new().append(true).create(true).mode(0o600).open(file).map_err(failed)?;
    open.write_all(added.as_bytes()).and_then(|()| open.sync_all()).map_err(failed)
}

fn check(file: &Path) -> Result<Exit, Failure> {
    match load_tokens(file) {
        Ok(tokens) => {
            println!("{}: ok, {} tokens", file.display(), tokens.len());
            Ok(Exit::Ok)
        }
        Err(error @ TokensError::Invalid { .. }) => {
            eprint!("{}", error.rendered());
            Ok(Exit::No)
        }
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &TokensError) -> Failure {
    let exit = match error {
        TokensError::Missing(_) | TokensError::Unreadable { .. } => Exit::Usage,
        TokensError::Exposed { .. } => Exit::Refused,
        TokensError::Invalid { .. } => Exit::No,
    };
    let rendered = error.rendered();
    Failure::words(exit, rendered.trim_end().trim_start_matches("error: "))
}
