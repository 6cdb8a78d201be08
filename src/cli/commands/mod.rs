//! One file a verb. Each gets what was typed, resolves its settings, does the work, and gives the exit code.

#[cfg(feature = "bench")]
mod bench;
mod completion;
mod config;
mod create;
mod delete;
mod demo;
mod forget;
mod get;
mod hub;
mod logs;
mod plugin;
mod status;
mod version;
mod ways;

use std::future::Future;

use super::{
    args::{Args, ClientArgs, Command, PluginsCommand},
    client::Client,
    exit::Exit,
    logging,
    settings::{ClientSettings, Sources, environment},
};

/// Runs what was asked for.
///
/// # Errors
/// What went wrong, with the cause that decides the exit code.
pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let default_level = match args.command {
        Command::Hub(_) | Command::Plugin(_) => "info",
        // A demo is watched by a person, and a client verb prints its own errors.
        _ => "error",
    };
    logging::install(args.log_level.as_deref(), args.log_format, default_level)?;
    match args.command {
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Hub(args) => block_on(hub::run(*args)),
        Command::Plugin(args) => block_on(plugin::run(*args)),
        Command::Get(args) => block_on(get::run(args)),
        Command::Create(args) => block_on(create::run(args)),
        Command::Delete(args) => block_on(delete::run(args)),
        Command::Logs(args) => block_on(logs::run(args)),
        Command::Status(args) => block_on(status::run(args)),
        Command::Plugins(PluginsCommand::Forget { name, client }) => block_on(forget::run(name, client)),
        #[cfg(feature = "bench")]
        Command::Bench(command) => block_on(bench::run(command)),
        #[cfg(not(feature = "bench"))]
        Command::Bench(_) => Err(crate::cli::exit::Failure::Usage(NO_BENCH.to_owned()).into()),
        Command::Version(args) => version::run(&args),
        Command::Config(command) => config::run(command),
        Command::Completion(args) => completion::run(&args),
        Command::Supervise { .. } => anyhow::bail!("supervise runs before any logger and runtime"),
    }
}

#[cfg(not(feature = "bench"))]
const NO_BENCH: &str = "this binary was built without its benchmarks, which bring tonic and others along to compare with: \
                        cargo run --release --features bench -- bench";

/// Runs one verb on the multi-threaded runtime.
fn block_on(verb: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(verb);
    // A blocking read or write that hangs must not hold up the end.
    runtime.shutdown_background();
    result
}

/// A pod's name, which may be written as kubectl's users do: pod/NAME.
fn pod_name(text: &str) -> &str {
    ["pod/", "pods/", "po/"]
        .iter()
        .find_map(|kind| text.strip_prefix(kind))
        .unwrap_or(text)
}

/// The client and the settings of a client verb.
fn connect(args: &ClientArgs) -> anyhow::Result<(Client, ClientSettings)> {
    let settings = ClientSettings::resolve(args, &Sources::only(&environment))?;
    Ok((Client::new(&settings)?, settings))
}
