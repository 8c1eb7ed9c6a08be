//! The stored calibration of this machine: where its file is, and whether it is of this machine.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use streamgauge_report::native::calibration;
use streamgauge_stats::calibration::{Calibration, Machine};

/// The environment variable that names another file.
const VARIABLE: &str = "STREAMGAUGE_CALIBRATION";

/// The calibration that is stored, if there is one.
pub enum Stored {
    /// There is no file.
    Nothing,
    /// There is a file that cannot be used, for the reason that is given.
    Unreadable(String),
    /// It was made on another machine, which differs in the given way.
    OfAnother(String),
    /// It was made on this machine.
    Here(Box<Calibration>),
}

/// The file that `env` names, or else the usual one. Returns `None` if there is no home directory.
pub fn path(env: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let given = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = given(VARIABLE) {
        return Some(file);
    }
    // The specification of base directories says that a relative path is ignored.
    let data = given("XDG_DATA_HOME").filter(|dir| dir.is_absolute());
    let data = data.or_else(|| Some(given("HOME")?.join(".local/share")))?;
    Some(data.join("streamgauge").join("calibration.json"))
}

/// Reads the stored calibration. A file that the variable names and that does not exist is an error.
pub fn stored(env: &impl Fn(&str) -> Option<OsString>) -> Stored {
    let Some(path) = path(env) else { return Stored::Nothing };
    let named = env(VARIABLE).is_some_and(|value| !value.is_empty());
    match calibration::read(&path) {
        Ok(calibration) => match difference(&calibration.machine, &this_machine()) {
            None => Stored::Here(Box::new(calibration)),
            Some(difference) => Stored::OfAnother(format!("{} was made elsewhere: {difference}", path.display())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Stored::Nothing,
        Err(error) => Stored::Unreadable(format!("the calibration {} cannot be used: {error}", path.display())),
    }
}

/// The properties that distinguish this machine from others.
pub fn this_machine() -> Machine {
    let line = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let release = line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "of unknown release".to_owned());
    Machine {
        cpu: model.map_or(std::env::consts::ARCH, |(_, model)| model.trim()).to_owned(),
        processors: std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        kernel: format!("{} {release}", std::env::consts::OS),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The first thing in which two machines differ, in words.
fn difference(then: &Machine, now: &Machine) -> Option<String> {
    let Machine { cpu, processors, kernel, version } = then;
    let pairs = [
        ("processor", cpu.clone(), now.cpu.clone()),
        ("processors", processors.to_string(), now.processors.to_string()),
        ("kernel", kernel.clone(), now.kernel.clone()),
        ("version of streamgauge", version.clone(), now.version.clone()),
    ];
    let (what, then, now) = pairs.into_iter().find(|(_, then, now)| then != now)?;
    Some(format!("its {what}: {then}, here {now}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Option<PathBuf> {
        path(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_file_is_where_data_of_users_are() {
        let home = ("HOME", "/h");
        assert_eq!(found(&[home]), Some("/h/.local/share/streamgauge/calibration.json".into()));
        assert_eq!(found(&[home, ("XDG_DATA_HOME", "/d")]), Some("/d/streamgauge/calibration.json".into()));
        assert_eq!(found(&[home, ("XDG_DATA_HOME", "d")]), found(&[home]));
        assert_eq!(found(&[home, (VARIABLE, "c.json")]), Some("c.json".into()));
        assert_eq!(found(&[home, (VARIABLE, "")]), found(&[home]));
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn a_machine_is_another_by_any_of_its_marks() {
        let here = this_machine();
        assert_eq!(difference(&here, &here), None);
        let smaller = Machine { processors: here.processors + 1, ..here.clone() };
        assert!(difference(&smaller, &here).unwrap().starts_with("its processors: "));
        let older = Machine { version: "0.0.1".into(), ..here.clone() };
        assert!(difference(&older, &here).unwrap().starts_with("its version of streamgauge: 0.0.1, here "));
    }
}
