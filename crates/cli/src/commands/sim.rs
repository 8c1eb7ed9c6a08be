//! `sim`: runs the simulated server until it is interrupted.

use crate::args::SimArgs;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::signals::Signals;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::time::Duration;
use streamgauge_core::seed::Seed;
use streamgauge_load::Control;
use streamgauge_prompt::hub::Hub;
use streamgauge_prompt::resolve;
use streamgauge_run::Usage;
use streamgauge_sim::{Lengths, LogPlan, Service, Sim, SimConfig};

/// The interval at which the request to end is checked.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the server; its address is the one line on stdout, said once it listens.
pub fn run(args: SimArgs, printer: &Printer) -> Result<Exit> {
    let control = Control::default();
    Signals::watch(control.clone(), |_| {}).context("signals cannot be watched")?;
    let bind = SocketAddr::new(args.host, args.port);
    let config = config(args).map_err(Usage)?;
    let models = config.models.join(", ");
    let sim = Sim::start(config, bind).context("the server cannot start")?;
    printer.result(&format!("listening on {} (models: {models}); Ctrl-C ends it", sim.url()));
    while !control.is_interrupted() {
        std::thread::sleep(LOOK);
    }
    sim.stop().context("the log cannot be written")?;
    Ok(Exit::Done)
}

/// The server that the arguments mean.
fn config(args: SimArgs) -> Result<SimConfig> {
    let env = |name: &str| std::env::var(name).ok();
    let hub = Hub::new(&env, true);
    let tokenizer = resolve(Some(&args.tokenizer), None, "main", &hub, &env, &|_: &str| {})?.tokenizer;
    let config = SimConfig {
        models: args.model,
        service: Service {
            ttft: args.ttft,
            prefill_rate: if args.prefill_rate > 0.0 { args.prefill_rate } else { f64::INFINITY },
            itl: args.itl,
            itl_growth: args.itl_growth,
            jitter: args.jitter,
            max_batch: args.max_batch,
            tokens_per_event: args.tokens_per_event,
        },
        lengths: Lengths { natural: args.output_tokens, early_stop: args.early_stop, context: args.context },
        gpus: args.gpus,
        faults: args.fault,
        seed: Seed(args.seed),
        // The log of this process is read from the file only.
        log: LogPlan { keep: Some(0), file: args.log },
        ..SimConfig::new(tokenizer)
    };
    config.check()?;
    Ok(config)
}
