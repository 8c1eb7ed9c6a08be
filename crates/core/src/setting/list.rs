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
    /// How requests arrive at a rate.
    ArrivalPattern "arrival-pattern",
    /// How even the gaps between requests are.
    ArrivalSmoothness "arrival-smoothness",
    /// The directory that a run's files are written to.
    ArtifactDir "artifact-dir",
    /// Whether calls do not wait for each other.
    Async "async",
    /// The backend of a Triton model.
    Backend "backend",
    /// The number of texts or inferences of a request.
    BatchSize "batch-size",
    /// How long a phase of load lasts.
    BenchmarkDuration "benchmark-duration",
    /// Whether the highest load is found by halving the range.
    BinarySearch "binary-search",
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
    /// Whether the server's metrics page is read.
    CollectMetrics "collect-metrics",
    /// Which columns of a table are which members of a prompt.
    Column "column",
    /// The number of requests in flight.
    Concurrency "concurrency",
    /// The time in which the number of requests in flight grows to its height.
    ConcurrencyRampDuration "concurrency-ramp-duration",
    /// How long opening a connection may take.
    ConnectTimeout "connect-timeout",
    /// Whether connections are kept between requests.
    Connections "connections",
    /// Whether the server reports its token counts in every event.
    ContinuousUsage "continuous-usage",
    /// The number of conversations.
    ConversationNum "conversation-num",
    /// The mean delay between an answer and the next turn of its conversation.
    ConversationTurnDelayMean "conversation-turn-delay-mean",
    /// The factor that delays between turns are multiplied by.
    ConversationTurnDelayRatio "conversation-turn-delay-ratio",
    /// The standard deviation of the delay between turns.
    ConversationTurnDelayStddev "conversation-turn-delay-stddev",
    /// The mean number of turns of a conversation.
    ConversationTurnMean "conversation-turn-mean",
    /// The standard deviation of the number of turns of a conversation.
    ConversationTurnStddev "conversation-turn-stddev",
    /// The CSV file of the levels.
    CsvFile "csv-file",
    /// The format of the file of prompts, instead of recognising it.
    CustomDatasetType "custom-dataset-type",
    /// A directory of input tensors.
    DataDirectory "data-directory",
    /// The revision of the data set on the hub.
    DatasetRevision "dataset-revision",
    /// The split of the data set.
    DatasetSplit "dataset-split",
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
    /// The share of failed requests that ends the run.
    FailedRequestThreshold "failed-request-threshold",
    /// How long the first byte of an answer may take.
    FirstByteTimeout "first-byte-timeout",
    /// Whether a trace's own times are followed.
    FixedSchedule "fixed-schedule",
    /// Whether the times of a trace are counted from its first one.
    FixedScheduleAutoOffset "fixed-schedule-auto-offset",
    /// The time in a trace at which the run ends.
    FixedScheduleEndOffset "fixed-schedule-end-offset",
    /// The time in a trace at which the run begins.
    FixedScheduleStartOffset "fixed-schedule-start-offset",
    /// The limits that a good request keeps.
    Goodput "goodput",
    /// How long requests in flight may take to finish after the end of load.
    GracePeriod "grace-period",
    /// How gRPC messages are compressed.
    GrpcCompressionAlgorithm "grpc-compression-algorithm",
    /// How often an idle gRPC channel is pinged.
    GrpcKeepaliveTime "grpc-keepalive-time",
    /// How long the answer to a ping may take.
    GrpcKeepaliveTimeout "grpc-keepalive-timeout",
    /// An additional header of each request.
    Header "header",
    /// Whose answers stand before the later turns of a conversation.
    History "history",
    /// How long the time between two pieces of an answer may be.
    IdleTimeout "idle-timeout",
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
    /// The range from which lengths of prompts are drawn.
    IslRange "isl-range",
    /// The standard deviation of the length of synthetic prompts.
    IslStddev "isl-stddev",
    /// The latency that ends a search.
    LatencyThreshold "latency-threshold",
    /// How many traces the server writes into a file.
    LogFrequency "log-frequency",
    /// The member of a request that limits the length of the output.
    MaxTokensField "max-tokens-field",
    /// How many windows of measurement there may be.
    MaxTrials "max-trials",
    /// The length of a window of measurement in time.
    MeasurementInterval "measurement-interval",
    /// What a window of measurement ends by.
    MeasurementMode "measurement-mode",
    /// The length of a window of measurement in requests.
    MeasurementRequestCount "measurement-request-count",
    /// How often the metrics page is read.
    MetricsInterval "metrics-interval",
    /// The address of the server's metrics.
    MetricsUrl "metrics-url",
    /// The model that is measured.
    Model "model",
    /// How a prompt gets its model when there are several.
    ModelSelectionStrategy "model-selection-strategy",
    /// The version of a Triton model.
    ModelVersion "model-version",
    /// Whether nothing is downloaded from the hub.
    NoDownload "no-download",
    /// Whether the test request before the load is skipped.
    NoProbe "no-probe",
    /// Whether the server's own statistics are left out.
    NoServerStatistics "no-server-statistics",
    /// Whether the server's token counts are left out.
    NoUsage "no-usage",
    /// The number of sequences at once.
    NumOfSequences "num-of-sequences",
    /// The number of prefixes that prompts share.
    NumPrefixPrompts "num-prefix-prompts",
    /// The number of different prompts.
    NumPrompts "num-prompts",
    /// The number of simulated users.
    NumUsers "num-users",
    /// The requested length of the output in tokens.
    Osl "osl",
    /// The range from which requested lengths of the output are drawn.
    OslRange "osl-range",
    /// The standard deviation of the requested length of the output.
    OslStddev "osl-stddev",
    /// The room for an output in shared memory.
    OutputSharedMemorySize "output-shared-memory-size",
    /// How output tensors are encoded in an answer.
    OutputTensorFormat "output-tensor-format",
    /// Whether the server is to generate exactly as many tokens as requested.
    OutputTokensMeanDeterministic "output-tokens-mean-deterministic",
    /// The percentile of latency by which windows are judged.
    Percentile "percentile",
    /// A number of requests in flight that grows during the run.
    PeriodicConcurrencyRange "periodic-concurrency-range",
    /// The greatest number of requests without a first token.
    PrefillConcurrency "prefill-concurrency",
    /// The time in which that number grows to its height.
    PrefillConcurrencyRampDuration "prefill-concurrency-ramp-duration",
    /// The length of the prefixes that prompts share, in tokens.
    PrefixPromptLength "prefix-prompt-length",
    /// The name of the export file.
    ProfileExportFile "profile-export-file",
    /// How much of each request is exported.
    ProfileExportLevel "profile-export-level",
    /// Whether prompts are sent as token ids.
    PromptAsTokenIds "prompt-as-token-ids",
    /// The protocol of a Triton server: HTTP or gRPC.
    Protocol "protocol",
    /// The data set of the hub whose prompts are sent.
    PublicDataset "public-dataset",
    /// The shape of ramps.
    RampShape "ramp-shape",
    /// How far lengths may be from their means, as a share of these.
    RandomRangeRatio "random-range-ratio",
    /// The seed of all random choices.
    RandomSeed "random-seed",
    /// The formats of the files with an entry for each request.
    RecordFormats "record-formats",
    /// How often each level is run.
    Repeat "repeat",
    /// The metric whose interval over the runs of a level ends their repetition.
    RepeatCiMetric "repeat-ci-metric",
    /// The width of that interval.
    RepeatUntilCi "repeat-until-ci",
    /// How much faster than its own times a trace is replayed.
    ReplaySpeedup "replay-speedup",
    /// How long after it was sent a request is cancelled on purpose.
    RequestCancellationDelay "request-cancellation-delay",
    /// The share of requests that are cancelled on purpose.
    RequestCancellationRate "request-cancellation-rate",
    /// How many requests are sent.
    RequestCount "request-count",
    /// The file of intervals between requests.
    RequestIntervals "request-intervals",
    /// A parameter of each request to Triton.
    RequestParameter "request-parameter",
    /// How many responses a request must have had before further requests are added.
    RequestPeriod "request-period",
    /// How many requests are sent in a second.
    RequestRate "request-rate",
    /// The time in which the request rate grows to its height.
    RequestRateRampDuration "request-rate-ramp-duration",
    /// The request rate as points in time.
    RequestRateSeries "request-rate-series",
    /// How long a whole request may take.
    RequestTimeout "request-timeout",
    /// Whether the server empties its prefix cache before the load.
    ResetPrefixCache "reset-prefix-cache",
    /// The order in which prompts are taken.
    Sampling "sampling",
    /// The joint distribution of the lengths of prompts and outputs.
    SeqDist "seq-dist",
    /// The ids of sequences.
    SequenceIdRange "sequence-id-range",
    /// The number of requests of a sequence.
    SequenceLength "sequence-length",
    /// By how much the length of sequences varies.
    SequenceLengthVariation "sequence-length-variation",
    /// Whether a sequence has one request in flight at most.
    SerialSequences "serial-sequences",
    /// The kind of service that is measured.
    ServiceKind "service-kind",
    /// The header that names the conversation of a request.
    SessionHeader "session-header",
    /// Whether the turns of a conversation go to one server.
    SessionSticky "session-sticky",
    /// The shape of an input tensor.
    Shape "shape",
    /// Whether tensors are passed in shared memory.
    SharedMemory "shared-memory",
    /// The length of a system prompt that all conversations share.
    SharedSystemPromptLength "shared-system-prompt-length",
    /// Whether a simulated server is measured.
    Sim "sim",
    /// Whether malformed rows of a file are counted instead of refused.
    SkipBadRows "skip-bad-rows",
    /// Whether gRPC is spoken over TLS.
    SslGrpcUseSsl "ssl-grpc-use-ssl",
    /// The format of the client's certificate.
    SslHttpsClientCertificateType "ssl-https-client-certificate-type",
    /// The format of the client's private key.
    SslHttpsPrivateKeyType "ssl-https-private-key-type",
    /// Whether the name in the server's certificate is checked.
    SslHttpsVerifyHost "ssl-https-verify-host",
    /// Whether the server's certificate is checked.
    SslHttpsVerifyPeer "ssl-https-verify-peer",
    /// By how much windows of measurement may differ.
    StabilityPercentage "stability-percentage",
    /// Whether the time in which the whole concurrency was held is reported by itself.
    SteadyState "steady-state",
    /// Whether answers are streamed.
    Streaming "streaming",
    /// The number of streams that share a gRPC channel.
    StreamsPerChannel "streams-per-channel",
    /// The string for inputs of strings.
    StringData "string-data",
    /// The length of random strings.
    StringLength "string-length",
    /// Whether calls wait for each other.
    Sync "sync",
    /// The output tensor that holds the text.
    TextOutput "text-output",
    /// The number of load threads.
    Threads "threads",
    /// Whose count of output tokens is used.
    TokenCount "token-count",
    /// The tokenizer that makes prompts and counts output.
    Tokenizer "tokenizer",
    /// The revision of a tokenizer in the hub's cache.
    TokenizerRevision "tokenizer-revision",
    /// Has no effect: code that comes with a tokenizer is never run.
    TokenizerTrustRemoteCode "tokenizer-trust-remote-code",
    /// How many requests the server traces at most.
    TraceCount "trace-count",
    /// The longest wait before a request of a recorded agent.
    TraceIdleGapCapSeconds "trace-idle-gap-cap-seconds",
    /// What the server traces.
    TraceLevel "trace-level",
    /// Of how many requests the server traces one.
    TraceRate "trace-rate",
    /// The latest point of its recorded time at which a session of an agent starts.
    TrajectoryStartMaxRatio "trajectory-start-max-ratio",
    /// The earliest point of its recorded time at which a session of an agent starts.
    TrajectoryStartMinRatio "trajectory-start-min-ratio",
    /// The width of the confidence interval that ends the run.
    UntilCi "until-ci",
    /// The address of the server.
    Url "url",
    /// How a request gets its server when there are several.
    UrlStrategy "url-strategy",
    /// How many requests simulated users send in a second.
    UserCentricRate "user-centric-rate",
    /// The length of a text of its own that each conversation begins with.
    UserContextPromptLength "user-context-prompt-length",
    /// Whether the CSV file has more columns.
    VerboseCsv "verbose-csv",
    /// How requests arrive during warm-up.
    WarmupArrivalPattern "warmup-arrival-pattern",
    /// The number of requests in flight during warm-up.
    WarmupConcurrency "warmup-concurrency",
    /// The time in which the concurrency of the warm-up grows to its height.
    WarmupConcurrencyRampDuration "warmup-concurrency-ramp-duration",
    /// How long the warm-up lasts.
    WarmupDuration "warmup-duration",
    /// How long requests of the warm-up may take to finish after its end.
    WarmupGracePeriod "warmup-grace-period",
    /// The greatest number of requests without a first token during warm-up.
    WarmupPrefillConcurrency "warmup-prefill-concurrency",
    /// The time in which that number grows to its height.
    WarmupPrefillConcurrencyRampDuration "warmup-prefill-concurrency-ramp-duration",
    /// How many warm-up requests are sent.
    WarmupRequestCount "warmup-request-count",
    /// How many requests are sent in a second during warm-up.
    WarmupRequestRate "warmup-request-rate",
    /// The time in which that rate grows to its height.
    WarmupRequestRateRampDuration "warmup-request-rate-ramp-duration",
    /// Whether input tensors are zeros.
    ZeroInput "zero-input",
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
