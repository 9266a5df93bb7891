//! What the broker is built of: the bill of materials agrees with the lock file,
//! licenses and sources are those that `deny.toml` allows, and every exception
//! there is still needed; and whatever of others lies in the repository itself is in
//! the bill and in `NOTICE`; and the license texts of all of them stand in
//! `THIRD-PARTY.txt`. Needs no network; advisories do, see `deny.toml`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "in a test, a panic with a good message is how it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use toml_edit::{DocumentMut, Item};

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn toml(file: &str) -> DocumentMut {
    read(file).parse().unwrap()
}

/// A package that ends up in the program, or builds it.
struct Part {
    name: String,
    version: String,
    license: String,
    source: Option<String>,
    needs: Vec<String>,
    authors: Vec<String>,
    /// Where its sources lie on this machine.
    folder: PathBuf,
}

impl Part {
    fn reference(&self) -> String {
        reference(&self.name, &self.version)
    }
}

fn reference(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// Something of others that lies in the repository and ends up in the program.
struct Vendored {
    /// Its name on npm.
    name: &'static str,
    version: &'static str,
    license: &'static str,
    file: &'static str,
    /// The file with the text of its license.
    text: &'static str,
}

const VENDORED: [Vendored; 1] = [Vendored {
    name: "htmx.org",
    version: "2.0.11",
    license: "0BSD",
    file: "src/console/assets/htmx-2.0.11.min.js",
    text: "src/console/assets/htmx-LICENSE.txt",
}];

/// What lies under `src`, is no code, and is our own.
const OWN: [&str; 3] = ["src/console/assets/console.css", "src/console/assets/console.js", "src/console/assets/icon.svg"];

impl Vendored {
    fn reference(&self) -> String {
        format!("pkg:npm/{}@{}", self.name, self.version)
    }

    fn checksum(&self) -> String {
        let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(self.file)).unwrap();
        digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What cargo compiles for a Linux server, by reference: it resolves more, such as
/// optional libraries of others that nobody has asked for.
fn compiled() -> BTreeSet<String> {
    let arguments =
        ["tree", "--locked", "--offline", "--edges", "normal,build", "--target", "x86_64-unknown-linux-gnu", "--prefix", "none"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let package = |line: &str| {
        let mut words = line.split(' ');
        Some(reference(words.next()?, words.next()?.strip_prefix('v')?))
    };
    lines.lines().filter_map(package).collect()
}

/// Every package of the program, without what only tests need.
fn parts() -> Vec<Part> {
    let arguments = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let by_id = |list: &Value| -> BTreeMap<String, Value> {
        list.as_array().unwrap().iter().map(|entry| (entry["id"].as_str().unwrap().to_owned(), entry.clone())).collect()
    };
    let compiled = compiled();
    let (packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let needs = |id: &str| -> Vec<String> {
        let all = nodes[id]["deps"].as_array().unwrap().iter();
        let kept = all.filter(|one| one["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev"));
        let is_compiled = |id: &String| compiled.contains(&reference(&text(&packages[id]["name"]), &text(&packages[id]["version"])));
        kept.map(|one| text(&one["pkg"])).filter(is_compiled).collect()
    };
    let mut open = vec![text(&metadata["resolve"]["root"])];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id.clone()) {
            open.extend(needs(&id));
        }
    }
    let mut parts: Vec<Part> = seen
        .iter()
        .map(|id| {
            let package = &packages[id];
            let mut needs: Vec<String> =
                needs(id).iter().map(|id| reference(&text(&packages[id]["name"]), &text(&packages[id]["version"]))).collect();
            needs.sort();
            needs.dedup();
            Part {
                name: text(&package["name"]),
                version: text(&package["version"]),
                // The slash of old manifests means "or".
                license: text(&package["license"]).replace(" / ", "/").replace('/', " OR "),
                source: package["source"].as_str().map(ToOwned::to_owned),
                needs,
                authors: package["authors"].as_array().unwrap().iter().map(text).collect(),
                folder: Path::new(&text(&package["manifest_path"])).parent().unwrap().to_owned(),
            }
        })
        .collect();
    parts.sort_by_key(Part::reference);
    parts
}

/// Checksums of the lock file, by reference.
fn checksums() -> BTreeMap<String, String> {
    let lock = toml("Cargo.lock");
    let packages = lock["package"].as_array_of_tables().unwrap().iter();
    let text = |item: Option<&Item>| item.and_then(Item::as_str).unwrap_or_default().to_owned();
    packages
        .map(|package| (reference(&text(package.get("name")), &text(package.get("version"))), text(package.get("checksum"))))
        .filter(|(_, checksum)| !checksum.is_empty())
        .collect()
}

fn bill_of_materials(parts: &[Part]) -> Value {
    let checksums = checksums();
    let (own, others): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(|part| part.source.is_none());
    assert_eq!(own.len(), 1, "the broker alone has no registry as its source");
    let license = |part: &Part| json!([{ "expression": part.license }]);
    let vendored = VENDORED.iter().map(|one| {
        json!({
            "type": "library", "bom-ref": one.reference(), "purl": one.reference(), "name": one.name, "version": one.version,
            "licenses": [{ "expression": one.license }], "hashes": [{ "alg": "SHA-256", "content": one.checksum() }],
        })
    });
    let components: Vec<Value> = others
        .iter()
        .map(|part| {
            let checksum = checksums.get(&part.reference()).unwrap_or_else(|| panic!("{} is not in Cargo.lock", part.reference()));
            json!({
                "type": "library", "bom-ref": part.reference(), "purl": part.reference(), "name": part.name, "version": part.version,
                "licenses": license(part), "hashes": [{ "alg": "SHA-256", "content": checksum }],
            })
        })
        .chain(vendored)
        .collect();
    let needs = |part: &Part| -> Vec<String> {
        let embedded = VENDORED.iter().map(Vendored::reference).filter(|_| part.source.is_none());
        part.needs.iter().cloned().chain(embedded).collect()
    };
    let of_cargo = parts.iter().map(|part| json!({ "ref": part.reference(), "dependsOn": needs(part) }));
    let of_others = VENDORED.iter().map(|one| json!({ "ref": one.reference(), "dependsOn": [] }));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": { "component": {
            "type": "application", "bom-ref": own[0].reference(), "name": own[0].name, "version": own[0].version, "licenses": license(own[0]),
        } },
        "components": components,
        "dependencies": of_cargo.chain(of_others).collect::<Vec<_>>(),
    })
}

#[test]
fn the_bill_of_materials_agrees_with_the_lock_file() {
    let text = format!("{:#}\n", bill_of_materials(&parts()));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("sbom.cdx.json");
    if std::env::var_os("WSB_WRITE_SBOM").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert!(fs::read_to_string(&file).unwrap_or_default() == text, "sbom.cdx.json differs from Cargo.lock: run `make sbom`");
}

/// The texts of licenses in a package, also of what it embeds itself.
fn license_texts(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().to_lowercase();
        let is_license = ["license", "licence", "copying", "copyright", "notice", "unlicense"].iter().any(|word| name.starts_with(word));
        if path.is_dir() {
            found.extend(license_texts(&path));
        } else if is_license && !name.ends_with(".rs") {
            found.push(String::from_utf8_lossy(&fs::read(&path).unwrap()).replace("\r\n", "\n").trim().to_owned());
        }
    }
    found
}

/// Whether a text is the Apache License 2.0 and nothing else: it stands in `LICENSE`.
fn is_apache(text: &str) -> bool {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.starts_with("Apache License Version 2.0, January 2004") && words.len() < 12_000
}

const RULE: &str = "----------------------------------------------------------------------";

/// Every license text once, under the names of the packages that have it.
fn third_party(parts: &[Part]) -> String {
    let others: Vec<&Part> = parts.iter().filter(|part| part.source.is_some()).collect();
    let mut holders: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    let mut list = String::new();
    for part in &others {
        let name = format!("{} {}", part.name, part.version);
        let texts = license_texts(&part.folder);
        list += &format!("{name}: {}", part.license);
        if texts.is_empty() {
            list += &format!(
                " (its package holds no text; by {})",
                if part.authors.is_empty() { "its authors".to_owned() } else { part.authors.join(", ") }
            );
        }
        list += "\n";
        for text in texts.into_iter().filter(|text| !is_apache(text)) {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            holders.entry(words).or_insert_with(|| (text, Vec::new())).1.push(name.clone());
        }
    }
    let mut texts: Vec<&(String, Vec<String>)> = holders.values().collect();
    texts.sort_by_key(|(_, names)| names);
    let texts: String = texts.iter().map(|(text, names)| format!("{RULE}\n{}\n\n{text}\n\n", names.join("\n"))).collect();
    format!(
        "What the WSB broker is built of, and the licenses of it. Written by `make sbom`; what the\n\
         console embeds is in NOTICE. The Apache License 2.0 stands in LICENSE, and is not repeated here;\n\
         where a package leaves a choice and that is one, it is the one chosen. A package without a text of its\n\
         own is under the one that it names, as that of others below, with its authors as holders.\n\n{list}\n{texts}"
    )
}

#[test]
fn the_licenses_of_everything_linked_are_with_it() {
    let parts = parts();
    let text = third_party(&parts);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("THIRD-PARTY.txt");
    if std::env::var_os("WSB_WRITE_SBOM").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(there == text, "THIRD-PARTY.txt differs from Cargo.lock: run `make sbom`");
    for part in parts.iter().filter(|part| part.source.is_some()) {
        let name = format!("{} {}", part.name, part.version);
        assert!(there.contains(&format!("\n{name}: ")), "{name} is not in THIRD-PARTY.txt");
        // Without Apache-2.0 to choose, a text has to be given.
        let needs_a_text = !part.license.contains("Apache-2.0") && !license_texts(&part.folder).is_empty();
        assert!(!needs_a_text || there.lines().any(|line| line == name), "{name}: THIRD-PARTY.txt has not the text of {}", part.license);
    }
    // Wherever the program goes, they go.
    for (packager, names) in
        [("Makefile", "THIRD-PARTY.txt"), ("deploy/Dockerfile", "LICENSE NOTICE THIRD-PARTY.txt"), (".dockerignore", "!THIRD-PARTY.txt")]
    {
        assert!(read(packager).contains(names), "{packager} leaves THIRD-PARTY.txt behind");
    }
}

/// Files under `folder` that are no code, by their path in the repository.
fn no_code(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            no_code(&path, found);
        } else if path.extension().is_none_or(|ending| ending != "rs") {
            let inside: PathBuf = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned();
            found.insert(inside.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn what_is_vendored_is_listed_with_its_license() {
    let mut there = BTreeSet::new();
    no_code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut there);
    let listed = VENDORED.iter().flat_map(|one| [one.file, one.text]).chain(OWN).map(ToOwned::to_owned).collect::<BTreeSet<String>>();
    assert_eq!(there, listed, "files under src that are no code: say in tests/supply_chain.rs whose they are");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let notice = words(&read("NOTICE"));
    let bill: Value = serde_json::from_str(&read("sbom.cdx.json")).unwrap();
    for one in &VENDORED {
        assert!(read(one.file).contains(one.version), "{} is not of version {}", one.file, one.version);
        assert!(notice.contains(&format!("{} {}", one.name, one.version)), "NOTICE does not name {} {}", one.name, one.version);
        assert!(notice.contains(&words(&read(one.text))), "NOTICE has not the license of {}", one.name);
        let components = bill["components"].as_array().unwrap();
        assert!(components.iter().any(|component| component["purl"] == one.reference()), "{} is not in the bill", one.name);
    }
}

fn texts(item: &Item) -> BTreeSet<String> {
    item.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

#[test]
fn licenses_and_sources_are_allowed_ones() {
    let deny = toml("deny.toml");
    let allowed = texts(&deny["licenses"]["allow"]);
    let registries = texts(&deny["sources"]["allow-registry"]);
    let mut used = BTreeSet::new();
    for part in parts() {
        if let Some(source) = &part.source {
            let registry = source.trim_start_matches("registry+");
            assert!(registries.contains(registry), "{} comes from {source}", part.reference());
        }
        // A license expression holds if one of its alternatives consists of
        // allowed ones. None here nests deeper than one pair of parentheses.
        let every: Vec<Vec<&str>> = part.license.split(" AND ").map(|term| term.trim_matches(['(', ')']).split(" OR ").collect()).collect();
        for alternatives in every {
            let found: Vec<&&str> = alternatives.iter().filter(|license| allowed.contains(**license)).collect();
            assert!(!found.is_empty(), "{}: deny.toml allows none of {alternatives:?}", part.reference());
            used.extend(found.iter().map(|license| (**license).to_owned()));
        }
    }
    for one in &VENDORED {
        assert!(allowed.contains(one.license), "{}: deny.toml does not allow {}", one.name, one.license);
        used.insert(one.license.to_owned());
    }
    assert_eq!(allowed.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "allowed in deny.toml, and used by nothing");
}

#[test]
fn exceptions_are_explained_and_still_needed() {
    let parts = parts();
    let names: BTreeSet<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    let deny = toml("deny.toml");
    let exceptions = deny["advisories"]["ignore"].as_array().unwrap();
    for exception in exceptions {
        let exception = exception.as_inline_table().unwrap();
        let reason = exception.get("reason").and_then(|reason| reason.as_str()).unwrap();
        let subject = reason.split(' ').next().unwrap();
        assert!(names.contains(subject), "{subject} is not depended on any more: remove {:?} from deny.toml", exception.get("id"));
    }
    for banned in deny["bans"]["deny"].as_array().unwrap() {
        let banned = banned.as_inline_table().unwrap().get("crate").unwrap().as_str().unwrap();
        assert!(!names.contains(banned), "{banned} is depended on, and deny.toml bans it");
    }
}
