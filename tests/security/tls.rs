//! TLS to RabbitMQ and for HTTP: what works, what is said when it does not, and
//! certificates exchanged under a running broker.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::certificates::Authority;
use crate::rig::{Amqp, Broker, Options, Vendor, event, membership, until};
use crate::{LIMIT, node, routing};

/// A broker with these files, at an address.
fn with(uri: &str, routing: &Path, ca: &Path, identity: Option<(&Path, &Path)>) -> Broker {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut options = Options::new(uri).routing(routing).env("WSB_AMQP_CA", &text(ca));
    if let Some((cert, key)) = identity {
        options = options.env("WSB_AMQP_CERT", &text(cert)).env("WSB_AMQP_KEY", &text(key));
    }
    Broker::prepare(options)
}

/// What a command says when it cannot connect.
#[track_caller]
fn refusal(broker: &Broker) -> String {
    let output = broker.cli(&["topology", "--apply"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    said
}

fn seconds_since_1970() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// An instant as openssl wants it.
fn in_asn1(seconds: u64) -> String {
    let made = std::process::Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%Y%m%d%H%M%SZ"]).output().unwrap();
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[test]
fn certificates_to_rabbitmq() {
    let (node, authority) = node();
    let vhost = node.vhost("tls");
    let name = vhost.rsplit('/').next().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("routing.toml");
    fs::write(&rules, routing(&[("akasse:067", "")])).unwrap();
    let made = node.eval(&format!(
        "ok = rabbit_auth_backend_internal:add_user(<<\"by-certificate\">>, <<\"unused-password\">>, <<\"rig\">>), \
         ok = rabbit_auth_backend_internal:set_permissions(<<\"by-certificate\">>, <<\"{name}\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"rig\">>), made"
    ));
    assert!(made.contains("made"), "{made}");
    let ca = authority.certificate();
    let port = node.tls_port();
    let external = format!("amqps://127.0.0.1:{port}/{name}?auth_mechanism=external");
    let (cert, key) = authority.issue_for("client", "/O=first/CN=by-certificate", "DNS:broker", "20250101000000Z", "20990101000000Z");

    // What is wrong, in words.
    let stranger = Authority::create(folder.path(), "A stranger");
    let (strange_cert, strange_key) = stranger.issue("strange", "by-certificate", "DNS:broker");
    let (old_cert, old_key) = authority.issue_expired("old", "by-certificate", "DNS:broker");
    let said = |broker: Broker, words: &[&str]| {
        let said = refusal(&broker);
        for word in words {
            assert!(said.contains(word), "does not say {word:?}: {said}");
        }
    };
    let ours = Some((&*cert, &*key));
    said(with(&external, &rules, &stranger.certificate(), ours), &["not trusted here", "WSB_AMQP_CA"]);
    said(
        with(&external.replace("127.0.0.1", "localhost"), &rules, &ca, ours),
        &["its certificate is for", "127.0.0.1", "not for localhost"],
    );
    // Which of the reasons it is, RabbitMQ says in an alert that a reset of the connection may overtake.
    said(with(&external, &rules, &ca, Some((&strange_cert, &strange_key))), &["refuses our client certificate"]);
    said(with(&external, &rules, &ca, Some((&old_cert, &old_key))), &["refuses our client certificate"]);
    said(with(&external, &rules, &ca, Some((&cert, &strange_key))), &["do not belong together"]);
    said(with(&external, &rules, &folder.path().join("gone.pem"), ours), &["cannot read", "gone.pem"]);
    said(with(&external.replace(&port.to_string(), &node.port().to_string()), &rules, &ca, ours), &["does not speak TLS"]);
    let plain_login = format!("amqps://guest:guest@127.0.0.1:{port}/{name}");
    said(with(&plain_login, &rules, &ca, None), &["wants a client certificate", "WSB_AMQP_CERT"]);
    let (wrong_user, wrong_user_key) = authority.issue("nobody", "nobody-at-all", "DNS:broker");
    said(
        with(&external, &rules, &ca, Some((&wrong_user, &wrong_user_key))),
        &["knows no user by our client certificate", "CN=nobody-at-all"],
    );
    for (broker, words) in
        [(with(&external, &rules, &ca, None), "needs a client certificate"), (with(&vhost, &rules, &ca, ours), "amqp instead of amqps")]
    {
        let output = broker.cli(&["topology", "--apply"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words), "{said}");
    }

    // With a password, and by the certificate alone.
    with(&plain_login, &rules, &ca, ours).cli_ok(&["topology", "--apply"]);
    let mut broker = with(&external, &rules, &ca, ours);
    broker.start_again();
    let amqp = Amqp::connect(&vhost);
    let vendor = Vendor::consume(&vhost, "wsb.akasse.067");
    let citizen = "0101901234";
    amqp.publish_all("dfdg.events", [membership(citizen, "067", "2020-01-01", None).message()]);

    // Exchanged under load: connections are made anew, nothing is lost.
    let subjects = || {
        let each = "[binary_to_list(S) ++ \"|\" || [{peer_cert_subject, S}] <- rabbit_networking:connection_info_all([peer_cert_subject]), is_binary(S)]";
        node.eval(&format!("lists:flatten({each})"))
    };
    assert!(subjects().contains("O=first"), "{}", subjects());
    let events: Vec<_> = (0..300).map(|_| event("Tilmelding").cpr(citizen)).collect();
    for (at, event) in events.iter().enumerate() {
        event.publish(&amqp);
        if at == 100 {
            authority.issue_for("client", "/O=second/CN=by-certificate", "DNS:broker", "20250101000000Z", "20990101000000Z");
        }
    }
    until(LIMIT, "both connections use the new certificate", || {
        let subjects = subjects();
        subjects.matches("O=second").count() == 2 && !subjects.contains("O=first")
    });
    vendor.wait_until(LIMIT, "every event", |messages| {
        events.iter().all(|event| messages.iter().any(|message| message.correlation_id == event.event_id()))
    });
    broker.wait_ready();
    assert_eq!(broker.log().matches("connecting anew").count(), 1, "{}", broker.log());

    // A pair that does not fit is not taken over.
    fs::copy(&strange_key, &key).unwrap();
    broker.wait_log("are not used; connections stay as they are", LIMIT);
    assert!(broker.readyz().is_some_and(|(status, _)| status == 200));
    assert!(subjects().contains("O=second"));

    authority.issue_for("client", "/O=third/CN=by-certificate", "DNS:broker", "20250101000000Z", "20990101000000Z");
    until(LIMIT, "the third certificate is used", || subjects().matches("O=third").count() == 2);

    // RabbitMQ's certificate is told of before it ends, and no longer than it is in use,
    // although connections stay when it is exchanged.
    let known = |broker: &Broker| broker.metrics().sum("wsb_certificate_expiry_timestamp_seconds", &[("certificate", "amqp_server")]);
    let end_of_century = 4_070_908_800.0;
    assert_eq!(known(&broker), end_of_century);
    let connections = || node.eval("lists:sort(rabbit_networking:connections())");
    let soon = seconds_since_1970() + 10 * 86_400;
    authority.issue_for("server", "/CN=rabbitmq", "IP:127.0.0.1", "20250101000000Z", &in_asn1(soon));
    node.eval("ssl:clear_pem_cache()");
    node.eval("[rabbit_networking:close_connection(Pid, \"test\") || Pid <- rabbit_networking:connections()]");
    until(LIMIT, "it is seen that the new one ends soon", || known(&broker) == soon as f64);
    broker.wait_ready();
    let before = connections();
    authority.issue("server", "rabbitmq", "IP:127.0.0.1");
    node.eval("ssl:clear_pem_cache()");
    until(LIMIT, "it is seen that it has been exchanged", || known(&broker) == end_of_century);
    until(LIMIT, "nobody has connected anew for that", || connections() == before);

    // RabbitMQ's certificate expires: said in words, and mended by a new one alone.
    authority.issue_expired("server", "rabbitmq", "IP:127.0.0.1");
    node.eval("ssl:clear_pem_cache()");
    node.eval("[rabbit_networking:close_connection(Pid, \"test\") || Pid <- rabbit_networking:connections()]");
    until(LIMIT, "readiness says why", || {
        broker.readyz().is_some_and(|(status, text)| status == 503 && text.contains("its certificate expired on 2024-01-01"))
    });
    authority.issue("server", "rabbitmq", "IP:127.0.0.1");
    node.eval("ssl:clear_pem_cache()");
    broker.wait_ready();
    let last = event("Tilmelding").cpr(citizen);
    last.publish(&Amqp::connect(&vhost));
    vendor.wait_until(LIMIT, "the last event", |messages| messages.iter().any(|message| message.correlation_id == last.event_id()));
    assert!(broker.terminate().success());
    assert!(!broker.log().contains("PRIVATE KEY"));
}

#[test]
fn certificates_for_http() {
    let (node, _) = node();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("routing.toml"), routing(&[("akasse:067", "")])).unwrap();
    let (first, second) = (Authority::create(folder.path(), "First"), Authority::create(folder.path(), "Second"));
    first.issue("http", "wsb-broker", "IP:127.0.0.1");
    let options = Options::new(&node.vhost("http"))
        .routing(file("routing.toml"))
        .env("WSB_HTTP_CERT", &file("http.pem"))
        .env("WSB_HTTP_KEY", &file("http.key"));
    let mut broker = Broker::prepare(options);
    assert_eq!(broker.cli(&["health"]).status.code(), Some(3), "nobody answers yet");
    broker.spawn_again();
    until(LIMIT, "the broker is ready", || broker.cli(&["health", "--ready"]).status.success());
    broker.cli_ok(&["health"]);
    assert!(ureq::get(broker.url("/healthz")).call().is_err(), "plain HTTP is not served beside it");

    let list = |authority: &Authority| {
        let ca = authority.certificate();
        let output = broker.cli(&["--http-ca", ca.to_str().unwrap(), "recipients", "list", "--all"]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let (code, said) = list(&first);
    assert!(code == Some(0) && said.contains("akasse:067"), "{said}");
    let (code, said) = list(&second);
    assert!(code == Some(3) && said.contains("certificate"), "{said}");

    // Silent callers keep nobody waiting, however many they are.
    let address = broker.url("").trim_start_matches("http://").to_owned();
    let silent: Vec<_> = (0..400).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    let asked = Instant::now();
    broker.cli_ok(&["health"]);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    drop(silent);

    let expiry = || {
        let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
        let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).build().into();
        let url = broker.url("/metrics").replace("http://", "https://");
        let text = agent.get(url).call().unwrap().body_mut().read_to_string().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("wsb_certificate_expiry_timestamp_seconds{certificate=\"http\"} "));
        line.and_then(|value| value.parse::<i64>().ok())
    };
    let end_of_century = 4_070_908_800;
    assert_eq!(expiry(), Some(end_of_century));
    second.issue_for("http", "/CN=wsb-broker", "IP:127.0.0.1", "20250101000000Z", "20980101000000Z");
    until(LIMIT, "the new certificate is served", || list(&second).0 == Some(0));
    assert_eq!(list(&first).0, Some(3));
    let a_year_before = 4_039_372_800;
    assert_eq!(expiry(), Some(a_year_before));
    // A pair that does not fit is not used, and says nothing of how long the one in use is valid.
    second.issue("http", "wsb-broker", "IP:127.0.0.1");
    fs::write(file("http.key"), "no key").unwrap();
    broker.wait_log("the old one stays", LIMIT);
    assert_eq!(list(&second).0, Some(0));
    assert_eq!(expiry(), Some(a_year_before));
    assert!(broker.terminate().success());
}
