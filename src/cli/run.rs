//! `actorline run`: the pipeline from Kafka to both sinks, until SIGTERM or SIGINT.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use super::Failure;
use super::mappings::{MappingArguments, RegistryArguments};
use crate::config::{self, Config};
use crate::input::kafka::InputError;
use crate::pipeline::normalize::Normalizer;
use crate::pipeline::run::{self, RunError, Stop, Surroundings};
use crate::sink::lake::LakeError;
use crate::telemetry::{Metrics, Readiness, Server, logs};

#[derive(Debug, clap::Args)]
pub(super) struct RunArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Read and check everything, connect, and exit
    #[arg(long)]
    check: bool,
}

pub(super) fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let config = config::load(&arguments.config).map_err(|error| Failure::BadConfiguration(error.into()))?;
    logs::start().map_err(|error| Failure::BadConfiguration(error.into()))?;
    let normalizer = normalizer(&config)?;
    let runtime = Runtime::new().context("failed to start the runtime").map_err(Failure::Outside)?;
    if arguments.check {
        return run::check(&config, runtime.handle()).map_err(failure);
    }

    let surroundings = Surroundings {
        runtime: runtime.handle().clone(),
        metrics: Arc::new(Metrics::new()),
        readiness: Readiness::new(),
        stop: Stop::new(),
    };
    let server = runtime
        .block_on(Server::start(
            config.telemetry.listen,
            Arc::clone(&surroundings.metrics),
            surroundings.readiness.clone(),
        ))
        .map_err(|error| Failure::Outside(error.into()))?;
    runtime.block_on(listen_for_signals(surroundings.stop.clone())).map_err(Failure::Outside)?;
    let result = run::run(&config, &normalizer, &surroundings);
    drop(server);
    // What still waits for a store is read again by the next run: nothing is to be had from waiting here.
    runtime.shutdown_background();
    result.map_err(failure)
}

/// What a lake or the kafka client refuses of the configuration is a mistake to mend, not trouble that another start may
/// pass.
pub(super) fn failure(error: RunError) -> Failure {
    match error {
        RunError::Lake(LakeError::Refused(_) | LakeError::Absent(_)) | RunError::Input(InputError::Create(_)) => {
            Failure::BadConfiguration(error.into())
        }
        _ => Failure::Outside(error.into()),
    }
}

pub(super) fn normalizer(config: &Config) -> Result<Arc<Normalizer>, Failure> {
    let library = MappingArguments { mappings: config.mappings.clone() }.library()?;
    let registry = RegistryArguments { registry: config.registry.clone() }.load()?;
    let unknown: Vec<String> = config
        .topics
        .iter()
        .filter(|topic| topic.source != config::AUTO && library.find(&topic.source).is_none())
        .map(|topic| format!("topics.\"{}\": no mapping is named `{}`", topic.name, topic.source))
        .collect();
    if !unknown.is_empty() {
        let sources: Vec<&str> = library.plans().iter().map(|plan| plan.source.as_str()).collect();
        return Err(Failure::BadConfiguration(anyhow::anyhow!(
            "{}\nuse `{}` or one of {}",
            unknown.join("\n"),
            config::AUTO,
            sources.join(", ")
        )));
    }
    Ok(Arc::new(Normalizer::new(library, registry)))
}

/// Asks the run to stop at the first signal, and ends the process at the second.
async fn listen_for_signals(stop: Stop) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    tokio::spawn(async move {
        next(&mut terminate, &mut interrupt).await;
        stop.ask();
        next(&mut terminate, &mut interrupt).await;
        warn!("asked to stop twice: leaving at once, what was not committed is read again");
        // Nothing is lost by it: positions and outputs are only ever committed together.
        exit_at_once();
    });
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "who asks twice does not want to wait for destructors")]
fn exit_at_once() -> ! {
    // As for other trouble outside: the run did not end as it should.
    std::process::exit(4)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
