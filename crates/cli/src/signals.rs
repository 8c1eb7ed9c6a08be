//! Ctrl-C and a request to terminate, as one wish: to end. The first drains the run, the second ends it at once.

use streamgauge_load::Control;

/// Turns signals into [`Control::interrupt`] from now on, on a thread of their own; `say` comes after the first.
///
/// # Errors
/// When the thread cannot be started.
pub fn watch(control: Control, say: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Registered before load starts, so that no signal finds the default action in place.
    let mut wishes = {
        let _entered = runtime.enter();
        Wishes::register()?
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let mut say = Some(say);
            while wishes.next().await {
                control.interrupt();
                if let Some(say) = say.take() {
                    say();
                }
            }
        });
    })?;
    Ok(())
}

#[cfg(unix)]
struct Wishes {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Wishes {
    fn register() -> std::io::Result<Wishes> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Wishes { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> bool {
        tokio::select! {
            wish = self.interrupt.recv() => wish.is_some(),
            wish = self.terminate.recv() => wish.is_some(),
        }
    }
}

#[cfg(not(unix))]
struct Wishes;

#[cfg(not(unix))]
impl Wishes {
    fn register() -> std::io::Result<Wishes> {
        Ok(Wishes)
    }

    async fn next(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}
