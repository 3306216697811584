//! The doctor on the machine that runs the tests. Alone in its binary: it resets the peak memory of its process.

use lab_core::plan::EnergySource;
use lab_host::Roots;
use lab_host::doctor::{Status, examine};
use lab_host::energy::{Wanted, open};

#[test]
fn every_capability_of_this_machine_has_an_answer_that_says_something() {
    let capabilities = examine(&Roots::default(), None);
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
fn an_energy_meter_is_a_capability_where_a_session_can_open_it() {
    let roots = Roots::default();
    let wanted = Wanted { sources: &[EnergySource::Auto], external: None, device: "cpu", nvml_library: None };
    let capabilities = examine(&roots, None);
    let mut energy = capabilities.iter().filter(|capability| capability.metrics.contains(&"watts_avg"));
    assert!(energy.clone().all(|capability| capability.metrics.contains(&"tokens_per_watt")));
    assert_eq!(energy.any(|capability| capability.status.is_available()), open(&roots, &wanted).is_ok());
}

#[test]
fn the_time_per_operation_is_the_engines_to_tell() {
    let capabilities = examine(&Roots::default(), None);
    let mut naming = capabilities.iter().filter(|capability| capability.metrics.contains(&"op_time_ms"));
    assert!(naming.next().is_some_and(|profile| profile.status.is_available()) && naming.next().is_none());
}
