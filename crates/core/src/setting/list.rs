//! The list of settings.

use std::fmt;

/// Declares [`Setting`] from one list of variants and names.
macro_rules! settings {
    ($($(#[$doc:meta])* $setting:ident $name:literal,)+) => {
        /// Something that a user can set, whatever the front end calls it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Setting {
            $($(#[$doc])* $setting,)+
        }

        impl Setting {
            /// Every setting, in the order of names.
            pub const ALL: &'static [Setting] = &[$(Setting::$setting,)+];

            /// The setting's name: `warmup-request-count`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Setting::$setting => $name,)+
                }
            }

            /// The published form: `--warmup-request-count`.
            pub const fn published(self) -> &'static str {
                match self {
                    $(Setting::$setting => concat!("--", $name),)+
                }
            }
        }
    };
}

settings! {
    /// The key that requests are authorized with.
    ApiKey "api-key",
    /// The directory that a run's files are written to.
    ArtifactDir "artifact-dir",
    /// The backend of a Triton model.
    Backend "backend",
    /// How long a phase of load lasts.
    BenchmarkDuration "benchmark-duration",
    /// The composing models of a business logic script.
    BlsComposingModels "bls-composing-models",
    /// The file of trusted certificate authorities.
    CaFile "ca-file",
    /// The metric whose confidence interval ends the run.
    CiMetric "ci-metric",
    /// The client's certificate for mutual TLS.
    ClientCertificate "client-certificate",
    /// The client's private key for mutual TLS.
    ClientKey "client-key",
    /// Which receive stamps are used: the kernel's, or the time of the read.
    Clock "clock",
    /// The number of requests in flight.
    Concurrency "concurrency",
    /// How long opening a connection may take.
    ConnectTimeout "connect-timeout",
    /// Whether connections are kept between requests.
    Connections "connections",
    /// Whether the server reports its token counts in every event.
    ContinuousUsage "continuous-usage",
    /// Whether received data is acknowledged as the kernel sees fit instead of at once.
    DelayedAcks "delayed-acks",
    /// The path that requests are sent to.
    Endpoint "endpoint",
    /// The kind of endpoint.
    EndpointType "endpoint-type",
    /// How much is written about each request.
    ExportLevel "export-level",
    /// Additional members or inputs of each request.
    ExtraInputs "extra-inputs",
    /// How long the first byte of an answer may take.
    FirstByteTimeout "first-byte-timeout",
    /// Whether a trace's own times are followed.
    FixedSchedule "fixed-schedule",
    /// Whether the times of a trace are counted from its first one.
    FixedScheduleAutoOffset "fixed-schedule-auto-offset",
    /// The time in a trace at which the run begins.
    FixedScheduleStartOffset "fixed-schedule-start-offset",
    /// The limits that a good request keeps.
    Goodput "goodput",
    /// How long requests in flight may take to finish after the end of load.
    GracePeriod "grace-period",
    /// An additional header of each request.
    Header "header",
    /// The file or directory of input tensors.
    InputData "input-data",
    /// The file of prompts or the trace.
    InputFile "input-file",
    /// How tensors are encoded in a request.
    InputTensorFormat "input-tensor-format",
    /// Whether any certificate is trusted.
    Insecure "insecure",
    /// The length of synthetic prompts in tokens.
    Isl "isl",
    /// How many windows of measurement there may be.
    MaxTrials "max-trials",
    /// The member of a request that limits the length of the output.
    MaxTokensField "max-tokens-field",
    /// The length of a window of measurement in time.
    MeasurementInterval "measurement-interval",
    /// The length of a window of measurement in requests.
    MeasurementRequestCount "measurement-request-count",
    /// The address of the server's metrics.
    MetricsUrl "metrics-url",
    /// The model that is measured.
    Model "model",
    /// Whether the test request before the load is skipped.
    NoProbe "no-probe",
    /// Whether the server's token counts are left out.
    NoUsage "no-usage",
    /// The number of prefixes that prompts share.
    NumPrefixPrompts "num-prefix-prompts",
    /// The number of different prompts.
    NumPrompts "num-prompts",
    /// The number of simulated users.
    NumUsers "num-users",
    /// The requested length of the output in tokens.
    Osl "osl",
    /// Whether the server is to generate exactly as many tokens as requested.
    OutputTokensMeanDeterministic "output-tokens-mean-deterministic",
    /// A number of requests in flight that grows during the run.
    PeriodicConcurrencyRange "periodic-concurrency-range",
    /// The length of the prefixes that prompts share, in tokens.
    PrefixPromptLength "prefix-prompt-length",
    /// The name of the export file.
    ProfileExportFile "profile-export-file",
    /// How much of each request is exported.
    ProfileExportLevel "profile-export-level",
    /// The protocol of a Triton server: HTTP or gRPC.
    Protocol "protocol",
    /// The seed of all random choices.
    RandomSeed "random-seed",
    /// How many requests are sent.
    RequestCount "request-count",
    /// The file of intervals between requests.
    RequestIntervals "request-intervals",
    /// How many requests are sent in a second.
    RequestRate "request-rate",
    /// The kind of service that is measured.
    ServiceKind "service-kind",
    /// The shape of an input tensor.
    Shape "shape",
    /// Whether tensors are passed in shared memory.
    SharedMemory "shared-memory",
    /// Whether a simulated server is measured.
    Sim "sim",
    /// Whether answers are streamed.
    Streaming "streaming",
    /// The output tensor that holds the text.
    TextOutput "text-output",
    /// The number of load threads.
    Threads "threads",
    /// Whose count of output tokens is used.
    TokenCount "token-count",
    /// The tokenizer that makes prompts and counts output.
    Tokenizer "tokenizer",
    /// The width of the confidence interval that ends the run.
    UntilCi "until-ci",
    /// The address of the server.
    Url "url",
    /// The number of requests in flight during warm-up.
    WarmupConcurrency "warmup-concurrency",
    /// How many warm-up requests are sent.
    WarmupRequestCount "warmup-request-count",
}

impl Setting {
    /// The setting of that name.
    pub fn from_name(name: &str) -> Option<Setting> {
        Setting::ALL.iter().copied().find(|setting| setting.name() == name)
    }
}

/// The published form, `--name`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.published())
    }
}
