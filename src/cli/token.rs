//! `wsb-broker token`

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde_json::json;

use super::args::{Format, TokenArguments, TokenCommand};
use super::exit::{Exit, Failure};
use crate::config::{Role, TokenHash, TokensError, check_token_name, load_tokens, new_token, parse_tokens, token_lines};
use crate::store::give_in_place;

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
        Format::Json => answer_line!(
            "{}",
            json!({ "name": name, "role": role.to_string(), "token": token.reveal(), "hash": hash.to_string(), "lines": lines })
        ),
        Format::Table => {
            answer_line!("token, shown this once: {}", token.reveal());
            match file {
                Some(file) => answer_line!("added to {}", file.display()),
                None => answer!("lines for the file of tokens:\n\n{lines}"),
            }
        }
    }
    Ok(Exit::Ok)
}

/// Adds lines to a file, unless it would be invalid then. A file that is there keeps
/// its owner; a new one belongs to the owner of its directory when root makes it.
fn append(file: &Path, lines: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::words(Exit::Refused, format!("{}: {error}", file.display()));
    let (before, is_new) = match load_tokens(file) {
        Ok(_) => (std::fs::read_to_string(file).map_err(failed)?, false),
        Err(TokensError::Missing(_)) => (String::new(), true),
        Err(error) => return Err(refused(&error)),
    };
    let gap = if before.is_empty() || before.ends_with("\n\n") { "" } else { "\n" };
    let added = format!("{gap}{lines}");
    parse_tokens(&format!("{before}{added}")).map_err(|mistakes| {
        let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
        Failure::words(Exit::No, format!("nothing was added: {first}"))
    })?;
    let mut open = OpenOptions::new().append(true).create_new(is_new).mode(0o600).open(file).map_err(failed)?;
    if is_new {
        give_in_place(&open, file).map_err(failed)?;
    }
    open.write_all(added.as_bytes()).and_then(|()| open.sync_all()).map_err(failed)?;
    if open.metadata().map_err(failed)?.uid() == 0 {
        say_line!("{} belongs to root: a broker that runs as somebody else reads it once you have run `chown` on it", file.display());
    }
    Ok(())
}

fn check(file: &Path) -> Result<Exit, Failure> {
    match load_tokens(file) {
        Ok(tokens) => {
            answer_line!("{}: ok, {} tokens", file.display(), tokens.len());
            Ok(Exit::Ok)
        }
        Err(error @ TokensError::Invalid { .. }) => {
            super::answer::say(format_args!("{}", error.rendered()));
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
    Failure::words(exit, rendered.trim_end())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    /// Root makes tokens for a broker that runs as somebody else. Only root can try it.
    #[test]
    fn a_file_of_tokens_that_root_writes_can_be_read_by_whose_directory_it_is_in() {
        const SOMEBODY: u32 = 64_123;
        const ANOTHER: u32 = 64_124;
        let home = tempfile::tempdir().expect("a directory");
        if std::fs::metadata(home.path()).expect("there").uid() != 0 {
            return;
        }
        chown(home.path(), Some(SOMEBODY), Some(SOMEBODY)).expect("given");
        let file = home.path().join("tokens.toml");
        let look = || {
            let metadata = std::fs::metadata(&file).expect("there");
            (metadata.uid(), metadata.gid(), metadata.permissions().mode() & 0o777)
        };
        create("anna", "viewer", Some(&file), Format::Json).expect("added");
        assert_eq!(look(), (SOMEBODY, SOMEBODY, 0o600), "a new one");
        chown(&file, Some(ANOTHER), Some(SOMEBODY)).expect("given");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("permissions");
        create("bo", "operator", Some(&file), Format::Json).expect("added");
        assert_eq!(look(), (ANOTHER, SOMEBODY, 0o640), "one that was there");
        assert_eq!(load_tokens(&file).expect("readable").len(), 2);
    }

    /// Whoever may write to the directory shall not have root make files elsewhere.
    #[test]
    fn a_link_to_nowhere_is_not_followed() {
        let home = tempfile::tempdir().expect("a directory");
        let (file, elsewhere) = (home.path().join("tokens.toml"), home.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, &file).expect("a link");
        assert!(create("anna", "viewer", Some(&file), Format::Json).is_err());
        assert!(!elsewhere.exists());
    }
}
