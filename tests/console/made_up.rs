//! What `make run` promises to a stranger is there to be found, and moves.

use std::cell::Cell;

use crate::chromium::{self, Chromium};
use crate::rig::{Broker, shared_node, until};
use crate::traffic::{Prepared, TICK, Traffic};
use crate::{LIMIT, image, log_in, writes_screenshots};

/// Ticks before the pictures are taken: ten seconds, as a stranger may need to log in.
const BEFORE_PICTURES: u32 = 40;

#[test]
fn what_make_run_promises_is_there_and_moves() {
    let Some(programs) = chromium::find() else { return };
    let prepared = Prepared::new();
    let uri = shared_node().vhost("make-run");
    let mut broker = Broker::prepare(prepared.options(&uri));
    let vendor_token = prepared.load(&broker);
    broker.start_again();
    let mut traffic = Traffic::begin(&broker, &uri);
    let browser = Chromium::start(&programs);
    let mut flow_until = |what: &str, holds: &dyn Fn() -> bool| {
        until(LIMIT, what, || {
            traffic.tick();
            std::thread::sleep(TICK);
            holds()
        });
    };
    let dead = || broker.metrics().sum("wsb_dead", &[]) > 0.0;
    flow_until("a vendor has rejected something", &dead);
    flow_until("somebody's former fund is kept from something", &|| broker.metrics().sum("wsb_wrong_recipient_prevented_total", &[]) > 0.0);

    log_in(&broker, &browser, broker.token());
    let page = browser.text();
    for words in [
        "queues do not work and are paused",
        "Odense",
        "HK A-kasse",
        "Kristelig A-kasse",
        "2 messages are in quarantine",
        "2 recipients are paused on purpose",
        "1 lane is parked",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // The page shows what is new without anybody touching it.
    let totals = || browser.run("return document.querySelector('.totals').innerText");
    let first = totals();
    flow_until("the numbers move by themselves", &|| totals() != first);
    if writes_screenshots() {
        let left = Cell::new(BEFORE_PICTURES);
        flow_until("there is something to see", &|| left.replace(left.get().saturating_sub(1)) == 0);
        photograph(&broker, &browser);
    }
    for (path, words) in [
        ("/console/pauses", &["Akademikernes A-kasse", "Aalborg", "Herning", "every week", "København"][..]),
        ("/console/lanes", &["the fund asks what this is about"]),
        ("/console/gdpr", &["Din Faglige A-kasse", "fravaer", "joblog"]),
        ("/console/failures", &["rejected by the recipient"]),
    ] {
        browser.go(&broker.url(path));
        words.iter().for_each(|words| browser.until_text(words));
    }
    assert_eq!(browser.objections(), Vec::<String>::new(), "the browser objects");
    browser.click("form.who button");
    browser.until_text("You are logged out.");
    log_in(&broker, &browser, &vendor_token);
    let page = browser.text();
    assert!(page.contains("Kristelig A-kasse") && !page.contains("HK A-kasse"), "{page}");
}

fn photograph(broker: &Broker, browser: &Chromium) {
    browser.resize(1280, 900, false);
    for scheme in ["dark", "light"] {
        browser.prefer(scheme);
        browser.go(&broker.url("/console"));
        browser.photograph(&image(scheme));
    }
    browser.resize(390, 844, true);
    browser.go(&broker.url("/console"));
    browser.photograph(&image("phone"));
    browser.resize(1280, 900, false);
}
