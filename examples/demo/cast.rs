//! Who takes part: citizens who do not exist, and the authorities that have them.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::rig::{Event, event, jobcenter, membership, residence};

pub const LEDERNE: &str = "067";
pub const AKADEMIKERNE: &str = "086";
pub const HK: &str = "053";
pub const HJORRING: &str = "860";
pub const AARHUS: &str = "751";
pub const AALBORG: &str = "851";

/// The funds and kommuner of the story, by code.
pub const FUNDS: [&str; 3] = [HK, LEDERNE, AKADEMIKERNE];
pub const KOMMUNER: [&str; 3] = [AARHUS, AALBORG, HJORRING];

/// Queues of the story, with names for the reader.
pub const QUEUES: [(&str, &str); 6] = [
    ("wsb.akasse.053", "HK A-kasse"),
    ("wsb.akasse.067", "Lederne A-kasse"),
    ("wsb.akasse.086", "Akademikernes A-kasse"),
    ("wsb.kommune.751", "Aarhus"),
    ("wsb.kommune.851", "Aalborg"),
    ("wsb.kommune.860", "Hjørring"),
];

/// How many citizens have no part of their own.
pub const ORDINARY: usize = 240;

/// The queue of a fund.
pub fn of_fund(code: &str) -> String {
    format!("wsb.akasse.{code}")
}

/// The queue of a kommune.
pub fn of_kommune(code: &str) -> String {
    format!("wsb.kommune.{code}")
}

/// A citizen, as the story knows them. Not the broker's view: this is what the
/// broker is checked against.
#[derive(Clone)]
pub struct Citizen {
    /// Ten digits; visibly made up.
    pub cpr: String,
    /// The fund that the citizen is a member of today.
    pub fund: Option<&'static str>,
    /// A fund that had the citizen and has not any more.
    pub former: Option<&'static str>,
    /// Where the citizen lives; its jobcentre is responsible.
    pub kommune: &'static str,
    /// Whether the plan lets the fund know of activities.
    pub plan_for_fund: bool,
}

impl Citizen {
    fn new(number: usize, fund: Option<&'static str>, kommune: &'static str) -> Self {
        Self { cpr: format!("010190{number:04}"), fund, former: None, kommune, plan_for_fund: false }
    }
}

/// The days of the story.
pub struct Days {
    today: Date,
}

impl Days {
    /// Takes today's date in Copenhagen.
    pub fn now() -> Self {
        let copenhagen = TimeZone::get("Europe/Copenhagen").expect("time zones are built in");
        Self { today: jiff::Timestamp::now().to_zoned(copenhagen).date() }
    }

    /// The day so many days ago.
    pub fn ago(&self, days: i32) -> String {
        self.today.saturating_sub(days.days()).to_string()
    }
}

/// The present instant, as a registration time.
pub fn just_now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Everybody.
pub struct Cast {
    /// Is transferred from Lederne to Akademikernes.
    pub a: Citizen,
    /// Left Lederne, which is registered late.
    pub b: Citizen,
    /// Was moved from HK to Lederne by mistake.
    pub c: Citizen,
    /// Has a plan that is none of the fund's business, and later one that is.
    pub d: Citizen,
    /// Belongs to Hjørring; Aalborg runs an activity.
    pub e: Citizen,
    /// Left Lederne half a year ago.
    pub f: Citizen,
    /// All others.
    pub ordinary: Vec<Citizen>,
}

impl Cast {
    /// Makes everybody up.
    pub fn new() -> Self {
        let ordinary = (0..ORDINARY).map(|n| Citizen::new(1000 + n, Some(FUNDS[n % 3]), KOMMUNER[n / 3 % 3])).collect();
        Self {
            a: Citizen::new(1, Some(LEDERNE), AARHUS),
            b: Citizen::new(2, Some(LEDERNE), AARHUS),
            c: Citizen { former: Some(HK), ..Citizen::new(3, Some(LEDERNE), AALBORG) },
            d: Citizen::new(4, Some(HK), HJORRING),
            e: Citizen::new(5, Some(HK), HJORRING),
            f: Citizen { former: Some(LEDERNE), ..Citizen::new(6, None, HJORRING) },
            ordinary,
        }
    }

    /// How many citizens there are.
    pub fn len(&self) -> usize {
        self.ordinary.len() + 6
    }

    /// What DFDG knows of everybody before the story begins.
    pub fn first_load(&self, days: &Days) -> Vec<Event> {
        let begin = "2020-01-01";
        let at = |day: &str| format!("{day}T08:00:00Z");
        let mut events = Vec::new();
        let named = [&self.a, &self.b, &self.c, &self.d, &self.e, &self.f];
        for citizen in named.into_iter().chain(&self.ordinary) {
            events.push(jobcenter(&citizen.cpr, &format!("{}01", citizen.kommune), begin, None));
            events.push(residence(&citizen.cpr, citizen.kommune, begin, None));
        }
        for citizen in [&self.a, &self.b, &self.d, &self.e].into_iter().chain(&self.ordinary) {
            if let Some(fund) = citizen.fund {
                events.push(membership(&citizen.cpr, fund, begin, None));
            }
        }
        events.push(membership(&self.c.cpr, HK, begin, None));
        let mut events: Vec<Event> = events.into_iter().map(|event| event.at(&at(begin))).collect();
        // A week ago somebody registered that C had moved on to Lederne.
        events.push(membership(&self.c.cpr, LEDERNE, &days.ago(7), None).at(&at(&days.ago(7))));
        // F's membership of Lederne ended half a year ago.
        events.push(membership(&self.f.cpr, LEDERNE, begin, Some(&days.ago(180))).at(&at(&days.ago(180))));
        // D has a plan under which funds may not know of activities.
        let plan = event("Plan").cpr(&self.d.cpr).period(&days.ago(90), None).content(json!({ "Plantype": "AndenPlan" }));
        events.push(plan.at(&at(&days.ago(90))));
        events
    }
}
