//! Flags and values of Perf Analyzer that this program does not support. Each is refused by name.

/// The in-process server.
pub const IN_PROCESS: &str =
    "the in-process server (triton_c_api) is not supported; start Triton and give its address with -u";
/// TensorFlow Serving.
pub const TFSERVING: &str = "TensorFlow Serving is not supported; accepted: triton, openai";
/// TorchServe.
pub const TORCHSERVE: &str = "TorchServe is not supported; accepted: triton, openai";
/// Any gRPC method.
pub const DYNAMIC: &str = "gRPC services of one's own (dynamic_grpc) are not supported";
/// CUDA shared memory.
pub const CUDA: &str = "CUDA shared memory is not supported; accepted: none, system";

/// Each refused flag, with the feature that is not supported.
const REFUSED: &[(&str, &str)] = &[
    ("--enable-mpi", "MPI is not supported; start one process for each model"),
    ("--grpc-method", DYNAMIC),
    ("--model-repository", IN_PROCESS),
    ("--model-signature-name", "TensorFlow Serving is not supported"),
    (
        "--session-concurrency",
        "multi-turn sessions are not supported; give --concurrency-range for requests that stand alone",
    ),
    ("--triton-server-directory", IN_PROCESS),
];

/// Why `flag` is refused, if it is one of them.
pub fn why(flag: &str) -> Option<String> {
    let flag = flag.split_once('=').map_or(flag, |(flag, _)| flag);
    let (flag, reason) = REFUSED.iter().find(|(name, _)| *name == flag)?;
    Some(format!("{flag}: {reason}"))
}
