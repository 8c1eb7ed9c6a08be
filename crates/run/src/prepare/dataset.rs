//! The files of a data set that was asked for by its name.

use crate::error::About;
use crate::listener::Listener;
use crate::spec::RunSpec;
use anyhow::Result;
use std::sync::Arc;
use streamgauge_core::message;
use streamgauge_core::setting::Setting;
use streamgauge_prompt::hub::Hub;

/// Finds the files of the data set, if one was asked for, and makes them the file of prompts.
///
/// # Errors
/// When there is no such data set, or its files are neither on this machine nor to be had.
pub fn find(spec: &mut RunSpec, listener: &Arc<dyn Listener>) -> Result<()> {
    let Some(dataset) = &spec.dataset else { return Ok(()) };
    let hub = Hub::new(&|name: &str| std::env::var(name).ok(), spec.may_download);
    let note = |text: &str| listener.note(&format!("note: {text}").into());
    let found = dataset.find(&hub, &mut spec.source, &note);
    let named = || message![Setting::PublicDataset, format!(" {}", dataset.name)];
    spec.prompt_file = Some(found.about(named)?);
    Ok(())
}
