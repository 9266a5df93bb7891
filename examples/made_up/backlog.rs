//! A store in which very much waits, for measurements and tests of the console.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use wsb_broker::core::ids::{DeliveryKey, EventSeq, Personnummer, Recipient};
use wsb_broker::core::outbox::{Because, Death, Delivery, State};
use wsb_broker::core::policy::{Audience, Audiences, Domain};
use wsb_broker::core::records::{Admission, Change, Records};
use wsb_broker::core::time::{Day, Moment};
use wsb_broker::store::{self, Durability, Store};

use crate::made_up;

/// Of so many deliveries one is dead.
const DEAD: u64 = 100;

/// Makes a store with so many deliveries to these recipients.
pub fn fill(data: &Path, waiting: u64, recipients: &[Recipient]) -> Result<(), Box<dyn Error>> {
    let mut store = Store::open(&store::Options::new(data.to_owned()))?;
    let numbers: Vec<Personnummer> = (0..10_000).filter_map(|at| Personnummer::parse(&made_up::number(at)).ok()).collect();
    let mut citizens = Vec::new();
    for number in &numbers {
        citizens.push(store.enroll(number)?);
    }
    store.commit(Durability::Flush)?;
    let kinds = ["Indkaldelse", "Tilmelding", "Samtale", "Kontaktgruppe"];
    for seq in 1..=waiting {
        let mixed = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let who = mixed as usize % numbers.len();
        let recipient = recipients[mixed as usize / 7 % recipients.len()];
        let at = Moment(1_790_000_000_000_000 + 1000 * seq as i64);
        let (id, record) = (format!("event-{seq}"), format!("00000000-1111-4111-8111-{seq:012x}"));
        let event = Arc::new(made_up::event(&id, kinds[seq as usize % kinds.len()], &record, numbers[who], at)?);
        let because =
            Because { audience: Audience::AkasseOwnMembers, also: Audiences::default(), registration: None, day: Day::in_copenhagen(at) };
        let domain = Domain::Kontaktforloeb;
        let key = DeliveryKey { recipient, seq: EventSeq(seq) };
        let deliveries = vec![(recipient, because.clone())];
        let citizen = citizens[who];
        let admitted = Admission { seq: key.seq, citizen, event: Arc::clone(&event), domain, at, deliveries, left_out: Vec::new() };
        store.stage(Change::Admit(Arc::new(admitted)))?;
        let state = if seq % DEAD == 0 { State::Dead { at, why: Death::RejectedByRecipient } } else { State::Pending };
        store.stage(Change::PutDelivery(Delivery {
            key,
            citizen,
            event,
            domain,
            because,
            first_at: at,
            attempts: 0,
            failures: Vec::new(),
            replays: 0,
            delivered_before: None,
            state,
        }))?;
        if seq % 500 == 0 || seq == waiting {
            store.stage(Change::SetLowWater(EventSeq(seq + 1)))?;
            store.commit(Durability::Flush)?;
        }
    }
    Ok(())
}
