//! Both ends against a real broker, and against what only looks like one.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml permits it in test functions; here every function is part of a test"
)]

mod mosquitto;
mod strangers;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lab_core::clock::Clock;
use lab_mqtt::{Address, Broker, Credentials, Event, Message, MqttError, Publisher, Subscriber, TlsFiles};

use mosquitto::{Mosquitto, now, program, wait_for};
use strangers::nobody;

const PATIENCE: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_millis(20);

/// The clock of these tests. Its origin is the first look at it.
struct Wall(Instant);

impl Wall {
    fn new() -> Self {
        Self(now())
    }
}

impl Clock for Wall {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "this is how a clock waits")]
    fn wait_until_ns(&self, deadline_ns: u64) {
        std::thread::sleep(Duration::from_nanos(deadline_ns.saturating_sub(self.now_ns())));
    }
}

fn broker(url: &str) -> Broker {
    Broker::new(Address::parse(url).unwrap(), &TlsFiles::default(), None).unwrap()
}

fn publish(broker: &Broker, clock: &Wall, topic: &str, payloads: impl IntoIterator<Item = String>) {
    let mut publisher = Publisher::connect(broker, "device", PATIENCE, clock).unwrap();
    for payload in payloads {
        publisher.publish(topic, payload.as_bytes(), PATIENCE).unwrap();
    }
    publisher.close();
}

/// Listens until the broker has accepted the subscription, and returns whether it remembered the client.
fn subscribed(subscriber: &mut Subscriber<'_>) -> bool {
    wait_for("the subscription", || match subscriber.next(WAIT).unwrap() {
        Event::Listening { is_resumed } => Some(is_resumed),
        _ => None,
    })
}

/// Returns the next message without acknowledging it.
fn message(subscriber: &mut Subscriber<'_>) -> Message {
    wait_for("a message", || match subscriber.next(WAIT).unwrap() {
        Event::Message(message) => Some(message),
        _ => None,
    })
}

/// Takes so many messages, acknowledges each, and returns what they say.
fn take(subscriber: &mut Subscriber<'_>, n: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < n {
        let message = message(subscriber);
        subscriber.acknowledge(message.receipt);
        taken.push(String::from_utf8(message.payload).unwrap());
    }
    taken
}

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

#[test]
fn a_message_goes_round_with_its_topic_and_every_byte() {
    let (mosquitto, clock) = (Mosquitto::start(), Wall::new());
    let broker = broker(&mosquitto.url());
    let mut subscriber = Subscriber::new(broker.clone(), "lab", "iot/metrics/+", &clock);
    assert!(!subscribed(&mut subscriber));
    let long: String = "x".repeat(300_000);
    publish(&broker, &clock, "iot/metrics/a:b", ["{}".to_owned(), String::new(), long.clone()]);
    publish(&broker, &clock, "iot/other/a", ["not for us".to_owned()]);
    for expected in ["{}", "", long.as_str()] {
        let message = message(&mut subscriber);
        assert_eq!(message.topic, "iot/metrics/a:b");
        assert!(message.payload == expected.as_bytes(), "{} bytes", message.payload.len());
        assert!(message.receipt.is_some() && !message.is_retained && !message.is_repeated);
        subscriber.acknowledge(message.receipt);
    }
    subscriber.close();
}

#[test]
fn what_comes_while_nobody_listens_is_kept_for_the_same_client() {
    let (mosquitto, clock) = (Mosquitto::start(), Wall::new());
    let broker = broker(&mosquitto.url());
    let listen = || Subscriber::new(broker.clone(), "lab", "iot/metrics/+", &clock);
    let mut first = listen();
    subscribed(&mut first);
    first.close();
    publish(&broker, &clock, "iot/metrics/a", numbers(0..100));
    let mut second = listen();
    assert_eq!(take(&mut second, 100), numbers(0..100).collect::<Vec<_>>());
    second.close();
    let mut third = listen();
    assert!(subscribed(&mut third), "the broker remembers the client");
}

#[test]
fn a_message_that_was_not_acknowledged_comes_again() {
    let (mosquitto, clock) = (Mosquitto::start(), Wall::new());
    let broker = broker(&mosquitto.url());
    let listen = || Subscriber::new(broker.clone(), "lab", "iot/metrics/+", &clock);
    let mut first = listen();
    subscribed(&mut first);
    publish(&broker, &clock, "iot/metrics/a", numbers(0..2));
    let (seen, unseen) = (message(&mut first), message(&mut first));
    first.acknowledge(seen.receipt);
    first.close();
    let mut second = listen();
    let again = message(&mut second);
    assert_eq!((&again.payload, again.is_repeated), (&unseen.payload, true));
    // The receipt of a connection that is gone acknowledges nothing.
    second.acknowledge(unseen.receipt);
    second.close();
    assert_eq!(message(&mut listen()).payload, unseen.payload);
}

#[test]
fn three_restarts_of_the_broker_lose_no_message() {
    let (mut mosquitto, clock) = (Mosquitto::start(), Wall::new());
    let broker = broker(&mosquitto.url());
    let mut subscriber = Subscriber::new(broker.clone(), "lab", "iot/metrics/+", &clock);
    subscribed(&mut subscriber);
    let mut taken = BTreeSet::new();
    for round in 0..3 {
        publish(&broker, &clock, "iot/metrics/a", numbers(round * 100..round * 100 + 100));
        taken.extend(take(&mut subscriber, 30));
        mosquitto.stop();
        let lost = wait_for("the loss", || match subscriber.next(WAIT).unwrap() {
            Event::Lost { error, .. } => Some(error),
            Event::Message(message) => {
                taken.insert(String::from_utf8(message.payload).unwrap());
                None
            }
            _ => None,
        });
        assert!(!lost.is_lasting(), "{lost}");
        mosquitto.resume();
    }
    while taken.len() < 300 {
        taken.extend(take(&mut subscriber, 1));
    }
    assert_eq!(taken, numbers(0..300).collect());
}

#[test]
fn a_retained_message_comes_with_every_subscription() {
    let (mosquitto, clock) = (Mosquitto::start(), Wall::new());
    mosquitto.retain("iot/metrics/a", b"{\"kept\": true}");
    for client in ["one", "two"] {
        let mut subscriber = Subscriber::new(broker(&mosquitto.url()), client, "iot/metrics/+", &clock);
        let message = message(&mut subscriber);
        assert!(message.is_retained);
        assert_eq!(message.payload, b"{\"kept\": true}");
    }
}

#[test]
fn a_wrong_password_lasts_and_a_right_one_connects() {
    let mosquitto = Mosquitto::start_with(|folder| {
        let file = folder.join("passwords");
        let status = Command::new(program("mosquitto_passwd"))
            .args(["-b", "-c"])
            .arg(&file)
            .args(["me", "right"])
            .status();
        assert!(status.unwrap().success());
        format!("allow_anonymous false\npassword_file {}\n", file.display())
    });
    let clock = Wall::new();
    let connect = |credentials: Option<Credentials>| {
        let address = Address::parse(&mosquitto.url()).unwrap();
        let broker = Broker::new(address, &TlsFiles::default(), credentials).unwrap();
        Publisher::connect(&broker, "device", PATIENCE, &clock).map(Publisher::close)
    };
    connect(Credentials::new("me", b"right")).unwrap();
    for credentials in [None, Credentials::new("me", b"wrong")] {
        let error = connect(credentials).unwrap_err();
        assert!(matches!(error, MqttError::Refused { code: 4 | 5 }) && error.is_lasting(), "{error}");
    }
}

/// Writes an authority's certificate, and one of a broker that it signed, and returns the broker's configuration.
fn certificates(folder: &Path) -> String {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority of a test's own");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = authority.self_signed(&authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority, &authority_key).unwrap();
    for (name, pem) in
        [("ca.pem", authority.pem()), ("broker.pem", own.pem()), ("broker.key", key.serialize_pem())]
    {
        std::fs::write(folder.join(name), pem).unwrap();
    }
    let path = folder.display();
    format!("allow_anonymous true\ncertfile {path}/broker.pem\nkeyfile {path}/broker.key\n")
}

#[test]
fn a_broker_proves_who_it_is_or_is_not_spoken_to() {
    let mut ca = None;
    let mosquitto = Mosquitto::start_with(|folder| {
        ca = Some(folder.join("ca.pem"));
        certificates(folder)
    });
    let (ca, clock) = (ca.unwrap(), Wall::new());
    let connect = |host: &str, ca: Option<&Path>| {
        let address = mosquitto.url().replace("mqtt://127.0.0.1", &format!("mqtts://{host}"));
        let address = Address::parse(&address).unwrap();
        let files = TlsFiles { ca, ..TlsFiles::default() };
        Broker::new(address, &files, None).unwrap()
    };
    let trusted = connect("localhost", Some(&ca));
    let mut subscriber = Subscriber::new(trusted.clone(), "lab", "iot/metrics/+", &clock);
    subscribed(&mut subscriber);
    publish(&trusted, &clock, "iot/metrics/a", numbers(0..50));
    assert_eq!(take(&mut subscriber, 50), numbers(0..50).collect::<Vec<_>>());
    // Another authority, and a name that the certificate does not have.
    for broker in [connect("localhost", None), connect("127.0.0.1", Some(&ca))] {
        let error = Publisher::connect(&broker, "device", PATIENCE, &clock).err().unwrap();
        assert!(matches!(error, MqttError::Untrusted { .. }) && error.is_lasting(), "{error}");
    }
}

#[test]
fn a_lost_broker_is_tried_again_at_foreseen_times() {
    let clock = Wall::new();
    let mut subscriber = Subscriber::new(broker(&nobody()), "lab", "iot/metrics/+", &clock);
    let waits = [(); 3].map(|()| {
        wait_for("a loss", || match subscriber.next(WAIT).unwrap() {
            Event::Lost { retry_in, .. } => Some(retry_in.as_millis()),
            _ => None,
        })
    });
    assert_eq!(waits, [250, 500, 1_000]);
}
