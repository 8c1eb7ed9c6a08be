//! `records.parquet` beside a run's other files.

use crate::context::TestContext;
use crate::report::report;
use std::fs;

#[test]
fn rows_in_columns_are_written_as_the_run_goes_and_made_again_to_the_last_byte() {
    let context = TestContext::new();
    let args =
        "--streaming --isl 10 --osl 4 --request-count 12 --warmup-request-count 2 --record-formats jsonl,parquet";
    let run = context.profile(args).expect(0);
    let file = run.dir().join("records.parquet");
    let made = fs::read(&file).unwrap();
    // The magic number stands at both ends of a whole file.
    assert!(made.starts_with(b"PAR1") && made.ends_with(b"PAR1") && !run.dir().join("profile_export.json").exists());
    fs::remove_file(&file).unwrap();
    let dir = run.dir();
    let again = report(&context, dir.strip_prefix(context.path()).unwrap().to_str().unwrap());
    assert_eq!((again.code, again.stdout), (Some(0), run.stdout));
    assert_eq!(fs::read(&file).unwrap(), made);
}
