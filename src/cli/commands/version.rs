//! `towline version`

use serde_json::json;

use crate::{
    cli::{
        args::{ObjectFormat, VersionArgs},
        exit::Exit,
        output::{Out, json, yaml},
    },
    wire::Subprotocol,
};

pub(super) fn run(args: &VersionArgs) -> anyhow::Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    let object = json!({
        "version": version,
        "subprotocols": Subprotocol::ALL.map(Subprotocol::name),
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    Out.text(&match args.output {
        None => format!("towline {version}"),
        Some(ObjectFormat::Json) => json(&object),
        Some(ObjectFormat::Yaml) => yaml(&object)?,
    })?;
    Ok(Exit::Ok)
}
