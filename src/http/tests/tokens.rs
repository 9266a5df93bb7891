//! Who is admitted at all.

use std::sync::Arc;

use serde_json::json;

use super::{OPERATOR, VENDOR, VIEWER, World, confirmed};
use crate::config::{Role, TokenHash, Tokens, new_token, parse_tokens, token_lines};

#[test]
fn nothing_but_health_is_answered_without_a_token() {
    let world = World::new(confirmed);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(world.call("GET", path, None, None).status, 200, "{path}");
    }
    for path in ["/recipients", "/nonsense", "/deliveries/x"] {
        let path = format!("/api/v1{path}");
        let refused = world.call("GET", &path, None, None);
        assert_eq!(refused.headers.get("www-authenticate").map(String::as_str), Some("Bearer"));
        refused.problem(401);
        world.call("GET", &path, Some("no-token"), None).problem(401);
        world.call("GET", &path, Some(""), None).problem(401);
    }
    world.tokens.send_replace(Arc::new(Tokens::default()));
    for token in [None, Some(""), Some(OPERATOR)] {
        world.call("GET", "/api/v1/recipients", token, None).problem(403);
    }
    assert_eq!(world.call("GET", "/healthz", None, None).status, 200);
    assert_eq!(world.metric("wsb_http_refused_total{why=\"no_token\"}"), 6.0);
    assert_eq!(world.metric("wsb_http_refused_total{why=\"unknown_token\"}"), 3.0);
    assert_eq!(world.metric("wsb_http_refused_total{why=\"closed\"}"), 3.0);
}

#[test]
fn a_token_is_somebody() {
    let world = World::new(confirmed);
    let who = |token| world.call("GET", "/api/v1/who", Some(token), None).ok();
    assert_eq!(who(OPERATOR), json!({ "name": "ole", "role": "operator" }));
    assert_eq!(who(VIEWER), json!({ "name": "vera", "role": "viewer" }));
    assert_eq!(who(VENDOR), json!({ "name": "lederne", "role": "vendor:akasse:067" }));
    world.tokens.send_replace(Arc::new(Tokens::of_admin("secret")));
    assert_eq!(who("secret"), json!({ "name": "admin", "role": "operator" }));
    world.call("GET", "/api/v1/who", Some(OPERATOR), None).problem(401);
}

#[test]
fn whoever_guesses_has_to_wait() {
    let world = World::new(confirmed);
    let try_ = |token: &str| world.call("GET", "/api/v1/who", Some(token), None);
    let answers: Vec<_> = (0..40).map(|guess| try_(&format!("guess {guess}"))).collect();
    let limited = answers.iter().filter(|answer| answer.status == 429).count();
    assert!((10..=20).contains(&limited), "{limited} of 40 were limited");
    let last = answers.into_iter().next_back().expect("forty of them");
    let wait: u64 = last.headers.get("retry-after").and_then(|seconds| seconds.parse().ok()).expect("how long to wait");
    assert!((1..=2).contains(&wait), "{wait}");
    last.problem(429);

    // Whoever shares the address with the guesser works on, with a token of ours.
    let made: Vec<_> = ["anna", "bent"].map(|name| (name, new_token().expect("randomness"))).into();
    let lines = made.iter().map(|(name, token)| token_lines(name, Role::Viewer, &TokenHash::of(token.reveal())));
    world.tokens.send_replace(Arc::new(parse_tokens(&lines.collect::<String>()).expect("tokens of the test")));
    for _ in 0..2 {
        for (name, token) in &made {
            assert_eq!(try_(token.reveal()).ok()["name"], *name);
            for _ in 0..3 {
                try_("guess");
            }
            try_("guess").problem(429);
        }
    }
    assert!(world.metric("wsb_http_refused_total{why=\"too_many\"}") >= 10.0);
}
