//! `docs/openapi.yaml` against the running server: every call is described, with
//! the roles that it needs, and nothing else is; and whatever is answered in any
//! test of this module is as the document says.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::{Answer, VIEWER, World, event, indkaldelse, known, lederne_is_gone};

/// The document.
fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_yaml_ng::from_str(include_str!("../../../docs/openapi.yaml")).expect("docs/openapi.yaml is YAML"))
}

/// Follows a reference, if it is one.
fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            resolved(document().pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => value,
    }
}

/// Says where a value is not as a schema says. Knows what of JSON Schema the
/// document uses; a keyword that is new to it fails the test.
fn misfit(schema: &'static Value, value: &Value, at: &str) -> Option<String> {
    let schema = resolved(schema);
    let wrong = |what: &str| Some(format!("{at}: {what}: {value}"));
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    let nothing = Map::new();
    let object = value.as_object().unwrap_or(&nothing);
    for (keyword, wanted) in schema.as_object().expect("a schema") {
        let found = match keyword.as_str() {
            "description" | "minimum" | "maximum" | "minLength" => None,
            "type" => {
                let names: Vec<&str> =
                    wanted.as_str().into_iter().chain(wanted.as_array().into_iter().flatten().filter_map(Value::as_str)).collect();
                if names.iter().any(|name| is(name)) { None } else { wrong("not of the type") }
            }
            "const" => {
                if wanted == value {
                    None
                } else {
                    wrong("not that value")
                }
            }
            "enum" => {
                if wanted.as_array().expect("values").contains(value) {
                    None
                } else {
                    wrong("none of the values")
                }
            }
            "format" => match (wanted.as_str(), value.as_str()) {
                (_, None) => None,
                (Some("date-time"), Some(text)) => {
                    if crate::core::time::Moment::parse(text).is_ok() {
                        None
                    } else {
                        wrong("no time")
                    }
                }
                (Some("uuid"), Some(text)) => {
                    if uuid::Uuid::try_parse(text).is_ok() {
                        None
                    } else {
                        wrong("no uuid")
                    }
                }
                (other, _) => panic!("unknown format {other:?}"),
            },
            "required" if value.is_object() => {
                let missing = wanted.as_array().expect("names").iter().filter_map(Value::as_str).find(|name| !object.contains_key(*name));
                missing.and_then(|name| wrong(&format!("without {name}")))
            }
            "properties" => {
                let properties = wanted.as_object().expect("schemas").iter();
                properties
                    .filter_map(|(name, schema)| Some((name, schema, object.get(name)?)))
                    .find_map(|(name, schema, value)| misfit(schema, value, &format!("{at}.{name}")))
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object();
                let mut others = object.iter().filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)));
                match wanted {
                    Value::Bool(false) => others.next().and_then(|(name, _)| wrong(&format!("with {name}"))),
                    Value::Object(_) => others.find_map(|(name, value)| misfit(wanted, value, &format!("{at}.{name}"))),
                    other => panic!("objects are closed, or of one kind, not {other}"),
                }
            }
            "items" => {
                value.as_array().into_iter().flatten().enumerate().find_map(|(index, item)| misfit(wanted, item, &format!("{at}[{index}]")))
            }
            "oneOf" => {
                let fitting = wanted.as_array().expect("schemas").iter().filter(|schema| misfit(schema, value, at).is_none());
                if fitting.count() == 1 { None } else { wrong("not exactly one of several") }
            }
            "required" => None,
            other => panic!("unknown keyword {other}"),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Returns the path of the document that a path is one of.
fn template_of(path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap_or(path);
    let fits = |template: &&String| {
        let (parts, wanted): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), template.split('/').collect());
        parts.len() == wanted.len() && wanted.iter().zip(&parts).all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
    };
    let mut found: Vec<&String> = document()["paths"].as_object().expect("paths").keys().filter(fits).collect();
    // One that names its parts goes before one with a variable there.
    found.sort_by_key(|template| template.matches('{').count());
    found.first().map(|template| template.as_str())
}

/// Asserts that an answer is as the document says, if it is to a call of it.
pub fn check(method: &str, path: &str, answer: &Answer) {
    let Some(operation) = template_of(path).and_then(|template| document()["paths"][template].get(method.to_ascii_lowercase())) else {
        return;
    };
    let responses = &operation["responses"];
    let described = responses.get(answer.status.to_string()).or_else(|| responses.get("default"));
    let described = resolved(described.unwrap_or_else(|| panic!("{method} {path}: {} is not described", answer.status)));
    let kind = answer.headers.get("content-type").map(|kind| kind.split(';').next().unwrap_or(kind).to_owned()).unwrap_or_default();
    let content =
        described["content"].get(&kind).unwrap_or_else(|| panic!("{method} {path}: {} of {kind} is not described", answer.status));
    if let Some(misfit) = misfit(&content["schema"], &answer.body, "answer") {
        panic!("{method} {path} {}: {misfit}", answer.status);
    }
}

#[test]
fn every_call_is_described_with_its_roles_and_nothing_else_is() {
    let world = World::new(lederne_is_gone);
    let mut served: BTreeSet<(String, String, Vec<String>)> = BTreeSet::new();
    for call in world.calls() {
        let roles = call.needs.roles().iter().map(|role| (*role).to_owned()).collect();
        served.insert((format!("/api/v1{}", call.path), call.method.to_ascii_lowercase(), roles));
    }
    let mut described = BTreeSet::new();
    for (path, methods) in document()["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            if path.starts_with("/api/v1/") {
                let roles = operation["x-roles"].as_array().unwrap_or_else(|| panic!("{method} {path} has no x-roles"));
                let roles = roles.iter().map(|role| role.as_str().expect("a role").to_owned()).collect();
                described.insert((path.clone(), method.clone(), roles));
            } else {
                assert_eq!(operation["security"], json!([]), "{path} needs no token");
                assert_eq!(world.call(&method.to_uppercase(), path, None, None).status, 200, "{path}");
            }
        }
    }
    let undescribed: Vec<_> = served.difference(&described).collect();
    let unserved: Vec<_> = described.difference(&served).collect();
    assert!(undescribed.is_empty() && unserved.is_empty(), "not in docs/openapi.yaml: {undescribed:#?}\nonly there: {unserved:#?}");
}

/// Every call once so that it answers with more than an empty list; what it
/// answers is checked as every answer is.
#[test]
fn answers_are_as_described() {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.tell(&[indkaldelse("one"), indkaldelse("two")]);
    for body in ["{", "{", "{"] {
        world.quarantine(body);
    }
    let retrying = |page: &Value| page["items"].as_array().is_some_and(|items| items.len() == 2 && items[0]["attempts"] == 1);
    let waiting = world.until("/deliveries?entity=Indkaldelse&recipient=akasse:067", retrying);
    let id = |at: usize| waiting["items"][at]["id"].as_str().expect("an id").to_owned();
    let get = |path: &str| world.get(path).ok();
    assert_eq!(get("/deliveries?limit=1")["items"].as_array().map(Vec::len), Some(1));
    get(&format!("/deliveries/{}", id(0)));
    world.post(&format!("/deliveries/{}/discard", id(1)), &json!({ "why": "a test" })).ok();
    get("/events/two/trace");
    let explained = event("three", "Indkaldelse", "20000000-0000-4000-8000-000000000003", "2026-03-16T08:00:00Z", &json!({})).to_string();
    let explained = world.send("POST", "/api/v1/explain", Some(VIEWER), Some(("application/cloudevents+json", explained.as_bytes())));
    assert_eq!(explained.ok()["recipients"].as_array().map(Vec::len), Some(2));
    let [membership, _] = known();
    let lines = format!("{membership}\n");
    let imported = world.send("POST", "/api/v1/import", Some(super::OPERATOR), Some(("application/x-ndjson", lines.as_bytes())));
    assert_eq!(imported.ok(), json!({ "taken_in": 0, "repeats": 1 }));
    world.post("/quarantine/1/discard", &json!({ "why": "a test" })).ok();
    assert_eq!(get("/quarantine")["items"].as_array().map(Vec::len), Some(2));
    world.post("/replays", &json!({ "filter": {}, "dry_run": true })).ok();
    let replay = world.post("/replays", &json!({ "filter": {}, "rate_per_second": 1 })).ok();
    let replay = replay["id"].as_str().expect("an id");
    get(&format!("/replays/{replay}"));
    assert_eq!(get("/replays")["items"].as_array().map(Vec::len), Some(1));
    get("/recipients");
    get("/erasures");
    get("/retention/due");
    get("/retention/due?as_of=2033-01-01&cursor=");
    let number = membership["data"]["Personnummer"].as_str().expect("a number").to_owned();
    for dry_run in [true, false] {
        let erased = world.post("/erasures", &json!({ "personnummer": number, "dry_run": dry_run })).ok();
        assert_eq!((&erased["numbers"], &erased["memberships"]), (&json!(1), &json!(1)), "{erased}");
    }
    get("/backup");
    let place = world.folder().join("backup");
    world.post("/backup", &json!({ "to": place })).ok();
    world.until("/backup", |backup| backup["state"] == "done");
    get("/audit/verify");
    assert!(get("/audit")["items"].as_array().is_some_and(|items| items.len() >= 5));
    let shown = world.get("/openapi.yaml").ok();
    assert_eq!(shown, Value::String(include_str!("../../../docs/openapi.yaml").to_owned()));
}
