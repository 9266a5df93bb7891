//! The tokens that admit to the admin API: the file that names them, and how one
//! is made and told from another.
//!
//! Tokens are made here, of 256 random bits, so one SHA-256 is all that a file
//! has to keep of them: there is nothing to guess that a slower hash would
//! protect. What a role may do is for `http` to say.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::{Choice, ConstantTimeEq};

use super::mistake::{Mistake, nearest, render};
use super::reader::{Entry, Firsts, Reader, Section, Span};
use super::secret::Secret;
use crate::core::ids::Recipient;

/// What every token begins with, so that one that has got lost is recognized.
const PREFIX: &str = "wsb_";
/// How a file says which hash it holds.
const HASH: &str = "sha256:";
/// The name that stands for the token of the environment.
pub const ADMIN: &str = "admin";
/// The longest name of a token.
const LONGEST_NAME: usize = 64;

/// What a token lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// See everything, change nothing.
    Viewer,
    /// See and do everything.
    Operator,
    /// See what concerns this recipient, and have it sent again.
    Vendor(Recipient),
}

impl Role {
    /// Parses `viewer`, `operator` or `vendor:akasse:067`.
    ///
    /// # Errors
    /// Refuses anything else, and says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "operator" => Ok(Self::Operator),
            other => match other.strip_prefix("vendor:").map(Recipient::parse) {
                Some(Ok(recipient)) => Ok(Self::Vendor(recipient)),
                Some(Err(_)) => Err("write the recipient after `vendor:`, such as vendor:akasse:067".to_owned()),
                None => Err(match nearest(other, ["viewer", "operator"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "write viewer, operator, or vendor: and a recipient, such as vendor:akasse:067".to_owned(),
                }),
            },
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Viewer => f.write_str("viewer"),
            Self::Operator => f.write_str("operator"),
            Self::Vendor(recipient) => write!(f, "vendor:{recipient}"),
        }
    }
}

/// What is kept of a token. Comparing two takes the same time whatever they are.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Returns the hash of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    /// Returns whether both are of the same token.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.same(other).into()
    }

    fn same(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }

    /// Parses `sha256:` and 64 hexadecimal digits.
    fn parse(text: &str) -> Option<Self> {
        let digits: &[u8; 64] = text.strip_prefix(HASH)?.as_bytes().try_into().ok()?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = (digit(0)? * 16 + digit(1)?) as u8;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HASH)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// A token without itself.
#[derive(Debug, Clone)]
pub struct Token {
    /// Whose it is, for the audit log.
    pub name: Arc<str>,
    /// What it lets its holder do.
    pub role: Role,
    /// What is kept of it.
    pub hash: TokenHash,
}

/// Every token that is known.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Returns the one token of the environment; none for a blank one, which would
    /// admit everybody who sends an empty header.
    #[must_use]
    pub fn of_admin(token: &str) -> Self {
        let token = token.trim();
        let admin = || Token { name: ADMIN.into(), role: Role::Operator, hash: TokenHash::of(token) };
        Self((!token.is_empty()).then(admin).into_iter().collect())
    }

    /// Returns these and those.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).cloned().collect())
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the token of that hash. Takes the same time whichever it is, and
    /// when it is none of them.
    #[must_use]
    pub fn find(&self, hash: &TokenHash) -> Option<&Token> {
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.hash.same(hash)) {
                found = Some(token);
            }
        }
        found
    }
}

/// Makes a token.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_token() -> io::Result<Secret<String>> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no randomness from the system"))?;
    Ok(Secret::new(bytes.iter().fold(PREFIX.to_owned(), |text, byte| format!("{text}{byte:02x}"))))
}

/// Returns whether a text looks like a token of ours. One that does and was made up
/// is right by chance once in 2^256 times, however often somebody tries.
#[must_use]
pub fn is_like_ours(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix(PREFIX).is_some_and(|digits| digits.len() == 64 && digits.bytes().all(is_digit))
}

/// Returns the lines that a file needs for a token.
#[must_use]
pub fn token_lines(name: &str, role: Role, hash: &TokenHash) -> String {
    format!("[[token]]\nname = \"{name}\"\nrole = \"{role}\"\nhash = \"{hash}\"\n")
}

/// Checks the name of a token.
///
/// # Errors
/// Says what a name may be.
pub fn check_token_name(name: &str) -> Result<(), String> {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name == ADMIN {
        return Err(format!("`{ADMIN}` is the token of WSB_ADMIN_TOKEN: take another name"));
    }
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(part) {
        return Err(format!("write 1 to {LONGEST_NAME} of the characters a-z A-Z 0-9 - _ . @"));
    }
    Ok(())
}

/// Why a file gives no tokens. None of these passes by itself.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// There is no such file.
    #[error("there is no file of tokens {}; give the path with --tokens or WSB_TOKENS, or make one with `wsb-broker token create --file`", .0.display())]
    Missing(PathBuf),
    /// Others might change it, or strangers read it.
    #[error("the file of tokens {} may be written by others, or read by everybody (mode {mode:03o}): run `chmod 640` or `chmod 600` on it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It cannot be read.
    #[error("cannot read the file of tokens {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was read and has mistakes.
    #[error("{} has {} mistake(s); the first: {}", path.display(), mistakes.len(), mistakes.first().map(ToString::to_string).unwrap_or_default())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What stands in it.
        text: String,
        /// Every mistake, in the order of the file.
        mistakes: Vec<Mistake>,
    },
}

impl TokensError {
    /// Returns everything that is needed to mend it, over several lines.
    #[must_use]
    pub fn rendered(&self) -> String {
        match self {
            Self::Missing(_) | Self::Exposed { .. } => format!("error: {self}\n"),
            Self::Unreadable { source, .. } => format!("error: {self}: {source}\n"),
            // A hash is shown with its line: it leads to no token.
            Self::Invalid { path, text, mistakes } => render(&path.display().to_string(), text, mistakes),
        }
    }
}

/// Reads the tokens of a file.
///
/// # Errors
/// When it is missing, unreadable, exposed, or has mistakes.
pub fn load_tokens(path: &Path) -> Result<Tokens, TokensError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => TokensError::Missing(path.to_owned()),
        // Every other kind means the same: it is there and cannot be read.
        _ => TokensError::Unreadable { path: path.to_owned(), source },
    };
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o027 != 0 {
        return Err(TokensError::Exposed { path: path.to_owned(), mode });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse_tokens(&text).map_err(|mistakes| TokensError::Invalid { path: path.to_owned(), text, mistakes })
}

/// Makes tokens of the text of a file.
///
/// # Errors
/// Every mistake of the text, in the order of the file; never an empty list.
pub fn parse_tokens(text: &str) -> Result<Tokens, Vec<Mistake>> {
    let mut reader = Reader::new("tokens.toml", text);
    let Some(document) = reader.parse() else { return Err(reader.into_mistakes()) };
    let root = Section::new(document.as_table(), "the file of tokens", 0..0);
    root.check_keys(&mut reader, &["token"]);
    let mut tokens = Vec::new();
    let mut seen = Seen::default();
    if let Some(entry) = root.get("token") {
        if entry.item.is_array() || entry.item.is_array_of_tables() {
            for element in entry.elements() {
                match element.table {
                    Some(table) => tokens.extend(read_token(&mut reader, Section::new(table, "this token", element.span), &mut seen)),
                    None => element.report_kind(&mut reader, "token", "tables", "begin each with [[token]]"),
                }
            }
        } else {
            entry.report_kind(&mut reader, "a list of tables", "begin each with [[token]]");
        }
    }
    let mistakes = reader.into_mistakes();
    if mistakes.is_empty() { Ok(Tokens(tokens)) } else { Err(mistakes) }
}

/// What may stand once only.
#[derive(Default)]
struct Seen {
    names: Firsts<String>,
    hashes: Firsts<[u8; 32]>,
}

fn read_token(reader: &mut Reader<'_>, mut section: Section<'_>, seen: &mut Seen) -> Option<Token> {
    let name = section.require(reader, "name", "name = \"anna\"").and_then(|entry| read_name(reader, &entry, seen));
    if let Some(name) = name {
        section.what = format!("token {name}");
    }
    section.check_keys(reader, &["name", "role", "hash"]);
    let role = section.require(reader, "role", "role = \"viewer\"").and_then(|entry| read_role(reader, &entry));
    let example = "hash = \"sha256:…\"; `wsb-broker token create` prints it";
    let hash = section.require(reader, "hash", example).and_then(|entry| read_hash(reader, &entry, seen));
    Some(Token { name: name?.into(), role: role?, hash: hash? })
}

fn read_name<'d>(reader: &mut Reader<'_>, entry: &Entry<'d>, seen: &mut Seen) -> Option<&'d str> {
    let (name, span) = entry.text(reader)?;
    if let Err(hint) = check_token_name(name) {
        reader.report(&span, "this cannot be the name of a token".to_owned(), Some(hint));
        return None;
    }
    seen.names.claim(reader, name.to_owned(), &span, |first| format!("a token {name} already stands at {first}"));
    Some(name)
}

fn read_role(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Role> {
    let (text, span) = entry.text(reader)?;
    match Role::parse(text) {
        Ok(role) => Some(role),
        Err(hint) => {
            reader.report(&span, "no such role".to_owned(), Some(hint));
            None
        }
    }
}

fn read_hash(reader: &mut Reader<'_>, entry: &Entry<'_>, seen: &mut Seen) -> Option<TokenHash> {
    let (text, span): (&str, Span) = entry.text(reader)?;
    let Some(hash) = TokenHash::parse(text) else {
        let message = if text.starts_with(PREFIX) { "this is a token, not its hash" } else { "this is not the hash of a token" };
        let hint = "write sha256: and 64 hexadecimal digits, as `wsb-broker token create` prints them; a token itself never stands here";
        reader.report(&span, message.to_owned(), Some(hint.to_owned()));
        return None;
    };
    seen.hashes.claim(reader, hash.0, &span, |first| format!("this hash already stands at {first}"));
    Some(hash)
}

/// Follows one file of tokens.
#[derive(Debug)]
pub struct TokensWatch {
    path: PathBuf,
    /// What the last look found, so that an unchanged file is not reported.
    seen: Option<Look>,
    /// What the look before saw, if it differs: an editor may still be writing.
    candidate: Option<Look>,
}

/// What one look at the file gave.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Look {
    File { mode: u32, bytes: Vec<u8> },
    Failed(io::ErrorKind),
}

impl Look {
    fn at(path: &Path) -> Self {
        let look = || Ok(Self::File { mode: std::fs::metadata(path)?.permissions().mode(), bytes: std::fs::read(path)? });
        look().unwrap_or_else(|error: io::Error| Self::Failed(error.kind()))
    }
}

impl TokensWatch {
    /// Loads the file and follows it from then on.
    ///
    /// # Errors
    /// As [`load_tokens`].
    pub fn start(path: impl Into<PathBuf>) -> Result<(Self, Tokens), TokensError> {
        let path = path.into();
        // Looked at before it is loaded: a change between the two shows later.
        let seen = Some(Look::at(&path));
        let tokens = load_tokens(&path)?;
        Ok((Self { path, seen, candidate: None }, tokens))
    }

    /// Returns what the file says now, if that is something else than what was
    /// last reported, and two looks in a row saw the same. The file is small.
    pub fn poll(&mut self) -> Option<Result<Tokens, TokensError>> {
        let look = Some(Look::at(&self.path));
        if look == self.seen {
            self.candidate = None;
            return None;
        }
        if look != self.candidate {
            self.candidate = look;
            return None;
        }
        self.candidate = None;
        self.seen = look;
        Some(load_tokens(&self.path))
    }

    /// Reads the file at once: for an operator who asks for it.
    ///
    /// # Errors
    /// As [`load_tokens`].
    pub fn reload(&mut self) -> Result<Tokens, TokensError> {
        self.seen = Some(Look::at(&self.path));
        self.candidate = None;
        load_tokens(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn lines(name: &str, role: &str, token: &str) -> String {
        format!("[[token]]\nname = \"{name}\"\nrole = \"{role}\"\nhash = \"{}\"\n", TokenHash::of(token))
    }

    #[test]
    fn a_file_of_tokens_tells_whose_a_token_is() {
        let text = [lines("anna", "operator", "a"), lines("bo", "viewer", "b"), lines("winformatik", "vendor:akasse:067", "c")].concat();
        let tokens = parse_tokens(&text).expect("a valid file").and(&Tokens::of_admin(" secret\n"));
        let who = |token: &str| tokens.find(&TokenHash::of(token)).map(|token| (token.name.to_string(), token.role.to_string()));
        let is = |name: &str, role: &str| Some((name.to_owned(), role.to_owned()));
        assert_eq!(who("a"), is("anna", "operator"));
        assert_eq!(who("b"), is("bo", "viewer"));
        assert_eq!(who("c"), is("winformatik", "vendor:akasse:067"));
        assert_eq!(who("secret"), is("admin", "operator"));
        for other in ["", "A", "ab", " secret", "secret\n", &TokenHash::of("a").to_string()] {
            assert_eq!(who(other), None, "{other:?}");
        }
        assert!(Tokens::of_admin(" \n").is_empty());
        assert!(parse_tokens("").expect("an empty file names nobody").is_empty());
    }

    #[test]
    fn a_made_token_is_long_and_never_the_same() {
        let (one, other) = (new_token().expect("a token"), new_token().expect("a token"));
        assert!(is_like_ours(one.reveal()));
        for made_up in ["", "secret", "wsb_", &one.reveal().to_uppercase(), &one.reveal()[..67], &format!("{}0", one.reveal())] {
            assert!(!is_like_ours(made_up), "{made_up}");
        }
        assert_ne!(one.reveal(), other.reveal());
        assert!(one.reveal().starts_with("wsb_") && one.reveal().len() == 68);
        let hash = TokenHash::of(one.reveal());
        let text = token_lines("anna", Role::Operator, &hash);
        assert!(!text.contains(one.reveal()) && !format!("{one:?}{hash:?}").contains(one.reveal()));
        assert!(parse_tokens(&text).expect("its own lines").find(&hash).is_some());
    }

    #[test]
    fn every_mistake_is_found_where_it_is() {
        let hash = TokenHash::of("x");
        let text = format!(
            "tokens = 1\n[[token]]\nname = \"admin\"\nrole = \"viewr\"\nhash = \"{hash}\"\nexpires = 1\n[[token]]\nname = \"a b\"\nrole = \"vendor:067\"\nhash = \"wsb_00\"\n\
             [[token]]\nname = \"anna\"\nrole = \"operator\"\nhash = \"{hash}\"\n[[token]]\nname = \"anna\"\n"
        );
        let mistakes = parse_tokens(&text).map(drop).expect_err("many mistakes");
        let found: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let expected = [
            "tokens.toml:1:1: unknown key `tokens`",
            "tokens.toml:3:8: this cannot be the name of a token; `admin` is the token of WSB_ADMIN_TOKEN",
            "tokens.toml:4:8: no such role; did you mean `viewer`?",
            "tokens.toml:6:1: unknown key `expires`",
            "tokens.toml:8:8: this cannot be the name",
            "tokens.toml:9:8: no such role; write the recipient after `vendor:`",
            "tokens.toml:10:8: this is a token, not its hash",
            "tokens.toml:14:8: this hash already stands at 5:8",
            "tokens.toml:15:1: token anna has no `role`",
            "tokens.toml:15:1: token anna has no `hash`",
            "tokens.toml:16:8: a token anna already stands at 12:8",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found} instead of {expected}");
        }
    }

    #[test]
    fn a_file_that_others_may_change_is_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("tokens.toml");
        assert!(matches!(load_tokens(&path), Err(TokensError::Missing(_))));
        fs::write(&path, lines("anna", "viewer", "a")).expect("written");
        for (mode, allowed) in [(0o600, true), (0o640, true), (0o440, true), (0o644, false), (0o660, false), (0o602, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("permissions");
            let refused = matches!(load_tokens(&path), Err(TokensError::Exposed { .. }));
            assert_eq!(refused, !allowed, "{mode:o}");
        }
    }

    #[test]
    fn a_change_is_taken_over_once_it_has_settled() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("tokens.toml");
        let write = |text: &str| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("permissions");
        };
        write(&lines("anna", "viewer", "a"));
        let (mut watch, tokens) = TokensWatch::start(&path).expect("a valid file");
        let poll = |watch: &mut TokensWatch| watch.poll().map(|loaded| loaded.ok().map(|tokens| tokens.len()));
        assert_eq!((tokens.len(), poll(&mut watch)), (1, None));
        write("");
        assert_eq!(poll(&mut watch), None, "may still be being written");
        assert_eq!(poll(&mut watch), Some(Some(0)), "revoked");
        write("[[token");
        assert_eq!((poll(&mut watch), poll(&mut watch), poll(&mut watch)), (None, Some(None), None));
        assert!(watch.reload().is_err());
        write(&lines("bo", "viewer", "b"));
        assert_eq!(watch.reload().expect("valid again").len(), 1);
        assert_eq!((poll(&mut watch), poll(&mut watch)), (None, None));
    }
}
