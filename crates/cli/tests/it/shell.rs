//! `completions` and `man` describe every command.

use crate::context::TestContext;

#[test]
fn completions_name_commands_and_their_flags_for_every_shell() {
    let context = TestContext::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = context.bare(&format!("completions {shell}")).output().unwrap();
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("request-rate") && script.contains("calibrate"), "{shell}: {script}");
    }
}

#[test]
fn man_prints_the_page_of_a_command() {
    let context = TestContext::new();
    let output = context.bare("man profile").output().unwrap();
    assert!(output.status.success());
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains(".TH streamgauge-profile 1") && page.contains("\\-\\-request\\-rate"), "{page}");
}

#[test]
fn man_writes_a_page_for_every_command() {
    let context = TestContext::new();
    let directory = context.path().join("man");
    context.bare("man --output-dir").arg(&directory).assert().success();
    for name in ["streamgauge.1", "streamgauge-profile.1", "streamgauge-perf-analyzer.1", "streamgauge-man.1"] {
        assert!(std::fs::read_to_string(directory.join(name)).unwrap().contains(".SH NAME"), "{name}");
    }
}

#[test]
fn man_refuses_an_unknown_command_and_lists_the_known_ones() {
    let context = TestContext::new();
    let output = context.bare("man profil").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("there is no command profil") && message.contains("calibrate"), "{message}");
}
