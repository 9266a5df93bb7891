//! A real Chromium without a window, driven over WebDriver by its own driver,
//! with everything it writes in a directory that goes with its handle.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::{Leash, free_port, until};

/// Longer than any page should take on a machine that also compiles.
const LIMIT: Duration = Duration::from_secs(60);

/// The key that the W3C's table names so.
pub const TAB: char = '\u{E004}';
/// Likewise.
pub const ENTER: char = '\u{E007}';

/// Finds Chromium and its driver.
///
/// Without them the test says so and does nothing, unless `WSB_REQUIRE_TOOLS` is
/// set, as it is in CI.
#[track_caller]
pub fn find() -> Option<(PathBuf, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = |names: &[&str]| {
        let files = std::env::split_paths(&path).flat_map(|directory| names.iter().map(move |name| directory.join(name)));
        files.into_iter().find(|file| file.is_file())
    };
    let found = program(&["chromium", "chromium-browser", "google-chrome"]).zip(program(&["chromedriver"]));
    if found.is_none() {
        let message = "there is no Chromium with its driver: `make setup` installs it, or apt-get install chromium chromium-driver";
        assert!(std::env::var("WSB_REQUIRE_TOOLS").as_deref() != Ok("1"), "{message}");
        eprintln!("SKIPPED: {message}");
    }
    found
}

/// A browser, ended with its handle.
pub struct Chromium {
    driver: Child,
    session: String,
    leash: Leash,
    _home: TempDir,
}

impl Chromium {
    /// Starts one in English, as large as a screen.
    #[track_caller]
    pub fn start((chromium, driver): &(PathBuf, PathBuf)) -> Self {
        let home = tempfile::Builder::new().prefix("wsb-chromium-").tempdir().expect("a temporary directory");
        let port = free_port();
        let log = home.path().join("log");
        let file = fs::File::create(&log).expect("the temporary directory is writable");
        let mut leash = Leash::new(Some(home.path()));
        let driver = Command::new(driver)
            .arg(format!("--port={port}"))
            .process_group(0)
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file)
            .spawn()
            .expect("chromedriver is executable");
        leash.hold(driver.id());
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Self { driver, session: base.clone(), leash, _home: home };
        until(LIMIT, "chromedriver is ready", || {
            let ended = browser.driver.try_wait().expect("our own child");
            assert!(ended.is_none(), "chromedriver ended: {}", fs::read_to_string(&log).unwrap_or_default());
            ureq::get(format!("{base}/status")).call().is_ok()
        });
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--window-size=1280,900".to_owned(),
            format!("--user-data-dir={}", browser._home.path().join("profile").display()),
        ];
        let options = json!({ "binary": chromium, "args": arguments, "prefs": { "intl.accept_languages": "en" } });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:loggingPrefs": { "browser": "ALL" }, "goog:chromeOptions": options,
        } } });
        let answer = browser.post("/session", &wanted);
        let id = answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}"));
        browser.session = format!("{base}/session/{id}");
        browser
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Value> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(LIMIT)).build();
        let agent: ureq::Agent = config.into();
        let url = format!("{}{path}", self.session);
        let answer = match (method, body) {
            ("GET", _) => agent.get(url).call(),
            (_, body) => agent.post(url).send_json(body.unwrap_or(&json!({}))),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(u64::MAX).read_to_string().unwrap_or_default();
        let mut value: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() { Ok(value["value"].take()) } else { Err(value["value"].take()) }
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", path, Some(body)).unwrap_or_else(|error| panic!("{path}: {}", error["message"]))
    }

    /// Goes to an address and waits until it is loaded.
    #[track_caller]
    pub fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Returns the address of the page.
    #[track_caller]
    pub fn url(&self) -> String {
        self.send("GET", "/url", None).expect("a page has an address").as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page and returns what it returns.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Returns what is to be read on the page.
    #[track_caller]
    pub fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page's address holds `part`: without scripts nothing else
    /// says that a click has led somewhere.
    #[track_caller]
    pub fn until_url(&self, part: &str) {
        until(LIMIT, &format!("the address holds {part:?}"), || self.url().contains(part));
    }

    /// Waits until something is to be read on the page.
    #[track_caller]
    pub fn until_text(&self, wanted: &str) {
        self.until_text_within(LIMIT, wanted);
    }

    /// Likewise, but no longer than so long.
    #[track_caller]
    pub fn until_text_within(&self, limit: Duration, wanted: &str) {
        until(limit, &format!("{wanted:?} is to be read"), || self.reads(wanted) == Some(true));
    }

    /// Waits until something is not to be read on the page any more.
    #[track_caller]
    pub fn until_text_gone(&self, unwanted: &str) {
        until(LIMIT, &format!("{unwanted:?} is gone"), || self.reads(unwanted) == Some(false));
    }

    /// Returns whether something is to be read; between two pages there is nothing to
    /// read it from.
    fn reads(&self, words: &str) -> Option<bool> {
        let read = self.send("POST", "/execute/sync", Some(&json!({ "script": "return document.body.innerText", "args": [] })));
        Some(read.ok()?.as_str()?.contains(words))
    }

    /// Returns the only element that a CSS selector finds first.
    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("nothing is {selector}")).to_owned()
    }

    /// Returns how many elements a CSS selector finds.
    #[track_caller]
    pub fn count(&self, selector: &str) -> usize {
        self.post("/elements", &json!({ "using": "css selector", "value": selector })).as_array().map_or(0, Vec::len)
    }

    /// Clicks on an element, and waits for the page that this may lead to.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Writes into a field.
    #[track_caller]
    pub fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Presses a key, wherever the focus is.
    #[track_caller]
    pub fn press(&self, key: char) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.post("/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] }));
    }

    /// Types a text, wherever the focus is.
    #[track_caller]
    pub fn type_text(&self, text: &str) {
        text.chars().for_each(|key| self.press(key));
    }

    /// Presses Tab until the focus is on an element that the selector finds.
    #[track_caller]
    pub fn tab_to(&self, selector: &str) {
        for _ in 0..120 {
            self.press(TAB);
            let there = self.run(&format!("return document.activeElement.matches({})", json!(selector)));
            if there == Value::Bool(true) {
                return;
            }
        }
        panic!("Tab does not reach {selector}");
    }

    /// Returns what the browser has to object to, such as violations of the
    /// policy of the pages, since last asked.
    #[track_caller]
    pub fn objections(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        entries.iter().filter_map(|entry| entry["message"].as_str().map(str::to_owned)).collect()
    }

    /// Sends a command of the DevTools protocol.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Makes the page as large as a screen or a phone.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32, phone: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Has the system prefer light or dark colors.
    #[track_caller]
    pub fn prefer(&self, scheme: &str) {
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }));
    }

    /// Writes what is seen to a file.
    #[track_caller]
    pub fn photograph(&self, file: &Path) {
        let shot = self.devtools("Page.captureScreenshot", &json!({ "format": "png", "optimizeForSpeed": false }));
        let bytes = from_base64(shot["data"].as_str().unwrap_or_default());
        fs::write(file, bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(10))).build();
        // Asked first: then the browser's own children go too.
        let _ = ureq::Agent::from(config).delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        self.leash.let_go();
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'=' | b'\n')).map(value).collect();
    let bytes = |four: &[u8]| {
        let word = four.iter().fold(0_u32, |word, digit| word << 6 | u32::from(*digit)) << (6 * (4 - four.len()));
        word.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(bytes).collect()
}

#[test]
fn base64_is_read() {
    assert_eq!(from_base64("aGVqIG1lZCBkaWc="), b"hej med dig");
    assert_eq!(from_base64("//8="), [0xff, 0xff]);
}
