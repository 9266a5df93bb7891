//! A real Prometheus that scrapes a broker, with everything it writes in a
//! directory of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::{free_port, until};

/// A Prometheus, ended with its handle.
pub struct Prometheus {
    child: Child,
    port: u16,
    log: PathBuf,
    _home: TempDir,
}

/// Finds a program of Prometheus.
///
/// Without one the test says so and does nothing, unless `WSB_REQUIRE_TOOLS` is
/// set, as it is in CI.
#[track_caller]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file());
    if found.is_none() {
        let message = format!("there is no {program}: `make setup` installs it, or apt-get install prometheus");
        assert!(std::env::var("WSB_REQUIRE_TOOLS").as_deref() != Ok("1"), "{message}");
        eprintln!("SKIPPED: {message}");
    }
    found
}

impl Prometheus {
    /// Starts it with the rules under `deploy/prometheus`, scraping once a second a
    /// broker, and another one over TLS.
    #[track_caller]
    pub fn start(program: &Path, target: &str, with_tls: &str) -> Self {
        let home = tempfile::Builder::new().prefix("wsb-prometheus-").tempdir().expect("a temporary directory");
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
        let configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [\"{0}/recording.yml\", \"{0}/alerts.yml\"]\n\
             scrape_configs:\n\
             - {{ job_name: wsb-broker, static_configs: [{{ targets: [\"{target}\"] }}] }}\n\
             - {{ job_name: tls, scheme: https, tls_config: {{ insecure_skip_verify: true }}, static_configs: [{{ targets: [\"{with_tls}\"] }}] }}\n",
            rules.display()
        );
        fs::write(home.path().join("prometheus.yml"), configuration).expect("the temporary directory is writable");
        let port = free_port();
        let log = home.path().join("log");
        let file = fs::File::create(&log).expect("the temporary directory is writable");
        let child = Command::new(program)
            .arg(format!("--config.file={}", home.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", home.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file)
            .spawn()
            .expect("prometheus is executable");
        let mut prometheus = Self { child, port, log, _home: home };
        until(Duration::from_secs(60), "Prometheus is ready", || {
            let ended = prometheus.child.try_wait().expect("our own child");
            assert!(ended.is_none(), "Prometheus ended: {}", fs::read_to_string(&prometheus.log).unwrap_or_default());
            ureq::get(format!("http://127.0.0.1:{}/-/ready", prometheus.port)).call().is_ok()
        });
        prometheus
    }

    /// Runs an instant query and returns its series; the error's words when it
    /// is refused.
    ///
    /// # Errors
    /// What Prometheus objects to.
    pub fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let answer = self.get("/api/v1/query", &[("query", query)]);
        match answer["data"]["result"].as_array() {
            Some(series) => Ok(series.clone()),
            None => Err(answer["error"].as_str().unwrap_or("no answer").to_owned()),
        }
    }

    /// Returns the alerting rules, as Prometheus has loaded them.
    pub fn alerts(&self) -> Vec<Value> {
        let answer = self.get("/api/v1/rules", &[("type", "alert")]);
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30))).build();
        let agent: ureq::Agent = config.into();
        let request = agent.get(format!("http://127.0.0.1:{}{path}", self.port)).query_pairs(query.iter().copied());
        request.call().ok().and_then(|mut answer| answer.body_mut().read_json().ok()).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
