//! Counts the instructions of towline's hot paths under callgrind and compares them with committed bounds.
//!
//! Time depends on the machine and on what else it does; instructions hardly do. `make bench-guard` builds and runs this;
//! docs/BENCHMARKS.md (Guard) says how it works and what it does not see. It runs itself under callgrind, once a
//! scenario.

mod bounds;
mod callgrind;
mod report;
mod scenarios;

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bounds::Bounds;
use callgrind::Callgrind;
use report::Judgement;
use scenarios::Scenario;

const USAGE: &str = "\
usage: towline-guard [--bounds FILE] [--only TEXT] [--accept]
       towline-guard --list
       towline-guard run SCENARIO [TIMES]   what callgrind is given to run

exit status: 0 within bounds, 1 not, 2 wrong usage, 3 nothing was compared (no valgrind, or not x86_64)";

/// The compiler that built this.
const RUSTC: &str = env!("GUARD_RUSTC");

/// Nothing was compared: no valgrind, or a machine that the bounds say nothing about.
const NOT_COMPARED: u8 = 3;

type Failure = Box<dyn Error + Send + Sync>;

enum Task {
    Compare {
        bounds: PathBuf,
        only: String,
        accept: bool,
    },
    List,
    Run {
        name: String,
        times: Option<u32>,
    },
}

fn main() -> ExitCode {
    let task = match read(env::args().skip(1)) {
        Ok(task) => task,
        Err(wrong) => {
            eprintln!("towline-guard: {wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = match task {
        Task::Compare { bounds, only, accept } => compare(&bounds, &only, accept),
        Task::List => {
            scenarios::all().iter().for_each(|one| println!("{}", one.name));
            Ok(ExitCode::SUCCESS)
        }
        Task::Run { name, times } => run(&name, times),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("towline-guard: {failure}");
        ExitCode::FAILURE
    })
}

fn read(mut args: impl Iterator<Item = String>) -> Result<Task, String> {
    let (mut bounds, mut only, mut accept) = (None, String::new(), false);
    while let Some(arg) = args.next() {
        let mut value = |what: &str| args.next().ok_or_else(|| format!("{arg} needs {what}"));
        match arg.as_str() {
            "--bounds" => bounds = Some(PathBuf::from(value("a file")?)),
            "--only" => only = value("a part of a scenario's name")?,
            "--accept" => accept = true,
            "--list" => return Ok(Task::List),
            "run" => {
                let name = value("the name of a scenario")?;
                let times = args.next().map(|text| {
                    let number = text.parse().ok().filter(|times| *times > 0);
                    number.ok_or_else(|| format!("{text:?} is not a number of times, as in: run {name} 100"))
                });
                return Ok(Task::Run {
                    name,
                    times: times.transpose()?,
                });
            }
            _ => return Err(format!("{arg:?} is not known")),
        }
    }
    let bounds = bounds.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("bounds.tsv"));
    Ok(Task::Compare { bounds, only, accept })
}

/// Under callgrind: one scenario, with what prepares it.
fn run(name: &str, times: Option<u32>) -> Result<ExitCode, Failure> {
    let all = scenarios::all();
    let Some(scenario) = all.iter().find(|one| one.name == name) else {
        return Err(format!("there is no scenario {name:?}; --list names them").into());
    };
    callgrind::run(scenario, times.unwrap_or(scenario.times));
    Ok(ExitCode::SUCCESS)
}

fn compare(file: &Path, only: &str, accept: bool) -> Result<ExitCode, Failure> {
    if cfg!(not(target_arch = "x86_64")) {
        eprintln!(
            "guard: not compared: the bounds are numbers of x86_64 instructions, other machines have others"
        );
        return Ok(ExitCode::from(NOT_COMPARED));
    }
    let Some(callgrind) = Callgrind::find()? else {
        eprintln!("guard: not compared: valgrind is not here; `tools/install valgrind` installs it");
        return Ok(ExitCode::from(NOT_COMPARED));
    };
    let wanted: Vec<Scenario> = (scenarios::all().into_iter())
        .filter(|one| one.name.contains(only))
        .collect();
    if wanted.is_empty() {
        return Err(format!("no scenario has {only:?} in its name; --list names them").into());
    }
    let bounds = Bounds::read(file)?;
    println!(
        "guard: {} scenarios, {}, {RUSTC}",
        wanted.len(),
        callgrind.version
    );
    let counts = callgrind.count_all(&wanted)?;
    let judgement = Judgement::new(&wanted, &counts, &bounds, only.is_empty());
    print!("{}", judgement.table());
    if accept {
        let accepted = bounds.accept(&wanted, &counts, only.is_empty());
        accepted.write(file)?;
        println!("guard: {} has the bounds of what was counted", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    print!("{}", judgement.words(|name| callgrind.profile(name)));
    let (passed, failed) = judgement.counts();
    println!("guard: {passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
