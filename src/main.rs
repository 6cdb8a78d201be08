//! The `towline` binary: parse, run, exit code.

/// What one thread allocates here another often frees, which glibc's allocator does under a lock (decision 0020).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    towline::cli::main()
}
