//! Perf Analyzer's names for the settings that messages refer to.

use super::args::{PerfAnalyzerArgs, Protocol, ServiceKind};
use clap::Arg;
use streamgauge_core::setting::{Setting, Wording};

/// The words for a command line: the flags of TLS depend on the protocol.
pub fn of(args: &PerfAnalyzerArgs) -> Wording {
    match (args.service_kind, args.request.protocol) {
        (ServiceKind::Triton, Protocol::Grpc) => over_grpc,
        _ => over_http,
    }
}

/// The words where the server is asked over HTTP.
pub fn over_http(setting: Setting) -> Option<&'static str> {
    match setting {
        Setting::CaFile => Some("--ssl-https-ca-certificates-file"),
        Setting::ClientCertificate => Some("--ssl-https-client-certificate-file"),
        Setting::ClientKey => Some("--ssl-https-private-key-file"),
        Setting::Insecure => Some("--ssl-https-verify-peer 0"),
        other => over_any(other),
    }
}

/// The words where the server is asked over gRPC.
pub fn over_grpc(setting: Setting) -> Option<&'static str> {
    match setting {
        Setting::CaFile => Some("--ssl-grpc-root-certifications-file"),
        Setting::ClientCertificate => Some("--ssl-grpc-certificate-chain-file"),
        Setting::ClientKey => Some("--ssl-grpc-private-key-file"),
        other => over_any(other),
    }
}

/// This face's name of a setting, whatever the protocol. It has no users, no limit on concurrency with a rate and no latencies from due.
fn over_any(setting: Setting) -> Option<&'static str> {
    match setting {
        Setting::BenchmarkDuration => Some("--measurement-interval"),
        Setting::Concurrency => Some("the load"),
        Setting::GracePeriod => Some("--max-trials"),
        Setting::Header => Some("-H"),
        Setting::InputFile => Some("--input-data"),
        Setting::Model => Some("-m"),
        Setting::Protocol => Some("-i"),
        Setting::RequestRate => Some("--request-rate-range"),
        Setting::Threads => Some("--max-threads"),
        Setting::Url => Some("-u"),
        Setting::ArtifactDir
        | Setting::BlsComposingModels
        | Setting::Endpoint
        | Setting::FixedSchedule
        | Setting::InputData
        | Setting::InputTensorFormat
        | Setting::MaxTrials
        | Setting::MeasurementInterval
        | Setting::MeasurementRequestCount
        | Setting::MetricsUrl
        | Setting::PeriodicConcurrencyRange
        | Setting::ProfileExportFile
        | Setting::RequestCount
        | Setting::RequestIntervals
        | Setting::ServiceKind
        | Setting::Shape
        | Setting::SharedMemory
        | Setting::Streaming
        | Setting::WarmupRequestCount => Some(setting.published()),
        _ => None,
    }
}

/// The setting of an argument.
pub fn setting(argument: &Arg) -> Option<Setting> {
    match argument.get_long() {
        Some("concurrency-range") => Some(Setting::Concurrency),
        Some("max-threads") => Some(Setting::Threads),
        Some("request-distribution") => Some(Setting::ArrivalPattern),
        Some("request-rate-range") => Some(Setting::RequestRate),
        Some("ssl-grpc-certificate-chain-file" | "ssl-https-client-certificate-file") => {
            Some(Setting::ClientCertificate)
        }
        Some("ssl-grpc-private-key-file" | "ssl-https-private-key-file") => Some(Setting::ClientKey),
        Some("ssl-grpc-root-certifications-file" | "ssl-https-ca-certificates-file") => Some(Setting::CaFile),
        Some(long) => Setting::from_name(long),
        // The deprecated start of the range.
        None => (argument.get_short() == Some('t')).then_some(Setting::Concurrency),
    }
}

#[cfg(test)]
mod tests {
    use super::super::FACE;
    use super::*;
    use crate::wording::tests::names_only_flags_of;
    use streamgauge_core::record::{RunFacts, ThreadFacts};
    use streamgauge_core::{Nanos, Record};
    use streamgauge_stats::{Accumulator, AccumulatorConfig};

    #[test]
    fn only_flags_of_this_face_are_named() {
        names_only_flags_of([&FACE.definition()], over_http);
        names_only_flags_of([&FACE.definition()], over_grpc);
    }

    #[test]
    fn every_argument_is_a_setting_unless_it_is_about_what_is_shown() {
        let about_the_terminal = [Some("verbose"), None];
        let unknown: Vec<_> = FACE
            .definition()
            .get_arguments()
            .filter(|argument| setting(argument).is_none() && !about_the_terminal.contains(&argument.get_long()))
            .map(|argument| argument.get_id().to_string())
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn remedies_name_what_this_face_has() {
        let config = AccumulatorConfig::of(&streamgauge_testing::plan()).unwrap();
        let mut accumulator = Accumulator::new(config);
        let late = Record { due: Some(Nanos(0)), sent: Some(Nanos::from_millis(100)), ..streamgauge_testing::record() };
        accumulator.add(&late);
        let facts = RunFacts { threads: vec![ThreadFacts { cpu: Nanos(9), wall: Nanos(10) }], ..RunFacts::default() };
        let summary = accumulator.close(&facts);
        let remedy = |key: &str| {
            let row = summary.fidelity.rows.iter().find(|row| row.key == key).unwrap();
            row.remedy.as_ref().unwrap().worded(over_http)
        };
        assert_eq!(
            remedy("send_lateness"),
            "requests were sent later than scheduled, which latencies from sent do not include; raise --max-threads, or lower the rate"
        );
        assert_eq!(remedy("load_thread_cpu"), "raise --max-threads, lower the load or give the client more processors");
    }
}
