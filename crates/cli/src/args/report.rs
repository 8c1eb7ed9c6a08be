//! Arguments of `report`.

use crate::args::Report;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// What a run left: its directory of artifacts, or its file of records, that of a killed run (.records.jsonl.partial) too
    #[arg(value_name = "DIR|FILE")]
    pub run: PathBuf,
    /// Layout of the table
    #[arg(long = "report", value_enum, default_value = "native", value_name = "STYLE")]
    pub style: Report,
    /// Directory to write the files to [default: the one with the records]
    #[arg(long, visible_alias = "output-artifact-dir", value_name = "DIR")]
    pub artifact_dir: Option<PathBuf>,
}
