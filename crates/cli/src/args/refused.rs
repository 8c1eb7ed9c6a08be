//! Flags of the replaced tools that this program does not have. Each is refused by name, with what is not supported.

const DYNAMIC: &str = "dynamic gRPC is not supported";
const MEDIA: &str = "media inputs (images, audio, video) are not supported";
const PLOTS: &str = "plots are not supported";
const SWEEPS: &str = "sweeps and searches are not supported; give --concurrency or --request-rate a list or a range";
const METRICS: &str = "metrics of servers and GPUs are not supported here";
const RANKINGS: &str = "ranking endpoints are not supported";
const CHECKPOINTS: &str = "checkpoints are not supported";
const CONFIG: &str = "configuration files are not supported";

/// Each flag, and what is not supported.
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
    ("--no-gpu-telemetry", METRICS),
    ("--no-server-metrics", METRICS),
    ("--rankings-passages-mean", RANKINGS),
    ("--rankings-passages-stddev", RANKINGS),
    ("--server-metrics", METRICS),
    ("--server-metrics-url", METRICS),
    ("--server-metrics-urls", METRICS),
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

/// Why `flag` is refused, if it is a flag of a replaced tool.
pub fn why(flag: &str) -> Option<String> {
    let (flag, reason) = REFUSED.iter().find(|(name, _)| *name == flag)?;
    Some(format!("{flag}: {reason}"))
}
