//! Flags and values of Perf Analyzer that belong to something that this program does not do: each is refused by name.

/// The in-process server.
pub const IN_PROCESS: &str = "belongs to the in-process server (triton_c_api), which is not available: start Triton and give its address with -u";
/// TensorFlow Serving.
pub const TFSERVING: &str = "belongs to TensorFlow Serving, which is not available; accepted: triton, openai";
/// TorchServe.
pub const TORCHSERVE: &str = "belongs to TorchServe, which is not available; accepted: triton, openai";
/// Any gRPC method.
pub const DYNAMIC: &str = "belongs to gRPC services of one's own (dynamic_grpc), which are not available";
/// A load that grows by responses.
const PERIODIC: &str =
    "belongs to a concurrency that grows by responses, which is not available: give --concurrency-range";
/// CUDA shared memory.
pub const CUDA: &str = "CUDA shared memory is not available; accepted: none, system";

/// Flag and what it belongs to.
const REFUSED: &[(&str, &str)] = &[
    ("--enable-mpi", "belongs to MPI, which is not available: start one process for each model"),
    ("--grpc-method", DYNAMIC),
    ("--model-repository", IN_PROCESS),
    ("--model-signature-name", "belongs to TensorFlow Serving, which is not available"),
    ("--periodic-concurrency-range", PERIODIC),
    ("--request-period", PERIODIC),
    (
        "--session-concurrency",
        "belongs to multi-turn sessions, which are not available: give --concurrency-range for requests that stand alone",
    ),
    ("--triton-server-directory", IN_PROCESS),
];

/// Why `flag` is not taken, if it is one of them.
pub fn why(flag: &str) -> Option<String> {
    let flag = flag.split_once('=').map_or(flag, |(flag, _)| flag);
    let (flag, reason) = REFUSED.iter().find(|(name, _)| *name == flag)?;
    Some(format!("{flag} {reason}"))
}
