//! What `routing.toml` may say, what is said of each mistake, and what the
//! shipped file says.

use super::{parse_routing, render};
use crate::core::event::PlanKind;
use crate::core::ids::{Kommunekode, Recipient};
use crate::core::policy::{Audience, Condition, Domain, MessageType, Payload, RetryPolicy, Rules, Subscriptions};
use crate::core::time::Day;

const SHIPPED: &str = include_str!("../../routing.toml");

/// The least that is valid; snippets are put before it or after it.
const TYPE: &str = "[[type]]\nname = \"A\"\nentity-id = 1\ndomain = \"plan\"\n";
const RECIPIENT: &str = "[[recipient]]\nauthority = \"akasse:001\"\n";

fn parse(text: &str) -> Rules {
    match parse_routing(text) {
        Ok(rules) => rules,
        Err(mistakes) => panic!("{}", render("routing.toml", text, &mistakes)),
    }
}

fn message_type<'r>(rules: &'r Rules, name: &str) -> &'r MessageType {
    rules.message_type(name).unwrap_or_else(|| panic!("no type {name}"))
}

/// Each mistake as `line:column message`.
fn mistakes(text: &str) -> Vec<String> {
    match parse_routing(text) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(|m| format!("{}:{} {}", m.line, m.column, m.message)).collect(),
    }
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(mistakes(text), expected, "of the text\n{text}");
}

/// The keys of a type: line 5 of the file on.
#[track_caller]
fn check_type(keys: &str, expected: &[&str]) {
    check(&format!("{TYPE}{keys}\n{RECIPIENT}"), expected);
}

/// The keys of a recipient: line 7 of the file on.
#[track_caller]
fn check_recipient(keys: &str, expected: &[&str]) {
    check(&format!("{TYPE}{RECIPIENT}{keys}\n"), expected);
}

/// A table of its own: line 7 of the file on.
#[track_caller]
fn check_table(table: &str, expected: &[&str]) {
    check(&format!("{TYPE}{RECIPIENT}{table}\n"), expected);
}

#[test]
fn the_file_as_a_whole() {
    check("", &["1:1 the file declares no types", "1:1 the file declares no recipients"]);
    check("# nothing\n", &["1:1 the file declares no types", "1:1 the file declares no recipients"]);
    check(TYPE, &["1:1 the file declares no recipients"]);
    check(&format!("recipients = []\n{TYPE}"), &["1:1 the file declares no recipients"]);
    check(&format!("colour = 1\n{TYPE}{RECIPIENT}"), &["1:1 unknown key `colour` in routing.toml"]);
    check(&format!("retries = 1\n{TYPE}{RECIPIENT}"), &["1:1 unknown key `retries` in routing.toml"]);
    check(&format!("retry = 1\n{TYPE}{RECIPIENT}"), &["1:9 `retry` must be a table, not an integer"]);
    check(&format!("types = 1\n{TYPE}{RECIPIENT}"), &["1:9 `types` must be a list of tables, not an integer"]);
    check(&format!("types = [1]\n{TYPE}{RECIPIENT}"), &["1:10 `type` must hold tables, not an integer"]);
    check(&format!("[type]\nname = \"A\"\n{RECIPIENT}"), &["1:1 `type` must be a list of tables, not a table"]);
    check(&format!("{TYPE}[recipient]\nauthority = \"akasse:001\"\n"), &["5:1 `recipient` must be a list of tables, not a table"]);
}

#[test]
fn both_spellings_and_both_forms_of_lists_are_one() {
    let rules = parse(
        "recipients = [ { authority = \"akasse:001\", valid_from = 2026-01-01, valid-until = \"2026-12-31\", max_unfetched = 7 } ]\n\
         types = [ { name = \"A\", entity_id = 1, domain = \"plan\", payload = \"id_only\", audiences = \"akasse_own_members\" } ]\n\
         [[type]]\nname = \"B\"\nentity-id = 2\ndomain = \"gdpr\"\n\
         [[type.audiences]]\nto = \"holders\"\nwhen.contact_group = 1\n\
         [[recipient]]\nauthority = \"kommune:860\"\n",
    );
    assert_eq!(rules.message_types().count(), 2);
    assert_eq!(message_type(&rules, "A").audiences[0].audience, Audience::AkasseOwnMembers);
    assert_eq!(message_type(&rules, "B").audiences[0].conditions, [Condition::ContactGroupIn(vec![1])]);
    assert!(message_type(&rules, "B").after_death && !message_type(&rules, "A").after_death);
    let fund = Recipient::parse("akasse:001").ok().and_then(|r| rules.recipient(r)).expect("declared");
    assert_eq!((fund.valid_from, fund.valid_until), (Day::parse("2026-01-01").ok(), Day::parse("2026-12-31").ok()));
    assert_eq!((fund.max_unfetched, &*fund.queue, &*fund.name), (7, "wsb.akasse.001", "akasse:001"));
    let kommune = Recipient::parse("kommune:860").ok().and_then(|r| rules.recipient(r)).expect("declared");
    assert_eq!((kommune.max_unfetched, &*kommune.queue), (1000, "wsb.kommune.860"));
    assert_eq!(kommune.subscriptions, Subscriptions::Only([].into()), "without the key: none");
    assert_eq!(rules.retry(), &RetryPolicy::default());
    check_type("after-death = true\nafter_death = true", &["6:1 `after-death` of type A already stands at 5:1"]);
}

#[test]
fn a_notice_is_found_by_its_name_unless_another_type_claims_the_area() {
    let notice = |name: &str, id: u32| format!("[[type]]\nname = \"{name}\"\nentity-id = {id}\ndomain = \"gdpr\"\n");
    let rules =
        parse(&format!("{}{}{}{RECIPIENT}", notice("GdprSletAndenLog", 2), notice("GdprSletning", 3), notice("GdprSletEoesDagpenge", 4)));
    assert_eq!(rules.notice("anden-log").map(|t| t.entity_id), Some(2));
    assert_eq!(rules.notice("eoes-dagpenge").map(|t| t.entity_id), Some(4));
    assert!(message_type(&rules, "GdprSletning").notice_for.is_empty());
    let rules = parse(&format!("{}notice-for = \"anden-log\"\n{}{RECIPIENT}", notice("Other", 2), notice("GdprSletAndenLog", 3)));
    assert_eq!(rules.notice("anden-log").map(|t| t.entity_id), Some(2));
}

#[test]
fn mistakes_in_types() {
    check(
        &format!("[[type]]\n{RECIPIENT}"),
        &["1:1 this type has no `name`", "1:1 this type has no `entity-id`", "1:1 this type has no `domain`"],
    );
    check_type("entitet-id = 1", &["5:1 unknown key `entitet-id` in type A"]);
    check_type("voluntary = \"yes\"", &["5:13 `voluntary` must be true or false, not a text"]);
    check_type("after-death = 1", &["5:15 `after-death` must be true or false, not an integer"]);
    check_type("payload = \"full\"", &["5:11 unknown payload \"full\""]);
    check_type("payload = true", &["5:11 `payload` must be a text, not a boolean"]);
    check_type("[[type]]\nname = \"A\"\nentity-id = 2\ndomain = \"plan\"", &["6:8 type A is declared twice, first at 2:8"]);
    check_type("[[type]]\nname = \"B\"\nentity-id = 1\ndomain = \"plan\"", &["7:13 entity-id 1 of type B is already used at 3:13"]);
    check_type("[[type]]\nname = \"\"\nentity-id = 2\ndomain = \"plan\"", &["6:8 `name` is \"\", which is not an EntitetNavn"]);
    check_type("[[type]]\nname = \"a b\"\nentity-id = 2\ndomain = \"plan\"", &["6:8 `name` is \"a b\", which is not an EntitetNavn"]);
    check_type("[[type]]\nname = \"B\"\nentity-id = 0\ndomain = \"plan\"", &["7:13 `entity-id` is 0, which is out of range"]);
    check_type(
        "[[type]]\nname = \"B\"\nentity-id = 2147483648\ndomain = \"plan\"",
        &["7:13 `entity-id` is 2147483648, which is out of range"],
    );
    check_type("[[type]]\nname = \"B\"\nentity-id = \"2\"\ndomain = \"plan\"", &["7:13 `entity-id` must be a whole number, not a text"]);
    check_type("[[type]]\nname = \"B\"\nentity-id = 2\ndomain = \"plans\"", &["8:10 unknown domain \"plans\""]);
    check_type(
        "[[type]]\nname = \"Akassemedlemskab\"\nentity-id = 2\ndomain = \"plan\"",
        &["8:10 type Akassemedlemskab cannot be of the domain plan"],
    );
    check_type("notice-for = [\"cv\"]", &["5:14 only a type of the domain gdpr can be a deletion notice"]);
    let notice = "[[type]]\nname = \"B\"\nentity-id = 2\ndomain = \"gdpr\"\nnotice-for = [\"cv\", \"C V\", 1]\n";
    let other = "[[type]]\nname = \"C\"\nentity-id = 3\ndomain = \"gdpr\"\nnotice-for = \"cv\"";
    check_type(
        &format!("{notice}{other}"),
        &[
            "9:21 `notice-for` names \"C V\", which is not a data area",
            "9:28 `notice-for` must hold a text, not an integer",
            "14:14 data area cv already has its notice, at 9:15",
        ],
    );
}

#[test]
fn mistakes_in_audiences() {
    check_type("audiences = [\"akasse-own-member\"]", &["5:14 unknown audience \"akasse-own-member\""]);
    check_type(
        "audiences = [\"everybody\", 2]",
        &["5:14 unknown audience \"everybody\"", "5:27 `audiences` must hold names, not an integer"],
    );
    check_type("audiences = [{ when = { contact-group = [1] } }]", &["5:14 an audience of type A has no `to`"]);
    check_type("audiences = [{ to = \"holders\", where = 1 }]", &["5:32 unknown key `where` in an audience of type A"]);
    check_type("audiences = [{ to = \"holders\", when = 1 }]", &["5:39 `when` must be a table of conditions, not an integer"]);
    check_type("audiences = [{ to = \"holders\", when = {} }]", &["5:39 `when` has no condition"]);
    check_type("audiences = [{ to = \"holders\", when = { group = [1] } }]", &["5:41 unknown key `group` in a condition of type A"]);
    check_type(
        "audiences = [{ to = \"holders\", when = { contact-group = [] } }]",
        &["5:57 `contact-group` is empty, so the condition can never hold"],
    );
    check_type(
        "audiences = [{ to = \"holders\", when = { contact-group = [\"1\", -1] } }]",
        &["5:58 `contact-group` must hold whole numbers, not a text", "5:63 `contact-group` names -1, which is no contact group"],
    );
    check_type("audiences = [{ to = \"holders\", when = { plan = [\"Jobplaner\"] } }]", &["5:49 unknown plan \"Jobplaner\""]);
    check_type(
        "audiences = [{ to = \"holders\", when = { contact-group-shift = [1] } }]",
        &["5:63 `contact-group-shift` can never hold for type A: only Kontaktgruppe events tell of a shift"],
    );
    check_type("audiences = [\"holders\", { to = \"holders\" }]", &["5:25 type A names holders twice, first at 5:14"]);
    check_type("audiences = [\"holders\", { to = \"holders\", when = { contact-group = [1] } }]", &[]);
}

#[test]
fn mistakes_in_recipients() {
    check(&format!("{TYPE}[[recipient]]\n"), &["5:1 this recipient has no `authority`"]);
    check(&format!("{TYPE}[[recipient]]\nauthority = \"akasse:67\"\n"), &["6:13 `authority` is \"akasse:67\", which names none"]);
    check(&format!("{TYPE}[[recipient]]\nauthority = 67\n"), &["6:13 `authority` must be a text, not an integer"]);
    check(&format!("recipients = [\"akasse:001\"]\n{TYPE}"), &["1:15 `recipients` must hold tables, not a text"]);
    check_recipient("vendors = \"x\"", &["7:1 unknown key `vendors` in recipient akasse:001"]);
    check_recipient("name = 1", &["7:8 `name` must be a text, not an integer"]);
    check_recipient(
        "[[recipient]]\nauthority = \"akasse:001\"\nqueue = \"other\"",
        &["8:13 recipient akasse:001 stands twice, first at 6:13"],
    );
    check_recipient(
        "[[recipient]]\nauthority = \"akasse:002\"\nqueue = \"wsb.akasse.001\"",
        &["9:9 queue wsb.akasse.001 already belongs to the recipient at 6:13"],
    );
    check_recipient("queue = \"wsb.returned\"", &["7:9 queue wsb.returned is one of the broker's own"]);
    check_recipient("queue = \"amq.gen\"", &["7:9 queue amq.gen is reserved for RabbitMQ itself"]);
    check_recipient("queue = \"\"", &["7:9 `queue` is \"\", which is not a name for a queue"]);
    check_recipient(
        "valid-from = 2026-02-02\nvalid-until = 2026-02-01",
        &["8:15 recipient akasse:001 ends on 2026-02-01, before it begins on 2026-02-02"],
    );
    check_recipient("valid-from = \"2026-02-29\"", &["7:14 `valid-from` is 2026-02-29, which is not a day"]);
    check_recipient("valid-from = 2026-02-02T00:00:00Z", &["7:14 `valid-from` is 2026-02-02T00:00:00Z, which is not a day"]);
    check_recipient("valid-from = 20260202", &["7:14 `valid-from` must be a day, not an integer"]);
    check_recipient("max-unfetched = 0", &["7:17 `max-unfetched` is 0, which is out of range"]);
    check_recipient("max-unfetched = 1000001", &["7:17 `max-unfetched` is 1000001, which is out of range"]);
    check_recipient("max-unfetched = 1000000", &[]);
    check_recipient("subscriptions = [\"A\"]", &["7:18 A is not voluntary and cannot be subscribed to"]);
    check_recipient("subscriptions = [\"B\"]", &["7:18 there is no type \"B\" to subscribe to"]);
    check_recipient("subscriptions = \"All\"", &["7:17 there is no type \"All\" to subscribe to"]);
    check_recipient("subscriptions = true", &["7:17 `subscriptions` must hold a text, not a boolean"]);
}

#[test]
fn mistakes_in_the_other_tables() {
    check_table("[queues]\nmax-unfetched = -1", &["8:17 `max-unfetched` is -1, which is out of range"]);
    check_table("[queues]\nmax = 1", &["8:1 unknown key `max` in [queues]"]);
    check_table("[recipient-defaults]\nsubscriptions = [\"A\"]", &["8:18 A is not voluntary and cannot be subscribed to"]);
    check_table("[recipient-defaults]\nqueue = \"x\"", &["8:1 unknown key `queue` in [recipient-defaults]"]);
    check_table("[retry]\ninitial-ms = 1", &["8:1 unknown key `initial-ms` in [retry]"]);
    check_table("[retry]\ninitial_ms = 0", &["8:14 `initial_ms` is 0, which is out of range"]);
    check_table("[retry]\ninitial_ms = 1.5", &["8:14 `initial_ms` must be a whole number, not a float"]);
    check_table("[retry]\ninitial_ms = 9\nmax_ms = 8", &["9:10 `max_ms` (8) is less than `initial_ms` (9)"]);
    check_table("[retry]\ninitial_ms = 3600001", &["8:14 `max_ms` (3600000) is less than `initial_ms` (3600001)"]);
    check_table("[retry]\ngive_up_after_s = 99999999999", &["8:19 `give_up_after_s` is 99999999999, which is out of range"]);
    for (number, shown) in [("nan", "NaN"), ("inf", "inf"), ("0.99", "0.99"), ("0", "0"), ("-2", "-2")] {
        check_table(&format!("[retry]\nmultiplier = {number}"), &[&format!("8:14 `multiplier` is {shown}, which is out of range")]);
    }
    check_table("[retry]\nmultiplier = \"2\"", &["8:14 `multiplier` must be a number, not a text"]);
    check_table("[retry]\ninitial_ms = 50\nmultiplier = 1\nmax_ms = 50\ngive_up_after_s = 1", &[]);
}

#[test]
fn mistakes_of_syntax_do_not_hide_others() {
    check_type("voluntary =", &["5:12 string values must be quoted, expected literal string"]);
    check_type("voluntary = true\nvoluntary = true\npayload = 1", &["6:1 duplicate key", "7:11 `payload` must be a text, not an integer"]);
    check(
        &format!("[[type]]\nname = A\nentity-id = x\ndomain = \"plan\"\npayload = 1\n{RECIPIENT}"),
        &[
            "2:8 string values must be quoted, expected literal string",
            "3:13 string values must be quoted, expected literal string",
            "5:11 `payload` must be a text, not an integer",
        ],
    );
    // What follows an open bracket cannot be told apart from what is in it.
    check_type("audiences = [\"holders\"\npayload = 1", &["6:1 missing comma between array elements, expected `,`"]);
    check("[[type]\n", &["1:8 unclosed array table, expected `]`"]);
    // But what is in one table from what is in another.
    check(
        "æ\n[retry\ninitial_ms = 1\n\n[[type]\nname = \"A\"\n\n[queues]\nx = [1,\n2\ny = 3\n[recipient-defaults]\nz = 1 =\nw = { a = 1\n",
        &[
            "1:2 key with no value, expected `=`",
            "2:7 unclosed table, expected `]`",
            "5:8 unclosed array table, expected `]`",
            "11:1 missing comma between array elements, expected `,`",
            "13:7 unexpected key or value, expected newline, `#`",
        ],
    );
    // Of the inside of a text that goes over lines nothing is guessed.
    check("[retry\nx = '''\n[queues\n'''\n", &["1:7 unclosed table, expected `]`"]);
    check(&format!("\u{feff}x\n{TYPE}{RECIPIENT}"), &["1:2 key with no value, expected `=`"]);
}

const TEN_MISTAKES: &str = "\
[retry]
initial_ms = 1000
multiplier = 0.5
max_ms = \"1h\"

[[type]]
name = \"Indkaldelse\"
entity-id = 90000
domain = \"kontaktforlob\"
audience = [\"akasse-own-members\"]

[[type]]
name = \"Frist\"
entity-id = 90000
domain = \"kontaktforloeb\"
audiences = [\"jobcentre-own-citizens\"]

[[type]]
name = \"GdprSletCv\"
domain = \"gdpr\"
voluntary = true

[[recipient]]
authority = \"kommune:86\"
name = \"Hjørring\"

[[recipient]]
authority = \"akasse:067\"
subscriptions = [\"GdprSletCV\"]
valid-from = 2026-02-30
";

#[test]
fn ten_mistakes_are_shown_in_one_run() {
    let mistakes = parse_routing(TEN_MISTAKES).expect_err("ten mistakes");
    let shown = render("routing.toml", TEN_MISTAKES, &mistakes);
    assert_eq!(shown, include_str!("../../tests/fixtures/routing-ten-mistakes.txt"), "{shown}");
}

/// The types of DOMAIN's table and of the contract, written down a second time:
/// name, EntitetId or 0 for an id of ours, domain, flags (`b`ody, `v`oluntary),
/// audiences with their conditions.
const EXPECTED: &str = "
Akassemedlemskab 60010 tilknytning b akasse-of-record akasse-own-members
Jobcentertilknytning 0 tilknytning - jobcenter-own-citizens akasse-own-members
ForespoergelsePaaAkassemedlemskab 0 tilknytning - akasse-own-members
Bopaelskommune 0 tilknytning -
Personnummerskift 0 tilknytning -
PersonDoed 0 tilknytning -
Indkaldelse 90000 kontaktforloeb - jobcenter-own-citizens kommune-own-residents akasse-own-members
Frist 90001 kontaktforloeb - jobcenter-own-citizens
Kontaktgruppe 100008 kontaktforloeb - jobcenter-own-citizens akasse-own-members?shift=1,13,25
FagprofessionelKontakt 0 kontaktforloeb - jobcenter-own-citizens akasse-own-members
Persongruppemarkering 0 kontaktforloeb - jobcenter-own-citizens akasse-own-members
Tilmelding 0 kontaktforloeb - jobcenter-own-citizens akasse-own-members
Helbredsbegraensning 0 kontaktforloeb -
Personkategori 0 kontaktforloeb -
Dialogbesked 0 kontaktforloeb -
HuskeserviceAbonnement 0 kontaktforloeb -
Fravaer 0 fravaer - jobcenter-own-citizens akasse-own-members
YderligeInfoOmFravaer 100012 fravaer - jobcenter-own-citizens
Plan 0 plan - jobcenter-own-citizens akasse-own-members
Aktivitet 0 plan - jobcenter-own-citizens akasse-own-members?plan=Jobplan,UddannelsesplanMedJobmaal
Samtale 0 plan - jobcenter-own-citizens akasse-own-members
Jobsoegningskrav 0 plan -
Integrationskontrakt 0 plan -
MinPlanVersion 0 plan -
Joblog 0 joblog - jobcenter-own-citizens akasse-own-members
JoblogDokument 0 joblog -
AndenLog 0 joblog -
BevillingAfYdelse 100014 ydelse - jobcenter-own-citizens
ForsoergerStatusSkift 60007 ydelse v akasse-own-members?group=1
DagpengetaellerTidligereAkasse 50003 ydelse - akasse-own-members
Efterloensbevis 0 ydelse -
Dagpengetaeller 0 ydelse -
Ydelseskort 0 ydelse -
EoesDagpenge 0 ydelse -
Feriedagpenge 0 ydelse -
GdprSletning 0 gdpr -
RigsarkivAflevering 0 gdpr -
GdprSletCv 30007 gdpr bv jobcenters-ever akasse-since-first-placement
";

/// The data areas of the retention rules: each has a notice of its own.
const AREAS: &str = "joblog-dokument joblog anden-log persongruppemarkering-kommunal persongruppemarkering-statslig \
    helbredsbegraensning afdoed tilmelding efterloensbevis dialogbesked-besvaret dialogbesked-ubesvaret ky-afgoerelse fravaer \
    fravaer-integration kontaktgruppe personkategori samtale jobsoegningskrav aktivitet-virksomhedsrettet aktivitet-oevrig plan \
    integrationskontrakt min-plan-version huskeservice dagpengetaeller ydelseskort eoes-dagpenge feriedagpenge";

/// A type in the words of the table above.
fn describe(t: &MessageType) -> String {
    let join = |items: Vec<String>| items.join(",");
    let mut line = format!("{} {} {} ", t.name, if t.entity_id >= 910_000 { 0 } else { t.entity_id }, t.domain.name());
    line.push_str(match (t.payload, t.voluntary) {
        (Payload::IdOnly, false) => "-",
        (Payload::Body, false) => "b",
        (Payload::IdOnly, true) => "v",
        (Payload::Body, true) => "bv",
    });
    for rule in &t.audiences {
        line.push_str(&format!(" {}", rule.audience.name()));
        for condition in &rule.conditions {
            line.push_str(&match condition {
                Condition::ContactGroupIn(groups) => format!("?group={}", join(groups.iter().map(ToString::to_string).collect())),
                Condition::ContactGroupShift(groups) => format!("?shift={}", join(groups.iter().map(ToString::to_string).collect())),
                Condition::PlanIn(plans) => {
                    format!("?plan={}", join(plans.iter().copied().map(PlanKind::name).map(str::to_owned).collect()))
                }
            });
        }
    }
    line
}

#[test]
fn the_shipped_file_declares_the_types_of_the_domain() {
    let rules = parse(SHIPPED);
    for line in EXPECTED.trim().lines() {
        let name = line.split(' ').next().expect("a name");
        assert_eq!(describe(message_type(&rules, name)), line);
    }
    for area in AREAS.split_whitespace() {
        let notice = rules.notice(area).unwrap_or_else(|| panic!("{area} has no notice"));
        assert_eq!(describe(notice), format!("{} 0 gdpr bv holders jobcenter-own-citizens akasse-own-members", notice.name));
        assert_eq!(notice.notice_for, [area.into()]);
        assert!(notice.after_death);
    }
    assert_eq!(rules.notice("cv").map(|t| &*t.name), Some("GdprSletCv"));
    assert_eq!(rules.notice("anden-log").map(|t| &*t.name), Some("GdprSletAndenLog"));
    assert_eq!(rules.message_types().count(), EXPECTED.trim().lines().count() + AREAS.split_whitespace().count());
    assert!(rules.message_types().all(|t| t.after_death == (t.domain == Domain::Gdpr)));
}

/// Code and name of each line of a fixture.
fn authorities(csv: &str) -> Vec<(&str, &str)> {
    let rows = csv.lines().skip(1).filter_map(|line| line.split_once(','));
    rows.map(|(code, rest)| match rest.strip_prefix('"') {
        Some(quoted) => (code, quoted.split('"').next().unwrap_or_default()),
        None => (code, rest.split(',').next().unwrap_or_default()),
    })
    .collect()
}

#[test]
fn the_shipped_file_has_every_authority() {
    let rules = parse(SHIPPED);
    let funds = authorities(include_str!("../../tests/fixtures/akasser.csv"));
    let kommuner = authorities(include_str!("../../tests/fixtures/kommuner.csv"));
    assert_eq!((funds.len(), kommuner.len(), rules.recipients().count()), (21, 98, 119));
    let all = funds.iter().map(|a| ("akasse", a)).chain(kommuner.iter().map(|k| ("kommune", k)));
    for (kind, (code, name)) in all {
        let recipient = Recipient::parse(&format!("{kind}:{code}")).expect("a code of the fixture");
        let rule = rules.recipient(recipient).unwrap_or_else(|| panic!("{recipient} is not in routing.toml"));
        assert_eq!((&*rule.name, &*rule.queue), (*name, &*format!("wsb.{kind}.{code}")));
        assert_eq!((&rule.subscriptions, rule.max_unfetched), (&Subscriptions::All, 1000));
        assert!(rule.is_open(Day::parse("2026-03-16").expect("a day")));
    }
    assert!(kommuner.iter().all(|(code, _)| Kommunekode::parse(code).is_ok_and(|code| rules.knows_kommune(code))));
    assert_eq!(rules.retry(), &RetryPolicy { initial_ms: 1000, multiplier: 2.0, max_ms: 3_600_000, give_up_after_s: 259_200 });
}

/// Xorshift: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn mutate(text: &mut String, chance: &mut Chance) {
    const PIECES: [&str; 30] = [
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'''",
        "\"\"\"",
        "=",
        ",",
        "\n",
        "\r",
        "\t",
        "\0",
        "#",
        ".",
        "æ",
        "\u{feff}",
        "\u{1f9ea}",
        "nan",
        "-9223372036854775808",
        "99999999999999999999",
        "1e400",
        "true",
        "2026-02-30",
        "[[type]]\n",
        "[retry]\n",
        "[type]\n",
        "name = \"\\u0000\"\n",
        "audiences = [[{to=[]}]]\n",
        "when = { plan = {} }\n",
    ];
    let boundary = |text: &str, mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = boundary(text, chance.below(text.len() + 1));
    match chance.below(5) {
        0 => text.insert_str(from, PIECES[chance.below(PIECES.len())]),
        1 => {
            let to = boundary(text, (from + chance.below(12)).min(text.len()));
            text.replace_range(from..to.max(from), PIECES[chance.below(PIECES.len())]);
        }
        2 => {
            let to = boundary(text, (from + chance.below(200)).min(text.len()));
            text.replace_range(from..to.max(from), "");
        }
        3 => text.truncate(from),
        _ => {
            let to = boundary(text, (from + chance.below(120)).min(text.len())).max(from);
            let copy = text[from..to].to_owned();
            let at = boundary(text, chance.below(text.len() + 1));
            text.insert_str(at, &copy);
        }
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for text in ["a = ".to_owned() + &"[".repeat(100_000), "a = ".to_owned() + &"{a=".repeat(100_000), "a.".repeat(100_000) + "a = 1"] {
        assert!(!mistakes(&text).is_empty());
    }
}

#[test]
fn no_text_makes_it_panic_or_point_outside_the_file() {
    let types = SHIPPED.find("[[type]]").expect("the shipped file has types");
    for seed in 1..=1500_u64 {
        // Shown only when the test fails.
        eprintln!("seed {seed}");
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Parsing all of it takes longer and finds no more than a part of it does.
        let mut text = match seed % 25 {
            0 => SHIPPED.to_owned(),
            1..=12 => TEN_MISTAKES.to_owned(),
            _ => SHIPPED[types..].chars().skip(chance.below(8000)).take(1500).chain(RECIPIENT.chars()).collect(),
        };
        for _ in 0..=chance.below(6) {
            mutate(&mut text, &mut chance);
        }
        let Err(mistakes) = parse_routing(&text) else { continue };
        assert!(!mistakes.is_empty(), "refused for no reason:\n{text}");
        let lines: Vec<&str> = text.split('\n').collect();
        for m in &mistakes {
            assert!(m.line >= 1 && m.line <= lines.len() && m.column >= 1 && m.width >= 1, "{m}\n{text}");
            assert!(m.column <= lines[m.line - 1].chars().count() + 1, "{m}\n{text}");
        }
        assert!(render("routing.toml", &text, &mistakes).contains(&format!("routing.toml:{}:", mistakes[0].line)));
    }
}
