//! What the environment asks for, and what a row of the matrix leaves behind: its line in the report.

use std::{
    env,
    fs::OpenOptions,
    future::Future,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    thread,
    time::Instant,
};

/// FAULTS_SEED, FAULTS_CYCLES, FAULTS_SECONDS. Without them: the short form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    /// Kills of hub or plugin in the row that counts them.
    pub(crate) cycles: u64,
    /// How long the other rows keep their faults going.
    pub(crate) seconds: u64,
}

impl Settings {
    pub(crate) fn of_environment() -> Self {
        Self {
            seed: number("FAULTS_SEED", 1),
            cycles: number("FAULTS_CYCLES", 4),
            seconds: number("FAULTS_SECONDS", 3),
        }
    }

    /// Whether there is time for what only a timeout of the link ends.
    pub(crate) fn is_long(&self) -> bool {
        self.seconds >= 60
    }

    /// Decisions of one row: the same for the same seed.
    pub(crate) fn random(&self, row: &str) -> fastrand::Rng {
        let mut hasher = DefaultHasher::new();
        (self.seed, row).hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish())
    }
}

fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text}: a whole number")),
        _ => default,
    }
}

/// Runs one row; `body` gives its figures. When it fails, the line that repeats it is printed.
pub(crate) fn row<F>(name: &'static str, body: impl FnOnce(Settings) -> F)
where
    F: Future<Output = Result<Vec<String>, NotRun>>,
{
    let settings = Settings::of_environment();
    let _replay = Replay { name, settings };
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    match runtime.block_on(body(settings)) {
        Ok(figures) => {
            let took = began.elapsed().as_secs_f64();
            report(&format!("run: {name}: {took:.0} s\n  {}", figures.join("\n  ")));
        }
        Err(NotRun(why)) => not_run(name, &why),
    }
}

/// A row, or a part of one, that this machine does not allow: said and counted.
pub(crate) fn not_run(name: &str, why: &str) {
    report(&format!("not run: {name}: {why}"));
}

/// Why a row cannot run on this machine.
#[derive(Debug, Clone)]
pub(crate) struct NotRun(pub(crate) String);

/// Past the test's captured output, so that nothing is left out in silence. Figures only where somebody asked for a
/// report, the file FAULTS_REPORT.
fn report(text: &str) {
    let file = env::var_os("FAULTS_REPORT");
    if file.is_some() || !text.starts_with("run") {
        let _ = writeln!(std::io::stderr(), "faults: {text}");
    }
    if let Some(path) = file {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(format!("{text}\n").as_bytes()).unwrap();
    }
}

struct Replay {
    name: &'static str,
    settings: Settings,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if thread::panicking() {
            let Settings {
                seed,
                cycles,
                seconds,
            } = self.settings;
            let test = self.name.replace([' ', '-'], "_");
            report(&format!(
                "FAILED: {}\n  replay: FAULTS_SEED={seed} FAULTS_CYCLES={cycles} FAULTS_SECONDS={seconds} \
                    cargo test --test faults {test}",
                self.name
            ));
        }
    }
}
