//! Whatever is wrong with a request, the answer is a problem that says what and
//! where, and repeats nothing of what was sent.

use serde_json::json;

use super::{OPERATOR, World, confirmed};

#[test]
fn every_refusal_is_a_problem() {
    let world = World::new(confirmed);
    let check = |method: &str, path: &str, body: Option<(&str, &[u8])>, status: u16, title: &str| {
        let answer = world.send(method, path, Some(OPERATOR), body).problem(status);
        assert_eq!(answer["title"], title, "{method} {path}: {answer}");
        assert!(!answer.to_string().contains("0101901234"), "{answer}");
    };
    let json = |body: &'static str| Some(("application/json", body.as_bytes()));
    check("GET", "/api/v1/nonsense", None, 404, "there is no such call");
    check("GET", "/nonsense", None, 404, "there is no such call");
    check("PUT", "/api/v1/recipients", json("{}"), 405, "this call has another method");
    check("DELETE", "/healthz", None, 405, "this call has another method");
    check("GET", "/api/v1/deliveries?limit=0101901234x", None, 400, "limit: not understood");
    check("GET", "/api/v1/deliveries?limit=-1", None, 400, "limit: not understood");
    check("GET", "/api/v1/deliveries?x0101901234=1", None, 400, "query: not understood");
    check("GET", "/api/v1/deliveries?since=0101901234", None, 400, "since: not understood");
    check("GET", "/api/v1/deliveries?cursor=0101901234", None, 400, "this cursor is not one of ours");
    check("GET", "/api/v1/deliveries?entity=0101901234", None, 400, "entity: not understood");
    check("GET", "/api/v1/deliveries?reason=x%200101901234", None, 400, "reason: not understood");
    check("GET", "/api/v1/deliveries/0101901234", None, 400, "id: not understood");
    check("GET", "/api/v1/deliveries/%ff", None, 400, "path: not understood");
    check("GET", "/api/v1/events/%ff/trace", None, 400, "path: not understood");
    check("GET", "/api/v1/events/%00/trace", None, 404, "no event of that id is known");
    check("POST", "/api/v1/quarantine/0101901234x/retry", None, 400, "path: not understood");
    check("POST", "/api/v1/replays", Some(("text/plain", b"{}")), 415, "body: not taken for JSON");
    check("POST", "/api/v1/replays", None, 415, "body: not taken for JSON");
    check("POST", "/api/v1/replays", json("{\"0101901234"), 400, "body: not understood");
    check("POST", "/api/v1/replays", json("[]"), 422, "body: not understood");
    check("POST", "/api/v1/replays", json("{\"dry_run\": \"0101901234\"}"), 422, "dry_run: not understood");
    check("POST", "/api/v1/replays", json("{\"filter\": {\"since\": 101901234}}"), 422, "filter.since: not understood");
    check("POST", "/api/v1/replays", json("{\"filter\": {\"recipent\": \"0101901234\"}}"), 422, "filter.recipent: not understood");
    check("POST", "/api/v1/quarantine/1/discard", json("{}"), 422, "body: not understood");
    // No name is passed over, wherever it stands.
    for (path, title) in [
        ("/deliveries?recipent=x", "recipent: not understood"),
        ("/deliveries/groups?recipent=x", "recipent: not understood"),
        ("/lanes?recipent=x", "recipent: not understood"),
        ("/quarantine?limt=1", "limt: not understood"),
        ("/retention/due?asof=2033-01-01", "asof: not understood"),
        ("/audit?sinse=x", "sinse: not understood"),
    ] {
        let answer = world.call("GET", &format!("/api/v1{path}"), Some(OPERATOR), None).problem(400);
        assert_eq!(answer["title"], title, "{path}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|detail| detail.starts_with("expected ")), "{path}: {answer}");
    }
    let id = "00000000-0000-4000-8000-000000000000";
    for (path, body) in [
        ("/recipients/akasse:067/pause".to_owned(), r#"{"why": "a test", "untill": "2033-01-01T00:00:00Z"}"#),
        ("/recipients/akasse:067/resume".to_owned(), r#"{"dryrun": true}"#),
        (format!("/lanes/{id}/park"), r#"{"why": "a test", "dryrun": true}"#),
        (format!("/lanes/{id}/release"), r#"{"dryrun": true}"#),
        (format!("/deliveries/{id}/discard"), r#"{"why": "a test", "dryrun": true}"#),
        ("/quarantine/1/discard".to_owned(), r#"{"why": "a test", "dryrun": true}"#),
        ("/quarantine/1/retry".to_owned(), r#"{"dryrun": true}"#),
        ("/erasures".to_owned(), r#"{"personnummer": "0101901234", "dryrun": true}"#),
        ("/replays/1/go".to_owned(), r#"{"dryrun": true}"#),
        ("/backup".to_owned(), r#"{"to": "/tmp/x", "dry_run": true}"#),
        ("/replays".to_owned(), r#"{"filter": {}, "dryrun": true}"#),
        ("/replays".to_owned(), r#"{"filter": {"limit": 1}, "dry_run": true}"#),
        ("/replays".to_owned(), r#"{"filter": {"cursor": "1"}, "dry_run": true}"#),
    ] {
        let answer = world.call("POST", &format!("/api/v1{path}"), Some(OPERATOR), Some(body)).problem(422);
        assert!(answer["detail"].as_str().is_some_and(|detail| detail.starts_with("expected ")), "{path}: {answer}");
        assert!(!answer.to_string().contains("0101901234"), "{path}: {answer}");
    }
    // Where none is needed, none is; what is no JSON is refused all the same.
    assert_eq!(world.call("POST", "/api/v1/recipients/akasse:067/resume", Some(OPERATOR), None).ok()["state"], "open");
    check("POST", "/api/v1/recipients/akasse:067/resume", json("{\"0101901234"), 400, "body: not understood");
    let large = vec![b'x'; 8 * 1024 * 1024 + 1];
    for kind in ["application/json", "text/plain"] {
        check("POST", "/api/v1/import", Some((kind, &large)), 413, "body: too large");
    }
    let missing = world.post("/quarantine/1/discard", &json!({})).problem(422);
    assert_eq!(missing["detail"], "missing field `why` at line 1 column 2");
    let method = world.call("PATCH", "/api/v1/replays", Some(OPERATOR), None);
    assert_eq!(method.headers.get("allow").map(String::as_str), Some("GET,HEAD,POST"), "{method:?}");
}
