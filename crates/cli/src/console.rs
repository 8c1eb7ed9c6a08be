//! Shows a run on the terminal while it is prepared and executed.

use crate::plan_words;
use crate::printer::Printer;
use crate::progress::Bar;
use crate::settings::Settings;
use crate::wording::native;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::setting::{Message, Wording};
use streamgauge_load::Progress;
use streamgauge_run::Listener;

/// Prints notes, with settings as a face calls them, and nothing else.
pub struct Notes {
    /// The printer of the notes.
    pub printer: Printer,
    /// The face's names of settings.
    pub wording: Wording,
}

impl Listener for Notes {
    fn note(&self, note: &Message) {
        self.printer.note(&note.worded(self.wording));
    }
}

/// Prints notes, and shows a progress bar if one is wanted.
pub struct Console {
    printer: Printer,
    wording: Wording,
    verbose: bool,
    /// Whether a progress bar is shown.
    has_bar: bool,
    bar: Mutex<Option<Bar>>,
}

impl Console {
    /// Shows as much as `settings` ask for, with settings as `wording` calls them.
    pub fn new(settings: &Settings, wording: Wording, printer: &Printer) -> Console {
        Console {
            printer: *printer,
            wording,
            verbose: settings.verbose,
            has_bar: settings.bar.unwrap_or(printer.is_terminal()),
            bar: Mutex::default(),
        }
    }

    /// The same console for an engine that shares it between threads, in the program's own words.
    pub fn listener(settings: &Settings, printer: &Printer) -> Arc<dyn Listener> {
        Arc::new(Console::new(settings, native, printer))
    }

    fn bar(&self) -> MutexGuard<'_, Option<Bar>> {
        // A bar is whole at any moment.
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Console {
    fn note(&self, note: &Message) {
        self.printer.note(&note.worded(self.wording));
    }

    fn detail(&self, detail: &Message) {
        if self.verbose {
            self.note(detail);
        }
    }

    fn started(&self, plan: &RunPlan) {
        if self.verbose {
            self.printer.lines(&plan_words::describe(plan, self.wording));
        }
        *self.bar() = Some(Bar::new(plan.load.stop.clone(), self.has_bar));
    }

    fn progress(&self, progress: Progress, now: Nanos) {
        if let Some(bar) = self.bar().as_ref() {
            bar.show(progress, now);
        }
    }

    fn ended(&self) {
        if let Some(bar) = self.bar().take() {
            bar.clear();
        }
    }
}
