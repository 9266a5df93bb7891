//! What is wrong now, the worst first, each with the place to act.

use super::language::{Language, fill};
use super::view::{Missing, Recipient, Replay};

/// How long something may wait before it is worth a look: the delivery objective.
const LONG_SECONDS: f64 = 60.0;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Something does not work.
    Bad,
    /// Something waits for a person.
    Warn,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub gravity: Gravity,
    /// What.
    pub what: String,
    /// Where, or how it shows.
    pub detail: String,
    /// Where to act: an address, and what to call it.
    pub act: Option<(String, &'static str)>,
    /// The section of the runbook that says what it means and what to do.
    pub section: &'static str,
}

/// Everything that problems are made of.
#[derive(Debug, Clone, Default)]
pub struct Situation<'a> {
    /// What readiness misses.
    pub missing: Vec<Missing>,
    /// Every recipient that is seen.
    pub recipients: &'a [Recipient],
    /// How many were given up in the last hour.
    pub died: u64,
    /// Since what time of day they are counted, where that is less than an hour.
    pub died_since: Option<String>,
    /// How many messages are in quarantine, and whether there are more than that.
    pub quarantine: (u64, bool),
    /// Whether the rules in force are not those of the file.
    pub routing_refused: bool,
    /// Whether the tokens in force are not those of the file.
    pub tokens_refused: bool,
    /// Deletion orders that nobody has answered in time.
    pub overdue: u64,
    /// Who has not fetched deletion notices of former days.
    pub unfetched: Vec<String>,
    /// How many lanes are parked.
    pub parked: u64,
    /// How many erasures wait for a second person.
    pub erasures: u64,
    /// Why the latest backup failed, if it did.
    pub backup_failed: Option<String>,
    /// The day of the latest backup and how long ago it was, if there has been one.
    pub latest_backup: Option<(String, f64)>,
    /// The certificates.
    pub certificates: Vec<Certificate>,
    /// The replays.
    pub replays: &'a [Replay],
    /// How much waits at RabbitMQ to be taken in, by queue.
    pub intake: Vec<(String, u64)>,
    /// How many were told nothing in the last hour, since memberships contradict one
    /// another.
    pub contradictory: u64,
}

/// A certificate that is used.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The setting that names its file, or whose it is.
    pub whose: &'static str,
    /// The day of its end.
    pub day: String,
    /// How long it is still valid; negative once it is not.
    pub seconds_left: f64,
}

/// From when on it is told that a certificate ends, and that it ends soon: those of
/// the alerts.
const CERTIFICATE_ENDS: f64 = 14.0 * 86_400.0;
const CERTIFICATE_ENDS_SOON: f64 = 3.0 * 86_400.0;

/// From when on it is told that the latest backup is old: that of the alert.
const BACKUP_OLD: f64 = 2.0 * 86_400.0;

/// From how many events on it is told that they wait to be taken in: that of the
/// alert for what decides about everything else, less than a minute's worth.
const INTAKE_LAG: u64 = 1_000;

/// Returns what is wrong.
#[must_use]
pub fn problems(situation: &Situation<'_>, language: Language) -> Vec<Problem> {
    let texts = language.texts();
    let mut found = Vec::new();
    let mut add = |section, gravity, what: String, detail: String, act: Option<(&str, &'static str)>| {
        found.push(Problem { gravity, what, detail, act: act.map(|(path, name)| (path.to_owned(), name)), section });
    };
    for missing in &situation.missing {
        add("wsbnotready", Gravity::Bad, fill(texts.problem_not_ready, &[texts.word(&missing.what)]), missing.why.clone(), None);
    }
    let names = |chosen: &[&Recipient]| {
        let first: Vec<&str> = chosen.iter().take(3).map(|recipient| recipient.name.as_str()).collect();
        let more = chosen.len().saturating_sub(3);
        if more > 0 { format!("{} +{more}", first.join(", ")) } else { first.join(", ") }
    };
    let some = |chosen: &dyn Fn(&Recipient) -> bool| situation.recipients.iter().filter(|one| chosen(one)).collect::<Vec<_>>();
    let sum = |value: fn(&Recipient) -> u64| situation.recipients.iter().map(value).sum::<u64>();

    let failing = some(&Recipient::is_failing);
    if !failing.is_empty() {
        let what = language.count(texts.problem_paused, failing.len() as u64);
        add("wsbqueuepaused", Gravity::Bad, what, names(&failing), Some(("/console/recipients?state=troubled", texts.act_recipients)));
    }
    let dead = sum(|one| one.dead);
    let with_dead = some(&|one| one.dead > 0);
    if situation.died > 0 {
        let what = language.count(texts.problem_dead_growing, situation.died);
        let detail = match &situation.died_since {
            Some(since) => format!("{}; {}", names(&with_dead), fill(texts.problem_dead_since, &[since])),
            None => names(&with_dead),
        };
        add("wsbdeadgrowing", Gravity::Bad, what, detail, Some(("/console/failures", texts.act_failures)));
    }
    if situation.overdue > 0 {
        let what = language.count(texts.problem_overdue, situation.overdue);
        add("wsbordersoverdue", Gravity::Bad, what, String::new(), Some(("/console/gdpr", texts.act_gdpr)));
    }
    let lagging: Vec<&(String, u64)> = situation.intake.iter().filter(|(_, events)| *events > INTAKE_LAG).collect();
    if !lagging.is_empty() {
        let what = language.count(texts.problem_intake, lagging.iter().map(|(_, events)| events).sum());
        let queues: Vec<&str> = lagging.iter().map(|(queue, _)| queue.as_str()).collect();
        add("wsbintakelag", Gravity::Bad, what, queues.join(", "), None);
    }
    if situation.routing_refused {
        add("wsbroutingrefused", Gravity::Bad, texts.problem_routing.to_owned(), texts.problem_routing_detail.to_owned(), None);
    }
    if situation.tokens_refused {
        add("wsbtokensrefused", Gravity::Bad, texts.problem_tokens.to_owned(), texts.problem_tokens_detail.to_owned(), None);
    }
    let (soon, later): (Vec<&Certificate>, Vec<&Certificate>) = situation
        .certificates
        .iter()
        .filter(|one| one.seconds_left < CERTIFICATE_ENDS)
        .partition(|one| one.seconds_left < CERTIFICATE_ENDS_SOON);
    let ends = |of: &[&Certificate]| of.iter().map(|one| format!("{}: {}", one.whose, one.day)).collect::<Vec<_>>().join(", ");
    if !soon.is_empty() {
        add(
            "wsbcertificateexpiressoon",
            Gravity::Bad,
            language.count(texts.problem_certificate_soon, soon.len() as u64),
            ends(&soon),
            None,
        );
    }
    if let Some(why) = &situation.backup_failed {
        add("wsbbackupold", Gravity::Bad, texts.problem_backup.to_owned(), why.clone(), None);
    }
    if dead > situation.died {
        let what = language.count(texts.problem_dead, dead);
        add("wsbdeadgrowing", Gravity::Warn, what, names(&with_dead), Some(("/console/failures", texts.act_failures)));
    }
    let late = some(&|one| !one.is_paused() && one.oldest_unparked_seconds > LONG_SECONDS);
    if !late.is_empty() {
        let what = language.count(texts.problem_old, late.len() as u64);
        add("wsboldestwaiting", Gravity::Warn, what, names(&late), Some(("/console/recipients?state=troubled", texts.act_recipients)));
    }
    if situation.contradictory > 0 {
        let what = language.count(texts.problem_contradictory, situation.contradictory);
        add("wsbcontradictorymemberships", Gravity::Warn, what, texts.problem_contradictory_detail.to_owned(), None);
    }
    let (quarantined, more) = situation.quarantine;
    if quarantined > 0 {
        let what = match more {
            true => fill(texts.problem_quarantine_many, &[&language.number(quarantined)]),
            false => language.count(texts.problem_quarantine, quarantined),
        };
        add("wsbquarantinegrowing", Gravity::Warn, what, String::new(), Some(("/console/quarantine", texts.act_quarantine)));
    }
    if !situation.unfetched.is_empty() {
        let named: Vec<&Recipient> = situation.recipients.iter().filter(|one| situation.unfetched.contains(&one.recipient)).collect();
        let what = language.count(texts.problem_unfetched, situation.unfetched.len() as u64);
        add("wsbnoticesunfetched", Gravity::Warn, what, names(&named), Some(("/console/gdpr", texts.act_gdpr)));
    }
    if !later.is_empty() {
        add("wsbcertificateexpires", Gravity::Warn, language.count(texts.problem_certificate, later.len() as u64), ends(&later), None);
    }
    if let Some((day, _)) = situation.latest_backup.as_ref().filter(|(_, ago)| *ago > BACKUP_OLD) {
        add("wsbbackupold", Gravity::Warn, texts.problem_backup_old.to_owned(), day.clone(), None);
    }
    if situation.erasures > 0 {
        let what = language.count(texts.problem_erasures, situation.erasures);
        add("what-waits-for-a-person", Gravity::Warn, what, String::new(), Some(("/console/gdpr", texts.act_erasures)));
    }
    if situation.parked > 0 {
        let what = language.count(texts.problem_parked, situation.parked);
        add("what-waits-for-a-person", Gravity::Warn, what, String::new(), Some(("/console/lanes", texts.act_lanes)));
    }
    let canaries = situation.replays.iter().filter(|replay| replay.state == "waiting-for-go").count();
    if canaries > 0 {
        let what = language.count(texts.problem_waiting_for_go, canaries as u64);
        add("what-waits-for-a-person", Gravity::Warn, what, String::new(), Some(("/console/replays", texts.act_replays)));
    }
    let resting = some(&|one| one.is_paused() && !one.is_failing());
    if !resting.is_empty() {
        let what = language.count(texts.problem_ordered, resting.len() as u64);
        add("what-waits-for-a-person", Gravity::Warn, what, names(&resting), Some(("/console/pauses", texts.act_pauses)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(name: &str) -> Recipient {
        Recipient { recipient: format!("akasse:{name}"), name: name.to_owned(), state: "open".to_owned(), ..Recipient::default() }
    }

    fn paused(name: &str, by: &str) -> Recipient {
        Recipient { state: "paused".to_owned(), paused_by: Some(by.to_owned()), ..recipient(name) }
    }

    #[track_caller]
    fn check(situation: &Situation<'_>, expected: &[&str]) {
        let told: Vec<String> = problems(situation, Language::English)
            .into_iter()
            .map(|problem| format!("{:?}: {} [{}]", problem.gravity, problem.what, problem.detail))
            .collect();
        assert_eq!(told, expected);
    }

    /// What is told, and in which section of the runbook.
    fn sections(situation: &Situation<'_>) -> Vec<&'static str> {
        problems(situation, Language::English).iter().map(|problem| problem.section).collect()
    }

    #[test]
    fn nothing_is_wrong() {
        let latest_backup = Some(("2026-03-15".to_owned(), 1.5 * 86_400.0));
        check(&Situation { recipients: &[recipient("a"), recipient("b")], latest_backup, ..Situation::default() }, &[]);
    }

    #[test]
    fn each_trouble_has_its_line_and_the_worst_come_first() {
        let recipients = [
            paused("a", "failure"),
            paused("b", "operator"),
            paused("c", "maintenance"),
            Recipient { dead: 7, ..recipient("d") },
            Recipient { oldest_unparked_seconds: 61.0, ..recipient("e") },
        ];
        let replay = Replay { state: "waiting-for-go".to_owned(), ..Replay::default() };
        let situation = Situation {
            missing: vec![Missing { what: "store".to_owned(), why: "no sign of life".to_owned() }],
            recipients: &recipients,
            died: 2,
            died_since: None,
            quarantine: (500, true),
            routing_refused: true,
            tokens_refused: true,
            overdue: 1,
            unfetched: vec!["akasse:d".to_owned()],
            parked: 2,
            erasures: 1,
            backup_failed: Some("no room".to_owned()),
            latest_backup: Some(("2026-03-13".to_owned(), 2.5 * 86_400.0)),
            certificates: vec![
                Certificate { whose: "WSB_HTTP_CERT", day: "2026-03-18".to_owned(), seconds_left: 2.0 * 86_400.0 },
                Certificate { whose: "WSB_AMQP_CERT", day: "2026-03-15".to_owned(), seconds_left: -1.0 },
                Certificate { whose: "WSB_AMQP_CA", day: "2026-03-29".to_owned(), seconds_left: 13.0 * 86_400.0 },
                Certificate { whose: "none", day: "2026-03-31".to_owned(), seconds_left: 15.0 * 86_400.0 },
            ],
            replays: &[replay],
            intake: vec![("wsb.intake.events".to_owned(), 1_200), ("wsb.intake.tilknytning".to_owned(), 1_000)],
            contradictory: 3,
        };
        check(
            &situation,
            &[
                "Bad: The broker is not ready: the store [no sign of life]",
                "Bad: 1 queue does not work and is paused [a]",
                "Bad: 2 deliveries were given up in the last hour [d]",
                "Bad: 1 deletion order has not been answered in time []",
                "Bad: 1,200 events wait to be taken in [wsb.intake.events]",
                "Bad: The latest routing.toml was refused; the old rules are in force [The log says why, with line and column.]",
                "Bad: The latest file of tokens was refused; the old tokens are in force [One that was to be withdrawn still opens the door. The log names the mistake.]",
                "Bad: 2 certificates end within three days, or have ended [WSB_HTTP_CERT: 2026-03-18, WSB_AMQP_CERT: 2026-03-15]",
                "Bad: The latest backup failed [no room]",
                "Warn: 7 deliveries that were given up wait for a decision [d]",
                "Warn: 1 recipient has waited for over a minute [e]",
                "Warn: 3 recipients were told nothing in the last hour, as memberships contradict one another [DFDG has to correct one of the memberships; the course of each event says which.]",
                "Warn: More than 500 messages are in quarantine []",
                "Warn: 1 recipient has let deletion notices lie since yesterday or longer [d]",
                "Warn: 1 certificate ends within two weeks [WSB_AMQP_CA: 2026-03-29]",
                "Warn: No backup has been made for two days or longer [2026-03-13]",
                "Warn: 1 erasure waits for a second person []",
                "Warn: 2 lanes are parked []",
                "Warn: 1 replay waits for your word after its first ones []",
                "Warn: 2 recipients are paused on purpose [b, c]",
            ],
        );
        let there = crate::console::runbook::anchors();
        for section in sections(&situation) {
            assert!(there.iter().any(|anchor| anchor == section), "the runbook has no section {section}");
        }
        // A queue that is paused since it does not work is no maintenance, and
        // what waits behind a pause is not late.
        let failing = [Recipient { oldest_unparked_seconds: 9999.0, ..paused("a", "failure") }];
        check(&Situation { recipients: &failing, ..Situation::default() }, &["Bad: 1 queue does not work and is paused [a]"]);
    }

    #[test]
    fn a_count_that_began_with_the_broker_says_so() {
        let recipients = [Recipient { dead: 2, ..recipient("d") }];
        let situation = Situation { recipients: &recipients, died: 2, died_since: Some("08:40".to_owned()), ..Situation::default() };
        check(&situation, &["Bad: 2 deliveries were given up in the last hour [d; counted since 08:40, when the broker started]"]);
    }

    #[test]
    fn three_are_named_and_the_rest_counted() {
        let recipients = ["a", "b", "c", "d", "e"].map(|name| paused(name, "failure"));
        check(&Situation { recipients: &recipients, ..Situation::default() }, &["Bad: 5 queues do not work and are paused [a, b, c +2]"]);
    }
}
