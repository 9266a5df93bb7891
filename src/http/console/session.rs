//! Who is logged in to the console. In memory, bounded, and over when the token
//! that somebody logged in with is known no more.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Secret, TokenHash, Tokens, new_token};
use crate::http::Principal;

/// How many are logged in at the most.
const MOST: usize = 256;
/// How long a session lasts, whatever happens in it.
const LONGEST: Duration = Duration::from_secs(8 * 3600);
/// How long it lasts without anything happening in it.
const IDLE: Duration = Duration::from_secs(3600);

/// A session as a request sees it.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who.
    pub principal: Principal,
    /// What every form of theirs carries.
    pub csrf: String,
}

struct Kept {
    id: TokenHash,
    token: TokenHash,
    session: Session,
    began: Instant,
    seen: Instant,
}

impl Kept {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= LONGEST || now.saturating_duration_since(self.seen) >= IDLE
    }
}

/// What a request does to the clock of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Somebody has done something.
    Person,
    /// A page has refreshed itself: nobody need be there.
    Page,
}

/// Every session.
#[derive(Default)]
pub struct Sessions(Mutex<Vec<Kept>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        // A panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session; returns its id, which only its holder keeps. When there
    /// are too many, the one that has been silent for longest ends.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn begin(&self, principal: Principal, token: TokenHash, now: Instant) -> std::io::Result<Secret<String>> {
        let (id, csrf) = (new_token()?, new_token()?);
        let mut kept = self.lock();
        kept.retain(|one| !one.is_over(now));
        if kept.len() >= MOST
            && let Some(oldest) = kept.iter().enumerate().min_by_key(|(_, one)| one.seen).map(|(at, _)| at)
        {
            kept.swap_remove(oldest);
        }
        let session = Session { principal, csrf: csrf.reveal().clone() };
        kept.push(Kept { id: TokenHash::of(id.reveal()), token, session, began: now, seen: now });
        Ok(id)
    }

    /// Returns the session of that id, unless it is over, or the token behind it
    /// is not known any more or has another role now.
    pub fn find(&self, id: &str, tokens: &Tokens, touch: Touch, now: Instant) -> Option<Session> {
        let id = TokenHash::of(id);
        let mut kept = self.lock();
        let at = kept.iter().position(|one| one.id.is(&id))?;
        let one = kept.get_mut(at)?;
        let known = tokens.find(&one.token);
        let same = known.is_some_and(|token| token.role == one.session.principal.role && token.name == one.session.principal.name);
        if !same || one.is_over(now) {
            kept.swap_remove(at);
            return None;
        }
        if touch == Touch::Person {
            one.seen = now;
        }
        Some(one.session.clone())
    }

    /// Ends the session of that id.
    pub fn end(&self, id: &str) {
        let id = TokenHash::of(id);
        self.lock().retain(|one| !one.id.is(&id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Role, parse_tokens, token_lines};

    fn principal() -> Principal {
        Principal { name: "anna".into(), role: Role::Operator }
    }

    fn tokens(role: Role, token: &str) -> Tokens {
        parse_tokens(&token_lines("anna", role, &TokenHash::of(token))).expect("tokens of the test")
    }

    #[test]
    fn a_session_ends_by_itself_on_logout_and_with_its_token() {
        let sessions = Sessions::default();
        let known = tokens(Role::Operator, "t");
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let begin = || sessions.begin(principal(), TokenHash::of("t"), start).expect("randomness");
        let is_there =
            |id: &Secret<String>, tokens: &Tokens, touch, minutes| sessions.find(id.reveal(), tokens, touch, at(minutes)).is_some();

        let id = begin();
        assert!(sessions.find("another", &known, Touch::Person, start).is_none());
        assert!(is_there(&id, &known, Touch::Person, 59));
        assert!(is_there(&id, &known, Touch::Page, 118));
        assert!(!is_there(&id, &known, Touch::Person, 119), "a page that refreshes itself is nobody");

        let id = begin();
        for minutes in (0..480).step_by(30) {
            assert!(is_there(&id, &known, Touch::Person, minutes), "{minutes}");
        }
        assert!(!is_there(&id, &known, Touch::Person, 480), "eight hours are enough");

        let id = begin();
        sessions.end(id.reveal());
        assert!(!is_there(&id, &known, Touch::Person, 0));

        let id = begin();
        assert!(!is_there(&id, &Tokens::default(), Touch::Person, 0), "its token is gone");
        assert!(!is_there(&id, &known, Touch::Person, 0), "and does not come back with it");
        let id = begin();
        assert!(!is_there(&id, &tokens(Role::Viewer, "t"), Touch::Person, 0), "its token means something else now");
    }

    #[test]
    fn sessions_are_bounded_and_differ() {
        let sessions = Sessions::default();
        let known = tokens(Role::Operator, "t");
        let start = Instant::now();
        let at = |second: usize| start + Duration::from_secs(second as u64);
        let ids: Vec<Secret<String>> =
            (0..=MOST).map(|n| sessions.begin(principal(), TokenHash::of("t"), at(n)).expect("randomness")).collect();
        let found = |id: &Secret<String>| sessions.find(id.reveal(), &known, Touch::Page, at(MOST));
        assert_eq!(sessions.lock().len(), MOST);
        assert!(found(&ids[0]).is_none(), "the one that was silent for longest");
        let (one, other) = (found(&ids[1]).expect("a session"), found(&ids[MOST]).expect("a session"));
        assert_ne!(one.csrf, other.csrf);
        assert_ne!(&one.csrf, ids[1].reveal());
        // 256 random bits, in hexadecimal, behind the prefix.
        assert_eq!(ids[1].reveal().len(), 4 + 64);
    }
}
