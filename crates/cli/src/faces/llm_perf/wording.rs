//! What `llm_perf.py` calls the settings that messages refer to.

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
