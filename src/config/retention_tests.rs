//! What `retention.toml` may say, what is said of each mistake, and what the
//! shipped file says.

use std::collections::BTreeSet;

use super::retention::{BUILT_IN, misfits};
use super::{Mistake, parse_retention, parse_routing, render};
use crate::core::event::{Details, Owner};
use crate::core::retention::tested_rules;
use crate::core::schedule::{Pace, Rule, Schedule, Span, Start};
use crate::core::time::Day;

/// The least that is valid: lines 1 to 7; snippets are put after it.
const RULE: &str = "[[rule]]\nid = \"a\"\narea = \"A\"\nentities = [\"X\"]\nfrom = \"end\"\nperiod = \"P6Y\"\nsource = \"N\"\n";

fn parse(text: &str) -> Schedule {
    match parse_retention(text) {
        Ok(schedule) => schedule,
        Err(mistakes) => panic!("{}", render("retention.toml", text, &mistakes)),
    }
}

/// Each mistake as `line:column message`.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let mistakes: Vec<String> = match parse_retention(text) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(|m| format!("{}:{} {}", m.line, m.column, m.message)).collect(),
    };
    assert_eq!(mistakes, expected, "of the text\n{text}");
}

/// A rule with one line replaced, or with one more.
#[track_caller]
fn check_line(key: &str, line: &str, expected: &[&str]) {
    let mut lines: Vec<&str> = RULE.lines().filter(|other| !other.starts_with(&format!("{key} "))).collect();
    lines.push(line);
    check(&format!("{}\n", lines.join("\n")), expected);
}

#[test]
fn the_shipped_file_has_the_rules_of_the_sources() {
    let schedule = parse(BUILT_IN);
    let rules: Vec<String> = schedule
        .rules()
        .map(|rule| {
            let Span { years, months, days } = rule.period;
            format!("{} {} {years}-{months}-{days} {}", rule.id, rule.from.name(), rule.source)
        })
        .collect();
    let expected = "\
joblog-dokument updated 4-0-0 N:Joblog
joblog updated 6-0-0 N:Joblog
anden-log updated 6-0-0 N:Joblog
persongruppemarkering-kommunal end 0-6-0 N:Persongruppemarkeringer
persongruppemarkering-statslig end 6-0-0 N:Persongruppemarkeringer
helbredsbegraensning end 6-0-0 N:Helbredsmæssige begrænsninger
afdoed death 0-0-0 N:Personer afgået ved døden
tilmelding end 6-0-0 N:Til- og afmelding
efterloensbevis pension-age 6-0-0 N:Efterlønsbevis
dialogbesked-besvaret answered 6-0-0 N:Dialogmodulbeskeder
dialogbesked-ubesvaret sent 6-0-0 N:Dialogmodulbeskeder
ky-afgoerelse case-closed 6-0-0 N:Afgørelser fra KY
fravaer end 6-0-0 R:8.1 fravær
fravaer-integration end 10-0-0 R:8.1 fravær
kontaktgruppe end 6-0-0 R:8.1 kontaktgruppe
personkategori end 6-0-0 R:8.1 kontaktgruppe
samtale updated 6-0-0 R:8.1 Min plan
jobsoegningskrav registered 6-0-0 R:8.1 Min plan
aktivitet-virksomhedsrettet end 10-0-0 R:8.1 Min plan
aktivitet-oevrig end 6-0-0 R:8.1 Min plan
plan registered 6-0-0 R:8.1 Min plan
integrationskontrakt end 6-0-0 R:8.1 Min plan
min-plan-version last-element-deleted 0-0-0 R:8.1 Min plan
huskeservice end 6-0-0 R:8.1 huskeservice
dagpengetaeller registered 10-0-0 R:8.1 dagpengetællere
ydelseskort month-end 10-0-0 R:8.1 dagpenge og efterløn
eoes-dagpenge end 10-0-0 R:8.1 dagpenge og efterløn
feriedagpenge end 10-0-0 R:8.1 dagpenge og efterløn";
    assert_eq!(rules.join("\n"), expected);
    let those =
        |what: fn(&Rule) -> bool| -> Vec<String> { schedule.rules().filter(|rule| what(rule)).map(|rule| rule.id.to_string()).collect() };
    assert_eq!(those(|rule| !rule.overlapping.is_empty()), ["kontaktgruppe", "personkategori"]);
    assert_eq!(those(|rule| rule.latest_waits_for_group), ["plan"]);
    assert_eq!(those(|rule| rule.oldest_first), ["dagpengetaeller"]);
    assert_eq!(those(|rule| rule.handover), [""; 0], "which areas must be handed over is not public");
    let overlapping: Vec<&str> = schedule.rule("kontaktgruppe").expect("a rule").overlapping.iter().map(|name| &**name).collect();
    assert_eq!(overlapping, ["Fravaer", "MinPlanVersion", "Tilmelding"]);
    assert_eq!(schedule.pace(), Pace::default());
}

#[test]
fn the_shipped_rules_are_those_that_the_calculation_is_tested_with() {
    let shipped = parse(BUILT_IN);
    let decides = |rule: &Rule| Rule { area: "".into(), notice: None, source: "".into(), ..rule.clone() };
    let shipped: Vec<Rule> = shipped.rules().map(|rule| decides(rule)).collect();
    assert_eq!(shipped, tested_rules().iter().map(decides).collect::<Vec<_>>());
}

#[test]
fn the_shipped_files_fit_together() {
    let schedule = parse(BUILT_IN);
    let rules = parse_routing(include_str!("../../routing.toml")).expect("the shipped routing.toml is valid");
    for rule in schedule.rules() {
        for entity in &rule.entities {
            assert!(rules.message_type(entity).is_some(), "{entity} of {} is not declared", rule.id);
        }
        assert_eq!(rule.notice.as_deref(), rules.notice(&rule.id).map(|notice| &*notice.name), "{}", rule.id);
    }
    let covered: BTreeSet<&str> = schedule.rules().flat_map(|rule| rule.entities.iter().map(|entity| &**entity)).collect();
    assert_eq!(covered.len(), 23);
}

#[test]
fn what_does_not_fit_routing_is_told_at_its_place() {
    let rules = parse_routing(include_str!("../../routing.toml")).expect("the shipped routing.toml is valid");
    let placed =
        |told: &[Mistake]| -> Vec<String> { told.iter().map(|told| format!("{}:{} {}", told.line, told.column, told.message)).collect() };
    let check = |text: &str, expected: &[&str]| {
        let misfits = misfits(text, &rules);
        assert_eq!(placed(&misfits.notes), expected, "of the text\n{text}");
        assert_eq!(placed(&misfits.undeclared), [""; 0], "of the text\n{text}");
    };
    let refused = |text: &str, expected: &[&str]| {
        let misfits = misfits(text, &rules);
        assert_eq!(placed(&misfits.undeclared), expected, "of the text\n{text}");
    };
    check(BUILT_IN, &[]);
    refused(RULE, &["4:13 rule a covers X, which routing.toml does not declare: its period never begins"]);
    let joblog = RULE.replace("\"a\"", "\"joblog\"").replace("\"X\"", "\"Joblog\"");
    check(&format!("{joblog}notice = \"GdprSletJoblog\"\n"), &[]);
    check(&joblog, &["1:1 rule joblog says that no notice follows, and routing.toml that GdprSletJoblog does"]);
    check(
        &format!("{joblog}notice = \"GdprSletCv\"\n"),
        &["8:10 rule joblog says that GdprSletCv follows, and routing.toml that GdprSletJoblog does"],
    );
    refused(
        &format!("{}notice = \"GdprSletIngenting\"\n", joblog.replace("\"joblog\"", "\"ingenting\"")),
        &["8:10 rule ingenting says that GdprSletIngenting follows, which routing.toml does not declare: nobody is told"],
    );
}

#[test]
fn the_pension_ages_of_the_shipped_file() {
    let schedule = parse(BUILT_IN);
    let check = |born: &str, expected: &str| {
        let reached = schedule.pension_ages().reached_by(Day::parse(born).expect("a day"));
        assert_eq!(reached.to_string(), expected, "born {born}");
    };
    check("1953-12-31", "2018-12-31");
    check("1954-01-01", "2019-07-01");
    check("1954-06-30", "2019-12-30");
    check("1954-07-01", "2020-07-01");
    check("1954-12-31", "2020-12-31");
    check("1955-01-01", "2021-07-01");
    check("1955-06-30", "2021-12-30");
    check("1955-07-01", "2022-07-01");
    check("1962-12-31", "2029-12-31");
    check("1963-01-01", "2031-01-01");
    check("1966-12-31", "2034-12-31");
    check("1967-01-01", "2036-01-01");
    check("1970-12-31", "2039-12-31");
    check("1971-01-01", "2041-01-01");
}

#[test]
fn what_a_rule_may_say() {
    let other = RULE.replace("id = \"a\"", "id = \"b\"").replace("\"X\"", "\"Y\"");
    let plan = RULE.replace("\"X\"", "\"Plan\"");
    let schedule = parse(&format!(
        "{other}{plan}when = {{ Ejer = \"statslig\", FravaerTypeId = 68 }}\nunless = {{ Virksomhedsrettet = true, Besvaret = true }}\n\
         overlapping = [\"Y\"]\nlatest_version = \"waits-for-open-contact-group\"\noldest-first = true\nhandover = true\nnotice = \"N\"\n\
         [orders]\nper-second = 7\noverdue_after_days = 3\n"
    ));
    let rule = schedule.rule("a").expect("a rule");
    assert!(rule.latest_waits_for_group && rule.oldest_first && rule.handover);
    assert_eq!(rule.notice.as_deref(), Some("N"));
    assert_eq!(schedule.pace(), Pace { per_second: 7, overdue_after_days: 3 });
    let day = Day::parse("2026-03-16").ok();
    let of_state = Details { owner: Some(Owner::State), absence: Some(68), with_company: Some(false), ..Details::default() };
    assert!(rule.covers(&of_state));
    assert!(!rule.covers(&Details { owner: Some(Owner::Municipal), ..of_state.clone() }));
    assert!(!rule.covers(&Details { absence: None, ..of_state.clone() }));
    assert!(!rule.covers(&Details { with_company: None, ..of_state.clone() }));
    assert!(!rule.covers(&Details { answered: day, ..of_state }));
    let periods = [("P6Y", (6, 0, 0)), ("P6M", (0, 6, 0)), ("P1Y2M3D", (1, 2, 3)), ("P0D", (0, 0, 0)), ("P18M", (0, 18, 0))];
    for (period, (years, months, days)) in periods {
        let schedule = parse(&RULE.replace("P6Y", period));
        assert_eq!(schedule.rule("a").expect("a rule").period, Span { years, months, days }, "{period}");
    }
    for start in Start::ALL {
        assert_eq!(Start::parse(start.name()), Some(start));
    }
}

#[test]
fn every_mistake_at_its_place() {
    check("", &["1:1 the file declares no rules"]);
    check("rule = 1\n", &["1:8 `rule` must be a list of tables, not an integer"]);
    check("colour = 1\n", &["1:1 unknown key `colour` in retention.toml", "1:1 the file declares no rules"]);
    check(RULE, &[]);
    check(&RULE.replace("[[rule]]", "[[rules]]"), &[]);
    check(
        "[[rule]]\n",
        &[
            "1:1 this rule has no `id`",
            "1:1 this rule has no `area`",
            "1:1 this rule has no `from`",
            "1:1 this rule has no `entities`",
            "1:1 this rule has no `period`",
            "1:1 this rule has no `source`",
        ],
    );
    check_line("id", "id = \"Fravær\"", &["7:6 `id` is \"Fravær\", which is not a data area"]);
    check_line("id", "id = 1", &["7:6 `id` must be a text, not an integer"]);
    check_line("area", "area = 1", &["7:8 `area` must be a text, not an integer"]);
    check_line("entities", "entities = []", &["7:12 rule a covers no type"]);
    check_line(
        "entities",
        "entities = [\"X\", \"X\", \"Å\", 1]",
        &[
            "7:18 `entities` names X twice",
            "7:23 `entities` names \"Å\", which is not an EntitetNavn",
            "7:28 `entities` must hold a text, not an integer",
        ],
    );
    check_line("from", "from = \"ended\"", &["7:8 `from` is \"ended\", which no period runs from"]);
    check_line("from", "from = \"death\"", &["7:8 rule a cannot run from the death"]);
    check_line("from", "from = \"pension-age\"", &["1:1 a period runs from the pension age, and the file has no `pension-ages`"]);
    for period in ["6Y", "P", "P6", "PT6H", "P6W", "P1.5Y", "P6M1Y", "-P6Y", "p6y", "P99999Y"] {
        check_line("period", &format!("period = \"{period}\""), &[&format!("7:10 `period` is {period:?}, which is not a calendar period")]);
    }
    check_line("period", "period = \"P201Y\"", &["7:10 `period` is P201Y, which is out of range"]);
    check_line("source", "color = 1", &["1:1 rule a has no `source`", "7:1 unknown key `color` in rule a"]);
    check_line("x", "when = 1", &["8:8 `when` must be a table of conditions, not an integer"]);
    check_line("x", "when = {}", &["8:8 `when` has no condition"]);
    check_line("x", "when = { ejer = \"statslig\" }", &["8:10 unknown key `ejer` in a condition of rule a"]);
    check_line("x", "when = { Ejer = \"privat\" }", &["8:17 `Ejer` is \"privat\", which owns nothing"]);
    check_line("x", "when = { FravaerTypeId = [] }", &["8:26 `FravaerTypeId` is empty, so the condition says nothing"]);
    check_line("x", "when = { FravaerTypeId = [\"68\"] }", &["8:27 `FravaerTypeId` must hold whole numbers, not a text"]);
    check_line("x", "unless = { Besvaret = 1 }", &["8:23 `Besvaret` must be true or false, not an integer"]);
    check_line(
        "x",
        "overlapping = [\"Fravaer\"]",
        &["8:16 `overlapping` names Fravaer, which no rule covers: it would be waited for without end"],
    );
    check_line(
        "x",
        "latest-version = \"waits\"",
        &["8:18 `latest-version` is \"waits\"", "8:18 `latest-version` says nothing of X, which has no later versions"],
    );
    check_line("source", "source = \" \"", &["7:10 `source` of rule a is empty"]);
    check_line("area", "area = \"\"", &["7:8 `area` of rule a is empty"]);
    let joblog = RULE.replace("\"X\"", "\"Joblog\"").replace("\"end\"", "\"last-element-deleted\"");
    check(&joblog, &["4:13 Joblog has no Elementer, so no period of rule a runs from \"last-element-deleted\""]);
    check(&joblog.replace("Joblog", "OfOnesOwn"), &[]);
    check_line("x", "handover = \"true\"", &["8:12 `handover` must be true or false, not a text"]);
    check_line("x", "oldest-first = 1", &["8:16 `oldest-first` must be true or false, not an integer"]);
    check_line("x", "notice = \"Ø\"", &["8:10 `notice` is \"Ø\", which is not an EntitetNavn"]);
    check(
        &format!("{RULE}[orders]\nper-second = 0\nper-minute = 1\noverdue-after-days = 1000\n"),
        &[
            "9:14 `per-second` is 0, which is out of range",
            "10:1 unknown key `per-minute` in [orders]",
            "11:22 `overdue-after-days` is 1000, which is out of range",
        ],
    );
}

#[test]
fn mistakes_between_rules() {
    let again = |id: &str, more: &str| format!("{}{more}\n", RULE.replace("id = \"a\"", &format!("id = \"{id}\"")));
    check(&format!("{RULE}{}", again("a", "")), &["9:6 rule a stands twice, first at 2:6"]);
    check(&format!("{RULE}{}", again("b", "")), &["11:13 X is already covered by a at 1:1, and no condition tells the two apart"]);
    let apart = |one: &str, other: &str| format!("{RULE}{one}\n{}", again("b", other));
    for (one, other) in [
        ("when = { Ejer = \"kommunal\" }", "when = { Ejer = \"statslig\" }"),
        ("when = { FravaerTypeId = [68, 69] }", "unless = { FravaerTypeId = [68, 69] }"),
        ("when = { FravaerTypeId = [68] }", "when = { FravaerTypeId = [69] }"),
        ("when = { Virksomhedsrettet = true }", "when = { Virksomhedsrettet = false }"),
        ("when = { Besvaret = true }", "unless = { Besvaret = true }"),
    ] {
        check(&apart(one, other), &[]);
        check(&apart(other, one), &[]);
    }
    for (one, other) in [
        ("when = { FravaerTypeId = [68, 69] }", "unless = { FravaerTypeId = [68] }"),
        ("when = { FravaerTypeId = [68] }", "when = { FravaerTypeId = [68, 69] }"),
        ("when = { Virksomhedsrettet = true }", "when = { Ejer = \"statslig\" }"),
        ("when = { Besvaret = true }", "when = { Besvaret = true }"),
    ] {
        check(&apart(one, other), &["12:13 X is already covered by a at 1:1, and no condition tells the two apart"]);
    }
    // Lines 1 to 8, 9 to 16, and so on.
    let waiting = |id: &str, of: &str, awaited: &str| {
        format!("{}overlapping = [{awaited}]\n", RULE.replace("\"a\"", &format!("\"{id}\"")).replace("\"X\"", &format!("\"{of}\"")))
    };
    check(&format!("{}{}", waiting("a", "X", "\"Y\""), RULE.replace("\"a\"", "\"b\"").replace("\"X\"", "\"Y\"")), &[]);
    check(
        &waiting("a", "X", "\"X\""),
        &["8:16 `overlapping` names X, which the rule itself covers: two that overlap would wait for each other without end"],
    );
    check(
        &format!("{}{}", waiting("a", "X", "\"Y\""), waiting("b", "Y", "\"X\"")),
        &["16:16 `overlapping` names X, which waits for Y: where they overlap, Y and X would wait without end"],
    );
    check(
        &format!("{}{}{}", waiting("a", "X", "\"Y\""), waiting("b", "Y", "\"Z\""), waiting("c", "Z", "\"X\"")),
        &["24:16 `overlapping` names X, which waits for Y, which waits for Z: where they overlap, Z and X would wait without end"],
    );
    let deceased = |more: &str| format!("[[rule]]\nid = \"afdoed\"\narea = \"A\"\nperiod = \"P0D\"\nsource = \"N\"\n{more}\n");
    check(&deceased("from = \"death\""), &[]);
    check(&deceased("from = \"end\""), &["6:8 rule afdoed cannot run from \"end\""]);
    check(&deceased("from = \"death\"\nentities = [\"X\"]"), &["7:12 rule afdoed names types"]);
}

#[test]
fn pension_ages() {
    let check_ages = |ages: &str, expected: &[&str]| check(&format!("pension-ages = {ages}\n{RULE}"), expected);
    check_ages("[ { born-until = 1953-12-31, years = 65, months = 6 }, { years = 70 } ]", &[]);
    check_ages("[]", &["1:16 no pension age without `born-until`: whoever is born later has none"]);
    check_ages("[ 1, { years = 70 } ]", &["1:18 `pension-ages` must hold tables, not an integer"]);
    check_ages("[ { years = 70 }, { years = 71 } ]", &["1:34 two pension ages have no `born-until`"]);
    check_ages(
        "[ { born-until = 1954-01-01, years = 65 }, { born-until = 1954-01-01, years = 66 }, { years = 70 } ]",
        &["1:74 `born-until` is 1954-01-01, which is not after 1954-01-01 of the line before"],
    );
    check_ages("[ { years = 7 } ]", &["1:28 `years` is 7, which is out of range"]);
    check_ages("[ { months = 7 } ]", &["1:18 this pension age has no `years`"]);
    check_ages("[ { born-until = \"1954-02-30\", years = 65 }, { years = 70 } ]", &["1:33 `born-until` is 1954-02-30, which is not a day"]);
}

#[test]
fn a_schedule_is_told_apart_by_what_it_decides() {
    let fingerprint = |text: &str| parse(text).fingerprint();
    let one = fingerprint(RULE);
    assert_eq!(one, fingerprint(RULE));
    assert_eq!(one, fingerprint(&RULE.replace("area = \"A\"", "area = \"B\"")), "words decide nothing");
    assert_eq!(one, fingerprint(&format!("{RULE}[orders]\nper-second = 1\n")));
    for (part, by) in [("P6Y", "P5Y"), ("\"X\"", "\"Y\""), ("\"end\"", "\"registered\"")] {
        assert_ne!(one, fingerprint(&RULE.replace(part, by)), "{by}");
    }
    assert_ne!(one, fingerprint(&format!("{RULE}handover = true\n")));
}
