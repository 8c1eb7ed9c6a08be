//! What the program's own commands call the settings that messages refer to.

use streamgauge_core::setting::Setting;

/// The flag of a setting. The program's own commands have them under their published names; those that other tools alone have are none.
pub fn native(setting: Setting) -> Option<&'static str> {
    match setting {
        Setting::Async
        | Setting::BinarySearch
        | Setting::CsvFile
        | Setting::DataDirectory
        | Setting::InputData
        | Setting::InputTensorFormat
        | Setting::LatencyThreshold
        | Setting::LogFrequency
        | Setting::NumOfSequences
        | Setting::OutputSharedMemorySize
        | Setting::OutputTensorFormat
        | Setting::PeriodicConcurrencyRange
        | Setting::Protocol
        | Setting::RequestPeriod
        | Setting::SequenceIdRange
        | Setting::SequenceLength
        | Setting::SequenceLengthVariation
        | Setting::SerialSequences
        | Setting::Shape
        | Setting::SharedMemory
        | Setting::SslGrpcUseSsl
        | Setting::SslHttpsClientCertificateType
        | Setting::SslHttpsPrivateKeyType
        | Setting::SslHttpsVerifyHost
        | Setting::SslHttpsVerifyPeer
        | Setting::StringData
        | Setting::StringLength
        | Setting::Sync
        | Setting::TraceCount
        | Setting::TraceLevel
        | Setting::TraceRate
        | Setting::VerboseCsv
        | Setting::ZeroInput => None,
        other => Some(other.published()),
    }
}

/// Checks for the wordings of all command lines.
#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::command_line::definition;
    use crate::faces::FACES;
    use std::collections::BTreeSet;
    use streamgauge_core::setting::Wording;

    /// The flags of a command, with their dashes.
    fn flags(command: &clap::Command) -> BTreeSet<String> {
        let mut flags = BTreeSet::new();
        for argument in command.get_arguments() {
            let long = argument.get_long().into_iter().chain(argument.get_all_aliases().into_iter().flatten());
            flags.extend(long.map(|name| format!("--{name}")));
            flags.extend(argument.get_short().map(|name| format!("-{name}")));
        }
        flags
    }

    /// Checks that `wording` names only flags that one of `commands` has.
    #[track_caller]
    pub fn names_only_flags_of<'a>(commands: impl IntoIterator<Item = &'a clap::Command>, wording: Wording) {
        let known: BTreeSet<String> = commands.into_iter().flat_map(flags).collect();
        let words = Setting::ALL.iter().filter_map(|setting| wording(*setting));
        // What begins otherwise is no flag: `the load`.
        let named = words.filter(|word| word.starts_with('-')).map(|word| word.split(' ').next().unwrap_or(word));
        let unknown: Vec<&str> = named.filter(|flag| !known.contains(*flag)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn every_setting_is_a_flag_of_some_command() {
        let known: BTreeSet<String> = definition().get_subcommands().flat_map(flags).collect();
        let unknown: Vec<Setting> =
            Setting::ALL.iter().copied().filter(|setting| !known.contains(setting.published())).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn the_native_wording_names_only_flags_of_the_programs_own_commands() {
        let definition = definition();
        let is_face = |command: &&clap::Command| FACES.iter().any(|face| face.command == command.get_name());
        names_only_flags_of(definition.get_subcommands().filter(|command| !is_face(command)), native);
    }
}
