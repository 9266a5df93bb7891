//! The console as a browser uses it, without a browser: logins, forms, what each
//! role sees, and what never gets out. A real browser is in `tests/console`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{CITIZEN, OPERATOR, VENDOR, VIEWER, World, event, indkaldelse, known, lederne_is_gone};
use crate::config::Tokens;

/// A browser that follows nothing by itself.
struct Browser<'w> {
    world: &'w World,
    cookies: BTreeMap<String, String>,
    language: &'static str,
}

struct Shown {
    status: u16,
    headers: BTreeMap<String, String>,
    set_cookies: Vec<String>,
    text: String,
}

impl Shown {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.status, 200, "{} {}", self.header("location"), self.text);
        self.text
    }

    #[track_caller]
    fn redirects(self, to: &str) {
        assert_eq!((self.status, self.header("location")), (303, to), "{}", self.text);
    }
}

/// Encodes the fields of a form.
fn form(fields: &[(&str, &str)]) -> String {
    let encode = crate::console::form::encode;
    fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

impl<'w> Browser<'w> {
    fn new(world: &'w World) -> Self {
        Self { world, cookies: BTreeMap::new(), language: "en" }
    }

    #[track_caller]
    fn logged_in(world: &'w World, token: &str) -> Self {
        let mut browser = Self::new(world);
        browser.login(token).redirects("/console");
        browser
    }

    fn send(&mut self, method: &str, path: &str, body: Option<String>, more: &[(&str, &str)]) -> Shown {
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(Duration::from_secs(30)));
        let agent: ureq::Agent = config.build().into();
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.world.address))
            .header("cookie", cookies)
            .header("accept-language", self.language);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let answer = match body {
            Some(body) => agent.run(request.header("content-type", "application/x-www-form-urlencoded").body(body).expect("a request")),
            None => agent.run(request.body(()).expect("a request")),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers: BTreeMap<String, String> = answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let set_cookies: Vec<String> = answer.headers().get_all("set-cookie").iter().map(text).collect();
        for cookie in &set_cookies {
            let (name, value) = cookie.split(';').next().and_then(|cookie| cookie.split_once('=')).expect("a cookie");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        Shown { status: answer.status().as_u16(), headers, set_cookies, text }
    }

    fn get(&mut self, path: &str) -> Shown {
        self.send("GET", path, None, &[])
    }

    fn login(&mut self, token: &str) -> Shown {
        self.send("POST", "/console/login", Some(form(&[("token", token)])), &[("sec-fetch-site", "same-origin")])
    }

    /// Sends a form with the field that its pages carry.
    #[track_caller]
    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let csrf = self.csrf();
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        self.send("POST", path, Some(form(&fields)), &[("sec-fetch-site", "same-origin")])
    }

    #[track_caller]
    fn csrf(&mut self) -> String {
        let page = self.get("/console").ok();
        let field = page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        field.expect("pages have forms").to_owned()
    }
}

/// Every page that a store of the test has something for.
const PAGES: [&str; 13] = [
    "/console",
    "/console/recipients",
    "/console/recipients?state=troubled&q=leder",
    "/console/recipients/akasse:067",
    "/console/pauses",
    "/console/lanes",
    "/console/failures",
    "/console/failures?state=retrying&recipient=akasse:067&since=2026-01-01T00:00",
    "/console/events/one",
    "/console/replays",
    "/console/quarantine",
    "/console/gdpr",
    "/console/audit",
];

fn case() -> World {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    world.quarantine(&format!("{{ {CITIZEN}"));
    world.until("/deliveries?state=retrying", |page| page["items"].as_array().is_some_and(|items| !items.is_empty()));
    world
}

#[test]
fn a_login_begins_a_session_and_a_logout_ends_it() {
    let world = case();
    let mut browser = Browser::new(&world);
    browser.get("/console").redirects("/console/login");
    for (token, words) in [("", "Enter a token."), ("wrong", "That token is not known.")] {
        let refused = browser.login(token);
        assert_eq!(refused.status, 401);
        assert!(refused.text.contains(words) && !refused.text.contains("value=\"wrong\""), "{}", refused.text);
        assert!(refused.set_cookies.is_empty());
    }
    let begun = browser.login(OPERATOR);
    let cookie = begun.set_cookies.first().cloned().unwrap_or_default();
    begun.redirects("/console");
    assert!(cookie.ends_with("; Path=/console; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(OPERATOR));

    let page = browser.get("/console");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:"), "{policy}");
    for part in ["form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part) && !policy.contains("unsafe"), "{policy}");
    }
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(page.text.contains("<strong>ole</strong>"));
    assert!(!page.text.contains(" style=") && !page.text.contains("<style"));

    let before = browser.cookies.clone();
    browser.post("/console/logout", &[]).redirects("/console/login?out");
    browser.cookies = before;
    browser.get("/console").redirects("/console/login?ended");

    let mut behind_tls = Browser::new(&world);
    let begun = behind_tls.send("POST", "/console/login", Some(form(&[("token", VIEWER)])), &[("x-forwarded-proto", "https")]);
    assert!(begun.set_cookies[0].ends_with("; Secure"), "{:?}", begun.set_cookies);
}

#[test]
fn a_session_ends_with_its_token() {
    let world = case();
    let mut browser = Browser::logged_in(&world, OPERATOR);
    browser.get("/console").ok();
    world.tokens.send_replace(Arc::new(Tokens::of_admin("another")));
    browser.get("/console").redirects("/console/login?ended");
    let fragment = browser.send("GET", "/console", None, &[("hx-request", "true")]);
    assert_eq!((fragment.status, fragment.header("hx-redirect")), (204, "/console/login?ended"));
    world.tokens.send_replace(Arc::new(Tokens::default()));
    let closed = browser.login(OPERATOR);
    assert!(closed.status == 403 && closed.text.contains("The console is closed"), "{}", closed.text);
}

#[test]
fn guessing_is_slowed_down() {
    let world = case();
    let mut browser = Browser::new(&world);
    for guess in 0..20 {
        assert_eq!(browser.login(&format!("wrong {guess}")).status, 401);
    }
    let refused = browser.login("wrong");
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert!(refused.text.contains("Too many attempts"), "{}", refused.text);
    assert!(world.metric("wsb_http_refused_total{why=\"too_many\"}") >= 1.0);
}

#[test]
fn forms_from_elsewhere_do_nothing() {
    let world = case();
    let mut browser = Browser::logged_in(&world, OPERATOR);
    let csrf = browser.csrf();
    let another = Browser::logged_in(&world, OPERATOR).csrf();
    let path = "/console/quarantine/1/discard";
    let right = form(&[("why", "a test"), ("csrf", &csrf)]);
    let refused = [
        browser.send("POST", path, Some(form(&[("why", "a test")])), &[]),
        browser.send("POST", path, Some(form(&[("why", "a test"), ("csrf", "")])), &[]),
        browser.send("POST", path, Some(form(&[("why", "a test"), ("csrf", &another)])), &[]),
        browser.send("POST", path, Some(right.clone()), &[("sec-fetch-site", "cross-site")]),
        browser.send("POST", path, Some(right.clone()), &[("origin", "https://evil.example")]),
    ];
    for refused in refused {
        assert!(refused.status == 400 && refused.text.contains("The form did not come from here"), "{} {}", refused.status, refused.text);
    }
    assert_eq!(world.get("/quarantine").ok()["items"].as_array().map(Vec::len), Some(1));
    browser.send("POST", path, Some(right), &[("sec-fetch-site", "same-origin")]).redirects("/console/quarantine?done=thrown");
    let log = browser.get("/console/audit").ok();
    assert!(log.contains("discarded") && log.contains("a test") && log.contains("ole"), "{log}");
    // Signed in twice, and acted once.
    let actions = world.get("/audit").ok();
    let actions: Vec<&str> = actions["items"].as_array().into_iter().flatten().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions, ["signed-in", "signed-in", "quarantine-discarded"]);
}

#[test]
fn each_role_sees_what_is_its_own() {
    let world = case();
    let check = |token: &str, path: &str, status: u16| {
        let mut browser = Browser::logged_in(&world, token);
        let shown = browser.get(path);
        assert_eq!(shown.status, status, "{token} {path}: {}", shown.text);
        shown.text
    };
    for path in PAGES {
        check(OPERATOR, path, 200);
        check(VIEWER, path, if path == "/console/audit" { 403 } else { 200 });
    }
    assert!(check(OPERATOR, "/console/quarantine", 200).contains("/console/quarantine/1/discard"));
    assert!(!check(VIEWER, "/console/quarantine", 200).contains("/console/quarantine/1/discard"));
    assert!(!check(VIEWER, "/console/pauses", 200).contains("action=\"/console/pauses\""));

    let own = check(VENDOR, "/console", 200);
    assert!(own.contains("Lederne") && !own.contains("Hjørring") && !own.contains("/console/quarantine"), "{own}");
    for (path, status) in [
        ("/console/recipients/akasse:067", 200),
        ("/console/recipients/kommune:860", 404),
        ("/console/quarantine", 403),
        ("/console/gdpr", 403),
        ("/console/audit", 403),
        ("/console/nowhere", 404),
    ] {
        check(VENDOR, path, status);
    }
    let trace = check(VENDOR, "/console/events/one", 200);
    assert!(trace.contains("Lederne") && !trace.contains("Hjørring"), "{trace}");
    let failures = check(VENDOR, "/console/failures?state=retrying&recipient=kommune:860", 200);
    assert!(!failures.contains("Hjørring") && failures.contains("Nothing to show"), "{failures}");

    // What is not shown is not allowed either.
    for (path, fields) in [
        ("/console/gdpr/notices/close", &[("recipient", "kommune:860"), ("until", "2026-03-17"), ("why", "a test")][..]),
        ("/console/gdpr/erasures/1/confirm", &[]),
        ("/console/lanes/00000000-0000-4000-8000-000000000000/park", &[("why", "a test")]),
        ("/console/lanes/00000000-0000-4000-8000-000000000000/release", &[("why", "a test")]),
        ("/console/quarantine/1/discard", &[("why", "a test")]),
        ("/console/quarantine/1/retry", &[]),
        ("/console/replays/preview", &[("what", "all"), ("state", "dead")]),
    ] {
        assert_eq!(Browser::logged_in(&world, VIEWER).post(path, fields).status, 403, "{path}");
    }
}

#[test]
fn a_form_that_need_not_say_why_may() {
    let world = case();
    let mut browser = Browser::logged_in(&world, OPERATOR);
    for path in ["/console/recipients/akasse:067", "/console/pauses", "/console/quarantine"] {
        let page = browser.get(path).ok();
        assert!(page.contains("Why (optional)"), "{path}: {page}");
    }
    let noted = || {
        let log = world.get("/audit?order=newest&limit=1").ok();
        (log["items"][0]["action"].clone(), log["items"][0]["why"].clone())
    };
    for (why, kept) in [("they are back", json!("they are back")), ("", Value::Null)] {
        assert_eq!(browser.post("/console/recipients/akasse:067/resume", &[("why", why)]).status, 303);
        assert_eq!(noted(), (json!("queue-resumed"), kept));
    }
    let sent = [("what", "all"), ("state", "dead"), ("why", "ticket 7")];
    assert_eq!(browser.post("/console/replays", &sent).status, 303);
    assert_eq!(noted(), (json!("replay-started"), json!("ticket 7")));
}

#[test]
fn the_page_of_a_replay_says_what_was_ordered_and_by_whom() {
    let world = case();
    let mut browser = Browser::logged_in(&world, OPERATOR);
    let ordered = [("what", "all"), ("state", "dead"), ("recipient", "akasse:067"), ("entity", "Indkaldelse"), ("why", "ticket 7")];
    assert_eq!(browser.post("/console/replays", &ordered).status, 303);
    let id = world.until("/replays", |page| page["items"][0]["id"].is_number() || page["items"][0]["id"].is_string());
    let id = id["items"][0]["id"].to_string();
    let page = browser.get(&format!("/console/replays/{}", id.trim_matches('"'))).ok();
    for part in ["/console/recipients/akasse:067", "Indkaldelse", ">ole<", "/console/audit"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn what_waits_says_for_what() {
    let world = case();
    let mut browser = Browser::logged_in(&world, VENDOR);
    let page = browser.get("/console/events/one").ok();
    assert!(page.contains("Waits now"), "{page}");
    browser.language = "da";
    assert!(browser.get("/console/events/one").ok().contains("Venter nu"));
}

#[test]
fn nobody_is_named_and_everything_is_escaped() {
    let world = case();
    world.tell(&[event(
        "<script>alert(1)</script>\"&",
        "Indkaldelse",
        "20000000-0000-4000-8000-000000000009",
        "2026-03-16T08:00:00Z",
        &json!({}),
    )]);
    for token in [OPERATOR, VIEWER, VENDOR] {
        for language in ["da", "en"] {
            let mut browser = Browser::logged_in(&world, token);
            browser.language = language;
            let evil = "/console/events/%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%26";
            for path in PAGES.into_iter().chain([evil]) {
                let page = browser.get(path).text;
                assert!(!page.contains(CITIZEN), "{path} names somebody: {page}");
                assert!(!page.contains("<script>"), "{path}: {page}");
                assert!(page.contains(&format!("<html lang=\"{language}\"")), "{path}: {page}");
                assert_eq!(page.matches("<h1").count(), 1, "{path}: {page}");
            }
            assert!(browser.get(evil).text.contains("&lt;script&gt;alert(1)"));
        }
    }
}

#[test]
fn a_search_finds_ids_and_no_people() {
    let world = case();
    let mut browser = Browser::logged_in(&world, VIEWER);
    browser.post("/console/search", &[("id", " one ")]).redirects("/console/events/one");
    world.tell(&[indkaldelse("..")]);
    browser.post("/console/search", &[("id", "..")]).redirects("/console/events?id=..");
    browser.get("/console/events?id=..").ok();
    let waiting = world.get("/deliveries?state=retrying").ok();
    let id = waiting["items"][0]["id"].as_str().expect("an id").to_owned();
    browser.post("/console/search", &[("id", &id)]).redirects(&format!("/console/deliveries/{id}"));
    let page = browser.get(&format!("/console/deliveries/{id}")).ok();
    assert!(page.contains("queue missing (312)") && page.contains("fund, own members"), "{page}");
    for (sought, words) in [
        (CITIZEN, "does not search for people"),
        ("cpr 010190-1234", "does not search for people"),
        ("unheard-of", "Nothing is known"),
        ("", "Enter an id"),
    ] {
        let page = browser.post("/console/search", &[("id", sought)]).ok();
        assert!(page.contains(words), "{sought}: {page}");
        assert!(sought.is_empty() || !page.contains(sought), "what was sought is not repeated: {page}");
    }
    // Another's delivery is not known to a vendor.
    let page = Browser::logged_in(&world, super::OTHER_VENDOR).post("/console/search", &[("id", &id)]).ok();
    assert!(page.contains("Nothing is known"), "{page}");
}

/// What the broker refuses is said in the language of the page, or said to be English.
#[test]
fn refusals_are_said_in_danish() {
    let world = case();
    let mut browser = Browser::logged_in(&world, OPERATOR);
    let waiting = world.get("/deliveries?state=retrying").ok();
    let id = waiting["items"][0]["id"].as_str().expect("an id").to_owned();
    browser.language = "da";
    for (path, why, words) in [
        (format!("/console/deliveries/{id}/discard"), "cpr 010190-1234", "en grund nævner ingen ved nummer"),
        (format!("/console/deliveries/{id}/discard"), "", "der skal angives en grund"),
        (format!("/console/lanes/{id}/park"), "", "skriv grunden på én linje"),
    ] {
        let refused = browser.post(&path, &[("why", why)]);
        assert!(refused.status == 400 && refused.text.contains(words), "{path}: {}", refused.text);
    }
    let refused = browser.get("/console/failures?state=sideways");
    assert!(refused.status == 400 && refused.text.contains("<span lang=\"en\">"), "{}", refused.text);
}

/// Whoever makes backups is shown when the latest was made.
#[test]
fn the_first_page_says_when_the_latest_backup_was_made() {
    let world = case();
    let mut browser = Browser::logged_in(&world, OPERATOR);
    assert!(browser.get("/console").ok().contains("No backup of this store is known"));
    world.post("/backup", &json!({ "to": world.folder().join("backup") })).ok();
    let done = world.until("/backup", |backup| backup["state"] == "done");
    assert_eq!(done["latest_at"], done["at"]);
    let page = browser.get("/console").ok();
    let at = done["at"].as_str().expect("when");
    assert!(page.contains("Latest backup: ") && page.contains(&format!("<time datetime=\"{at}\"")), "{page}");
    let page = Browser::logged_in(&world, VENDOR).get("/console").ok();
    assert!(!page.contains("backup"), "{page}");
    // A process that starts on the same store knows it, and has taken none itself.
    let again = world.backups_of_a_new_process();
    assert_eq!((&again["state"], &again["latest_at"]), (&json!("none"), &done["at"]));
    let seconds = crate::core::time::Moment::parse(at).expect("a time").0 as f64 / 1e6;
    assert_eq!(world.metric("wsb_latest_backup_timestamp_seconds"), seconds.floor());
}

/// The page of a recipient lists what is dead and what is retried, and says how much
/// else waits.
#[test]
fn the_page_of_a_recipient_says_what_it_lists() {
    let world = case();
    world.tell(&[indkaldelse("two")]);
    let page = Browser::logged_in(&world, OPERATOR).get("/console/recipients/akasse:067").ok();
    assert!(page.contains("Being retried") && page.contains("Wait for their first attempt: 1"), "{page}");
    assert!(page.contains("/console/failures?recipient=akasse:067&amp;state=pending"), "{page}");
}

#[test]
fn the_look_is_a_choice() {
    let world = case();
    let mut browser = Browser::new(&world);
    browser.language = "de";
    assert!(browser.get("/console/login").ok().contains("Log ind"));
    let fields = form(&[("language", "en"), ("theme", "dark"), ("back", "/console/login")]);
    let chosen = browser.send("POST", "/console/look", Some(fields), &[]);
    assert_eq!(chosen.set_cookies.len(), 2);
    chosen.redirects("/console/login");
    let page = browser.get("/console/login").ok();
    assert!(page.contains("<html lang=\"en\" data-theme=\"dark\">") && page.contains("Log in"), "{page}");
}

#[test]
fn a_trial_of_a_replay_sends_nothing() {
    let world = case();
    let mut browser = Browser::logged_in(&world, VENDOR);
    let page = browser.post("/console/replays/preview", &[("what", "all"), ("state", "dead")]).ok();
    assert!(page.contains("nothing has been sent") && page.contains("Nothing matches"), "{page}");
    let refused = browser.post("/console/replays/preview", &[("what", "selected"), ("state", "dead")]);
    assert!(refused.status == 400 && refused.text.contains("Nothing is selected"), "{}", refused.text);
    assert_eq!(world.get("/replays").ok()["items"], json!([]));
}

#[test]
fn files_may_be_kept_and_pages_may_not() {
    let world = case();
    let mut browser = Browser::new(&world);
    let page = browser.get("/console/login").ok();
    let addresses: Vec<&str> = page.split('"').filter(|part| part.starts_with("/console/assets/")).collect();
    assert_eq!(addresses.len(), 4, "{page}");
    for address in addresses {
        let file = browser.get(address);
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable");
        file.ok();
    }
    assert_eq!(browser.get("/console/assets/console.css").status, 404);
}
