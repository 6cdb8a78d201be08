//! Which compiler built the guard: bounds hold for one.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    println!(
        "cargo:rustc-env=GUARD_RUSTC={}",
        version.as_deref().unwrap_or("rustc of an unknown version").trim()
    );
}
