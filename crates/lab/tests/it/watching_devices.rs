//! Devices that publish at a real broker, and `lab watch`, which takes in what they publish.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use lab_core::digest::Digest;
use lab_core::import::{Figures, Imported};
use lab_core::record::Outcome;
use lab_core::validity::Validity;
use lab_host::clock::Monotonic;
use lab_mqtt::{Address, Broker, Publisher, TlsFiles};
use lab_store::{ListFilter, Store};
use rustix::process::{Pid, Signal, kill_process};

use crate::bad_models::on_a_small_disk;
use crate::harness::{Lab, Ran, Running, wait_for};
use crate::mosquitto::{Mosquitto, program};
use crate::plan::Plan;

/// The id of the client, so that one watch goes on where another ended.
const CLIENT: [&str; 2] = ["--client-id", "lab-of-a-test"];
const PATIENCE: Duration = Duration::from_secs(20);

/// A document of one inference, which takes so many milliseconds.
fn document(device: &str, time_ms: usize) -> String {
    format!(
        r#"{{"summary": {{"device_id": "{device}", "model_name": "tiny", "total_inferences": 1}},
        "detailed_metrics": [{{"timestamp": "2025-10-07T10:30:15.123456", "device_id": "{device}",
        "model_name": "tiny", "inference_time_ms": {time_ms}, "memory_used_mb": 45.67, "cpu_percent_avg": 78.5,
        "energy_consumed_mj": 18.75, "compute_device": "cpu"}}]}}"#
    )
}

fn publish(url: &str, topic: &str, payloads: impl IntoIterator<Item = String>) {
    let broker = Broker::new(Address::parse(url).unwrap(), &TlsFiles::default(), None).unwrap();
    let mut publisher = Publisher::connect(&broker, "a-device", PATIENCE, &Monotonic).unwrap();
    for payload in payloads {
        publisher.publish(topic, payload.as_bytes(), PATIENCE).unwrap();
    }
    publisher.close();
}

/// A watch of the test's own client.
fn words<'a>(url: &'a str, further: &[&'a str]) -> Vec<&'a str> {
    [&["watch", url][..], &CLIENT[..], further].concat()
}

/// Starts a watch and returns when it listens.
fn watch(lab: &Lab, url: &str, further: &[&str]) -> Running {
    let running = lab.start(&words(url, further));
    wait_for("the subscription", || running.said().contains("listening").then_some(()));
    running
}

/// Returns every document in the store.
fn stored(lab: &Lab) -> Vec<Imported> {
    let Ok(store) = Store::open_read_only(&lab.store()) else { return Vec::new() };
    let rows = store.list(&ListFilter { limit: None }).unwrap();
    let sessions = rows.iter().map(|row| store.load(&row.id).unwrap());
    let outcomes = sessions.flat_map(|own| own.repetitions).map(|own| own.repetition.outcome);
    let imported = outcomes.filter_map(|outcome| match outcome {
        Outcome::Imported(imported) => Some(*imported),
        _ => None,
    });
    imported.collect()
}

/// Returns the times of the inferences in the store, in milliseconds; as many as there are documents if each is stored once.
fn times(documents: &[Imported]) -> BTreeSet<u64> {
    let time = |imported: &Imported| match &imported.figures {
        Figures::Device(figures) => figures.inferences.as_ref().unwrap().inference_time_ms.sum,
        Figures::Workflow(_) => panic!("no device has workflows"),
    };
    // A set of whole numbers has no doubt about equality.
    documents.iter().map(time).map(|time| format!("{time}").parse().unwrap()).collect()
}

fn files(lab: &Lab, folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(lab.path(folder)).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn what_a_device_publishes_is_stored_under_its_name_and_never_twice() {
    let (lab, mosquitto) = (Lab::new(), Mosquitto::start());
    let url = mosquitto.url();
    let running = watch(&lab, &url, &["--once", "3"]);
    publish(
        &url,
        "iot/metrics/edge-01",
        [document("edge-01", 10), document("edge-01", 10), document("edge-01", 20)],
    );
    publish(&url, "iot/metrics/00:0f:00:70:91:0a", [document("00:0f:00:70:91:0a", 30)]);
    running.finish().exits(0).says("stored: 3").says("in quarantine: 0").prints_nothing();
    let documents = stored(&lab);
    assert_eq!((documents.len(), times(&documents)), (3, [10, 20, 30].into()));
    assert!(documents.iter().all(|own| own.validity == Validity::Valid), "{documents:?}");
    lab.run(&["list"]).exits(0).prints("edge-01").prints("00-0f-00-70-91-0a");
    lab.run(&["verify"]).exits(0).says("sound");
    // The same once more, and one that is new.
    publish(&url, "iot/metrics/edge-01", [document("edge-01", 10), document("edge-01", 40)]);
    let again = lab.run(&words(&url, &["--once", "1"])).exits(0);
    again.says("stored: 1").says("known already: 1");
    assert_eq!(stored(&lab).len(), 4);
}

#[test]
fn what_is_published_while_nobody_watches_is_stored_later() {
    let (lab, mosquitto) = (Lab::new(), Mosquitto::start());
    let url = mosquitto.url();
    let running = watch(&lab, &url, &["--once", "1"]);
    publish(&url, "iot/metrics/a", [document("a", 1)]);
    running.finish().exits(0);
    publish(&url, "iot/metrics/a", (2..=60).map(|time_ms| document("a", time_ms)));
    lab.run(&words(&url, &["--once", "59"])).exits(0).says("stored: 59");
    assert_eq!(times(&stored(&lab)), (1..=60).collect());
}

#[test]
fn every_document_is_stored_once_over_three_restarts_of_the_broker() {
    const N: usize = 300;
    let (lab, mut mosquitto) = (Lab::new(), Mosquitto::start());
    let url = mosquitto.url();
    let running = watch(&lab, &url, &["--once", &N.to_string()]);
    for round in 0..3 {
        let own = round * N / 3..(round + 1) * N / 3;
        publish(&url, "iot/metrics/a", own.map(|time_ms| document("a", time_ms + 1)));
        wait_for("some of the documents", || (stored(&lab).len() > round * N / 3).then_some(()));
        mosquitto.stop();
        mosquitto.resume();
    }
    running.finish().exits(0).says(&format!("stored: {N}")).says("the next attempt is in");
    let documents = stored(&lab);
    assert_eq!((documents.len(), times(&documents).len()), (N, N));
    lab.run(&["verify"]).exits(0).says("sound");
}

#[test]
fn a_retained_message_comes_again_and_is_known() {
    let (lab, mosquitto) = (Lab::new(), Mosquitto::start());
    mosquitto.retain("iot/metrics/a", document("a", 1).as_bytes());
    let url = mosquitto.url();
    lab.run(&["watch", &url, "--once", "1", "--client-id", "first"]).exits(0).says("stored: 1");
    let second = lab.start(&["watch", &url, "--once", "1", "--client-id", "second"]);
    wait_for("the subscription", || second.said().contains("listening").then_some(()));
    publish(&url, "iot/metrics/a", [document("a", 2)]);
    second.finish().exits(0).says("stored: 1").says("known already: 1");
    assert_eq!(stored(&lab).len(), 2);
}

#[test]
fn what_is_no_document_goes_into_quarantine_with_the_reason() {
    let (lab, mosquitto) = (Lab::new(), Mosquitto::start());
    let url = mosquitto.url();
    let running = watch(&lab, &url, &["--once", "5"]);
    publish(&url, "iot/metrics/a", ["{".to_owned(), "[]".to_owned(), String::new()]);
    publish(&url, "iot/metrics/..", [document("b", 1)]);
    publish(&url, "iot/metrics/a", [document("a", 2)]);
    let ran = running.finish().exits(0).says("stored: 1").says("in quarantine: 4");
    ran.says("`..` is no id of a device").says("the quarantine is");
    let files = files(&lab, "quarantine");
    assert_eq!(files.len(), 8, "{files:?}");
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let (digest, ending) = name.split_once('.').unwrap();
        assert!(digest.len() == 64 && ["json", "reason.txt"].contains(&ending), "{name}");
    }
    let reasons = files.iter().filter(|own| own.extension().unwrap() == "txt");
    let reasons: String = reasons.map(|own| std::fs::read_to_string(own).unwrap()).collect();
    assert!(
        reasons.contains("topic: iot/metrics/..\n") && reasons.contains("`detailed_metrics`"),
        "{reasons}"
    );
    // A device that speaks for another is stored under its own name, and suspect.
    publish(&url, "iot/metrics/a", [document("b", 3)]);
    lab.run(&words(&url, &["--once", "1"])).exits(0).says("stored: 1");
    let documents = stored(&lab);
    let mut reasons = documents.iter().flat_map(|own| own.validity.reasons());
    assert!(reasons.any(|reason| reason.starts_with("topic: the topic says `a`")), "{documents:?}");
}

#[test]
fn a_full_quarantine_drops_what_is_beyond_and_says_so() {
    let (lab, mosquitto) = (Lab::new(), Mosquitto::start());
    let url = mosquitto.url();
    // Room for one message: a block of the disk for each of its two files.
    let limit = ["--quarantine-limit", "10kB"];
    let running = watch(&lab, &url, &[&limit[..], &["--once", "2"]].concat());
    publish(&url, "iot/metrics/a", ["{".to_owned(), "[".to_owned(), document("a", 1)]);
    let ran = running.finish().exits(0).says("stored: 1").says("in quarantine: 1, dropped: 1");
    let dropped = Digest::of(b"[");
    ran.says(&format!("dropped {dropped}, published on `iot/metrics/a`")).says("the quarantine is full");
    assert_eq!(files(&lab, "quarantine").len(), 2);
    // It was acknowledged: nothing of it comes again.
    publish(&url, "iot/metrics/a", [document("a", 2)]);
    let again = lab.run(&words(&url, &[&limit[..], &["--once", "1"]].concat())).exits(0).says("stored: 1");
    assert!(!again.stderr.contains("dropped"), "{again:#?}");
}

#[test]
fn a_message_that_cannot_be_kept_is_not_acknowledged_and_comes_again() {
    let (lab, mosquitto) = (Lab::new(), Mosquitto::start());
    let url = mosquitto.url();
    lab.write("no-folder", "a file where a folder should be");
    let running = watch(&lab, &url, &["--quarantine", "no-folder"]);
    publish(&url, "iot/metrics/a", ["{".to_owned()]);
    running.finish().exits(5).says("cannot keep a message in quarantine").says("the broker sends it again");
    let again = lab.run(&words(&url, &["--once", "1"]));
    again.exits(0).says("in quarantine: 1");
}

#[test]
fn a_full_disk_loses_no_message() {
    let (lab, mosquitto) = (Lab::new(), Mosquitto::start());
    let url = mosquitto.url();
    let running = watch(&lab, &url, &["--once", "1"]);
    publish(&url, "iot/metrics/a", [document("a", 1)]);
    running.finish().exits(0);
    publish(&url, "iot/metrics/a", (2..=300).map(|time_ms| document("a", time_ms)));
    let small = format!("{} --store small/lab.sqlite", words(&url, &[]).join(" "));
    if let Some(ran) = on_a_small_disk(&lab, "200k", &small) {
        ran.exits(5).says("the disk is full").says("small/lab.sqlite").prints_nothing();
    }
    lab.run(&words(&url, &["--once", "1"])).exits(0).says("stored: 1");
}

/// Waits until a watch listens, and ends it as its user would.
fn interrupt(running: Running) -> Ran {
    wait_for("the subscription", || running.said().contains("listening").then_some(()));
    let id = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    running.finish()
}

#[test]
fn ctrl_c_stores_what_has_arrived_and_ends_well() {
    let (lab, mosquitto) = (Lab::new(), Mosquitto::start());
    let running = watch(&lab, &mosquitto.url(), &[]);
    publish(&mosquitto.url(), "iot/metrics/a", (1..=5).map(|time_ms| document("a", time_ms)));
    wait_for("the documents", || (stored(&lab).len() == 5).then_some(()));
    interrupt(running).exits(0).says("stored: 5");
}

#[test]
fn a_broker_that_cannot_be_used_is_told_apart_from_one_that_is_away() {
    let lab = Lab::new();
    let mosquitto = Mosquitto::start_with(|folder| {
        let file = folder.join("passwords");
        let mut command = std::process::Command::new(program("mosquitto_passwd"));
        let status = command.args(["-b", "-c"]).arg(&file).args(["me", "right"]).status();
        assert!(status.unwrap().success());
        format!("allow_anonymous false\npassword_file {}\n", file.display())
    });
    let url = mosquitto.url();
    lab.run(&["watch", &url]).exits(2).says("refuses the connection").says("--password-file");
    lab.write("wrong.txt", "wrong\n");
    lab.write("right.txt", "right\n");
    let user = ["watch", &url, "--user", "me"];
    let wrong = lab.run(&[&user[..], &["--password-file", "wrong.txt"]].concat());
    wrong.exits(2).says("refuses the connection").says("in the clear");
    let by_file = lab.start(&[&user[..], &["--password-file", "right.txt"]].concat());
    interrupt(by_file).exits(0).says("stored: 0");
    let mut by_environment = lab.command(&user);
    by_environment.env("LAB_MQTT_PASSWORD", "right");
    interrupt(Running::of(by_environment)).exits(0);
    lab.run(&user).exits(2).says("there is no password for `me`");
    drop(mosquitto);
    lab.run(&["watch", &url, "--for", "1s"]).exits(5).says("cannot be reached");
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused_and_repeats_no_password() {
    let lab = Lab::new();
    for (arguments, fragment) in [
        (&["watch", "mqtt://me:hunter2@broker"][..], "the broker's address names a user"),
        (&["watch", "http://broker"], "neither `mqtt://` nor `mqtts://`"),
        (&["watch", "mqtt://broker", "--topic", "iot/#"], "no level of it is `{device_id}`"),
        (&["watch", "mqtt://broker", "--ca", "ca.pem"], "is about TLS"),
        (&["watch", "mqtts://broker", "--ca", "none.pem"], "cannot read `none.pem`"),
        (&["watch", "mqtt://broker", "--for", "0s"], "a time above zero was expected"),
        (&["run", "plan.toml", "--user", "me"], "is about a broker, and none is named"),
        (&["run", "plan.toml", "--publish", "mqtt://broker", "--device-id", "../x"], "is no id of a device"),
        (&["run", "plan.toml", "--publish", "mqtt://me:hunter2@broker"], "the broker's address names a user"),
    ] {
        lab.plan(Plan::scripted());
        let ran = lab.run(arguments).exits(2).prints_nothing().says(fragment);
        assert!(!ran.stderr.contains("hunter2"), "{ran:#?}");
    }
    assert!(!lab.store().exists());
}

/// `lab run` as a device: two repetitions a file.
fn device<'a>(url: &'a str, further: &[&'a str]) -> Vec<&'a str> {
    let words = ["run", "plan.toml", "--publish", url, "--publish-every", "2", "--device-id", "edge-01"];
    [words.as_slice(), further].concat()
}

#[test]
fn a_run_publishes_what_it_measures_as_a_device_does() {
    let (lab, mosquitto) = (Lab::new(), Mosquitto::start());
    let url = mosquitto.url();
    let running = watch(&lab, &url, &["--once", "3"]);
    let other = Lab::new();
    other.plan(Plan::scripted().set("run.repeat", 3));
    let ran = other.run(&device(&url, &[])).exits(0);
    ran.says("published: 3 to iot/metrics/edge-01");
    running.finish().exits(0).says("stored: 3");
    let mut n = Vec::new();
    for imported in stored(&lab) {
        let Figures::Device(figures) = &imported.figures else { panic!("{imported:?}") };
        assert_eq!((figures.device_id.as_str(), figures.model_name.as_str()), ("edge-01", "tiny-synthetic"));
        assert_eq!(imported.validity, Validity::Valid, "{imported:?}");
        n.push(figures.inferences.as_ref().map_or(0, |own| own.n));
    }
    n.sort_unstable();
    assert_eq!(n, [0, 1, 2], "two files about inferences, and the one about loading");
    let names: Vec<String> = files(&other, "metrics/edge-01")
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names[..2].iter().all(|name| name.starts_with("inference_metrics_edge-01_")), "{names:?}");
    assert_eq!(names[2..], ["loading_metrics.json", "spool"]);
    assert!(files(&other, "metrics/edge-01/spool").is_empty());
}

#[test]
fn what_cannot_be_published_waits_for_the_next_run() {
    let (lab, mut mosquitto) = (Lab::new(), Mosquitto::start());
    let url = mosquitto.url();
    let running = watch(&lab, &url, &["--once", "1"]);
    publish(&url, "iot/metrics/a", [document("a", 1)]);
    running.finish().exits(0);
    mosquitto.stop();
    let other = Lab::new();
    other.plan(Plan::scripted().set("run.repeat", 2));
    let ran = other.run(&device(&url, &[])).exits(0);
    ran.says("published: 0").says("2 wait in").says("not published: the broker at");
    let limited = other.run(&device(&url, &["--spool-limit", "3"])).exits(0);
    limited.says("3 wait in").says("the oldest 1 were dropped");
    mosquitto.resume();
    other.run(&device(&url, &[])).exits(0).says("published: 5");
    assert!(files(&other, "metrics/edge-01/spool").is_empty());
    lab.run(&words(&url, &["--once", "5"])).exits(0).says("stored: 5");
}

/// A broker that hangs up on packets of more bytes.
fn narrow(most_bytes: usize) -> Mosquitto {
    Mosquitto::start_with(|_| format!("allow_anonymous true\nmax_packet_size {most_bytes}\n"))
}

#[test]
fn a_document_that_is_too_long_for_the_broker_is_set_aside_and_the_others_go_on() {
    let (lab, mosquitto) = (Lab::new(), narrow(20_000));
    lab.plan(Plan::scripted().set("run.repeat", 2));
    std::fs::create_dir_all(lab.path("metrics/edge-01/spool")).unwrap();
    let name = "00000000000000000001_inference_metrics_edge-01_20251007_103015.json";
    let long = "x".repeat(50_000);
    lab.write(&format!("metrics/edge-01/spool/{name}"), &long);
    let ran = lab.run(&device(&mosquitto.url(), &[])).exits(0).says("published: 2 to");
    ran.says(&format!("set aside as `metrics/edge-01/spool/set-aside/{name}`: the broker hangs up"));
    let kept = lab.path(&format!("metrics/edge-01/spool/set-aside/{name}"));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), long);
    assert_eq!(files(&lab, "metrics/edge-01/spool"), [lab.path("metrics/edge-01/spool/set-aside")]);
    // Nothing of it is tried again.
    let again = lab.run(&device(&mosquitto.url(), &[])).exits(0).says("published: 2 to");
    assert!(!again.stderr.contains("set aside"), "{again:#?}");
}

#[test]
fn a_broker_that_takes_no_document_has_none_set_aside() {
    let (lab, mosquitto) = (Lab::new(), narrow(100));
    lab.plan(Plan::scripted().set("run.repeat", 2));
    let ran = lab.run(&device(&mosquitto.url(), &[])).exits(0).says("published: 0 to");
    ran.says("2 wait in").says("not published: ");
    assert!(!lab.path("metrics/edge-01/spool/set-aside").exists());
}

#[test]
fn a_folder_that_takes_no_files_is_refused_before_anything_is_measured() {
    let lab = Lab::new();
    lab.plan(Plan::scripted());
    lab.write("no-folder", "a file where a folder should be");
    lab.run(&["run", "plan.toml", "--publish", "mqtt://127.0.0.1:1", "--publish-folder", "no-folder"])
        .exits(2)
        .says("no files can be written into `no-folder`");
    assert!(lab.newest().is_none(), "nothing was recorded");
}
