//! `towline status`

use anyhow::Context as _;

use super::{connect, pod_name};
use crate::cli::{
    args::{ObjectFormat, StatusArgs},
    client::{Query, pod_path},
    exit::Exit,
    output::{Out, PodRow, describe, json, time, yaml},
};

pub(super) async fn run(args: StatusArgs) -> anyhow::Result<Exit> {
    let (client, settings) = connect(&args.client)?;
    let pod = client
        .get(
            &pod_path(settings.namespace(), pod_name(&args.pod)),
            &Query::default(),
        )
        .await?;
    Out.text(&match args.output {
        Some(ObjectFormat::Json) => json(&pod),
        Some(ObjectFormat::Yaml) => yaml(&pod)?,
        None => {
            let row: PodRow = serde_json::from_value(pod).context("the hub's answer is no pod")?;
            describe(&row, time::now())
        }
    })?;
    Ok(Exit::Ok)
}
