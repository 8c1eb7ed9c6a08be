use super::*;
use crate::spec::{Level, Observe, Position, Subdirectory, TracePart};
use crate::stored::Files;
use crate::{Listener, reopen};
use anyhow::anyhow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use streamgauge_core::Message;
use streamgauge_core::load::Load;
use streamgauge_core::stop::StopRule;
use streamgauge_load::Control;
use streamgauge_prompt::SourceOptions;

pub(crate) struct Silent;

impl Listener for Silent {
    fn note(&self, _note: &Message) {}
}

/// Two requests to a simulated server.
pub(crate) fn spec(artifacts: &Path) -> RunSpec {
    let mut plan = streamgauge_testing::plan();
    plan.endpoint.models = vec!["sim-model".into()];
    plan.load.stop = StopRule::after(2);
    plan.output.artifacts = artifacts.to_owned();
    RunSpec {
        plan,
        subdirectory: Subdirectory::default(),
        keeps_files: true,
        position: Position::default(),
        sim: true,
        prompt_file: None,
        dataset: None,
        source: SourceOptions::default(),
        trace_part: TracePart::default(),
        observe: Observe::default(),
        tokenizer: None,
        may_download: false,
        lenience: Default::default(),
        notes: Vec::new(),
    }
}

pub(crate) fn level(concurrency: u32) -> Level {
    let (load, stop) = (Load::concurrency(concurrency), StopRule::after(2));
    Level { load, stop, warmup: None, threads: 1 }
}

/// Keeps where runs stored their files, and ends the campaign where it is told to.
#[derive(Default)]
struct Kept {
    stored: Vec<(Position, PathBuf)>,
    at: Position,
    refuse: Option<Position>,
    fail: Option<Position>,
    failure: Option<String>,
}

impl Stage for Kept {
    fn before(&mut self, spec: RunSpec, _: &mut Runner<'_>) -> Result<Option<RunSpec>> {
        self.at = spec.position;
        if self.fail == Some(spec.position) {
            return Err(anyhow!("no more"));
        }
        Ok((self.refuse != Some(spec.position)).then_some(spec))
    }

    fn after(&mut self, run: StoredRun, _: &mut Preparation) -> Result<Option<StoredRun>> {
        assert!(matches!(run.files, Files::Complete), "{:?}", run.files);
        self.stored.push((self.at, run.directory.clone()));
        Ok(Some(run))
    }

    fn failed(&mut self, error: Error) -> Result<()> {
        self.failure = Some(error.to_string());
        Ok(())
    }
}

fn driven(directory: &Path, repeat: u32, mut stage: Kept) -> Kept {
    let mut levels = Levels::new(spec(directory), vec![level(1), level(2)], repeat);
    let mut runner = Runner::new(Arc::new(Silent), |_| Ok(Control::default()));
    drive(&mut runner, &mut levels, &mut stage).unwrap();
    stage
}

#[test]
fn every_level_is_run_as_often_as_asked_and_can_be_read_back() {
    let root = tempfile::tempdir().unwrap();
    let stage = driven(root.path(), 2, Kept::default());
    let at = |level, run| Position { level, run };
    let positions: Vec<Position> = stage.stored.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]);
    assert!(stage.stored[3].1.ends_with("sim-model-openai-chat-concurrency2/run-2"), "{:?}", stage.stored[3].1);
    let again = reopen(&stage.stored[3].1, None, &Silent).unwrap();
    assert_eq!((again.counts.ok, again.plan.load.mode.clone()), (2, Load::concurrency(2)));
    assert_eq!(again.records().unwrap().count(), 2);
    let seeds: Vec<_> =
        Levels::new(spec(root.path()), vec![level(1), level(2)], 2).runs().map(|spec| spec.plan.prompts.seed).collect();
    assert!((1..4).all(|index| !seeds[..index].contains(&seeds[index])), "{seeds:?}");
}

#[test]
fn a_stage_ends_a_campaign_before_a_run_or_by_its_failure() {
    let root = tempfile::tempdir().unwrap();
    let second = Some(Position { level: 1, run: 0 });
    let stage = driven(root.path(), 1, Kept { refuse: second, ..Kept::default() });
    assert_eq!((stage.stored.len(), stage.failure), (1, None));
    let stage = driven(root.path(), 1, Kept { fail: second, ..Kept::default() });
    assert_eq!((stage.stored.len(), stage.failure.as_deref()), (1, Some("no more")));
}

#[test]
fn a_level_that_is_skipped_is_not_run_again() {
    let mut levels = Levels::new(spec(Path::new("d")), vec![level(1), level(2)], 3);
    let mut next = |skip: bool| {
        if skip {
            levels.skip_level();
        }
        Strategy::<()>::next(&mut levels, None).map(|spec| spec.position)
    };
    let at = |level, run| Some(Position { level, run });
    assert_eq!([next(false), next(false), next(true)], [at(0, 0), at(0, 1), at(1, 0)]);
    assert_eq!([next(false), next(false), next(true)], [at(1, 1), at(1, 2), None]);
}
