//! What one event costs on its way through `wire`. Prints nanoseconds per
//! operation, the best of several rounds; asserts nothing, since machines differ.

use std::hint::black_box;
use std::time::Instant;

use wsb_broker::core::about::About;
use wsb_broker::core::ids::Recipient;
use wsb_broker::core::policy::{Domain, MessageType, Payload, RecipientRule, RetryPolicy, Rules, Subscriptions};
use wsb_broker::core::time::Moment;
use wsb_broker::wire::{Wsb, decode_event, encode_event, parse_event, write_wsb};

fn sample(entity: &str, indhold: &str) -> String {
    format!(
        r#"{{ "specversion": "1.0", "id": "01JQ8ZJ3V5T9W2K4M6N8P0R2S4", "source": "urn:dk:star:dfdg:kontaktforloeb", "type": "dk.star.dfdg.{entity}.v1",
  "time": "2026-03-16T08:00:00+01:00", "datacontenttype": "application/json",
  "data": {{ "EntitetNavn": "{entity}", "Aendringstype": 1, "EksternIdentifier": "5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91", "VersionIdentifier": null,
            "Personnummer": "0101010001", "RegistrerendeMyndighed": {{"Type": "kommune", "Kode": "860"}},
            "Startdato": "2026-03-16", "Slutdato": null, "Indhold": {indhold} }} }}"#
    )
}

fn rules() -> Rules {
    let message_type = |name: &str, entity_id, domain, payload| MessageType {
        name: name.into(),
        entity_id,
        domain,
        payload,
        voluntary: false,
        after_death: false,
        audiences: Vec::new(),
        notice_for: Vec::new(),
    };
    let types = vec![
        message_type("Indkaldelse", 90_000, Domain::Kontaktforloeb, Payload::IdOnly),
        message_type("Akassemedlemskab", 60_010, Domain::Tilknytning, Payload::Body),
    ];
    let recipients = ["akasse:067", "kommune:860"].into_iter().filter_map(|text| Recipient::parse(text).ok());
    let recipients = recipients.map(|recipient| RecipientRule {
        recipient,
        name: "".into(),
        queue: "".into(),
        vendor: "".into(),
        subscriptions: Subscriptions::All,
        valid_from: None,
        valid_until: None,
        max_unfetched: 1000,
        maintenance: Vec::new(),
    });
    Rules::new(types, recipients.collect(), RetryPolicy::default())
}

fn measure<T>(name: &str, mut operation: impl FnMut() -> T) {
    const TIMES: u32 = 20_000;
    let mut best = f64::MAX;
    for _ in 0..20 {
        let begun = Instant::now();
        for _ in 0..TIMES {
            black_box(operation());
        }
        best = best.min(begun.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES));
    }
    println!("{name:<40} {best:>7.0} ns");
}

fn main() {
    let rules = rules();
    let recipient = Recipient::parse("akasse:067").expect("a recipient");
    for json in [
        sample("Indkaldelse", r#"{"Emne": "samtale", "Sted": {"Lokale": "2.14"}, "Bemaerkning": "medbring cv"}"#),
        sample("Akassemedlemskab", r#"{"Akassekode": "067", "Afgangsaarsag": "A"}"#),
    ] {
        let bytes = json.as_bytes();
        let event = parse_event(bytes, &rules).expect("a sample");
        let message_type = rules.message_type(&event.entity).expect("a declared type");
        let id = event.mark.wsb_id(recipient);
        let identification = Some(&event.personnummer);
        let wsb = Wsb { event: &event, message_type, recipient, id, sent: Moment(1_773_644_401_234_567), identification };
        let mut stored = Vec::with_capacity(512);
        encode_event(&event, &mut stored);
        println!("{}: {} bytes, {} stored", event.entity, bytes.len(), stored.len());
        let row = stored.clone();
        measure("parse_event", || parse_event(black_box(bytes), &rules));
        measure("write_wsb", || write_wsb(black_box(&wsb)));
        measure("properties", || black_box(&wsb).properties(1, false));
        measure("encode_event", || {
            stored.clear();
            encode_event(black_box(&event), &mut stored);
            stored.len()
        });
        measure("decode_event", || decode_event(black_box(&row)));
        measure("About::of", || About::of(black_box(bytes)));
    }
}
