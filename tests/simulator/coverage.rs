//! How often each kind of behavior occurred: a simulator that never reaches a
//! case proves nothing about it.

use std::collections::BTreeMap;

use wsb_broker::core::engine::{Fact, Outgoing};
use wsb_broker::core::holds::{Held, Hold};
use wsb_broker::core::outbox::{Delivery, End, State};
use wsb_broker::core::records::Change;
use wsb_broker::core::retention::DeletionTold;
use wsb_broker::core::retry::Outcome;

fn unexpected(told: &DeletionTold) -> &'static str {
    match told {
        DeletionTold::Expected => "expected",
        DeletionTold::Early(_) => "early",
        DeletionTold::Blocked(_) => "of a blocked record",
        DeletionTold::UnknownRecord => "of an unknown record",
        DeletionTold::OtherGround => "on another ground",
    }
}

#[derive(Default)]
pub struct Coverage(pub BTreeMap<String, u64>);

impl Coverage {
    pub fn count(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        if !what.is_empty() {
            *self.0.entry(what).or_default() += 1;
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(what.clone()).or_default() += times;
        }
    }

    pub fn fact(&mut self, fact: &Fact) {
        self.count(|| match fact {
            Fact::Consumed(_, how) => format!("consumed {how:?}"),
            Fact::Suppressed(_, why) => format!("suppressed {why:?}"),
            Fact::WrongRecipientPrevented(stage) => format!("prevented {stage:?}"),
            Fact::Attempted(Outcome::Confirmed) => "attempted Confirmed".to_owned(),
            Fact::Attempted(Outcome::NotMade) => "not attempted in time".to_owned(),
            Fact::Attempted(Outcome::Failed { failure, .. }) => format!("attempted {failure:?}"),
            Fact::Delivered(..) => "delivered".to_owned(),
            Fact::NoticeDelivered(_) => "notice delivered".to_owned(),
            Fact::Withdrawn(_, _, why) => format!("withdrawn {why:?}"),
            Fact::Died(_, _, why) => format!("died {why:?}"),
            Fact::Paused(_, pause) if pause.failures == 1 => "paused".to_owned(),
            Fact::Paused(..) => "paused longer".to_owned(),
            Fact::Resumed(_) => "resumed".to_owned(),
            Fact::Erased(cause) => format!("erased {cause:?}"),
            Fact::NoticesUnfetched(reminder) => format!("reminded after {}", reminder.after),
            Fact::CannotErase => "cannot erase".to_owned(),
            Fact::CameBackForgotten(_) => "came back forgotten".to_owned(),
            Fact::RestBegan(..) => "rest began".to_owned(),
            Fact::RestEnded(_) => "rest ended".to_owned(),
            Fact::DeletionOrdered(_) => "deletion ordered".to_owned(),
            Fact::UnexpectedDeletion(_, told) => format!("deletion {}", unexpected(told)),
            Fact::Replay(_, stage) => format!("replay is {}", stage.name()),
        });
    }

    pub fn change(&mut self, change: &Change) {
        self.count(|| match change {
            Change::PutCitizen(_) => "citizen changed".to_owned(),
            Change::Part { .. } => "parted".to_owned(),
            Change::OwnRecord { .. } => "whose a record is".to_owned(),
            Change::Join { .. } => "joined".to_owned(),
            Change::MoveHolders { .. } => "moved to another".to_owned(),
            Change::PutClocks(_) => "clocks changed".to_owned(),
            Change::DropClocks(_) => "clocks dropped".to_owned(),
            Change::SetIndexed(_) => "clocks indexed".to_owned(),
            Change::PutNotices { lying, .. } if lying.reminded > 0 => "reminded of notices".to_owned(),
            Change::PutNotices { .. } => "notices lie".to_owned(),
            Change::NoteUnexpected(_) => "unexpected deletion noted".to_owned(),
            Change::DropNotices { .. } => "notices fetched".to_owned(),
            Change::Admit(_) => "admitted".to_owned(),
            Change::PutDelivery(Delivery { state: State::Pending, .. }) => "row of a pending delivery".to_owned(),
            Change::PutDelivery(Delivery { state: State::Retrying { .. }, .. }) => "row of a retried delivery".to_owned(),
            Change::PutDelivery(Delivery { state: State::Dead { .. }, .. }) => "row of a dead delivery".to_owned(),
            Change::Finish { had_row: true, end: End::Delivered, .. } => "delivered from a row".to_owned(),
            Change::Finish { had_row: false, end: End::Delivered, .. } => "delivered without a row".to_owned(),
            Change::Finish { had_row: true, .. } => "withdrawn from a row".to_owned(),
            Change::Finish { had_row: false, .. } => "withdrawn without a row".to_owned(),
            Change::PutReplay(replay) => format!("replay {}", replay.stage.name()),
            Change::PutSelected { .. } => "selected".to_owned(),
            Change::DropSelected { .. } => "selection done".to_owned(),
            Change::DropReplay(_) => "replay forgotten".to_owned(),
            Change::SetLowWater(_) => "low water".to_owned(),
            Change::Stopped(_) => "stopped in order".to_owned(),
            Change::Started => "started after a stop in order".to_owned(),
            Change::PutHold(Held::Queue(_), Hold::Active { .. }) => "queue held".to_owned(),
            Change::PutHold(Held::Queue(_), Hold::Over { .. }) => "queue let go".to_owned(),
            Change::PutHold(Held::Lane(..), Hold::Active { .. }) => "lane parked".to_owned(),
            Change::PutHold(Held::Lane(..), Hold::Over { .. }) => "lane released".to_owned(),
            Change::ForgetHold(_) => "hold forgotten".to_owned(),
            Change::Quarantine(_) => "quarantined".to_owned(),
            Change::Trace { step, .. } | Change::TraceEvent { step, .. } => format!("step {}", step.number()),
            Change::Audit { .. } => "noted what somebody did".to_owned(),
            Change::PutSpent { .. } => "record of somebody forgotten".to_owned(),
            Change::PutUnclaimed(_) => "left unclaimed".to_owned(),
            Change::DropUnclaimed { .. } => "not unclaimed any more".to_owned(),
            Change::Release(_) => "released".to_owned(),
            Change::Erase(_) => "erased".to_owned(),
        });
    }

    pub fn attempts(&mut self, attempts: &[Outgoing]) {
        for attempt in attempts {
            self.count(|| match (attempt.identification, attempt.attempt) {
                (None, _) => "attempt without identification".to_owned(),
                (Some(_), 1) => "first attempt".to_owned(),
                (Some(_), _) => "later attempt".to_owned(),
            });
        }
    }
}

/// What must have occurred, and how often at least, for the default seeds to
/// prove anything: about a third of what was counted when this was written.
pub const OCCURRED: [(&str, u64); 109] = [
    ("moved to another", 300),
    ("erased LastRecord", 40),
    ("notices fetched", 800),
    ("reminded after 3", 30),
    ("rest began", 1211),
    ("rest ended", 484),
    ("queue held", 523),
    ("queue let go", 693),
    ("lane parked", 442),
    ("lane released", 394),
    ("hold forgotten", 141),
    ("died Expired", 164),
    ("died Overflow", 172),
    ("attempted ChannelClosed", 190),
    ("resume: Probed", 29),
    ("resume: GoesOn", 29),
    ("park: AlreadySo", 21),
    ("erased", 250),
    ("withdrawn SupersededByErasure", 1800),
    ("Discarded: TooLate", 80),
    ("Discarded: Withdrawn", 326),
    ("claimed already", 25),
    ("crash while selecting", 15),
    ("replay done", 650),
    ("replay is stopped", 13),
    ("replay is waiting-for-go", 15),
    ("replay: Go", 15),
    ("replay: Resume", 1),
    ("selected Dead", 700),
    ("selected Delivered", 180),
    ("selection given up", 25),
    ("admitted", 42866),
    ("attempt without identification", 353),
    ("attempted Confirmed", 25691),
    ("attempted Connection", 1201),
    ("attempted Nacked", 928),
    ("attempted Refused", 204),
    ("attempted Returned", 218),
    ("attempted Timeout", 465),
    ("came back when (Dead, false)", 18),
    ("came back when (Delivered, false)", 581),
    ("came back when (Waiting, false)", 88),
    ("came back when (Waiting, true)", 17),
    ("came back when (Withdrawn(MembershipEnded), false)", 19),
    ("citizen changed", 24065),
    ("consumed Duplicate", 1812),
    ("consumed NoRecipient", 17845),
    ("consumed Quarantined", 1708),
    ("consumed Routed", 25021),
    ("crash AfterAck", 159),
    ("crash AfterPublish", 159),
    ("crash BeforeAck", 155),
    ("crash BeforeCommit", 157),
    ("crash BeforePublish", 155),
    ("crash BeforeSecondCommit", 153),
    ("clocks changed", 34000),
    ("clocks dropped", 3),
    ("clocks indexed", 1900),
    ("deletion early", 540),
    ("deletion of a blocked record", 30),
    ("deletion of an unknown record", 1700),
    ("deletion ordered", 3500),
    ("order published", 4200),
    ("order repeated", 400),
    ("delivered", 25691),
    ("delivered from a row", 18149),
    ("delivered without a row", 7541),
    ("died DeliveryLimit", 363),
    ("died GaveUp(Connection)", 279),
    ("died GaveUp(Nacked)", 209),
    ("died GaveUp(Refused)", 54),
    ("died GaveUp(Returned)", 54),
    ("died GaveUp(Timeout)", 97),
    ("died NeverAttempted", 2082),
    ("died RejectedByRecipient", 354),
    ("first attempt", 29257),
    ("later attempt", 1753),
    ("low water", 7983),
    ("left unclaimed", 4700),
    ("not unclaimed any more", 2500),
    ("joined", 660),
    ("parted", 88),
    ("notice delivered", 902),
    ("paused", 1178),
    ("paused longer", 304),
    ("prevented Attempt", 7684),
    ("prevented Decision", 15273),
    ("prevented Replay", 125),
    ("quarantine discard", 135),
    ("quarantine retry", 292),
    ("quarantined", 1708),
    ("released", 428),
    ("resumed", 470),
    ("row of a dead delivery", 3496),
    ("row of a pending delivery", 30902),
    ("row of a retried delivery", 2544),
    ("suppressed Condition", 2291),
    ("suppressed ContradictoryMembership", 7604),
    ("suppressed Deceased", 5362),
    ("suppressed NotMember", 15273),
    ("suppressed NotSubscribed", 20),
    ("suppressed RecipientClosed", 1451),
    ("suppressed UnknownMembership", 8285),
    ("withdrawn MembershipEnded", 9523),
    ("withdrawn Operator", 326),
    ("withdrawn RecipientClosed", 508),
    ("withdrawn RecordDeleted", 2032),
    ("withdrawn from a row", 11256),
    ("withdrawn without a row", 1134),
];
