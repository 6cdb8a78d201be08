//! `towline create`

use std::{io::Read as _, path::Path};

use anyhow::Context as _;

use super::connect;
use crate::cli::{
    args::CreateArgs,
    client::{Client, ClientError, Query, pod_path},
    exit::{Exit, Failure},
    manifest::{CreateRequest, Defaults, Manifests},
    output::{Out, time},
};

/// Most that is read of one file: over what one create can carry several times.
const MAX_FILE: u64 = 256 << 20;

pub(super) async fn run(args: CreateArgs) -> anyhow::Result<Exit> {
    let (client, settings) = connect(&args.client)?;
    let mut manifests = Manifests::default();
    for path in &args.filename {
        let name = if path == Path::new("-") {
            "stdin".to_owned()
        } else {
            path.display().to_string()
        };
        let text = read(path).with_context(|| format!("cannot read {name}"))?;
        manifests.add(&name, &text)?;
    }
    let requests = manifests.requests(&defaults(settings.asked_namespace))?;
    if requests.is_empty() {
        return Err(Failure::Failed("no Pod in the given files: nothing to create".to_owned()).into());
    }
    for request in &requests {
        refuse_second(&client, request).await?;
    }
    for request in &requests {
        create(&client, request)
            .await
            .with_context(|| format!("{}: pod {}", request.place, request.name))?;
        Out.text(&format!("pod/{} created", request.name))?;
    }
    Ok(Exit::Ok)
}

/// What a file may leave out, now.
pub(super) fn defaults(namespace: Option<String>) -> Defaults {
    Defaults {
        namespace,
        now: time::now_rfc3339(),
        uid: || uuid::Uuid::new_v4().to_string(),
    }
}

/// Posts one pod as the virtual kubelet does.
pub(super) async fn create(client: &Client, request: &CreateRequest) -> Result<(), ClientError> {
    client.post("/create", &request.body).await.map(drop)
}

/// A hub tells pods apart by uid; for people the name must do, as on a cluster. The same uid is let through: then
/// the create is repeated and changes nothing.
async fn refuse_second(client: &Client, request: &CreateRequest) -> anyhow::Result<()> {
    match client
        .get(&pod_path(&request.namespace, &request.name), &Query::default())
        .await
    {
        Ok(pod) if pod["uid"] != request.uid.as_str() => Err(Failure::Failed(format!(
            "{}: pod {} exists already in namespace {}; delete it first with `towline delete pod {1}`",
            request.place, request.name, request.namespace
        ))
        .into()),
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)?
            .take(MAX_FILE)
            .read_to_string(&mut text)
    };
    if read? as u64 >= MAX_FILE {
        anyhow::bail!("it is over {MAX_FILE} bytes");
    }
    Ok(text)
}
