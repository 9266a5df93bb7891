//! Parked lanes through the API: what waits in one, and one that is empty.

use serde_json::{Value, json};

use super::{World, indkaldelse, known, lederne_is_gone};

fn lederne(world: &World) -> Value {
    let all = world.get("/recipients").ok()["items"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["recipient"] == "akasse:067").expect("declared")
}

#[test]
fn a_parked_lane_has_its_age_and_can_be_released_when_it_is_empty() {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    let page = world.until("/deliveries?recipient=akasse:067&entity=Indkaldelse&state=retrying", |page| page["items"][0]["attempts"] == 1);
    let id = page["items"][0]["id"].as_str().expect("an id").to_owned();
    world.post(&format!("/lanes/{id}/park"), &json!({ "why": "looked into" })).ok();

    let seconds = |name: &str| lederne(&world)[name].as_f64().expect("a number");
    assert!(seconds("oldest_pending_seconds") > 0.0, "it waits, in a parked lane or not");
    assert!(seconds("oldest_unparked_seconds").abs() < f64::EPSILON, "which is on purpose");

    world.post(&format!("/deliveries/{id}/discard"), &json!({ "why": "not wanted" })).ok();
    assert!(seconds("oldest_pending_seconds").abs() < f64::EPSILON, "nothing waits any more");
    let lane = world.get("/lanes?recipient=akasse:067").ok()["items"][0].clone();
    assert_eq!((&lane["state"], &lane["head"], &lane["waiting"]), (&json!("parked"), &Value::Null, &json!(0)));
    world.post(&format!("/lanes/{}/release", lane["parked_by"].as_str().expect("an id")), &json!({})).ok();
    assert_eq!(world.get("/lanes?recipient=akasse:067").ok()["items"], json!([]));
}
