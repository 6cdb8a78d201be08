//! Compiles `proto/` with protox, a compiler in pure Rust: building needs no protoc.

use std::error::Error;

const PROTOS: [&str; 5] = [
    "proto/towline/v1/link.proto",
    "proto/towline/v1/call.proto",
    "proto/towline/v1/pod.proto",
    "proto/towline/v1/log.proto",
    "proto/towline/v1/event.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/towline");
    let files = protox::compile(PROTOS, ["proto"])?;

    let mut config = prost_build::Config::new();
    // Payloads are passed on without a copy.
    config.bytes(["."]);
    #[cfg(feature = "grpc")]
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds_with_config(files, config)?;
    #[cfg(not(feature = "grpc"))]
    config.compile_fds(files)?;
    Ok(())
}
