use super::super::samples::{event, every_kind, indkaldelse, rules, sample};
use super::*;
use crate::core::event::{Content, PlanKind};
use crate::core::time::Moment;

/// Replaces one piece of the sample and compares the refusal; `ok` for none.
fn check_in(sample: &str, piece: &str, replacement: &str, expected: &str) {
    assert!(sample.contains(piece), "{piece} is not in the sample");
    let changed = sample.replacen(piece, replacement, 1);
    let got = parse_event(changed.as_bytes(), &rules()).map_or_else(|refusal| refusal.to_string(), |_| "ok".to_owned());
    assert_eq!(got, expected, "{piece} -> {replacement}");
}

fn check(piece: &str, replacement: &str, expected: &str) {
    check_in(&indkaldelse(), piece, replacement, expected);
}

#[test]
fn reads_every_field() {
    let got = event(&indkaldelse());
    assert_eq!(&*got.id, "01JQ8ZJ3V5T9W2K4M6N8P0R2S4");
    assert_eq!(&*got.source, "urn:dk:star:dfdg:kontaktforloeb");
    assert_eq!(got.mark, EventMark::of(&got.source, &got.id));
    assert_eq!(&*got.entity, "Indkaldelse");
    assert_eq!(got.change, Change::Created);
    assert_eq!(Ok(got.registered.at), Moment::parse("2026-03-16T07:00:00Z"));
    assert_eq!(&*got.registered.text, "2026-03-16T08:00:00+01:00");
    assert_eq!(got.external_id.as_str(), "5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91");
    assert_eq!(got.version_id, None);
    assert_eq!(got.personnummer.digits(), "0101010001");
    assert_eq!(got.registrar, Some(Registrar { kind: "kommune".into(), code: "860".into() }));
    assert_eq!(got.start.map(|day| day.to_string()), Some("2026-03-16".to_owned()));
    assert_eq!(got.end, None);
    assert_eq!(got.content, Content::Other);
    assert_eq!(got.body, None);
}

#[test]
fn reads_every_kind_of_content() {
    let check = |entity: &str, indhold: &str, expected: &Content, body: Option<&str>| {
        let got = event(&sample(entity, 1, indhold));
        assert_eq!(got.content, *expected);
        assert_eq!(got.body.as_deref(), body);
    };
    let fund = Akassekode::parse("067").ok();
    check("Akassemedlemskab", r#"{ "Akassekode": "067" }"#, &Content::Membership { fund }, Some(r#"{"Akassekode":"067"}"#));
    check(
        "Kontaktgruppe",
        r#"{ "KontaktgruppeTypeId": 99999, "Andet": 1 }"#,
        &Content::ContactGroup { group: Some(99999), former: None },
        None,
    );
    check("Plan", r#"{"Plantype":"AndenPlan"}"#, &Content::Plan { kind: Some(PlanKind::AndenPlan), later_version: None }, None);
    let deletion = |after_death| Content::Deletion { area: "joblog".into(), entity: "Joblog".into(), after_death };
    let indhold = r#"{"Dataomraade":"joblog","SlettetEntitet":"Joblog"}"#;
    check("GdprSletning", indhold, &deletion(false), Some(indhold));
    let indhold = r#"{"Dataomraade":"joblog","SlettetEntitet":"Joblog","Grundlag":"afdoed"}"#;
    check("GdprSletning", indhold, &deletion(true), Some(indhold));
    assert_eq!(event(&every_kind()[0]).body, None);
}

#[test]
fn a_recall_may_come_without_what_it_recalls() {
    for (entity, expected) in [
        ("Akassemedlemskab", Content::Membership { fund: None }),
        ("Jobcentertilknytning", Content::Jobcentre { jobcentre: None }),
        ("Bopaelskommune", Content::Residence { kommune: None }),
        ("Personnummerskift", Content::NumberChange { new: None }),
        ("PersonDoed", Content::Death { on: None }),
        ("Kontaktgruppe", Content::ContactGroup { group: None, former: None }),
        ("Plan", Content::Plan { kind: None, later_version: None }),
    ] {
        for indhold in ["{}", "null"] {
            let json = sample(entity, 3, indhold).replace("\"Startdato\": \"2026-03-16\",", "");
            assert_eq!(event(&json).content, expected);
        }
    }
}

#[test]
fn takes_what_may_be_absent_and_what_is_unknown() {
    check(", \"VersionIdentifier\": null", "", "ok");
    check("\"RegistrerendeMyndighed\": {\"Type\": \"kommune\", \"Kode\": \"860\"},", "", "ok");
    check("{\"Type\": \"kommune\", \"Kode\": \"860\"}", "null", "ok");
    check("\"Startdato\": \"2026-03-16\", \"Slutdato\": null,", "", "ok");
    check("\"datacontenttype\": \"application/json\",", "", "ok");
    check("\"application/json\"", "\"Application/JSON; charset=utf-8\"", "ok");
    check("\"specversion\"", "\"subject\": [{}], \"specversion\"", "ok");
    check("\"EntitetNavn\"", "\"Ny\": {\"Ny\": [null]}, \"EntitetNavn\"", "ok");
    check("\"VersionIdentifier\": null", "\"VersionIdentifier\": \"v-2\"", "ok");
    check("kommune", "star", "ok");
    check("\"EntitetNavn\"", "\"Entitet\\u004eavn\"", "ok");
    check("\"Indkaldelse\"", "\"\\u0049ndkaldelse\"", "ok");
}

#[test]
fn refuses_what_is_not_json() {
    check("{ \"specversion\"", "", "not-json: expected value at line 1 column 1");
    check("\"id\": ", "\"id\" ", "not-json: expected `:` at line 1 column 30");
    check("\"860\"", "\"860", "not-json: control character (\\u0000-\\u001F) found while parsing a string at line 4 column 102");
    check("} } }", "} }", "not-json: EOF while parsing an object at line 5 column 138");
    check("} } }", "} } } {", "not-json: trailing characters at line 5 column 142");
    check("0101010001", "01010100\n01", "not-json: control character (\\u0000-\\u001F) found while parsing a string at line 4 column 37");
    check("{ \"specversion\"", "\u{feff}{ \"specversion\"", "not-json: begins with a byte order mark, which JSON does not allow");
    let refusal = |bytes: &[u8]| parse_event(bytes, &rules()).map_err(|refusal| refusal.to_string()).err().unwrap_or_default();
    assert_eq!(refusal(b""), "not-json: EOF while parsing a value at line 1 column 0");
    assert_eq!(refusal(b"{\"id\": \"\xff\"}"), "not-json: expected UTF-8, ends being so after byte 8");
    assert_eq!(refusal(b"\"text\""), "not-cloudevent: expected a JSON object");
    assert_eq!(refusal(b"[]"), "not-cloudevent: expected a JSON object");
}

#[test]
fn refuses_what_is_not_such_a_cloudevent() {
    check("\"1.0\"", "\"0.3\"", "not-cloudevent: specversion: expected \"1.0\"");
    check("\"specversion\": \"1.0\",", "", "not-cloudevent: specversion: expected \"1.0\"");
    check("\"id\": \"01JQ8ZJ3V5T9W2K4M6N8P0R2S4\",", "", "not-cloudevent: id: required");
    let id = "not-cloudevent: id: expected a text of 1 to 255 bytes without control characters";
    check("01JQ8ZJ3V5T9W2K4M6N8P0R2S4", "", id);
    check("01JQ8ZJ3V5T9W2K4M6N8P0R2S4", "a\\u0000b", id);
    check("01JQ8ZJ3V5T9W2K4M6N8P0R2S4", "a\\nb", id);
    check("01JQ8ZJ3V5T9W2K4M6N8P0R2S4", "a\\ud800b", id);
    check("01JQ8ZJ3V5T9W2K4M6N8P0R2S4", &"a".repeat(256), id);
    check("01JQ8ZJ3V5T9W2K4M6N8P0R2S4", &"a".repeat(255), "ok");
    check("\"01JQ8ZJ3V5T9W2K4M6N8P0R2S4\"", "7", id);
    check("\"source\": \"urn:dk:star:dfdg:kontaktforloeb\",", "", "not-cloudevent: source: required");
    check("kontaktforloeb\"", "\\u0007\"", "not-cloudevent: source: expected a text of 1 to 1024 bytes without control characters");
    check("\"type\": \"dk.star.dfdg.Indkaldelse.v1\",", "", "not-cloudevent: type: required");
    check("dk.star.dfdg.Indkaldelse.v1", "dk.star.dfdg.Indkaldelse.v2", "not-cloudevent: type: expected dk.star.dfdg.Indkaldelse.v1");
    check("dk.star.dfdg.Indkaldelse.v1", "dk.star.dfdg.Plan.v1", "not-cloudevent: type: expected dk.star.dfdg.Indkaldelse.v1");
    check("\"time\": \"2026-03-16T08:00:00+01:00\",", "", "not-cloudevent: time: required");
    let time = "not-cloudevent: time: expected an RFC 3339 time with an offset, from 1900 to 2199, such as 2026-03-16T08:00:00+01:00";
    check("2026-03-16T08:00:00+01:00", "2026-03-16T08:00:00", time);
    check("\"2026-03-16T08:00:00+01:00\"", "1773644400", time);
    check("application/json", "text/xml", "not-cloudevent: datacontenttype: expected application/json, or none");
    check("\"data\":", "\"data_base64\":", "not-cloudevent: data: required");
    check("\"data\": {", "\"data\": [], \"other\": {", "not-cloudevent: data: expected an object");
    check("\"id\"", "\"id\": \"a\", \"id\"", "not-cloudevent: id: expected once, stands there more than once");
}

#[test]
fn refuses_what_cannot_be_routed() {
    check("\"EntitetNavn\": \"Indkaldelse\",", "", "missing-field: data.EntitetNavn: required");
    let unknown = "unknown-entity: data.EntitetNavn: expected an EntitetNavn that routing.toml declares";
    check("\"EntitetNavn\": \"Indkaldelse\"", "\"EntitetNavn\": \"Ukendt\"", unknown);
    check("\"EntitetNavn\": \"Indkaldelse\"", "\"EntitetNavn\": \"indkaldelse\"", unknown);
    check("\"EntitetNavn\": \"Indkaldelse\"", "\"EntitetNavn\": 90000", unknown);
    let notice = sample("GdprSletJoblog", 3, "{}");
    let made = "unknown-entity: data.EntitetNavn: expected GdprSletning: deletion notices are made from it, not taken in";
    check_in(&notice, "{", "{", made);
    let change = "malformed-code: data.Aendringstype: expected 1, 2 or 3";
    for bad in ["0", "4", "-1", "1.0", "\"1\"", "true", "[]", "99999999999999999999"] {
        check("\"Aendringstype\": 1", &format!("\"Aendringstype\": {bad}"), change);
    }
    check("\"Aendringstype\": 1,", "", "missing-field: data.Aendringstype: required");
    check("\"EksternIdentifier\"", "\"eksternIdentifier\"", "missing-field: data.EksternIdentifier: required");
    check("\"5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91\"", "null", "missing-field: data.EksternIdentifier: required");
    let external_id = "malformed-field: data.EksternIdentifier: expected at most 64 visible ASCII characters, in practice a uuid";
    check("5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91", "", external_id);
    check("5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91", "a b", external_id);
    check(
        "\"VersionIdentifier\": null",
        "\"VersionIdentifier\": 2",
        "malformed-field: data.VersionIdentifier: expected at most 64 visible ASCII characters, in practice a uuid",
    );
    check("\"Slutdato\"", "\"Startdato\"", "malformed-field: data.Startdato: expected once, stands there more than once");
}

#[test]
fn refuses_a_malformed_personnummer() {
    check("\"Personnummer\": \"0101010001\",", "", "missing-field: data.Personnummer: required");
    let expected = "malformed-personnummer: data.Personnummer: expected ten digits, DDMMYYXXXX, with a day that exists";
    for bad in
        ["\"010101-0001\"", "\"3213010001\"", "\"2902011234\"", "\"010101000\"", "101010001", "\"\"", "{}", "\"０１０１０１０００１\""]
    {
        check("\"0101010001\"", bad, expected);
    }
    let shift = sample("Personnummerskift", 1, r#"{"NytPersonnummer": "6101010002"}"#);
    let expected = "malformed-personnummer: data.Indhold.NytPersonnummer: expected ten digits, DDMMYYXXXX, with a day that exists";
    check_in(&shift, "6101010002", "9901010002", expected);
    check_in(&shift, "6101010002", "2902891234", expected);
    check_in(&shift, "6101010002", "2902041234", "ok");
    check_in(
        &shift,
        "\"NytPersonnummer\": \"6101010002\"",
        "",
        "missing-field: data.Indhold.NytPersonnummer: required for Personnummerskift",
    );
}

#[test]
fn refuses_authorities_that_do_not_exist() {
    let unknown = |path| format!("unknown-authority: {path}: expected the code of a kommune or a-kasse that routing.toml declares");
    check("\"860\"", "\"861\"", &unknown("data.RegistrerendeMyndighed.Kode"));
    check("\"Type\": \"kommune\"", "\"Type\": \"akasse\"", &unknown("data.RegistrerendeMyndighed.Kode"));
    let kode = "malformed-code: data.RegistrerendeMyndighed.Kode: expected the three digits of a kommune, such as 860";
    check("\"860\"", "860", kode);
    check("\"860\"", "\"86\"", kode);
    check(", \"Kode\": \"860\"", "", "missing-field: data.RegistrerendeMyndighed.Kode: required");
    check("\"Type\": \"kommune\", ", "", "missing-field: data.RegistrerendeMyndighed.Type: required");
    check("{\"Type\": \"kommune\", \"Kode\": \"860\"}", "\"860\"", "malformed-field: data.RegistrerendeMyndighed: expected an object");

    let membership = sample("Akassemedlemskab", 1, r#"{"Akassekode": "067"}"#);
    check_in(&membership, "067", "068", &unknown("data.Indhold.Akassekode"));
    let akassekode = "malformed-code: data.Indhold.Akassekode: expected the three digits of an a-kasse, such as 067";
    check_in(&membership, "067", "67", akassekode);
    check_in(&membership, "\"067\"", "67", akassekode);
    check_in(&membership, "\"Akassekode\": \"067\"", "", "missing-field: data.Indhold.Akassekode: required for Akassemedlemskab");
    check_in(&membership, "{\"Akassekode\": \"067\"}", "null", "missing-field: data.Indhold.Akassekode: required for Akassemedlemskab");
    check_in(
        &membership,
        "\"Startdato\": \"2026-03-16\"",
        "\"Startdato\": null",
        "missing-field: data.Startdato: required for Akassemedlemskab",
    );
    check_in(&sample("Akassemedlemskab", 3, r#"{"Akassekode": "067"}"#), "067", "999", &unknown("data.Indhold.Akassekode"));

    let jobcentre = sample("Jobcentertilknytning", 2, r#"{"Jobcenterkode": "86099"}"#);
    check_in(&jobcentre, "86099", "86099", "ok");
    check_in(&jobcentre, "86099", "86199", &unknown("data.Indhold.Jobcenterkode"));
    check_in(
        &jobcentre,
        "86099",
        "860",
        "malformed-code: data.Indhold.Jobcenterkode: expected the five digits of a jobcentre, such as 86001",
    );
    let residence = sample("Bopaelskommune", 1, r#"{"Kommunekode": "860"}"#);
    check_in(&residence, "\"Kommunekode\": \"860\"", "\"Kommunekode\": \"999\"", &unknown("data.Indhold.Kommunekode"));
}

#[test]
fn refuses_days_and_periods_that_cannot_be() {
    let start = "malformed-field: data.Startdato: expected a day that exists, YYYY-MM-DD, from 1850 on";
    for bad in ["\"2026-02-30\"", "\"2026-03-16T00:00:00\"", "\"16-03-2026\"", "\"\"", "20260316"] {
        check("\"Startdato\": \"2026-03-16\"", &format!("\"Startdato\": {bad}"), start);
    }
    let ends = "ends-before-start: data.Slutdato: expected a Slutdato on or after Startdato";
    check("\"Slutdato\": null", "\"Slutdato\": \"2026-03-15\"", ends);
    check("\"Slutdato\": null", "\"Slutdato\": \"2026-03-16\"", "ok");
    check("\"Startdato\": \"2026-03-16\", \"Slutdato\": null", "\"Slutdato\": \"2020-01-01\"", "ok");
    let death = sample("PersonDoed", 1, r#"{"Doedsdato": "2026-03-01"}"#);
    check_in(
        &death,
        "2026-03-01",
        "2026-03-00",
        "malformed-field: data.Indhold.Doedsdato: expected a day that exists, YYYY-MM-DD, from 1850 on",
    );
}

#[test]
fn refuses_content_that_the_broker_cannot_act_on() {
    check("\"Indhold\": {", "\"Indhold\": [], \"Andet\": {", "malformed-field: data.Indhold: expected an object");
    let group = sample("Kontaktgruppe", 1, r#"{"KontaktgruppeTypeId": 26}"#);
    check_in(&group, "26}", "26}", "ok");
    check_in(&group, "26}", "\"26\"}", "malformed-code: data.Indhold.KontaktgruppeTypeId: expected a whole number");
    check_in(
        &group,
        "26}",
        "26, \"TidligereKontaktgruppeTypeId\": 1.5}",
        "malformed-code: data.Indhold.TidligereKontaktgruppeTypeId: expected a whole number",
    );
    check_in(
        &group,
        "26}",
        "26, \"KontaktgruppeTypeId\": 1}",
        "malformed-field: data.Indhold.KontaktgruppeTypeId: expected once, stands there more than once",
    );
    let plan = sample("Plan", 1, r#"{"Plantype": "Jobplan"}"#);
    check_in(
        &plan,
        "Jobplan",
        "jobplan",
        "malformed-code: data.Indhold.Plantype: expected Jobplan, UddannelsesplanMedJobmaal, Uddannelsesplan or AndenPlan",
    );
    let deletion = sample("GdprSletning", 3, r#"{"Dataomraade": "joblog", "SlettetEntitet": "Joblog", "Grundlag": "alder"}"#);
    check_in(
        &deletion,
        "joblog",
        "fravaer",
        "unknown-data-area: data.Indhold.Dataomraade: unknown data area, expected one that a notice of routing.toml or a rule of retention.toml covers",
    );
    check_in(&deletion, "\"Dataomraade\": \"joblog\",", "", "missing-field: data.Indhold.Dataomraade: required for GdprSletning");
    check_in(&deletion, "\"SlettetEntitet\": \"Joblog\",", "", "missing-field: data.Indhold.SlettetEntitet: required for GdprSletning");
    check_in(&deletion, "\"alder\"", "\"andet\"", "malformed-code: data.Indhold.Grundlag: expected alder or afdoed");
    check_in(&deletion, "\"alder\"", "null", "ok");
    let handed_over = sample("RigsarkivAflevering", 1, r#"{"Dataomraade": "joblog"}"#);
    check_in(
        &handed_over,
        "joblog",
        "joblgo",
        "unknown-data-area: data.Indhold.Dataomraade: unknown data area, expected one that a notice of routing.toml or a rule of retention.toml covers",
    );
    check_in(
        &handed_over,
        "\"joblog\"",
        "\"job log\"",
        "malformed-field: data.Indhold.Dataomraade: expected 1 to 64 letters a-z, digits, hyphens, dots or underscores",
    );
    check_in(&handed_over, "\"Dataomraade\": \"joblog\"", "", "missing-field: data.Indhold.Dataomraade: required for RigsarkivAflevering");
    let recalled = sample("RigsarkivAflevering", 3, r#"{"Dataomraade": "joblog"}"#);
    check_in(&recalled, "\"Dataomraade\": \"joblog\"", "", "ok");
    check_in(
        &recalled,
        "joblog",
        "joblgo",
        "unknown-data-area: data.Indhold.Dataomraade: unknown data area, expected one that a notice of routing.toml or a rule of retention.toml covers",
    );
}

#[test]
fn refuses_more_than_256_kib() {
    let sample = indkaldelse();
    let padded = |len: usize| format!("{sample}{}", " ".repeat(len - sample.len()));
    assert!(parse_event(padded(MAX_BYTES).as_bytes(), &rules()).is_ok());
    let refusal = parse_event(padded(MAX_BYTES + 1).as_bytes(), &rules()).map_err(|refusal| refusal.to_string());
    assert_eq!(refusal.err().as_deref(), Some("over-size: expected at most 256 KiB"));
}

#[test]
fn nesting_is_no_trouble_where_it_is_ignored_and_refused_where_it_is_kept() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    check("\"specversion\"", &format!("\"x\": {deep}, \"specversion\""), "ok");
    check_in(&sample("Indkaldelse", 1, "{}"), "\"Indhold\": {}", &format!("\"Indhold\": {deep}"), "ok");
    let membership = sample("Akassemedlemskab", 3, "{}");
    check_in(&membership, "\"Indhold\": {}", &format!("\"Indhold\": {deep}"), "malformed-field: data.Indhold: expected at most 32 levels");
}

/// Personal data stand in `data` only: what names an event or a record is shown, logged
/// and put into addresses.
#[test]
fn refuses_what_is_named_by_its_own_personnummer() {
    const WITHOUT: &str = "expected one without the personnummer of the event";
    const UUID: &str = "5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91";
    for number in ["0101010001", "010101-0001"] {
        let named = format!("x-1-{number}-y");
        check("01JQ8ZJ3V5T9W2K4M6N8P0R2S4", &named, &format!("not-cloudevent: id: {WITHOUT}"));
        check("urn:dk:star:dfdg:kontaktforloeb", &named, &format!("not-cloudevent: source: {WITHOUT}"));
        check(UUID, &named, &format!("malformed-field: data.EksternIdentifier: {WITHOUT}"));
        // These are sent on, also to whoever is not to learn whom it is about.
        let version = format!("\"VersionIdentifier\": \"{named}\"");
        check("\"VersionIdentifier\": null", &version, &format!("malformed-field: data.VersionIdentifier: {WITHOUT}"));
        let kind = format!("\"Type\": \"{named}\"");
        check("\"Type\": \"kommune\"", &kind, &format!("malformed-field: data.RegistrerendeMyndighed.Type: {WITHOUT}"));
        let other = format!("\"Type\": \"star\", \"Kode\": \"{named}\"");
        check("\"Type\": \"kommune\", \"Kode\": \"860\"", &other, &format!("malformed-code: data.RegistrerendeMyndighed.Kode: {WITHOUT}"));
        let deletion = sample("GdprSletning", 3, r#"{ "Dataomraade": "joblog", "SlettetEntitet": "Joblog" }"#);
        let deleted = format!("\"SlettetEntitet\": \"{named}\"");
        check_in(
            &deletion,
            "\"SlettetEntitet\": \"Joblog\"",
            &deleted,
            &format!("malformed-field: data.Indhold.SlettetEntitet: {WITHOUT}"),
        );
    }
    // Other digits may be anything.
    for other in ["0101010002", "010101-0002", "010101", "0001", "0101-010001"] {
        check(UUID, other, "ok");
    }
    let change = sample("Personnummerskift", 1, r#"{ "NytPersonnummer": "0202020002" }"#);
    check_in(&change, UUID, "skift-020202-0002", &format!("malformed-field: data.EksternIdentifier: {WITHOUT}"));
}
