//! The doctor on the machine that runs the tests. Alone in its binary: it resets the peak memory of its process.

use lab_host::Roots;
use lab_host::doctor::{Status, examine};

#[test]
fn every_capability_of_this_machine_has_an_answer_that_says_something() {
    let capabilities = examine(&Roots::default());
    for capability in &capabilities {
        match &capability.status {
            Status::Available { detail } => assert!(!detail.is_empty(), "{}", capability.name),
            Status::Unavailable { reason, remedy } => {
                assert!(!reason.is_empty() && !reason.ends_with('.'), "{}: {reason}", capability.name);
                assert!(remedy.as_ref().is_none_or(|remedy| !remedy.is_empty()), "{}", capability.name);
            }
        }
    }
    // What lab cannot do without on any Linux it runs on.
    for name in ["monotonic clock", "peak memory reset", "usable memory", "affinity", "steal accounting"] {
        let capability = capabilities.iter().find(|capability| capability.name == name).unwrap();
        assert!(capability.status.is_available(), "{capability:?}");
    }
}

#[test]
fn no_energy_meter_is_called_a_capability_before_lab_reads_one() {
    for capability in examine(&Roots::default()) {
        if capability.metrics.contains(&"watts_avg") {
            assert!(!capability.status.is_available(), "{capability:?}");
            assert!(capability.metrics.contains(&"tokens_per_watt"));
        }
    }
}

#[test]
fn the_metric_that_this_version_cannot_give_is_never_served() {
    let capabilities = examine(&Roots::default());
    let mut naming = capabilities.iter().filter(|capability| capability.metrics.contains(&"op_time_ms"));
    let Some(Status::Unavailable { reason, remedy }) = naming.next().map(|profile| &profile.status) else {
        panic!("`op_time_ms` is named by a capability that is not there");
    };
    assert_eq!(reason, "this version of lab takes no profile per operation");
    assert!(remedy.is_none() && naming.next().is_none());
}
