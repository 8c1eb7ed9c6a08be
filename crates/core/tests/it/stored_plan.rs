//! Plans that were stored on 29 November 2026 are read and written again with the same members, also where the plan in memory
//! holds a member in another part.

use serde_json::Value;
use streamgauge_core::kserve::{Compression, Sequences};
use streamgauge_core::plan::{EndpointKind, RunPlan};

/// A plan of an endpoint that is not KServe's.
const CHAT: &str = include_str!("../fixtures/plan-chat.json");
/// A plan in which every member of `endpoint.kserve` has another value than its default.
const KSERVE: &str = include_str!("../fixtures/plan-kserve.json");

/// The stored plan and the same plan read and written again.
fn stored_and_written(stored: &str) -> (RunPlan, Value, Value) {
    let plan: RunPlan = serde_json::from_str(stored).unwrap();
    let written = serde_json::to_value(&plan).unwrap();
    (plan, serde_json::from_str(stored).unwrap(), written)
}

#[test]
fn members_that_were_published_stay_where_they_were() {
    for text in [CHAT, KSERVE] {
        let (plan, stored, written) = stored_and_written(text);
        // The order counts too.
        assert_eq!(written["endpoint"].to_string(), stored["endpoint"].to_string());
        for (name, value) in stored.as_object().unwrap() {
            assert_eq!(&written[name], value, "{name}");
        }
        let again: RunPlan = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{plan:?}"));
    }
}

#[test]
fn each_part_of_the_plan_gets_what_its_layer_reads() {
    let (plan, ..) = stored_and_written(KSERVE);
    let kserve = &plan.endpoint.kserve;
    assert_eq!((kserve.version.as_deref(), kserve.compression), (Some("3"), Compression::Gzip));
    assert_eq!((kserve.parameters.len(), kserve.outputs.len()), (3, 2));
    assert_eq!(kserve.shared_memory.unwrap().output_bytes, 4_096);
    let channels = plan.transport.channels;
    assert_eq!((channels.streams_per_channel, channels.keep_alive.is_some()), (4, true));
    let sequences = Sequences { live: 4, length: 20, variation: 0.2, first_id: 1, end_id: Some(99), serial: true };
    assert_eq!(plan.load.sequences, Some(sequences));
    assert!(!plan.hands_over());
}

#[test]
fn settings_of_kserve_are_stored_for_its_endpoints_only() {
    let mut plan = streamgauge_testing::plan();
    for kind in EndpointKind::ALL {
        plan.endpoint.kind = kind;
        let written = serde_json::to_value(&plan).unwrap();
        assert_eq!(written["endpoint"].get("kserve").is_some(), kind.is_kserve(), "{kind:?}");
    }
    assert_eq!(stored_and_written(CHAT).0.transport.channels.streams_per_channel, 1);
    // A plan of long ago that says nothing of channels was run with one slot on each.
    let bare = KSERVE.replace("\"streams_per_channel\": 4,", "");
    assert_eq!(stored_and_written(&bare).0.transport.channels.streams_per_channel, 1);
}
