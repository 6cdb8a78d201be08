//! The command line.

/// Parses, runs, and gives the exit code.
pub fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == "supervise")
        && let Some(dir) = arguments.next()
    {
        return crate::backend::process::supervisor::main(std::path::Path::new(&dir));
    }
    std::process::ExitCode::SUCCESS
}
