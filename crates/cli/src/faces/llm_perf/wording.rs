//! What `llm_perf.py` calls the settings that messages refer to.

use clap::Arg;
use streamgauge_core::setting::Setting;

/// The flag of a setting that the tool has.
pub fn wording(setting: Setting) -> Option<&'static str> {
    match setting {
        Setting::InputFile => Some("--input-data"),
        Setting::Model => Some("-m"),
        Setting::Protocol => Some("-i"),
        Setting::Tokenizer => Some("--tokenizer-path"),
        Setting::Url => Some("-u"),
        Setting::Concurrency | Setting::InputData | Setting::ProfileExportFile => Some(setting.published()),
        _ => None,
    }
}

/// The setting of an argument. The pause between two concurrencies is none of a run.
pub fn setting(argument: &Arg) -> Option<Setting> {
    match argument.get_long()? {
        "measurement-interval" => None,
        "tokenizer-path" => Some(Setting::Tokenizer),
        long => Setting::from_name(long),
    }
}

#[cfg(test)]
mod tests {
    use super::super::FACE;
    use super::*;
    use crate::wording::tests::names_only_flags_of;

    #[test]
    fn only_flags_of_this_face_are_named() {
        names_only_flags_of([&FACE.definition()], wording);
    }

    #[test]
    fn every_argument_but_the_pause_is_a_setting() {
        let command = FACE.definition();
        let unknown = command.get_arguments().filter(|argument| setting(argument).is_none());
        assert_eq!(unknown.filter_map(Arg::get_long).collect::<Vec<_>>(), ["measurement-interval"]);
    }
}
