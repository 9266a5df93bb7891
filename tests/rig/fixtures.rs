//! Domain events as DFDG publishes them, about citizens who do not exist.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

/// The exchange that DFDG publishes to.
pub const EVENTS: &str = "dfdg.events";

/// A number that no other event of this or an earlier run has: stores and
/// RabbitMQ nodes may outlive a run, and a repeated id would be dropped.
fn unique() -> u64 {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        AtomicU64::new(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| u64::try_from(age.as_micros()).unwrap_or_default()))
    });
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns the external id, a UUID, that stands for `name`; the same name gives
/// the same id.
pub fn external_id(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string()
}

/// A domain event under construction.
#[derive(Clone, Debug)]
pub struct Event {
    id: String,
    entity: String,
    domain: String,
    time: String,
    change: u8,
    external_id: String,
    version_id: Option<String>,
    cpr: String,
    authority: Option<(String, String)>,
    period: Option<(String, Option<String>)>,
    content: Option<Value>,
}

/// Begins an event of this EntitetNavn: created, on 2026-03-16 at 08:00 in
/// Copenhagen, about the made-up citizen 0101901234, with ids of its own.
pub fn event(entity: &str) -> Event {
    let number = unique();
    Event {
        id: format!("evt-{number}"),
        entity: entity.to_owned(),
        domain: domain_of(entity).to_owned(),
        time: "2026-03-16T08:00:00+01:00".to_owned(),
        change: 1,
        external_id: external_id(&format!("record-{number}")),
        version_id: None,
        cpr: "0101901234".to_owned(),
        authority: None,
        period: None,
        content: None,
    }
}

/// Begins an Akassemedlemskab; its external id follows from `cpr`, `akasse` and
/// `from`, so that the same period can be corrected or recalled.
pub fn membership(cpr: &str, akasse: &str, from: &str, to: Option<&str>) -> Event {
    event("Akassemedlemskab")
        .cpr(cpr)
        .period(from, to)
        .external(&external_id(&format!("membership-{cpr}-{akasse}-{from}")))
        .content(json!({ "Akassekode": akasse }))
}

/// Begins a Jobcentertilknytning, identified as [`membership`] is.
pub fn jobcenter(cpr: &str, jobcenter: &str, from: &str, to: Option<&str>) -> Event {
    event("Jobcentertilknytning")
        .cpr(cpr)
        .period(from, to)
        .external(&external_id(&format!("jobcenter-{cpr}-{jobcenter}-{from}")))
        .content(json!({ "Jobcenterkode": jobcenter }))
}

/// Begins a Bopaelskommune, identified as [`membership`] is.
pub fn residence(cpr: &str, kommune: &str, from: &str, to: Option<&str>) -> Event {
    event("Bopaelskommune")
        .cpr(cpr)
        .period(from, to)
        .external(&external_id(&format!("residence-{cpr}-{kommune}-{from}")))
        .content(json!({ "Kommunekode": kommune }))
}

impl Event {
    /// Sets the CloudEvents id.
    pub fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Sets the citizen. Use numbers that are visibly made up.
    pub fn cpr(mut self, cpr: &str) -> Self {
        cpr.clone_into(&mut self.cpr);
        self
    }

    /// Makes it a creation.
    pub fn created(mut self) -> Self {
        self.change = 1;
        self
    }

    /// Makes it an update.
    pub fn updated(mut self) -> Self {
        self.change = 2;
        self
    }

    /// Makes it a deletion or recall.
    pub fn deleted(mut self) -> Self {
        self.change = 3;
        self
    }

    /// Sets the registration time, RFC 3339.
    pub fn at(mut self, time: &str) -> Self {
        time.clone_into(&mut self.time);
        self
    }

    /// Sets EksternIdentifier.
    pub fn external(mut self, id: &str) -> Self {
        id.clone_into(&mut self.external_id);
        self
    }

    /// Sets VersionIdentifier.
    pub fn version(mut self, id: &str) -> Self {
        self.version_id = Some(id.to_owned());
        self
    }

    /// Sets RegistrerendeMyndighed, such as `"kommune", "860"`.
    pub fn authority(mut self, kind: &str, code: &str) -> Self {
        self.authority = Some((kind.to_owned(), code.to_owned()));
        self
    }

    /// Sets Startdato and Slutdato.
    pub fn period(mut self, from: &str, to: Option<&str>) -> Self {
        self.period = Some((from.to_owned(), to.map(ToOwned::to_owned)));
        self
    }

    /// Sets Indhold.
    pub fn content(mut self, content: Value) -> Self {
        self.content = Some(content);
        self
    }

    /// Sets the domain, for an EntitetNavn that the rig does not know.
    pub fn domain(mut self, domain: &str) -> Self {
        domain.clone_into(&mut self.domain);
        self
    }

    /// Gives the event a new id, as a further event about the same record.
    pub fn again(mut self) -> Self {
        self.id = format!("evt-{}", unique());
        self
    }

    /// Returns the CloudEvents id.
    pub fn event_id(&self) -> &str {
        &self.id
    }

    /// Returns EksternIdentifier.
    pub fn record_id(&self) -> &str {
        &self.external_id
    }

    /// Returns the key that DFDG publishes it with.
    pub fn routing_key(&self) -> String {
        let change = match self.change {
            1 => "oprettet",
            2 => "opdateret",
            _ => "slettet",
        };
        format!("{}.{}.{change}", self.domain, self.entity.to_lowercase())
    }

    /// Returns the CloudEvent.
    pub fn json(&self) -> Value {
        let mut data = json!({
            "EntitetNavn": self.entity,
            "Aendringstype": self.change,
            "EksternIdentifier": self.external_id,
            "VersionIdentifier": self.version_id,
            "Personnummer": self.cpr,
        });
        if let Some((kind, code)) = &self.authority {
            data["RegistrerendeMyndighed"] = json!({ "Type": kind, "Kode": code });
        }
        if let Some((from, to)) = &self.period {
            data["Startdato"] = json!(from);
            data["Slutdato"] = json!(to);
        }
        if let Some(content) = &self.content {
            data["Indhold"] = content.clone();
        }
        json!({
            "specversion": "1.0",
            "id": self.id,
            "source": format!("urn:dk:star:dfdg:{}", self.domain),
            "type": format!("dk.star.dfdg.{}.v1", self.entity),
            "time": self.time,
            "datacontenttype": "application/json",
            "data": data,
        })
    }

    /// Returns the body of the message.
    pub fn body(&self) -> Vec<u8> {
        self.json().to_string().into_bytes()
    }

    /// Returns routing key and body, as `Amqp::publish_all` takes them.
    pub fn message(&self) -> (String, Vec<u8>) {
        (self.routing_key(), self.body())
    }

    /// Publishes it to `dfdg.events` and waits for the confirm.
    pub fn publish(&self, amqp: &super::Amqp) {
        amqp.publish(EVENTS, &self.routing_key(), self.body());
    }
}

fn domain_of(entity: &str) -> &'static str {
    match entity {
        "Akassemedlemskab"
        | "Jobcentertilknytning"
        | "Bopaelskommune"
        | "Personnummerskift"
        | "PersonDoed"
        | "ForespoergelsePaaAkassemedlemskab" => "tilknytning",
        "Plan" | "Aktivitet" | "Samtale" | "Jobsoegningskrav" | "Integrationskontrakt" | "MinPlanVersion" => "plan",
        "Fravaer" | "YderligeInfoOmFravaer" => "fravaer",
        "BevillingAfYdelse"
        | "ForsoergerStatusSkift"
        | "DagpengetaellerTidligereAkasse"
        | "Efterloensbevis"
        | "Dagpengetaeller"
        | "Ydelseskort"
        | "EoesDagpenge"
        | "Feriedagpenge" => "ydelse",
        "Joblog" | "JoblogDokument" | "AndenLog" => "joblog",
        "GdprSletning" | "RigsarkivAflevering" => "gdpr",
        // The domain of all other known types.
        _ => "kontaktforloeb",
    }
}
