//! Holds the import rules of `docs/architecture.md`: the core is pure, arrows
//! point at it, and each foreign library has one home.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Libraries and parts of the standard library that would let the core do
/// something, or know something, that was not handed to it.
const IMPURE: [&str; 19] = [
    "serde",
    "serde_json",
    "tokio",
    "sled",
    "lapin",
    "axum",
    "prometheus",
    "ring",
    "ureq",
    "clap",
    "tracing",
    "toml_edit",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
];

/// Where each foreign library may be named.
const HOMES: [(&str, &[&str]); 15] = [
    ("sled", &["store"]),
    ("fs2", &["store"]),
    ("lapin", &["amqp"]),
    ("axum", &["http"]),
    ("tower", &["http"]),
    ("maud", &["console"]),
    ("prometheus", &["telemetry"]),
    ("toml_edit", &["config"]),
    ("ring", &["store", "config", "amqp", "cli", "tls"]),
    ("rustls", &["tls"]),
    ("x509_parser", &["tls"]),
    ("tokio_rustls", &["http"]),
    ("subtle", &["config"]),
    ("clap", &["cli"]),
    ("ureq", &["cli"]),
];

/// What each top-level module may import of the crate.
const MAY_IMPORT: [(&str, &[&str]); 16] = [
    ("core", &[]),
    ("config", &["core"]),
    ("wire", &["core"]),
    ("store", &["core"]),
    ("tls", &["core"]),
    ("amqp", &["core", "tls"]),
    ("telemetry", &["core"]),
    ("writer", &["core", "store"]),
    ("intake", &["core", "amqp", "wire", "writer"]),
    ("dispatch", &["core", "amqp", "wire", "writer"]),
    ("ops", &["core", "wire"]),
    ("console", &["core"]),
    ("http", &["core", "tls", "config", "amqp", "wire", "store", "telemetry", "writer", "ops", "console", "app"]),
    ("app", &["core", "tls", "config", "amqp", "wire", "store", "telemetry", "writer", "intake", "dispatch", "ops", "http"]),
    ("cli", &["core", "tls", "config", "amqp", "wire", "store", "telemetry", "writer", "ops", "http", "app"]),
    ("lib", &[]),
];

/// The layers of the core; a module imports its own layer and those below.
const LAYERS: [&[&str]; 5] = [
    &["ids", "time"],
    &["about", "audit", "event", "stamp", "persons", "policy", "schedule"],
    &["causes", "citizen", "holds", "notices", "outbox", "replay", "retention", "retry", "routing", "today", "trace"],
    &["records", "lanes", "erasure"],
    &["engine", "invariants", "samples"],
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("the source folder is there") {
        let path = entry.expect("the source folder can be listed").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns each source file with its path below `src`, without comments and
/// without its tests.
fn code() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&root)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("found below it").display().to_string();
            let text = fs::read_to_string(&path).expect("a source file can be read");
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let text: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (name, text.join("\n"))
        })
        .filter(|(name, _)| !name.contains("test"))
        .collect()
}

fn module_of(name: &str) -> &str {
    name.split('/').next().unwrap_or(name).trim_end_matches(".rs")
}

/// Whether `text` names `word` as a path, and not as a part of a longer word.
fn names(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// Whether `text` uses the library: by a `use` line or a path.
fn uses(text: &str, library: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("use ").is_some_and(|used| used.starts_with(&format!("{library}::")) || used.starts_with(&format!("{library};")))
            || (names(line, &format!("{library}::"))
                && !line.contains(&format!("::{library}::"))
                && !line.contains(&format!("super::{library}")))
            || line.contains(&format!(" {library}::"))
    })
}

#[test]
fn the_core_is_pure() {
    for (name, text) in code().iter().filter(|(name, _)| module_of(name) == "core") {
        for impure in IMPURE {
            assert!(!names(text, impure), "src/{name} names {impure}: the core does no I/O and asks nobody for the time");
        }
    }
}

#[test]
fn each_library_has_one_home() {
    for (name, text) in &code() {
        for (library, homes) in HOMES {
            if !homes.contains(&module_of(name)) {
                assert!(!uses(text, library), "src/{name} uses {library}, whose home is {homes:?}");
            }
        }
    }
}

#[test]
fn modules_import_only_what_they_may() {
    let rules: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    for (name, text) in &code() {
        let module = module_of(name);
        if module == "main" {
            continue;
        }
        let allowed =
            rules.get(module).unwrap_or_else(|| panic!("src/{name}: the module {module} has no import rule; give it one in this test"));
        for other in rules.keys().filter(|other| **other != module && !allowed.contains(other)) {
            let direct = text.contains(&format!("crate::{other}::")) || text.contains(&format!("crate::{other};"));
            // `use crate::{a, b};` in one line.
            let grouped = text.lines().any(|line| line.contains("use crate::{") && names(line, other));
            assert!(!direct && !grouped, "src/{name} imports {other}, which {module} may not");
        }
    }
}

#[test]
fn core_modules_import_lower_layers_only() {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    for (name, text) in code().iter().filter(|(name, _)| module_of(name) == "core" && *name != "core/mod.rs") {
        let module = name.split('/').nth(1).unwrap_or_default().trim_end_matches(".rs");
        let own = layer(module).unwrap_or_else(|| panic!("src/{name}: the core module {module} has no layer; give it one in this test"));
        for (at, layer) in LAYERS.iter().enumerate().filter(|(at, _)| *at > own) {
            for higher in *layer {
                let imported = text.contains(&format!("super::{higher}")) || text.contains(&format!("crate::core::{higher}"));
                assert!(!imported, "src/{name} (layer {own}) imports {higher} (layer {at})");
            }
        }
    }
}

/// What waits is decided again, or it is sent after what was taken in (R 5.1).
#[test]
fn whoever_takes_in_events_works_out_what_follows() {
    for (name, text) in code() {
        let takes_in = text.contains("engine.take_in(");
        assert!(!takes_in || text.contains("engine.follow_up("), "{name} takes in events, and leaves what waits as it is");
    }
}

/// Before its rows are committed nothing that waits is found by its citizen.
#[test]
fn commands_make_their_engine_in_one_place() {
    let makes_one = |(name, text): &(String, String)| name.starts_with("cli/") && text.contains("Engine::new(");
    let found: Vec<String> = code().into_iter().filter(makes_one).map(|(name, _)| name).collect();
    assert_eq!(found, ["cli/open.rs"]);
}
