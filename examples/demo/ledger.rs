//! What must arrive, worked out here and not by the broker, and what did.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::cast::{Citizen, just_now, of_fund, of_kommune};
use crate::rig::{Event, Message, event};

/// An event, with who must hear of it and who must not.
pub struct Told {
    /// The event.
    pub event: Event,
    /// Its EntitetNavn.
    pub entity: String,
    /// The citizen's number.
    pub cpr: String,
    /// The queues that must get it.
    pub to: BTreeSet<String>,
    /// The queues of those who had the citizen and must not get it.
    pub kept_from: BTreeSet<String>,
}

/// What happened to a citizen, told by the rules of the sources: the kommune
/// hears of everything here, the fund not of all.
pub fn about(citizen: &Citizen, entity: &str) -> Told {
    let fund_hears = match entity {
        "Frist" | "BevillingAfYdelse" | "YderligeInfoOmFravaer" => false,
        "Aktivitet" => citizen.plan_for_fund,
        _ => true,
    };
    // The rule about activities names the fund and the condition keeps it out:
    // a former fund was kept out before that.
    let fund_might = fund_hears || entity == "Aktivitet";
    let mut to = BTreeSet::from([of_kommune(citizen.kommune)]);
    to.extend(citizen.fund.filter(|_| fund_hears).map(of_fund));
    Told {
        event: event(entity).cpr(&citizen.cpr).at(&just_now()).authority("kommune", citizen.kommune).content(json!({})),
        entity: entity.to_owned(),
        cpr: citizen.cpr.clone(),
        to,
        kept_from: citizen.former.filter(|_| fund_might).map(of_fund).into_iter().collect(),
    }
}

/// A registration of a membership: told to the fund that it is about and to
/// the fund that the citizen has now.
pub fn membership_told(event: Event, cpr: &str, funds: &[&str]) -> Told {
    Told {
        event: event.at(&just_now()),
        entity: "Akassemedlemskab".to_owned(),
        cpr: cpr.to_owned(),
        to: funds.iter().map(|fund| of_fund(fund)).collect(),
        kept_from: BTreeSet::new(),
    }
}

impl Told {
    /// Notes that a fund has just lost the citizen and must not hear of it.
    pub fn kept_from(mut self, fund: &str) -> Self {
        self.kept_from.insert(of_fund(fund));
        self
    }

    /// Changes the event.
    pub fn with(mut self, change: impl FnOnce(Event) -> Event) -> Self {
        self.event = change(self.event);
        self
    }
}

struct Expected {
    entity: String,
    cpr: String,
}

/// Everything that must arrive, and everything that did.
#[derive(Default)]
pub struct Ledger {
    expected: BTreeMap<String, BTreeMap<String, Expected>>,
    forbidden: BTreeSet<(String, String)>,
    arrived: BTreeMap<String, BTreeMap<String, Message>>,
    repeats: usize,
    published: usize,
}

/// The difference between what must be and what is.
#[derive(Default)]
pub struct Difference {
    /// What is wrong, in words.
    pub mistakes: Vec<String>,
}

impl Ledger {
    /// Notes what must come of events that are about to be published.
    pub fn expect(&mut self, told: &[Told]) {
        for one in told {
            self.published += 1;
            let id = one.event.event_id();
            for queue in &one.to {
                let expected = Expected { entity: one.entity.clone(), cpr: one.cpr.clone() };
                self.expected.entry(queue.clone()).or_default().insert(id.to_owned(), expected);
            }
            self.forbidden.extend(one.kept_from.iter().map(|queue| (queue.clone(), id.to_owned())));
        }
    }

    /// Moves what was to go to one queue to another, for these events.
    pub fn redirect(&mut self, from: &str, to: &str, event_ids: &[String]) {
        for id in event_ids {
            if let Some(expected) = self.expected.entry(from.to_owned()).or_default().remove(id) {
                self.expected.entry(to.to_owned()).or_default().insert(id.clone(), expected);
                self.forbidden.insert((from.to_owned(), id.clone()));
            }
        }
    }

    /// Notes events that are published and of which nothing must come.
    pub fn expect_nothing(&mut self, events: usize) {
        self.published += events;
    }

    /// Takes in what a queue has given.
    pub fn receive(&mut self, messages: Vec<Message>) {
        for message in messages {
            // At least once is the promise: a vendor knows repeats by their id.
            let queue = self.arrived.entry(message.queue.clone()).or_default();
            if queue.insert(message.id.clone(), message).is_some() {
                self.repeats += 1;
            }
        }
    }

    /// How many events have been published.
    pub fn published(&self) -> usize {
        self.published
    }

    /// How many different messages have arrived.
    pub fn arrived(&self) -> usize {
        self.arrived.values().map(BTreeMap::len).sum()
    }

    /// How many arrived more than once.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// How many must arrive.
    pub fn awaited(&self) -> usize {
        self.expected.values().map(BTreeMap::len).sum()
    }

    /// How often somebody had to be kept from hearing of a former citizen.
    pub fn forbidden(&self) -> usize {
        self.forbidden.len()
    }

    /// How many must arrive in a queue.
    pub fn awaited_in(&self, queue: &str) -> usize {
        self.expected.get(queue).map_or(0, BTreeMap::len)
    }

    /// What has arrived in a queue, in the order of the events.
    pub fn in_queue(&self, queue: &str) -> impl Iterator<Item = &Message> {
        self.arrived.get(queue).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether a queue has been given the WSB about this event.
    pub fn has(&self, queue: &str, event_id: &str) -> bool {
        self.in_queue(queue).any(|message| message.correlation_id == event_id)
    }

    /// Whether everything that must arrive in these queues has.
    pub fn is_complete(&self, except: &[&str]) -> bool {
        self.expected.iter().filter(|(queue, _)| !except.contains(&queue.as_str())).all(|(queue, expected)| {
            let arrived: BTreeSet<&str> = self.in_queue(queue).map(|message| message.correlation_id.as_str()).collect();
            expected.keys().all(|id| arrived.contains(id.as_str()))
        })
    }

    /// Compares, message by message.
    pub fn compare(&self) -> Difference {
        let mut difference = Difference::default();
        let mut wrong = |text: String| difference.mistakes.push(text);
        for (queue, expected) in &self.expected {
            let arrived: BTreeSet<&str> = self.in_queue(queue).map(|message| message.correlation_id.as_str()).collect();
            for (id, one) in expected.iter().filter(|(id, _)| !arrived.contains(id.as_str())) {
                wrong(format!("{queue}: the {} of event {id} has not arrived", one.entity));
            }
        }
        for (queue, messages) in &self.arrived {
            for message in messages.values() {
                let id = &message.correlation_id;
                if self.forbidden.contains(&(queue.clone(), id.clone())) {
                    wrong(format!("{queue}: got the {} of event {id}, about a citizen that it has lost", message.kind));
                    continue;
                }
                let Some(expected) = self.expected.get(queue).and_then(|expected| expected.get(id)) else {
                    wrong(format!("{queue}: got the {} of event {id}, which is none of its business", message.kind));
                    continue;
                };
                let (kind, code) = recipient_of(queue);
                let right = message.kind == expected.entity
                    && message.field("EntitetNavn") == *expected.entity
                    && message.field("Identifikation") == *expected.cpr
                    && message.field("Modtager") == json!({ "Type": kind, "Kode": code })
                    && message.json()["id"] == *message.id
                    && message.headers.get("wsb-recipient") == Some(&format!("{kind}:{code}").into());
                if !right {
                    wrong(format!("{queue}: the {} of event {id} does not say what it must", message.kind));
                }
            }
        }
        difference
    }
}

fn recipient_of(queue: &str) -> (&str, &str) {
    let mut parts = queue.rsplit('.');
    let code = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), code)
}
