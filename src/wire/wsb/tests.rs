use super::super::samples::{event, indkaldelse, message_type, rules, sample};
use super::*;
use crate::core::policy::Domain;

fn written(json: &str, entity: &str, recipient: &str, identified: bool) -> String {
    let rules = rules();
    let event = event(json);
    let recipient = Recipient::parse(recipient).expect("a recipient of the test");
    let wsb = Wsb {
        event: &event,
        message_type: rules.message_type(entity).expect("a type of the test"),
        recipient,
        id: event.mark.wsb_id(recipient),
        sent: Moment(1_773_644_401_234_567),
        identification: identified.then_some(&event.personnummer),
    };
    String::from_utf8(write_wsb(&wsb)).expect("JSON is UTF-8")
}

#[test]
fn writes_the_body_that_vendors_read() {
    assert_eq!(
        written(&indkaldelse(), "Indkaldelse", "akasse:067", true),
        concat!(
            r#"{"specversion":"1.0","id":"PINNED","source":"urn:dk:star:wsb-broker","type":"dk.star.wsb.Indkaldelse.v1","#,
            r#""time":"2026-03-16T07:00:01.234Z","datacontenttype":"application/json","data":{"EntitetNavn":"Indkaldelse","EntitetId":90000,"#,
            r#""EksternIdentifier":"5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91","VersionIdentifier":null,"#,
            r#""IdentifikationstypeId":1,"Identifikation":"0101010001","Aendringstype":1,"Modtager":{"Type":"akasse","Kode":"067"},"#,
            r#""RegistrerendeMyndighed":{"Type":"kommune","Kode":"860"},"Haendelsestidspunkt":"2026-03-16T08:00:00+01:00"}}"#
        )
        .replace("PINNED", PINNED_ID)
    );
}

/// On the wire: may never change.
const PINNED_ID: &str = "09fd1f25-74b8-500e-934a-58eb35932a48";

#[test]
fn a_former_holder_does_not_learn_the_number() {
    let json = sample("GdprSletning", 1, r#"{"Dataomraade":"joblog","SlettetEntitet":"Joblog","Andet":"fortroligt"}"#)
        .replace("\"RegistrerendeMyndighed\": {\"Type\": \"kommune\", \"Kode\": \"860\"},", "")
        .replace("\"VersionIdentifier\": null", "\"VersionIdentifier\": \"v\\\"2\"");
    let body = written(&json, "GdprSletJoblog", "kommune:860", false);
    assert_eq!(
        body.split_once(r#""data":"#).map(|(_, data)| data),
        Some(concat!(
            r#"{"EntitetNavn":"GdprSletJoblog","EntitetId":910001,"EksternIdentifier":"5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91","#,
            r#""VersionIdentifier":"v\"2","Aendringstype":3,"Modtager":{"Type":"kommune","Kode":"860"},"RegistrerendeMyndighed":null,"#,
            r#""Haendelsestidspunkt":"2026-03-16T08:00:00+01:00","Indhold":{"Dataomraade":"joblog","SlettetEntitet":"Joblog"}}}"#
        ))
    );
}

#[test]
fn sends_the_body_of_the_event_only_for_types_that_have_one() {
    let body = written(&sample("Akassemedlemskab", 1, r#"{ "Akassekode": "067" }"#), "Akassemedlemskab", "akasse:067", true);
    assert!(body.ends_with(r#","Indhold":{"Akassekode":"067"}}}"#), "{body}");
    let body = written(&sample("Akassemedlemskab", 3, "null"), "Akassemedlemskab", "akasse:067", true);
    assert!(body.ends_with(r#"+01:00"}}"#), "{body}");
    let body = written(&sample("Bopaelskommune", 1, r#"{"Kommunekode":"860"}"#), "Bopaelskommune", "kommune:860", true);
    assert!(!body.contains("Indhold"), "{body}");
}

#[test]
fn escapes_what_json_demands() {
    let check = |plain: &str, expected: &str| {
        let mut out = Vec::new();
        text(&mut out, &[plain]);
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert_eq!(serde_json::from_slice::<String>(&out).ok().as_deref(), Some(plain));
    };
    check("", r#""""#);
    check("æ 😀", r#""æ 😀""#);
    check("\"\\\u{1}\n\u{1f}x", r#""\"\\\u0001\u000a\u001fx""#);
}

#[test]
fn writes_whole_numbers() {
    for expected in [0, 1, 9, 10, 90_000, 910_001, u32::MAX - 1, u32::MAX] {
        let mut out = Vec::new();
        number(&mut out, expected);
        assert_eq!(String::from_utf8_lossy(&out), expected.to_string());
    }
}

#[test]
fn properties_say_what_the_body_says() {
    let event = event(&indkaldelse());
    let recipient = Recipient::parse("akasse:067").expect("a recipient of the test");
    let message_type = message_type("Indkaldelse", 90_000, Domain::Kontaktforloeb, Payload::IdOnly);
    let id = event.mark.wsb_id(recipient);
    let wsb = Wsb { event: &event, message_type: &message_type, recipient, id, sent: Moment(1_999_999), identification: None };
    assert_eq!(
        wsb.properties(2, true),
        WsbProperties {
            message_id: PINNED_ID.to_owned(),
            correlation_id: "01JQ8ZJ3V5T9W2K4M6N8P0R2S4".into(),
            type_name: "Indkaldelse".into(),
            timestamp: 1,
            recipient: "akasse:067".to_owned(),
            entity_id: 90_000,
            change_type: 1,
            attempt: 2,
            replay: true,
        }
    );
}

#[test]
fn routing_keys_are_lower_case() {
    let rules = rules();
    let check = |entity: &str, change, expected: &str| {
        assert_eq!(rules.message_type(entity).map(|t| routing_key(t, change)).as_deref(), Some(expected));
    };
    check("Indkaldelse", Change::Created, "kontaktforloeb.indkaldelse.oprettet");
    check("Akassemedlemskab", Change::Updated, "tilknytning.akassemedlemskab.opdateret");
    check("GdprSletning", Change::Deleted, "gdpr.gdprsletning.slettet");
}
