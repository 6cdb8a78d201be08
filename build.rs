//! Compiles `proto/` with protox, a compiler in pure Rust: building needs no protoc.

use std::error::Error;

const PROTOS: [&str; 5] = [
    "proto/towline/v1/link.proto",
    "proto/towline/v1/call.proto",
    "proto/towline/v1/pod.proto",
    "proto/towline/v1/log.proto",
    "proto/towline/v1/event.proto",
];

/// Messages that travel on the JSON path field by field, in their proto names. What is absent or null is the default.
const IN_JSON: [&str; 11] = [
    "Limits",
    "Outbox",
    "Accelerator",
    "Taint",
    "NodeStatus",
    "Welcome",
    "GoAway",
    "EventAck",
    "PodRef",
    "LogPosition",
    "LogsEnd",
];
/// Fields of Register but for its role, which is a word.
const REGISTER: [&str; 10] = [
    "plugin",
    "instance",
    "type",
    "software",
    "features",
    "limits",
    "outbox",
    "jobs_epoch",
    "labels",
    "node_status",
];
/// Fields that JSON leaves out when they say nothing.
const LEFT_OUT: [&str; 13] = [
    "Register.type",
    "Register.software",
    "Register.limits",
    "Register.outbox",
    "Register.jobs_epoch",
    "Register.labels",
    "Register.node_status",
    "NodeStatus.reason",
    "NodeStatus.cpu",
    "NodeStatus.memory",
    "NodeStatus.pods",
    "NodeStatus.accelerators",
    "NodeStatus.taints",
];

/// Bodies of a frame that lie outside of it: large ones, and calls.
const BOXED: [&str; 7] = [
    "register",
    "welcome",
    "request",
    "response",
    "stream_logs",
    "pod_event",
    "node_status",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/towline");
    let files = protox::compile(PROTOS, ["proto"])?;

    let mut config = prost_build::Config::new();
    // Payloads are passed on without a copy.
    config.bytes(["."]);
    // A frame is moved a dozen times on its way: the small and frequent ones must not be as large as Register.
    for body in BOXED {
        config.boxed(format!(".towline.v1.Frame.body.{body}"));
    }
    json(&mut config);
    #[cfg(feature = "grpc")]
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds_with_config(files, config)?;
    #[cfg(not(feature = "grpc"))]
    config.compile_fds(files)?;
    #[cfg(feature = "bench")]
    peers()?;
    Ok(())
}

/// The service of the benchmark's tonic peers. It carries the link's own messages.
#[cfg(feature = "bench")]
fn peers() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src/bench/peers/peer.proto");
    let mut files = protox::compile(["src/bench/peers/peer.proto"], ["src/bench/peers", "proto"])?;
    files.file.retain(|file| file.name() == "peer.proto");
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(".towline.v1", "crate::wire::v1")
        .compile_fds(files)?;
    Ok(())
}

fn json(config: &mut prost_build::Config) {
    const DERIVE: &str = "#[derive(serde::Serialize, serde::Deserialize)]";
    const NULL: &str = "#[serde(deserialize_with = \"crate::wire::fields::null\")]";
    let path = |name: &str| format!("towline.v1.{name}");
    for name in IN_JSON {
        config.type_attribute(path(name), DERIVE);
        config.type_attribute(path(name), "#[serde(default)]");
        config.field_attribute(path(name), NULL);
    }
    config.type_attribute(path("Register"), DERIVE);
    config.type_attribute(path("Register"), "#[serde(default)]");
    config.field_attribute(
        path("Register.role"),
        "#[serde(with = \"crate::wire::fields::role\")]",
    );
    for field in REGISTER {
        config.field_attribute(path(&format!("Register.{field}")), NULL);
    }
    for list in ["AcceleratorList", "TaintList"] {
        config.type_attribute(path(list), DERIVE);
        config.type_attribute(path(list), "#[serde(transparent)]");
    }
    for field in LEFT_OUT {
        let skip = "#[serde(skip_serializing_if = \"crate::wire::fields::is_default\")]";
        config.field_attribute(path(field), skip);
    }
    let sorted = "#[serde(serialize_with = \"crate::wire::fields::sorted\")]";
    config.field_attribute(path("Register.labels"), sorted);
}
