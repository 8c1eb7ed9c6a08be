//! Where the values of a command line came from, as the arguments' parser tells it.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};
use streamgauge_core::origin::{Asked, Origin, Origins};
use streamgauge_core::plan::HIDDEN;
use streamgauge_core::secrets::shown_url;
use streamgauge_core::setting::{Setting, Wording};

/// The settings among the arguments of `command`, which has parsed `matches`. `setting` says which setting an argument is.
pub fn of(command: &clap::Command, matches: &ArgMatches, setting: fn(&Arg) -> Option<Setting>) -> Origins {
    let mut origins = Origins::default();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        if !matches.ids().any(|known| known.as_str() == id) {
            continue;
        }
        let (Some(setting), Some(source)) = (setting(argument), matches.value_source(id)) else { continue };
        let from = match source {
            ValueSource::CommandLine => Origin::Flag,
            ValueSource::EnvVariable => Origin::Environment,
            _ => Origin::Default,
        };
        let is_switch = matches!(argument.get_action(), ArgAction::SetTrue | ArgAction::Count);
        // A switch that nobody gave is off.
        if is_switch && from == Origin::Default {
            continue;
        }
        let value = (!is_switch).then(|| {
            let values = matches.get_raw(id).into_iter().flatten();
            let values: Vec<String> = values.map(|value| shown(setting, &value.to_string_lossy())).collect();
            values.join(",")
        });
        origins.set(setting, value, from);
    }
    origins
}

/// The setting of an argument of the program's own commands: its name, or another name that it takes, is the setting's.
pub fn native(argument: &Arg) -> Option<Setting> {
    let names = argument.get_long().into_iter().chain(argument.get_all_aliases().into_iter().flatten());
    names.filter_map(Setting::from_name).next()
}

/// A value without what is secret in it.
fn shown(setting: Setting, value: &str) -> String {
    match setting {
        Setting::ApiKey | Setting::Header => HIDDEN.to_owned(),
        Setting::Url | Setting::Endpoint | Setting::MetricsUrl => shown_url(value).into_owned(),
        _ => value.to_owned(),
    }
}

/// What was asked for, in words: `--concurrency 8 (flag); --streaming (flag)`. Defaults are listed if `with_defaults`.
pub fn describe(origins: &Origins, wording: Wording, with_defaults: bool) -> String {
    let is_listed = |(_, asked): &(Setting, &Asked)| with_defaults || asked.from != Origin::Default;
    let words = |(setting, asked): (Setting, &Asked)| {
        let name = wording(setting).unwrap_or(setting.published());
        let value = asked.value.as_deref().map(|value| format!(" {value}")).unwrap_or_default();
        format!("{name}{value} ({})", asked.from)
    };
    origins.iter().filter(is_listed).map(words).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::definition;
    use crate::wording;

    fn of_profile(words: &str) -> String {
        let words = ["streamgauge", "profile"].into_iter().chain(words.split_whitespace());
        let command = definition();
        let matches = command.clone().try_get_matches_from(words).unwrap();
        let profile = command.find_subcommand("profile").unwrap();
        describe(&of(profile, matches.subcommand().unwrap().1, native), wording::native, false)
    }

    #[test]
    fn flags_are_listed_with_their_values_and_without_secrets() {
        assert_eq!(
            of_profile("--concurrency 1,4 -u http://me:secret@h -u g --api-key k --streaming -H A:b --num-prompts 7"),
            "--api-key <hidden> (flag); --concurrency 1,4 (flag); --header <hidden> (flag); --num-prompts 7 (flag); \
             --streaming (flag); --url http://<hidden>@h,g (flag)"
        );
        assert_eq!(of_profile(""), "");
    }

    #[test]
    fn every_argument_of_a_profile_is_a_setting_unless_it_is_about_what_is_shown() {
        let about_the_terminal = ["report", "require-fidelity", "ui", "verbose"];
        let command = definition();
        let profile = command.find_subcommand("profile").unwrap();
        let unknown: Vec<&str> = profile
            .get_arguments()
            .filter(|argument| native(argument).is_none())
            .filter_map(Arg::get_long)
            .filter(|long| !about_the_terminal.contains(long))
            .collect();
        assert!(unknown.is_empty(), "add to the list of settings (core/setting/list.rs): {unknown:?}");
    }
}
