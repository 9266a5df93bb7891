//! Rules and messages that the tests of this module share. All numbers are
//! made up.

use std::sync::Arc;

use super::parse_event;
use crate::core::event::Event;
use crate::core::ids::Recipient;
use crate::core::policy::{Domain, MessageType, Payload, RecipientRule, RetryPolicy, Rules, Subscriptions};

/// An Indkaldelse of some 600 bytes, the size that speed is measured with.
pub(super) fn indkaldelse() -> String {
    sample("Indkaldelse", 1, r#"{"Emne": "fortroligt emne", "Sted": {"Lokale": "fortroligt lokale"}}"#)
}

/// An event of that type, with every optional field.
pub(super) fn sample(entity: &str, change: i64, indhold: &str) -> String {
    format!(
        r#"{{ "specversion": "1.0", "id": "01JQ8ZJ3V5T9W2K4M6N8P0R2S4", "source": "urn:dk:star:dfdg:kontaktforloeb", "type": "dk.star.dfdg.{entity}.v1",
  "time": "2026-03-16T08:00:00+01:00", "datacontenttype": "application/json",
  "data": {{ "EntitetNavn": "{entity}", "Aendringstype": {change}, "EksternIdentifier": "5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91", "VersionIdentifier": null,
            "Personnummer": "0101010001", "RegistrerendeMyndighed": {{"Type": "kommune", "Kode": "860"}},
            "Startdato": "2026-03-16", "Slutdato": null, "Indhold": {indhold} }} }}"#
    )
}

/// One well-formed event of every kind of content.
pub(super) fn every_kind() -> Vec<String> {
    [
        ("Indkaldelse", r#"{"Emne": "fortroligt emne"}"#),
        ("Akassemedlemskab", r#"{"Akassekode": "067", "Afgangsaarsag": "A"}"#),
        ("Jobcentertilknytning", r#"{"Jobcenterkode": "86001"}"#),
        ("Bopaelskommune", r#"{"Kommunekode": "101"}"#),
        ("Personnummerskift", r#"{"NytPersonnummer": "6101010002"}"#),
        ("PersonDoed", r#"{"Doedsdato": "2026-03-01"}"#),
        ("Kontaktgruppe", r#"{"KontaktgruppeTypeId": 13, "TidligereKontaktgruppeTypeId": 26}"#),
        ("Plan", r#"{"Plantype": "Jobplan", "SenereVersion": "7b0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91"}"#),
        ("GdprSletning", r#"{"Dataomraade": "joblog", "SlettetEntitet": "Joblog", "Grundlag": "afdoed"}"#),
        ("RigsarkivAflevering", r#"{"Dataomraade": "joblog"}"#),
    ]
    .iter()
    .flat_map(|(entity, indhold)| [1, 2, 3].map(|change| sample(entity, change, indhold)))
    .collect()
}

pub(super) fn event(json: &str) -> Event {
    parse_event(json.as_bytes(), &rules()).expect(json)
}

pub(super) fn message_type(name: &str, entity_id: u32, domain: Domain, payload: Payload) -> MessageType {
    MessageType {
        name: name.into(),
        entity_id,
        domain,
        payload,
        voluntary: false,
        after_death: false,
        audiences: Vec::new(),
        notice_for: Vec::new(),
    }
}

pub(super) fn rules() -> Rules {
    let id_only = |name, domain| message_type(name, 1, domain, Payload::IdOnly);
    let types = vec![
        message_type("Indkaldelse", 90_000, Domain::Kontaktforloeb, Payload::IdOnly),
        message_type("Akassemedlemskab", 60_010, Domain::Tilknytning, Payload::Body),
        id_only("Jobcentertilknytning", Domain::Tilknytning),
        id_only("Bopaelskommune", Domain::Tilknytning),
        id_only("Personnummerskift", Domain::Tilknytning),
        id_only("PersonDoed", Domain::Tilknytning),
        id_only("Kontaktgruppe", Domain::Kontaktforloeb),
        id_only("Plan", Domain::Plan),
        id_only("GdprSletning", Domain::Gdpr),
        id_only("RigsarkivAflevering", Domain::Gdpr),
        MessageType {
            notice_for: vec!["joblog".into()],
            voluntary: true,
            ..message_type("GdprSletJoblog", 910_001, Domain::Joblog, Payload::Body)
        },
    ];
    let recipients = ["akasse:067", "kommune:860", "kommune:101"].map(|text| {
        let recipient = Recipient::parse(text).expect("a recipient of the test");
        RecipientRule {
            recipient,
            name: text.into(),
            queue: Arc::from(format!("wsb.{}.{}", recipient.kind(), recipient.code())),
            vendor: "vendor".into(),
            subscriptions: Subscriptions::All,
            valid_from: None,
            valid_until: None,
            max_unfetched: 1000,
            maintenance: Vec::new(),
        }
    });
    Rules::new(types, recipients.into(), RetryPolicy::default())
}
