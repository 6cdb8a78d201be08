//! The `towline` binary: parse, run, exit code.

fn main() -> std::process::ExitCode {
    towline::cli::main()
}
