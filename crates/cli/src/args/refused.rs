//! Flags that the replaced tools have and this one does not: each is refused by name, with what it belongs to.

const DYNAMIC: &str = "belongs to dynamic gRPC, which is not available";
const MEDIA: &str = "belongs to media inputs (images, audio, video), which are not available";
const SESSIONS: &str = "belongs to multi-turn sessions, which are not available";
const FILES: &str = "belongs to prompts from files and data sets, which are not available: prompts are synthetic";
const PLOTS: &str = "belongs to plots, which are not available";
const SWEEPS: &str =
    "belongs to sweeps and searches, which are not available: give --concurrency or --request-rate a list or a range";
const METRICS: &str = "belongs to metrics of servers and GPUs, which are not available";
const RANKINGS: &str = "belongs to ranking endpoints, which are not available";
const CHECKPOINTS: &str = "belongs to checkpoints, which are not available";
const CONFIG: &str = "belongs to configuration files, which are not available";

/// Flag and what it belongs to.
const REFUSED: &[(&str, &str)] = &[
    ("--audio-batch-size", MEDIA),
    ("--audio-depths", MEDIA),
    ("--audio-format", MEDIA),
    ("--audio-length-mean", MEDIA),
    ("--audio-length-stddev", MEDIA),
    ("--audio-num-channels", MEDIA),
    ("--audio-sample-rates", MEDIA),
    ("--batch-size-audio", MEDIA),
    ("--batch-size-image", MEDIA),
    ("--checkpoint-dir", CHECKPOINTS),
    ("--config", CONFIG),
    ("--conversation-num", SESSIONS),
    ("--conversation-turn-delay-mean", SESSIONS),
    ("--conversation-turn-delay-ratio", SESSIONS),
    ("--conversation-turn-delay-stddev", SESSIONS),
    ("--conversation-turn-mean", SESSIONS),
    ("--conversation-turn-stddev", SESSIONS),
    ("--custom-dataset-type", FILES),
    ("--dataset-sampling-strategy", FILES),
    ("--enable-checkpointing", CHECKPOINTS),
    ("--generate-plots", PLOTS),
    ("--gpu-telemetry", METRICS),
    ("--grpc-method", DYNAMIC),
    ("--image-batch-size", MEDIA),
    ("--image-format", MEDIA),
    ("--image-height-mean", MEDIA),
    ("--image-height-stddev", MEDIA),
    ("--image-width-mean", MEDIA),
    ("--image-width-stddev", MEDIA),
    ("--input-dataset", FILES),
    ("--no-gpu-telemetry", METRICS),
    ("--no-server-metrics", METRICS),
    ("--num-conversations", SESSIONS),
    ("--num-sessions", SESSIONS),
    ("--public-dataset", FILES),
    ("--rankings-passages-mean", RANKINGS),
    ("--rankings-passages-stddev", RANKINGS),
    ("--seq-dist", FILES),
    ("--server-metrics", METRICS),
    ("--server-metrics-url", METRICS),
    ("--server-metrics-urls", METRICS),
    ("--session-concurrency", SESSIONS),
    ("--session-delay-ratio", SESSIONS),
    ("--session-turn-delay-mean", SESSIONS),
    ("--session-turn-delay-stddev", SESSIONS),
    ("--session-turns-mean", SESSIONS),
    ("--session-turns-stddev", SESSIONS),
    ("--sweep-list", SWEEPS),
    ("--sweep-range", SWEEPS),
    ("--sweep-type", SWEEPS),
    ("--video-batch-size", MEDIA),
    ("--video-duration", MEDIA),
    ("--video-format", MEDIA),
    ("--video-fps", MEDIA),
    ("--video-height", MEDIA),
    ("--video-width", MEDIA),
    ("-f", CONFIG),
];

/// Why `flag` is not taken, if it is one of theirs.
pub fn why(flag: &str) -> Option<String> {
    let (flag, reason) = REFUSED.iter().find(|(name, _)| *name == flag)?;
    Some(format!("{flag} {reason}"))
}
