//! Arguments of `report`.

use crate::args::choice::{STYLE, one_of};
use clap::Args;
use std::path::PathBuf;
use streamgauge_report::Style;

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Directory of a run's artifacts, or its file of records, also that of a killed run (.records.jsonl.partial)
    #[arg(value_name = "DIR|FILE")]
    pub run: PathBuf,
    /// Layout of the table
    #[arg(long = "report", value_parser = one_of(STYLE), default_value = "native", value_name = "STYLE")]
    pub style: Style,
    /// Directory to write the files to [default: the directory of the records]
    #[arg(long, visible_alias = "output-artifact-dir", value_name = "DIR")]
    pub artifact_dir: Option<PathBuf>,
    /// Also print what the run was asked for, and where each value came from
    #[arg(short, long)]
    pub verbose: bool,
}
