//! Every type and audience of the shipped `routing.toml`: exactly the expected
//! recipients get exactly the expected messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::rig::{Event, Message, event, external_id, jobcenter, membership, residence};
use crate::world::{Routing, World, cpr, enroll};

/// The personnummer of the citizen for whom every audience applies.
const MAIN: &str = "0101990001";

/// A type that comes in, its number, and who is told of it when it is about the
/// main citizen. Written from the published descriptions, not from the file.
const TYPES: [(&str, u32, &[&str]); 39] = [
    ("Akassemedlemskab", 60010, &["akasse:053", "akasse:067"]),
    ("Jobcentertilknytning", 910000, &["kommune:860", "akasse:067"]),
    ("ForespoergelsePaaAkassemedlemskab", 910001, &["akasse:067"]),
    ("Bopaelskommune", 910002, &[]),
    ("Personnummerskift", 910003, &[]),
    ("PersonDoed", 910004, &[]),
    ("Indkaldelse", 90000, &["kommune:860", "kommune:101", "akasse:067"]),
    ("Frist", 90001, &["kommune:860"]),
    ("Kontaktgruppe", 100008, &["kommune:860", "akasse:067"]),
    ("FagprofessionelKontakt", 910005, &["kommune:860", "akasse:067"]),
    ("Persongruppemarkering", 910006, &["kommune:860", "akasse:067"]),
    ("Tilmelding", 910007, &["kommune:860", "akasse:067"]),
    ("Helbredsbegraensning", 910008, &[]),
    ("Personkategori", 910009, &[]),
    ("Dialogbesked", 910010, &[]),
    ("HuskeserviceAbonnement", 910011, &[]),
    ("Fravaer", 910012, &["kommune:860", "akasse:067"]),
    ("YderligeInfoOmFravaer", 100012, &["kommune:860"]),
    ("Plan", 910013, &["kommune:860", "akasse:067"]),
    ("Aktivitet", 910014, &["kommune:860", "akasse:067"]),
    ("Samtale", 910015, &["kommune:860", "akasse:067"]),
    ("Jobsoegningskrav", 910016, &[]),
    ("Integrationskontrakt", 910017, &[]),
    ("MinPlanVersion", 910018, &[]),
    ("Joblog", 910019, &["kommune:860", "akasse:067"]),
    ("JoblogDokument", 910020, &[]),
    ("AndenLog", 910021, &[]),
    ("BevillingAfYdelse", 100014, &["kommune:860"]),
    ("ForsoergerStatusSkift", 60007, &["akasse:067"]),
    ("DagpengetaellerTidligereAkasse", 50003, &["akasse:067"]),
    ("Efterloensbevis", 910022, &[]),
    ("Dagpengetaeller", 910023, &[]),
    ("Ydelseskort", 910024, &[]),
    ("EoesDagpenge", 910025, &[]),
    ("Feriedagpenge", 910026, &[]),
    ("GdprSletning", 910027, &[]),
    ("RigsarkivAflevering", 910028, &[]),
    // Added by the test, for the one audience that no shipped type has.
    ("AfproevetRegistrering", 919_998, &["akasse:083"]),
    // Added by the test: several conditions for one audience mean "or".
    ("AfproevetVilkaar", 919_999, &["akasse:067"]),
];

/// A data area, the notice of its deletion, and the notice's number.
const NOTICES: [(&str, &str, u32); 29] = [
    ("cv", "GdprSletCv", 30007),
    ("joblog-dokument", "GdprSletJoblogDokument", 910029),
    ("joblog", "GdprSletJoblog", 910030),
    ("anden-log", "GdprSletAndenLog", 910031),
    ("persongruppemarkering-kommunal", "GdprSletPersongruppemarkeringKommunal", 910032),
    ("persongruppemarkering-statslig", "GdprSletPersongruppemarkeringStatslig", 910033),
    ("helbredsbegraensning", "GdprSletHelbredsbegraensning", 910034),
    ("afdoed", "GdprSletAfdoed", 910035),
    ("tilmelding", "GdprSletTilmelding", 910036),
    ("efterloensbevis", "GdprSletEfterloensbevis", 910037),
    ("dialogbesked-besvaret", "GdprSletDialogbeskedBesvaret", 910038),
    ("dialogbesked-ubesvaret", "GdprSletDialogbeskedUbesvaret", 910039),
    ("ky-afgoerelse", "GdprSletKyAfgoerelse", 910040),
    ("fravaer", "GdprSletFravaer", 910041),
    ("fravaer-integration", "GdprSletFravaerIntegration", 910042),
    ("kontaktgruppe", "GdprSletKontaktgruppe", 910043),
    ("personkategori", "GdprSletPersonkategori", 910044),
    ("samtale", "GdprSletSamtale", 910045),
    ("jobsoegningskrav", "GdprSletJobsoegningskrav", 910046),
    ("aktivitet-virksomhedsrettet", "GdprSletAktivitetVirksomhedsrettet", 910047),
    ("aktivitet-oevrig", "GdprSletAktivitetOevrig", 910048),
    ("plan", "GdprSletPlan", 910049),
    ("integrationskontrakt", "GdprSletIntegrationskontrakt", 910050),
    ("min-plan-version", "GdprSletMinPlanVersion", 910051),
    ("huskeservice", "GdprSletHuskeservice", 910052),
    ("dagpengetaeller", "GdprSletDagpengetaeller", 910053),
    ("ydelseskort", "GdprSletYdelseskort", 910054),
    ("eoes-dagpenge", "GdprSletEoesDagpenge", 910055),
    ("feriedagpenge", "GdprSletFeriedagpenge", 910056),
];

fn number_of(kind: &str) -> u32 {
    let known = TYPES.into_iter().map(|(name, id, _)| (name, id)).chain(NOTICES.into_iter().map(|(_, name, id)| (name, id)));
    known.into_iter().find(|(name, _)| *name == kind).map_or_else(|| panic!("{kind} has no number"), |(_, id)| id)
}

/// An event and what is to be sent about it.
struct Case {
    event: Event,
    kind: String,
    /// Each recipient, and whether it is told whom it is about.
    to: Vec<(String, bool)>,
    /// `Indhold` as sent, for types with a body.
    content: Option<Value>,
}

impl Case {
    fn new(event: Event, to: &[&str]) -> Self {
        let sent = event.json();
        let kind = sent["data"]["EntitetNavn"].as_str().unwrap_or_default().to_owned();
        let content = (kind == "Akassemedlemskab").then(|| sent["data"]["Indhold"].clone());
        Self { event, kind, to: to.iter().map(|to| ((*to).to_owned(), true)).collect(), content }
    }

    /// A deletion of a record of a data area.
    fn deletion(cpr: &str, area: &str, entity: &str, record: &str, to: &[&str], former: &[&str]) -> Self {
        let content = json!({ "Dataomraade": area, "SlettetEntitet": entity });
        let mut asked = content.clone();
        asked["Grundlag"] = "alder".into();
        let event = event("GdprSletning").cpr(cpr).external(record).content(asked).deleted();
        let named = to.iter().map(|to| ((*to).to_owned(), true)).chain(former.iter().map(|to| ((*to).to_owned(), false)));
        let kind = NOTICES.iter().find(|(other, ..)| *other == area).map_or_else(|| panic!("area {area}"), |(_, kind, _)| *kind);
        Self { event, kind: kind.to_owned(), to: named.collect(), content: Some(content) }
    }
}

/// What makes the main citizen the main citizen.
fn main_citizen() -> Vec<Event> {
    vec![
        membership(MAIN, "083", "2010-01-01", Some("2013-12-31")),
        membership(MAIN, "053", "2014-01-01", Some("2019-12-31")),
        membership(MAIN, "067", "2020-01-01", None),
        jobcenter(MAIN, "75100", "2015-01-01", Some("2018-12-31")),
        jobcenter(MAIN, "86001", "2019-01-01", None),
        residence(MAIN, "101", "2019-01-01", None),
        event("Kontaktgruppe").cpr(MAIN).period("2016-01-01", None).content(json!({ "KontaktgruppeTypeId": 1 })),
        event("Plan").cpr(MAIN).period("2020-01-01", None).content(json!({ "Plantype": "Jobplan" })),
    ]
}

/// An event of each type about the main citizen, none of which changes what
/// holds for her today.
fn about_main(kind: &str) -> Event {
    let plain = event(kind).cpr(MAIN).authority("kommune", "860").version(&external_id("version"));
    match kind {
        "Akassemedlemskab" => membership(MAIN, "053", "2014-01-01", Some("2019-11-30"))
            .updated()
            .at("2026-03-20T09:30:00.123456+01:00")
            .content(json!({ "Akassekode": "053", "Afgangsaarsag": "A", "Bem\u{e6}rkning": ["\"", { "n": 1.5 }] })),
        "Jobcentertilknytning" => jobcenter(MAIN, "75100", "2015-01-01", Some("2018-11-30")).updated().at("2026-03-20T09:30:00Z"),
        "Bopaelskommune" => residence(MAIN, "751", "2010-01-01", Some("2011-01-01")),
        // Of somebody else: the main citizen is to stay what she is.
        "Personnummerskift" => event(kind).cpr(&cpr(9001)).content(json!({ "NytPersonnummer": cpr(9002) })),
        "PersonDoed" => event(kind).cpr(&cpr(9003)).content(json!({ "Doedsdato": "2026-01-01" })),
        "Kontaktgruppe" => {
            plain.period("2017-01-01", Some("2017-06-30")).content(json!({ "KontaktgruppeTypeId": 13, "TidligereKontaktgruppeTypeId": 2 }))
        }
        "Plan" => plain.period("2017-01-01", Some("2017-06-30")).content(json!({ "Plantype": "AndenPlan" })),
        "ForsoergerStatusSkift" => plain.external("00000000-0000-0000-0000-000000000000").updated(),
        // Sent at the first of several areas below.
        "GdprSletning" => event(kind).cpr(&cpr(9004)).content(json!({ "Dataomraade": "joblog", "SlettetEntitet": "Joblog" })).deleted(),
        "RigsarkivAflevering" => event(kind).cpr(MAIN).content(json!({ "Dataomraade": "joblog" })),
        "AfproevetRegistrering" => event(kind).domain("plan").cpr(MAIN).authority("akasse", "083"),
        "AfproevetVilkaar" => event(kind).domain("plan").cpr(MAIN),
        "Samtale" => plain.deleted(),
        "Frist" => plain.updated().at("2026-10-25T02:30:00+02:00"),
        _ => plain.content(json!({ "Fritekst": "bliver ikke sendt" })).period("2026-03-16", Some("2026-03-16")),
    }
}

#[test]
fn every_type_reaches_exactly_its_audience() {
    let routing = Routing::shipped()
        .with(
            "{ authority = \"akasse:083\", name = \"A-kassen Frie\" }",
            "{ authority = \"akasse:083\", name = \"A-kassen Frie\", subscriptions = \"none\" }",
        )
        .plus_type("AfproevetRegistrering", 919_998, "plan", "[\"registering-authority\"]")
        .plus_type(
            "AfproevetVilkaar",
            919_999,
            "plan",
            "[{ to = \"akasse-own-members\", when = { plan = [\"AndenPlan\"] } }, { to = \"akasse-own-members\", when = { contact-group = [1] } }]",
        );
    let world = World::running("audiences", &routing);
    table_is_complete(&world);
    let everybody = authorities();

    // What is known before.
    let small: Vec<(String, &str, &str, i64)> =
        vec![(cpr(1), "AndenPlan", "083", 2), (cpr(2), "UddannelsesplanMedJobmaal", "083", 1), (cpr(3), "Jobplan", "053", 13)];
    let mut known = main_citizen();
    for (cpr, plan, fund, group) in &small {
        known.extend(enroll(cpr, fund, "10100", "101"));
        known.push(event("Plan").cpr(cpr).period("2020-01-01", None).content(json!({ "Plantype": plan })));
        known.push(event("Kontaktgruppe").cpr(cpr).period("2020-01-01", None).content(json!({ "KontaktgruppeTypeId": group })));
    }
    // Somebody whose record the fund of then was told of, and who has left since.
    let holder = cpr(4);
    let record = external_id("a record that 053 knows");
    known.extend(enroll(&holder, "053", "86002", "860"));
    let kommuner: Vec<&String> = everybody.iter().filter(|recipient| recipient.starts_with("kommune:")).collect();
    assert_eq!(kommuner.len(), 98);
    let at_home: Vec<(String, &String)> = kommuner.iter().enumerate().map(|(n, kommune)| (cpr(100 + n), *kommune)).collect();
    let locals: Vec<Case> = at_home
        .iter()
        .enumerate()
        .map(|(n, (cpr, kommune))| {
            // Main jobcentres, and a sub-jobcentre that appeared without notice.
            let code = format!("{}{}", &kommune[8..], ["00", "01", "07", "93"][n % 4]);
            Case::new(jobcenter(cpr, &code, "2020-01-01", None), &[kommune.as_str()])
        })
        .collect();
    known.extend(locals.iter().map(|case| case.event.clone()));
    world.tell(&known);
    let earlier = [event("Joblog").cpr(&holder).external(&record)];
    world.tell(&earlier);
    world.tell(&[
        membership(&holder, "067", "2025-01-01", None).at("2026-03-17T08:00:00+01:00"),
        membership(&holder, "053", "2020-01-01", Some("2024-12-31")).updated().at("2026-03-17T08:00:01+01:00"),
    ]);
    check_locals(&world, &everybody, &locals);

    // The news.
    let began = SystemTime::now();
    let mut cases: Vec<Case> = TYPES.into_iter().map(|(kind, _, to)| Case::new(about_main(kind), to)).collect();
    // The GdprSletning of the row above is of somebody nobody knows.
    for (area, ..) in NOTICES {
        cases.push(match area {
            "cv" => Case::deletion(
                MAIN,
                area,
                "Cv",
                &external_id("cv"),
                &["kommune:860", "akasse:067"],
                // Those that had her since the first kontaktgruppe 1, and not
                // the fund of the years before.
                &["kommune:751", "akasse:053"],
            ),
            area => Case::deletion(MAIN, area, "Joblog", &external_id(area), &["kommune:860", "akasse:067"], &[]),
        });
    }
    cases.push(Case::deletion(&holder, "joblog", "Joblog", &record, &["kommune:860", "akasse:067"], &["akasse:053"]));
    for ((cpr, ..), to) in small.iter().zip([vec!["kommune:101"], vec!["kommune:101", "akasse:083"], vec!["kommune:101", "akasse:053"]]) {
        cases.push(Case::new(event("Aktivitet").cpr(cpr), &to));
    }
    let shift = |cpr: &str, from: i64, to: i64| {
        event("Kontaktgruppe")
            .cpr(cpr)
            .period("2019-01-01", Some("2019-02-01"))
            .content(json!({ "KontaktgruppeTypeId": to, "TidligereKontaktgruppeTypeId": from }))
    };
    cases.push(Case::new(shift(&small[0].0, 2, 3), &["kommune:101"]));
    cases.push(Case::new(shift(&small[0].0, 25, 3), &["kommune:101", "akasse:083"]));
    cases.push(Case::new(shift(&small[0].0, 3, 13), &["kommune:101", "akasse:083"]));
    // Not in kontaktgruppe 1; in it, but the fund does not subscribe; not in it.
    for (cpr, ..) in &small {
        cases.push(Case::new(event("ForsoergerStatusSkift").cpr(cpr).updated(), &[]));
    }
    // A kommune that updates somebody whose jobcentre it is not.
    cases.push(Case::new(event("Aktivitet").cpr(MAIN).updated().authority("kommune", "751"), &["kommune:860", "akasse:067"]));
    cases.extend(at_home.iter().map(|(cpr, kommune)| Case::new(event("Frist").cpr(cpr), &[kommune.as_str()])));

    world.tell(cases.iter().map(|case| &case.event));
    let mut got: BTreeMap<(String, String), Message> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for recipient in &everybody {
        for message in world.take(recipient) {
            assert!(seen.insert(message.id.clone()), "id {} was used twice", message.id);
            let key = (message.correlation_id.clone(), recipient.clone());
            if let Some(again) = got.insert(key, message) {
                panic!("{recipient} was told twice of {}", again.kind);
            }
        }
    }
    for case in &cases {
        for (recipient, identified) in &case.to {
            let key = (case.event.event_id().to_owned(), recipient.clone());
            let message = got.remove(&key).unwrap_or_else(|| panic!("{recipient} was not told of {}: {}", case.kind, case.event.json()));
            check(case, recipient, *identified, &message, began);
        }
    }
    let more: Vec<String> = got.into_iter().map(|((_, recipient), message)| format!("{} to {recipient}", message.kind)).collect();
    assert!(more.is_empty(), "nobody was to be told of: {more:?}");
}

/// Checks that the test knows every type of the file, and no other.
fn table_is_complete(world: &World) {
    let rules = wsb_broker::config::load_routing(&world.file("routing.toml")).unwrap_or_else(|error| panic!("{error}"));
    let declared: BTreeMap<String, u32> = rules.message_types().map(|kind| (kind.name.to_string(), kind.entity_id)).collect();
    let table: BTreeMap<String, u32> = TYPES
        .into_iter()
        .map(|(name, id, _)| (name.to_owned(), id))
        .chain(NOTICES.into_iter().map(|(_, name, id)| (name.to_owned(), id)))
        .collect();
    assert_eq!(declared, table);
}

/// Returns all 119 recipients, from the code lists.
fn authorities() -> Vec<String> {
    let codes = |file: &str, kind: &str| {
        let text =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file)).expect("part of the repository");
        text.lines().skip(1).map(|line| format!("{kind}:{}", &line[..3])).collect::<Vec<_>>()
    };
    let all = [codes("akasser.csv", "akasse"), codes("kommuner.csv", "kommune")].concat();
    assert_eq!(all.len(), 119);
    all
}

/// Checks that every kommune was told of its own jobcentre's citizen, whatever
/// the number of the sub-jobcentre, and forgets all else.
fn check_locals(world: &World, everybody: &[String], locals: &[Case]) {
    for recipient in everybody {
        let messages = world.take(recipient);
        let Some(case) = locals.iter().find(|case| case.to[0].0 == *recipient) else { continue };
        let local = messages.iter().filter(|message| locals.iter().any(|case| case.event.event_id() == message.correlation_id));
        let told: Vec<&str> = local.map(|message| message.correlation_id.as_str()).collect();
        assert_eq!(told, [case.event.event_id()], "{recipient}");
    }
}

/// Checks everything that section 3 of the contract says of a message.
#[track_caller]
fn check(case: &Case, recipient: &str, identified: bool, message: &Message, began: SystemTime) {
    let what = format!("{} to {recipient}", case.kind);
    let event = case.event.json();
    let number = number_of(&case.kind);
    let (kind, code) = recipient.split_once(':').unwrap();
    let queue = format!("wsb.{kind}.{code}");

    let id = uuid::Uuid::parse_str(&message.id).unwrap_or_else(|error| panic!("{what}: id {:?}: {error}", message.id));
    assert_eq!(id.get_version_num(), 5, "{what}");
    assert_eq!(message.correlation_id, case.event.event_id(), "{what}");
    assert_eq!(message.kind, case.kind, "{what}");
    assert_eq!(message.content_type, "application/cloudevents+json", "{what}");
    assert_eq!(message.delivery_mode, Some(2), "{what}");
    assert_eq!(message.app_id, "wsb-broker", "{what}");
    assert_eq!(
        (message.exchange.as_str(), message.routing_key.as_str(), &message.queue),
        ("wsb.delivery", queue.as_str(), &queue),
        "{what}"
    );
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let sent = message.timestamp.unwrap_or_else(|| panic!("{what} has no timestamp"));
    assert!((seconds(began)..=seconds(SystemTime::now())).contains(&sent), "{what}: sent at {sent}");
    let change = match &*case.kind {
        kind if kind.starts_with("GdprSlet") => json!(3),
        _ => event["data"]["Aendringstype"].clone(),
    };
    let headers = json!({
        "wsb-recipient": recipient, "wsb-entity-id": number, "wsb-change-type": change, "wsb-attempt": 1, "wsb-replay": false,
    });
    // RabbitMQ adds some of its own, all of which begin with x-.
    let ours: BTreeMap<_, _> = message.headers.iter().filter(|(name, _)| !name.starts_with("x-")).collect();
    assert_eq!(json!(ours), headers, "{what}");

    let mut data = json!({
        "EntitetNavn": case.kind,
        "EntitetId": number,
        "EksternIdentifier": event["data"]["EksternIdentifier"],
        "VersionIdentifier": event["data"]["VersionIdentifier"],
        "Aendringstype": change,
        "Modtager": { "Type": kind, "Kode": code },
        "RegistrerendeMyndighed": event["data"]["RegistrerendeMyndighed"],
        "Haendelsestidspunkt": event["time"],
    });
    if identified {
        data["IdentifikationstypeId"] = 1.into();
        data["Identifikation"] = event["data"]["Personnummer"].clone();
    }
    if let Some(content) = &case.content {
        data["Indhold"] = content.clone();
    }
    let mut body = message.json();
    let time = body["time"].take();
    let time = wsb_broker::core::time::Moment::parse(time.as_str().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{what}: time {time}: {error}"));
    assert_eq!(u64::try_from(time.0 / 1_000_000).ok(), Some(sent), "{what}: time and timestamp");
    let expected = json!({
        "specversion": "1.0", "id": message.id, "source": "urn:dk:star:wsb-broker", "type": format!("dk.star.wsb.{}.v1", case.kind),
        "time": null, "datacontenttype": "application/json", "data": data,
    });
    assert_eq!(body, expected, "{what}");
}
