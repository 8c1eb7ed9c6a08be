//! Ctrl-C and a request to terminate both ask to end. The first drains the run, the second ends it at once.

use crate::printer::Printer;
use anyhow::Context;
use std::cell::OnceCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use streamgauge_core::plan::RunPlan;
use streamgauge_load::Control;

/// Watches for signals that ask to end the run under way, and with it the campaign that it belongs to. Clones share the same watch.
#[derive(Clone)]
pub struct Signals(Arc<Mutex<State>>);

struct State {
    run: Control,
    came: bool,
}

impl Signals {
    /// Turns signals into [`Control::interrupt`] from now on, on a thread of their own. `say` is called after the first one, with
    /// the handle on the run that it ended.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn watch(control: Control, say: impl FnOnce(&Control) + Send + 'static) -> std::io::Result<Signals> {
        let signals = Signals(Arc::new(Mutex::new(State { run: control, came: false })));
        let (watched, ended) = (signals.clone(), signals.clone());
        watch(
            move || watched.pass_on(),
            move || {
                let run = ended.state().run.clone();
                say(&run);
            },
        )?;
        Ok(signals)
    }

    /// Signals end the run of this handle from now on. One that has already come ends it at once.
    pub fn follow(&self, control: Control) {
        let mut state = self.state();
        state.run = control;
        if state.came {
            state.run.interrupt();
        }
    }

    /// Whether a signal has come.
    pub fn have_come(&self) -> bool {
        self.state().came
    }

    fn pass_on(&self) {
        let mut state = self.state();
        state.came = true;
        state.run.interrupt();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Both fields are right at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the handle by which the next run is ended, and has signals end that run. They are watched from the first call on.
///
/// # Errors
/// When they cannot be watched.
pub fn control(signals: &OnceCell<Signals>, plan: &RunPlan, printer: &Printer) -> anyhow::Result<Control> {
    let control = Control::default();
    if let Some(signals) = signals.get() {
        signals.follow(control.clone());
        return Ok(control);
    }
    let (grace, speaker) = (plan.load.stop.grace.as_secs_f64(), *printer);
    let watch = Signals::watch(control.clone(), move |run| {
        // Before load there is only the probe, which ends at once and says so itself.
        if !run.has_begun() {
            return;
        }
        speaker.note(&format!("interrupted: waiting up to {grace} s for requests in flight (again to end now)"));
    })
    .context("signals cannot be watched")?;
    signals.get_or_init(|| watch);
    Ok(control)
}

fn watch(interrupt: impl Fn() + Send + 'static, say: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Registered before load starts, so that no signal finds the default action in place.
    let mut signals = {
        let _entered = runtime.enter();
        SignalStream::register()?
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let mut say = Some(say);
            while signals.next().await {
                interrupt();
                if let Some(say) = say.take() {
                    say();
                }
            }
        });
    })?;
    Ok(())
}

#[cfg(unix)]
struct SignalStream {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl SignalStream {
    fn register() -> std::io::Result<SignalStream> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(SignalStream { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> bool {
        tokio::select! {
            signal = self.interrupt.recv() => signal.is_some(),
            signal = self.terminate.recv() => signal.is_some(),
        }
    }
}

#[cfg(not(unix))]
struct SignalStream;

#[cfg(not(unix))]
impl SignalStream {
    fn register() -> std::io::Result<SignalStream> {
        Ok(SignalStream)
    }

    async fn next(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_between_two_runs_is_the_next_ones() {
        let first = Control::default();
        let signals = Signals(Arc::new(Mutex::new(State { run: first.clone(), came: false })));
        let second = Control::default();
        signals.follow(second.clone());
        assert!(!signals.have_come() && !second.is_interrupted());
        signals.pass_on();
        assert!(signals.have_come() && second.is_interrupted() && !first.is_interrupted());
        let third = Control::default();
        signals.follow(third.clone());
        assert!(third.is_interrupted() && !third.is_aborted());
    }
}
