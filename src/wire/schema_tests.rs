//! Holds the published schemas against the code, with just as much of JSON
//! Schema as they use; a keyword or pattern that is new to it fails the test.

use serde_json::Value;

use super::samples::{event, every_kind, rules, sample};
use super::{Wsb, parse_event, write_wsb};
use crate::core::ids::{ExternalId, Recipient, WsbId};
use crate::core::time::{Day, Moment};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON of the test")
}

fn event_schema() -> Value {
    json(include_str!("../../docs/schema/event.schema.json"))
}

/// Returns whether `value` is as `schema` says; `root` is what `$ref` refers to.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let each = |schemas: &Value| schemas.as_array().expect("schemas").iter().map(|schema| fits(root, schema, value)).collect::<Vec<_>>();
    let names = |names: &Value| names.as_array().expect("names").iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    schema.as_object().expect("a schema").iter().all(|(keyword, wanted)| match keyword.as_str() {
        "$schema" | "$id" | "$defs" | "title" | "description" | "then" => true,
        "$ref" => fits(root, root.pointer(wanted.as_str().expect("a reference").trim_start_matches('#')).expect("a definition"), value),
        "type" => match wanted {
            Value::String(name) => is_type(name, value),
            _ => names(wanted).iter().any(|name| is_type(name, value)),
        },
        "const" => wanted == value,
        "enum" => wanted.as_array().expect("values").contains(value),
        "not" => !fits(root, wanted, value),
        "anyOf" => each(wanted).contains(&true),
        "allOf" => !each(wanted).contains(&false),
        "if" => !fits(root, wanted, value) || fits(root, &schema["then"], value),
        "required" => value.as_object().is_none_or(|object| names(wanted).iter().all(|name| object.contains_key(name))),
        "dependentRequired" => value.as_object().is_none_or(|object| {
            let mut rules = wanted.as_object().expect("names").iter();
            rules.all(|(name, others)| !object.contains_key(name) || names(others).iter().all(|name| object.contains_key(name)))
        }),
        "additionalProperties" => {
            assert_eq!(*wanted, Value::Bool(false));
            value.as_object().is_none_or(|object| object.keys().all(|name| schema["properties"].get(name).is_some()))
        }
        "properties" => value.as_object().is_none_or(|object| {
            let mut properties = wanted.as_object().expect("schemas").iter();
            properties.all(|(name, schema)| object.get(name).is_none_or(|value| fits(root, schema, value)))
        }),
        "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().expect("a length")),
        "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= wanted.as_u64().expect("a length")),
        "pattern" => value.as_str().is_none_or(|text| matches_pattern(wanted.as_str().expect("a pattern"), text)),
        "format" => value.as_str().is_none_or(|text| match wanted.as_str() {
            Some("date") => Day::parse(text).is_ok(),
            Some("date-time") => Moment::parse(text).is_ok(),
            Some("uuid") => WsbId::parse(text).is_ok(),
            other => unreachable!("unknown format {other:?}"),
        }),
        other => unreachable!("unknown keyword {other}"),
    })
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => unreachable!("unknown type {other}"),
    }
}

fn matches_pattern(pattern: &str, text: &str) -> bool {
    let digits = |len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    match pattern {
        "^[0-9]{3}$" => digits(3),
        "^[0-9]{5}$" => digits(5),
        "^[0-9]{10}$" => digits(10),
        "^[!-~]{1,64}$" => ExternalId::parse(text).is_ok(),
        "^[A-Za-z0-9._-]{1,64}$" => super::content::word(text).is_ok(),
        r"^dk\.star\.dfdg\..+\.v1$" => text.starts_with("dk.star.dfdg.") && text.ends_with(".v1"),
        r"^dk\.star\.wsb\..+\.v1$" => text.starts_with("dk.star.wsb.") && text.ends_with(".v1"),
        other => unreachable!("unknown pattern {other}"),
    }
}

/// Whatever one value of a sample becomes, schema and parser agree, apart from
/// what the schema says that it cannot say.
#[test]
fn the_event_schema_takes_what_the_parser_takes() {
    let schema = event_schema();
    let rules = rules();
    let others = [
        "null",
        "1",
        "3",
        "1.5",
        "\"\"",
        "\"067\"",
        "\"860\"",
        "\"2026-04-01\"",
        "\"a b\"",
        "\"kommune\"",
        "{}",
        "[]",
        "true",
        "\"86001\"",
        "\"Jobplan\"",
    ];
    let mut compared = 0;
    for text in every_kind() {
        assert!(fits(&schema, &schema, &json(&text)), "{text}");
        let value = json(&text);
        for path in paths(&value, "") {
            for other in others {
                let mut changed = value.clone();
                *changed.pointer_mut(&path).expect("a path of the value") = json(other);
                let parsed = parse_event(changed.to_string().as_bytes(), &rules).map_err(|refusal| refusal.to_string());
                let beyond_schema = parsed.as_ref().is_err_and(|refusal| {
                    ["unknown-", "ends-before-start", "not-cloudevent: type:", "not-cloudevent: datacontenttype:"]
                        .iter()
                        .any(|p| refusal.starts_with(p))
                });
                if !beyond_schema {
                    assert_eq!(fits(&schema, &schema, &changed), parsed.is_ok(), "{path} = {other}: {parsed:?}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1000, "only {compared} compared");
}

/// The JSON pointers of every value inside `value`.
fn paths(value: &Value, path: &str) -> Vec<String> {
    let members = value.as_object().into_iter().flatten();
    members.flat_map(|(name, value)| [vec![format!("{path}/{name}")], paths(value, &format!("{path}/{name}"))].concat()).collect()
}

#[test]
fn the_wsb_schema_takes_every_wsb() {
    let schema = json(include_str!("../../docs/schema/wsb.schema.json"));
    let rules = rules();
    for text in every_kind() {
        let event = event(&text);
        let name = if &*event.entity == "GdprSletning" { "GdprSletJoblog" } else { &*event.entity };
        let message_type = rules.message_type(name).expect("a type of the test");
        for recipient in ["akasse:067", "kommune:860"].map(|text| Recipient::parse(text).expect("a recipient of the test")) {
            for identification in [None, Some(&event.personnummer)] {
                let id = event.mark.wsb_id(recipient);
                let wsb = Wsb { event: &event, message_type, recipient, id, sent: Moment(0), identification };
                let written: Value = serde_json::from_slice(&write_wsb(&wsb)).expect("a WSB is JSON");
                assert!(fits(&schema, &schema, &written), "{written}");
            }
        }
    }
}

#[test]
fn the_schema_refuses_what_the_check_of_this_test_must_see() {
    let schema = event_schema();
    let membership = sample("Akassemedlemskab", 1, r#"{"Akassekode": "067"}"#);
    assert!(!fits(&schema, &schema, &json(&membership.replace("067", "67"))));
    assert!(!fits(&schema, &schema, &json(&membership.replace("\"Startdato\"", "\"Andet\""))));
}

/// Names only: reading YAML would take a dependency.
#[test]
fn asyncapi_names_every_object_of_the_topology() {
    let asyncapi = include_str!("../../docs/asyncapi.yaml");
    for name in [
        "dfdg.events",
        "wsb.intake.tilknytning",
        "wsb.intake.events",
        "wsb.delivery",
        "wsb.akasse.{kode}",
        "wsb.kommune.{kode}",
        "wsb.returned",
        "dfdg.deletions",
        "reject-publish",
        "at-least-once",
        "schema/event.schema.json",
        "schema/wsb.schema.json",
        super::CONTENT_TYPE,
        super::APP_ID,
    ] {
        assert!(asyncapi.contains(name), "{name}");
    }
    for domain in crate::core::policy::Domain::ALL {
        assert!(asyncapi.contains(domain.name()), "{}", domain.name());
    }
}
