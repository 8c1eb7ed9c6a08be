//! The plan as files hold it. All that only a KServe v2 endpoint has stands there in one object, `endpoint.kserve`, although the codec,
//! the transport and the load each read a part of it. Other endpoints have no such object.

use super::{Endpoint, LoadPlan, Measure, Output, PromptPlan, RunPlan, Transport};
use crate::kserve::{
    Backend, Channels, Compression, KeepAlive, Kserve, RequestParameter, Sequences, SharedMemory, TensorFormat,
};
use crate::origin::Origins;
use serde::{Deserialize, Serialize};

/// A [`RunPlan`] with the members that files have, in their order.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredPlan {
    endpoint: StoredEndpoint,
    prompts: PromptPlan,
    #[serde(flatten)]
    load: LoadPlan,
    #[serde(flatten)]
    transport: Transport,
    #[serde(flatten)]
    measure: Measure,
    #[serde(flatten)]
    output: Output,
    probe: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reset_prefix_cache: bool,
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    asked: Origins,
}

#[derive(Serialize, Deserialize)]
struct StoredEndpoint {
    #[serde(flatten)]
    endpoint: Endpoint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kserve: Option<StoredKserve>,
}

/// The members are explained where the plan has them: in [`Kserve`], [`Channels`] and [`LoadPlan`].
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredKserve {
    version: Option<String>,
    decoupled: bool,
    text_output: Option<String>,
    backend: Option<Backend>,
    parameters: Vec<RequestParameter>,
    compression: Compression,
    streams_per_channel: u32,
    keep_alive: Option<KeepAlive>,
    input_format: TensorFormat,
    output_format: TensorFormat,
    outputs: Vec<String>,
    shared_memory: Option<SharedMemory>,
    sequences: Option<Sequences>,
}

impl From<RunPlan> for StoredPlan {
    fn from(plan: RunPlan) -> StoredPlan {
        let RunPlan { mut endpoint, prompts, load, transport, measure, output, probe, reset_prefix_cache, asked } =
            plan;
        let settings = std::mem::take(&mut endpoint.kserve);
        let kserve = endpoint.kind.is_kserve().then(|| StoredKserve::new(settings, transport.channels, load.sequences));
        let endpoint = StoredEndpoint { endpoint, kserve };
        StoredPlan { endpoint, prompts, load, transport, measure, output, probe, reset_prefix_cache, asked }
    }
}

impl From<StoredPlan> for RunPlan {
    fn from(plan: StoredPlan) -> RunPlan {
        let StoredPlan { endpoint, prompts, load, transport, measure, output, probe, reset_prefix_cache, asked } = plan;
        let StoredEndpoint { endpoint, kserve } = endpoint;
        let (kserve, channels, sequences) = kserve.map(StoredKserve::into_parts).unwrap_or_default();
        RunPlan {
            endpoint: Endpoint { kserve, ..endpoint },
            prompts,
            load: LoadPlan { sequences, ..load },
            transport: Transport { channels, ..transport },
            measure,
            output,
            probe,
            reset_prefix_cache,
            asked,
        }
    }
}

impl StoredKserve {
    fn new(kserve: Kserve, channels: Channels, sequences: Option<Sequences>) -> StoredKserve {
        let Kserve {
            version,
            decoupled,
            text_output,
            backend,
            parameters,
            compression,
            input_format,
            output_format,
            outputs,
            shared_memory,
        } = kserve;
        let Channels { streams_per_channel, keep_alive } = channels;
        StoredKserve {
            version,
            decoupled,
            text_output,
            backend,
            parameters,
            compression,
            streams_per_channel,
            keep_alive,
            input_format,
            output_format,
            outputs,
            shared_memory,
            sequences,
        }
    }

    fn into_parts(self) -> (Kserve, Channels, Option<Sequences>) {
        let kserve = Kserve {
            version: self.version,
            decoupled: self.decoupled,
            text_output: self.text_output,
            backend: self.backend,
            parameters: self.parameters,
            compression: self.compression,
            input_format: self.input_format,
            output_format: self.output_format,
            outputs: self.outputs,
            shared_memory: self.shared_memory,
        };
        let channels = Channels { streams_per_channel: self.streams_per_channel.max(1), keep_alive: self.keep_alive };
        (kserve, channels, self.sequences)
    }
}
