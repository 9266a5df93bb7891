//! From an event, a citizen and a day to recipients: each with the rule and the
//! registration that chose it, and each one left out with the reason.
//!
//! Asked at intake, before every attempt, by every replay and by `explain`:
//! there is no other way to a recipient, and no answer is kept (R 2.10).

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::citizen::{Registration, Standing};
use super::event::{Content, Event};
use super::ids::{Akassekode, ExternalId, Kommunekode, Recipient};
use super::outbox::Because;
use super::policy::{Audience, AudienceRule, Audiences, Condition, MessageType, RecipientRule, Rules};
use super::stamp::Stamp;
use super::time::Moment;
use super::today::{Candidate, Today, because, each_once};

/// A recipient that is entitled to the WSB on the day asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Who.
    pub recipient: Recipient,
    /// Why.
    pub because: Because,
    /// Whether it may be told whom the WSB is about. Former holders may not.
    pub identified: bool,
}

/// Why a recipient is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suppression {
    /// It had the citizen, and has not any more (R 2.10).
    NotMember,
    /// Nothing is known of whom the citizen belongs to.
    UnknownMembership,
    /// Several claims to the citizen begin on the same day.
    ContradictoryMembership,
    /// A condition of the rule does not hold.
    Condition,
    /// The type is voluntary, and it does not subscribe.
    NotSubscribed,
    /// It is closed on that day, or not in `routing.toml`.
    RecipientClosed,
    /// The citizen is dead, and the type ends with that (N).
    Deceased,
    /// The record has been deleted or recalled since this was registered; only that
    /// is told (R 5.1).
    RecordDeleted,
}

impl Suppression {
    /// Every reason, in the order of their numbers in stored rows.
    pub const ALL: [Self; 8] = [
        Self::NotMember,
        Self::UnknownMembership,
        Self::ContradictoryMembership,
        Self::Condition,
        Self::NotSubscribed,
        Self::RecipientClosed,
        Self::Deceased,
        Self::RecordDeleted,
    ];

    /// Returns the reason's name in metrics and traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotMember => "not_member",
            Self::UnknownMembership => "unknown_membership",
            Self::ContradictoryMembership => "contradictory_membership",
            Self::Condition => "condition",
            Self::NotSubscribed => "not_subscribed",
            Self::RecipientClosed => "recipient_closed",
            Self::Deceased => "deceased",
            Self::RecordDeleted => "record_deleted",
        }
    }
}

/// A recipient, or a whole audience, that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The rule that would have named it.
    pub audience: Audience,
    /// Who; `None` where it is not known who it would be.
    pub recipient: Option<Recipient>,
    /// Why.
    pub why: Suppression,
    /// The registration that decided, with its registration time.
    pub registration: Option<(ExternalId, Moment)>,
}

/// Who gets a WSB about an event on a day, and who does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Decision {
    /// The entitled, each once.
    pub chosen: Vec<Chosen>,
    /// The others that a rule named or might have named.
    pub left_out: Vec<LeftOut>,
}

impl Decision {
    /// Leaves out everybody whom a type would be told to.
    pub fn nobody(kind: &MessageType, why: Suppression) -> Self {
        let left_out = |rule: &AudienceRule| LeftOut { audience: rule.audience, recipient: None, why, registration: None };
        Self { chosen: Vec::new(), left_out: kind.audiences.iter().map(left_out).collect() }
    }

    /// Takes apart who is entitled by these rules, and why, from the rules that
    /// name nobody; for a recipient that is told by them now. Whoever holds a copy
    /// is told of its own: no other holder takes that one's place.
    #[must_use]
    pub fn by(self, audiences: Audiences, told: Recipient) -> By {
        let names = |chosen: &Chosen, audience: Audience| {
            let may_take_over = audience != Audience::Holders || chosen.recipient == told;
            may_take_over && chosen.because.audiences().contain(audience)
        };
        let nobody = audiences.iter().filter(|audience| !self.chosen.iter().any(|chosen| names(chosen, *audience))).collect();
        let is_by_one = |chosen: &Chosen| audiences.iter().any(|audience| names(chosen, audience));
        let chosen = self.chosen.into_iter().filter(is_by_one).map(|chosen| (chosen.recipient, chosen.because)).collect();
        By { chosen, nobody }
    }
}

/// What a decision says of some of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct By {
    /// Who is entitled by one of them, and why.
    pub chosen: Vec<(Recipient, Because)>,
    /// Those by which nobody is.
    pub nobody: Vec<Audience>,
}

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What is told.
    pub event: &'a Event,
    /// As which type; for a GdprSletning that of its notice.
    pub kind: &'a MessageType,
    /// About whom, as known and as seen today.
    pub today: &'a Today<'a>,
    /// Whoever was ever sent something about the record.
    pub holders: &'a [Recipient],
    /// The rules now.
    pub rules: &'a Rules,
}

/// Returns the type as which an event is told: its own, or that of the notice
/// of a deletion; after a death that has the audiences of the area's own notice
/// besides. `None` for a type that is not, or no longer, declared.
#[must_use]
pub fn told_as<'a>(event: &Event, rules: &'a Rules) -> Option<&'a std::sync::Arc<MessageType>> {
    if let Content::Deletion { area, after_death: true, .. } = &event.content {
        return rules.notice_after_death(area);
    }
    match notice_area(event) {
        Some(area) => rules.notice(area),
        None => rules.message_type(&event.entity),
    }
}

/// Returns the data area by which `routing.toml` names the notice of a deletion;
/// `None` for every other event.
#[must_use]
pub fn notice_area(event: &Event) -> Option<&str> {
    match &event.content {
        Content::Deletion { after_death: true, .. } => Some("afdoed"),
        Content::Deletion { area, after_death: false, .. } => Some(area),
        Content::Membership { .. }
        | Content::Jobcentre { .. }
        | Content::Residence { .. }
        | Content::NumberChange { .. }
        | Content::Death { .. }
        | Content::ContactGroup { .. }
        | Content::Plan { .. }
        | Content::HandedOver { .. }
        | Content::Other => None,
    }
}

/// Returns the name of the type as which an event is told: that of its notice for
/// a GdprSletning. Of what no rule tells any more, the event's own.
#[must_use]
pub fn name_told<'a>(event: &'a Event, rules: &'a Rules) -> &'a std::sync::Arc<str> {
    told_as(event, rules).map_or(&event.entity, |kind| &kind.name)
}

impl Question<'_> {
    /// Decides.
    pub fn decide(&self) -> Decision {
        let mut decision = Decision::default();
        // Holders last: whoever is entitled anyway gets the WSB as that.
        let is_holders = |rule: &&AudienceRule| rule.audience == Audience::Holders;
        for rule in self.kind.audiences.iter().filter(|rule| !is_holders(rule)).chain(self.kind.audiences.iter().filter(is_holders)) {
            self.apply(rule, &mut decision);
        }
        let chosen: BTreeSet<Recipient> = decision.chosen.iter().map(|chosen| chosen.recipient).collect();
        decision.left_out.retain(|left_out| left_out.recipient.is_none_or(|recipient| !chosen.contains(&recipient)));
        decision
    }

    fn apply(&self, rule: &AudienceRule, decision: &mut Decision) {
        let audience = rule.audience;
        for candidate in self.candidates(audience).iter() {
            let (recipient, registration) = match candidate.clone() {
                Candidate::Entitled(recipient, registration) => (recipient, registration),
                Candidate::Not(left_out) => {
                    decision.left_out.push(left_out);
                    continue;
                }
            };
            match self.obstacle(rule, recipient) {
                Some(why) => decision.left_out.push(LeftOut { audience, recipient: Some(recipient), why, registration }),
                None => match decision.chosen.iter_mut().find(|chosen| chosen.recipient == recipient) {
                    // Whoever is entitled anyway is told as that, not as a holder.
                    Some(_) if audience == Audience::Holders => {}
                    Some(chosen) => chosen.because.also = chosen.because.also.with(audience),
                    None => decision.chosen.push(Chosen {
                        recipient,
                        because: Because { audience, also: Audiences::default(), registration, day: self.today.day() },
                        identified: self.may_identify(audience, recipient),
                    }),
                },
            }
        }
    }

    /// Returns what keeps an otherwise entitled recipient from the WSB.
    fn obstacle(&self, rule: &AudienceRule, recipient: Recipient) -> Option<Suppression> {
        let Some(recipient) = self.rules.recipient(recipient).filter(|recipient| recipient.is_open(self.today.day())) else {
            return Some(Suppression::RecipientClosed);
        };
        if !self.kind.after_death && self.today.is_dead() {
            return Some(Suppression::Deceased);
        }
        if !rule.conditions.iter().all(|condition| self.holds(condition)) {
            return Some(Suppression::Condition);
        }
        (!self.subscribes(rule.audience, recipient)).then_some(Suppression::NotSubscribed)
    }

    /// A holder is told of a deletion whether it subscribes or not: it has a
    /// copy to delete (GDPR article 19).
    fn subscribes(&self, audience: Audience, recipient: &RecipientRule) -> bool {
        !self.kind.voluntary || audience == Audience::Holders || recipient.subscriptions.include(&self.kind.name)
    }

    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::ContactGroupIn(groups) => self.today.is_in_contact_group(groups),
            Condition::ContactGroupShift(groups) => self.shift().into_iter().flatten().any(|group| groups.contains(&group)),
            Condition::PlanIn(kinds) => self.today.plan().is_some_and(|kind| kinds.contains(&kind)),
        }
    }

    /// Returns the old and the new contact group of the event, where known.
    fn shift(&self) -> [Option<i64>; 2] {
        let Content::ContactGroup { group, former } = &self.event.content else { return [None, None] };
        let recorded = || {
            self.today.citizen().contact_groups.of_record(&self.event.external_id).and_then(Registration::claim).map(|claim| claim.value)
        };
        let before = || self.today.citizen().contact_group_before(&self.event.external_id, self.event.period().start());
        [former.or_else(before), group.or_else(recorded)]
    }

    fn may_identify(&self, audience: Audience, recipient: Recipient) -> bool {
        match audience {
            Audience::JobcenterOwnCitizens
            | Audience::KommuneOwnResidents
            | Audience::AkasseOwnMembers
            | Audience::AkasseOfRecord
            | Audience::RegisteringAuthority => true,
            Audience::AkasseSinceFirstPlacement | Audience::JobcentersEver | Audience::Holders => self.today.has_citizen(recipient),
        }
    }

    fn candidates(&self, audience: Audience) -> Cow<'_, [Candidate]> {
        match audience {
            Audience::AkasseOwnMembers => self.today.funds().into(),
            Audience::JobcenterOwnCitizens => self.today.jobcentres().into(),
            Audience::KommuneOwnResidents => self.today.residences().into(),
            Audience::AkasseOfRecord => self.fund_of_record().into(),
            Audience::AkasseSinceFirstPlacement => self.today.funds_since_first_placement().into(),
            Audience::JobcentersEver => self.today.jobcentres_ever().into(),
            Audience::Holders => each_once(self.holders.iter().map(|holder| (*holder, None))).into(),
            Audience::RegisteringAuthority => self.registering_authority().into(),
        }
    }

    fn fund_of_record(&self) -> Vec<Candidate> {
        let (Content::Membership { .. }, audience) = (&self.event.content, Audience::AkasseOfRecord) else { return Vec::new() };
        // Not the event, which may have been overtaken: what the record says now.
        let record = self.today.citizen().memberships.of_record(&self.event.external_id);
        let Some((registration, claim)) = record.and_then(|record| Some((record, record.claim()?))) else {
            return vec![Candidate::unknown(audience)];
        };
        let (recipient, registration_of) = (Recipient::Akasse(claim.value), Some(because(registration)));
        let is_overtaken = registration.registered > Stamp::of(self.event);
        match &registration.standing {
            Standing::Contradicted(_) => {
                vec![Candidate::Not(LeftOut {
                    audience,
                    recipient: Some(recipient),
                    why: Suppression::ContradictoryMembership,
                    registration: registration_of,
                })]
            }
            // The fund whose record it was hears of the recall, and of nothing older.
            Standing::Recalled(_) if is_overtaken => {
                vec![Candidate::Not(LeftOut {
                    audience,
                    recipient: Some(recipient),
                    why: Suppression::NotMember,
                    registration: registration_of,
                })]
            }
            Standing::Holds(_) | Standing::Recalled(_) => vec![Candidate::Entitled(recipient, registration_of)],
        }
    }

    fn registering_authority(&self) -> Vec<Candidate> {
        let recipient = self.event.registrar.as_ref().and_then(|registrar| match &*registrar.kind {
            "akasse" => Akassekode::parse(&registrar.code).ok().map(Recipient::Akasse),
            "kommune" => Kommunekode::parse(&registrar.code).ok().map(Recipient::Kommune),
            // Other registrars, STAR itself among them, have no queue.
            _ => None,
        });
        recipient.map(|recipient| Candidate::Entitled(recipient, None)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::event::Change::{Created, Deleted, Updated};
    use super::super::event::{PlanKind, Registrar};
    use super::super::policy::{Domain, Payload, RetryPolicy, Subscriptions};
    use super::super::samples::{citizen, day, event, external, fund, group, jobcentre, kommune, moment, recipient};
    use super::*;

    const TODAY: &str = "2026-03-16";

    fn of(audience: Audience) -> AudienceRule {
        AudienceRule { audience, conditions: Vec::new() }
    }

    fn own_members_if(condition: Condition) -> Vec<AudienceRule> {
        vec![AudienceRule { audience: Audience::AkasseOwnMembers, conditions: vec![condition] }]
    }

    fn kind(audiences: Vec<AudienceRule>) -> MessageType {
        MessageType {
            name: "Made-up".into(),
            entity_id: 910_000,
            domain: Domain::Kontaktforloeb,
            payload: Payload::IdOnly,
            voluntary: false,
            after_death: false,
            audiences,
            notice_for: Vec::new(),
        }
    }

    /// Three funds and three kommuner, all open; 111 and 860 subscribe to nothing.
    fn rules(closed: &[(&str, &str)]) -> Rules {
        let all = ["akasse:007", "akasse:067", "akasse:111", "kommune:101", "kommune:147", "kommune:860"];
        let recipients = all.iter().map(|name| RecipientRule {
            recipient: recipient(name),
            name: "made up".into(),
            queue: (*name).into(),
            vendor: "made up".into(),
            subscriptions: if matches!(*name, "akasse:111" | "kommune:860") {
                Subscriptions::Only(BTreeSet::new())
            } else {
                Subscriptions::All
            },
            valid_from: None,
            valid_until: closed.iter().find(|(closed, _)| closed == name).map(|(_, until)| day(until)),
            max_unfetched: 1000,
            maintenance: Vec::new(),
        });
        Rules::new(Vec::new(), recipients.collect(), RetryPolicy::default())
    }

    /// One line for each decision: who, why, and whom it may name; then who not.
    fn told(decision: &Decision) -> String {
        let chosen = decision.chosen.iter().map(|chosen| {
            let unnamed = if chosen.identified { "" } else { " unidentified" };
            format!("{} {}{unnamed}", chosen.recipient, chosen.because.audience.name())
        });
        let left_out = decision.left_out.iter().map(|left_out| {
            let who = left_out.recipient.map_or_else(|| left_out.audience.name().to_owned(), |recipient| recipient.to_string());
            format!("not {who} {}", left_out.why.name())
        });
        chosen.chain(left_out).collect::<Vec<_>>().join(", ")
    }

    struct Case {
        kind: MessageType,
        about: Vec<Event>,
        event: Event,
        holders: Vec<Recipient>,
        rules: Rules,
    }

    impl Case {
        fn of(audiences: Vec<AudienceRule>, about: &[Event]) -> Self {
            let event = event("e", 9, Created, "..", Content::Other);
            Self { kind: kind(audiences), about: about.to_vec(), event, holders: Vec::new(), rules: rules(&[]) }
        }
    }

    fn check(case: &Case, expected: &str) {
        let citizen = citizen(&case.about);
        let question = Question {
            event: &case.event,
            kind: &case.kind,
            today: &Today::of(&citizen, day(TODAY)),
            holders: &case.holders,
            rules: &case.rules,
        };
        assert_eq!(told(&question.decide()), expected);
    }

    fn member() -> Event {
        event("m1", 1, Created, "2026-01-01..", fund("007"))
    }

    fn former_member() -> Event {
        event("m0", 1, Created, "2020-01-01..2026-03-15", fund("067"))
    }

    /// The three types that went to a fund whose member the citizen was no longer (R 2.10).
    #[test]
    fn a_former_fund_is_told_nothing() {
        for name in ["Jobcentertilknytning", "FagprofessionelKontakt", "Persongruppemarkering"] {
            let both = vec![of(Audience::JobcenterOwnCitizens), of(Audience::AkasseOwnMembers)];
            let at_jobcentre = event("j", 1, Created, "2025-01-01..", jobcentre("14700"));
            let mut case = Case::of(both, &[former_member(), at_jobcentre.clone()]);
            case.kind.name = name.into();
            check(&case, "kommune:147 jobcenter-own-citizens, not akasse:067 not_member");
            case.about = vec![former_member(), member(), at_jobcentre];
            check(&case, "kommune:147 jobcenter-own-citizens, akasse:007 akasse-own-members, not akasse:067 not_member");
        }
    }

    /// What ended it: its own record where that says so, else the one that took its place.
    #[test]
    fn a_former_fund_is_left_out_by_what_decided() {
        let check = |about: &[Event], expected: (&str, u32)| {
            let case = Case::of(vec![of(Audience::AkasseOwnMembers)], about);
            let citizen = citizen(&case.about);
            let today = Today::of(&citizen, day(TODAY));
            let decision = Question { event: &case.event, kind: &case.kind, today: &today, holders: &[], rules: &case.rules }.decide();
            let former = decision.left_out.iter().find(|left_out| left_out.recipient == Some(recipient("akasse:067"))).expect("left out");
            let (record, hour) = expected;
            assert_eq!(former.registration, Some((external(record), moment(&format!("2026-03-16T{hour:02}:00:00Z")))));
        };
        let open = || event("m0", 1, Created, "2020-01-01..", fund("067"));
        let newer = || event("m1", 2, Created, "2026-01-01..", fund("007"));
        check(&[open(), newer()], ("m1", 2));
        check(&[newer(), open()], ("m1", 2));
        let ended = || event("m0", 3, Updated, "2020-01-01..2025-12-31", fund("067"));
        check(&[open(), newer(), ended()], ("m0", 3));
        check(&[open(), ended()], ("m0", 3));
        let recalled = event("m0", 3, Deleted, "..", Content::Membership { fund: None });
        check(&[open(), newer(), recalled], ("m0", 3));
    }

    #[test]
    fn own_members() {
        let check = |about: &[Event], expected: &str| check(&Case::of(vec![of(Audience::AkasseOwnMembers)], about), expected);
        check(&[], "not akasse-own-members unknown_membership");
        check(&[member()], "akasse:007 akasse-own-members");
        // The last day, and the first.
        check(&[event("m", 1, Created, "2020-01-01..2026-03-16", fund("007"))], "akasse:007 akasse-own-members");
        check(&[event("m", 1, Created, "2026-03-16..", fund("007"))], "akasse:007 akasse-own-members");
        check(&[event("m", 1, Created, "2026-03-17..", fund("007"))], "not akasse-own-members unknown_membership");
        check(&[event("m", 1, Created, "2020-01-01..2026-03-15", fund("007"))], "not akasse:007 not_member");
        // Recalled.
        let recalled = event("m1", 2, Deleted, "..", Content::Membership { fund: None });
        check(&[member(), recalled], "not akasse-own-members unknown_membership, not akasse:007 not_member");
        // Two begin on one day.
        let rival = event("m2", 2, Created, "2026-01-01..", fund("067"));
        check(&[member(), rival.clone()], "not akasse:007 contradictory_membership, not akasse:067 contradictory_membership");
        check(&[member(), rival, former_member()], "not akasse:007 contradictory_membership, not akasse:067 contradictory_membership");
    }

    #[test]
    fn kommuner() {
        let at = |period: &str, code: &str| event(period, 1, Created, period, jobcentre(code));
        let lives = event("r", 1, Created, "2025-01-01..", kommune("860"));
        let jobcenter = |about: &[Event], expected: &str| check(&Case::of(vec![of(Audience::JobcenterOwnCitizens)], about), expected);
        jobcenter(std::slice::from_ref(&lives), "not jobcenter-own-citizens unknown_membership");
        jobcenter(&[at("2025-01-01..", "14712")], "kommune:147 jobcenter-own-citizens");
        jobcenter(
            &[at("2025-01-01..", "14712"), at("2026-03-01..", "10100")],
            "kommune:101 jobcenter-own-citizens, not kommune:147 not_member",
        );
        // Two sub-jobcentres of one kommune are that kommune; of two they are nobody.
        let twin = event("twin", 2, Created, "2025-01-01..", jobcentre("14701"));
        jobcenter(&[at("2025-01-01..", "14700"), twin], "kommune:147 jobcenter-own-citizens");
        let rival = event("rival", 2, Created, "2025-01-01..", jobcentre("10100"));
        jobcenter(
            &[at("2025-01-01..", "14700"), rival],
            "not kommune:147 contradictory_membership, not kommune:101 contradictory_membership",
        );
        let residents = |about: &[Event], expected: &str| check(&Case::of(vec![of(Audience::KommuneOwnResidents)], about), expected);
        residents(&[lives.clone(), at("2025-01-01..", "14700")], "kommune:860 kommune-own-residents");
        // Named by two rules, told once.
        let both = vec![of(Audience::JobcenterOwnCitizens), of(Audience::KommuneOwnResidents)];
        check(&Case::of(both, &[lives, at("2025-01-01..", "86001")]), "kommune:860 jobcenter-own-citizens");
    }

    #[test]
    fn jobcentres_ever() {
        let audience = vec![of(Audience::JobcentersEver)];
        let about = [
            event("a", 1, Created, "2020-01-01..2021-01-01", jobcentre("10100")),
            event("b", 1, Created, "2025-01-01..", jobcentre("14700")),
            event("c", 1, Created, "2026-03-17..", jobcentre("86000")),
        ];
        // Not the one that is to have the citizen tomorrow.
        check(&Case::of(audience, &about), "kommune:101 jobcenters-ever unidentified, kommune:147 jobcenters-ever");
    }

    #[test]
    fn fund_of_record() {
        let audiences = || vec![of(Audience::AkasseOfRecord), of(Audience::AkasseOwnMembers)];
        let mut case = Case::of(audiences(), &[member(), former_member()]);
        case.event = former_member();
        check(&case, "akasse:067 akasse-of-record, akasse:007 akasse-own-members");
        case.event = member();
        check(&case, "akasse:007 akasse-of-record, not akasse:067 not_member");
        // A recall that does not say of what.
        let recall = event("m0", 2, Deleted, "..", Content::Membership { fund: None });
        case.about.push(recall.clone());
        case.event = recall;
        check(&case, "akasse:067 akasse-of-record, akasse:007 akasse-own-members");
        // What the recall itself says counts for less than what the record said,
        // and what the recall has overtaken is told to nobody.
        let recall = event("m0", 2, Deleted, "..", fund("111"));
        case.about = vec![member(), former_member(), recall.clone()];
        case.event = recall;
        check(&case, "akasse:067 akasse-of-record, akasse:007 akasse-own-members");
        case.event = former_member();
        check(&case, "akasse:007 akasse-own-members, not akasse:067 not_member, not akasse:067 not_member");
        // Corrected to another fund: the record is that one's, whatever came first.
        let corrected = event("m0", 2, Updated, "2020-01-01..2026-03-15", fund("111"));
        for about in [[former_member(), corrected.clone()], [corrected.clone(), former_member()]] {
            case.about = [vec![member()], about.to_vec()].concat();
            check(&case, "akasse:111 akasse-of-record, akasse:007 akasse-own-members");
        }
        let unknown = event("m9", 2, Deleted, "..", Content::Membership { fund: None });
        case.about = vec![unknown.clone()];
        case.event = unknown;
        check(&case, "not akasse-of-record unknown_membership, not akasse-own-members unknown_membership");
    }

    #[test]
    fn funds_since_first_placement() {
        let placed = |from: &str| event("k", 1, Created, from, group(1));
        let check = |about: &[Event], expected: &str| check(&Case::of(vec![of(Audience::AkasseSinceFirstPlacement)], about), expected);
        check(&[member(), former_member()], "");
        check(
            &[placed("2026-03-15.."), member(), former_member()],
            "akasse:007 akasse-since-first-placement, akasse:067 akasse-since-first-placement unidentified",
        );
        check(&[placed("2026-03-16.."), member(), former_member()], "akasse:007 akasse-since-first-placement");
        check(&[placed("2026-03-17.."), member(), former_member()], "");
        // One that begins tomorrow has not had the citizen.
        check(&[placed("2026-03-15.."), event("m", 1, Created, "2026-03-17..", fund("111"))], "");
    }

    #[test]
    fn holders() {
        let mut case = Case::of(vec![of(Audience::Holders), of(Audience::AkasseOwnMembers)], &[member(), former_member()]);
        case.kind.voluntary = true;
        case.holders = vec![recipient("akasse:007"), recipient("akasse:067"), recipient("akasse:111"), recipient("kommune:860")];
        // Subscribed or not: they have a copy to delete. Only who has the citizen may read the number.
        check(
            &case,
            "akasse:007 akasse-own-members, akasse:067 holders unidentified, akasse:111 holders unidentified, \
             kommune:860 holders unidentified",
        );
        case.about.push(event("r", 1, Created, "2025-01-01..", kommune("860")));
        check(
            &case,
            "akasse:007 akasse-own-members, akasse:067 holders unidentified, akasse:111 holders unidentified, kommune:860 holders",
        );
    }

    /// The CV of the dead goes to whom a CV's deletion goes, under the name of the notice after death.
    #[test]
    fn after_a_death_the_audiences_of_the_areas_own_notice_are_told_too() {
        let notice = |name: &str, area: &str, audiences: &[Audience]| MessageType {
            name: name.into(),
            domain: Domain::Gdpr,
            payload: Payload::Body,
            voluntary: true,
            after_death: true,
            notice_for: vec![area.into()],
            ..kind(audiences.iter().map(|audience| of(*audience)).collect())
        };
        let types = vec![
            notice("GdprSletCv", "cv", &[Audience::JobcentersEver, Audience::AkasseSinceFirstPlacement]),
            notice("GdprSletAfdoed", "afdoed", &[Audience::Holders, Audience::JobcenterOwnCitizens, Audience::AkasseOwnMembers]),
        ];
        let all = rules(&[]).recipients().map(|known| RecipientRule::clone(known)).collect();
        let rules = Rules::new(types, all, RetryPolicy::default());
        let about = [
            member(),
            former_member(),
            event("g", 1, Created, "2019-01-01..2026-02-01", group(1)),
            event("j0", 1, Created, "2019-01-01..2025-12-31", jobcentre("10100")),
            event("j1", 1, Created, "2026-01-01..", jobcentre("14700")),
            event("d", 1, Created, "..", Content::Death { on: Some(day("2026-03-01")) }),
        ];
        let citizen = citizen(&about);
        let told_of = |area: &str, after_death: bool| {
            let event = event("e", 9, Created, "..", Content::Deletion { area: area.into(), entity: "Cv".into(), after_death });
            let kind = told_as(&event, &rules).expect("a notice");
            let today = Today::of(&citizen, day(TODAY));
            (kind.name.to_string(), told(&Question { event: &event, kind, today: &today, holders: &[], rules: &rules }.decide()))
        };
        let (name, of_cv) = told_of("cv", true);
        assert_eq!(name, "GdprSletAfdoed");
        assert_eq!(
            of_cv,
            "kommune:147 jobcenter-own-citizens, akasse:007 akasse-own-members, kommune:101 jobcenters-ever unidentified, \
             akasse:067 akasse-since-first-placement unidentified",
        );
        let (name, of_another) = told_of("plan", true);
        assert_eq!(
            (&*name, &*of_another),
            (
                "GdprSletAfdoed",
                "kommune:147 jobcenter-own-citizens, akasse:007 akasse-own-members, not kommune:101 not_member, not akasse:067 not_member"
            )
        );
        assert_eq!(told_of("cv", false).0, "GdprSletCv");
    }

    #[test]
    fn registering_authority() {
        let mut case = Case::of(vec![of(Audience::RegisteringAuthority)], &[]);
        check(&case, "");
        for (kind, code, expected) in [
            ("kommune", "101", "kommune:101 registering-authority"),
            ("akasse", "007", "akasse:007 registering-authority"),
            ("kommune", "999", "not kommune:999 recipient_closed"),
            ("star", "1", ""),
            ("kommune", "01", ""),
        ] {
            case.event.registrar = Some(Registrar { kind: kind.into(), code: code.into() });
            check(&case, expected);
        }
    }

    #[test]
    fn closed_recipients_unsubscribed_ones_and_the_dead() {
        let mut case = Case::of(vec![of(Audience::AkasseOwnMembers)], &[member()]);
        case.rules = rules(&[("akasse:007", TODAY)]);
        check(&case, "akasse:007 akasse-own-members");
        case.rules = rules(&[("akasse:007", "2026-03-15")]);
        check(&case, "not akasse:007 recipient_closed");
        case.rules = rules(&[]);
        case.kind.voluntary = true;
        check(&case, "akasse:007 akasse-own-members");
        case.about = vec![event("m", 1, Created, "2026-01-01..", fund("111"))];
        check(&case, "not akasse:111 not_subscribed");
        case.kind.voluntary = false;
        let died = |on: &str| event("d", 1, Created, "..", Content::Death { on: Some(day(on)) });
        case.about.push(died("2026-03-17"));
        check(&case, "akasse:111 akasse-own-members");
        case.about.push(event("d", 2, Updated, "..", Content::Death { on: Some(day(TODAY)) }));
        check(&case, "not akasse:111 deceased");
        case.kind.after_death = true;
        check(&case, "akasse:111 akasse-own-members");
    }

    #[test]
    fn conditions() {
        let placed = |record: &str, period: &str, of: i64| event(record, 1, Created, period, group(of));
        let mut case = Case::of(own_members_if(Condition::ContactGroupIn(vec![1])), &[member()]);
        check(&case, "not akasse:007 condition");
        case.about.push(placed("k", "2026-01-01..2026-03-16", 1));
        check(&case, "akasse:007 akasse-own-members");
        case.about.push(placed("k2", "2026-03-17..", 2));
        check(&case, "akasse:007 akasse-own-members");

        case.kind = kind(own_members_if(Condition::ContactGroupShift(vec![1, 13])));
        let shift =
            |group: Option<i64>, former: Option<i64>| event("k3", 5, Created, "2026-03-16..", Content::ContactGroup { group, former });
        for (group, former, before, expected) in [
            (Some(13), None, None, "akasse:007 akasse-own-members"),
            (Some(2), Some(1), None, "akasse:007 akasse-own-members"),
            (Some(2), Some(2), Some(1), "not akasse:007 condition"),
            (Some(2), None, Some(1), "akasse:007 akasse-own-members"),
            (Some(2), None, Some(2), "not akasse:007 condition"),
            (Some(2), None, None, "not akasse:007 condition"),
        ] {
            case.about = vec![member()];
            case.about.extend(before.map(|before| placed("k", "2026-01-01..", before)));
            case.event = shift(group, former);
            case.about.push(case.event.clone());
            check(&case, expected);
        }
        case.event = event("e", 9, Created, "..", Content::Other);
        check(&case, "not akasse:007 condition");

        case.kind = kind(own_members_if(Condition::PlanIn(vec![PlanKind::Jobplan])));
        case.about = vec![member()];
        check(&case, "not akasse:007 condition");
        let plan = |period: &str, kind| event(period, 1, Created, period, Content::Plan { kind: Some(kind), later_version: None });
        case.about.push(plan("2026-01-01..", PlanKind::Jobplan));
        check(&case, "akasse:007 akasse-own-members");
        case.about.push(plan("2026-03-16..", PlanKind::AndenPlan));
        check(&case, "not akasse:007 condition");
    }

    #[test]
    fn deletions_are_told_as_their_notice() {
        let notice = |name: &str, areas: &[&str]| MessageType {
            name: name.into(),
            notice_for: areas.iter().map(|area| (*area).into()).collect(),
            ..kind(Vec::new())
        };
        let types = vec![notice("GdprSletJoblog", &["joblog"]), notice("GdprSletAfdoed", &["afdoed"]), notice("Indkaldelse", &[])];
        let rules = Rules::new(types, Vec::new(), RetryPolicy::default());
        let deletion = |area: &str, after_death| Content::Deletion { area: area.into(), entity: "Joblog".into(), after_death };
        let as_what = |content: Content| told_as(&event("e", 1, Created, "..", content), &rules).map(|kind| Arc::clone(&kind.name));
        assert_eq!(as_what(deletion("joblog", false)).as_deref(), Some("GdprSletJoblog"));
        assert_eq!(as_what(deletion("joblog", true)).as_deref(), Some("GdprSletAfdoed"));
        assert_eq!(as_what(deletion("cv", false)), None);
        assert_eq!(as_what(Content::Other).as_deref(), Some("Indkaldelse"));
        assert_eq!(as_what(fund("007")), None);
    }
}
