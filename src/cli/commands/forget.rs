//! `towline plugins forget`

use super::connect;
use crate::cli::{
    args::ClientArgs,
    client::{Query, plugin_path},
    exit::Exit,
    output::Out,
};

pub(super) async fn run(name: String, client: ClientArgs) -> anyhow::Result<Exit> {
    let (client, _) = connect(&client)?;
    client.delete(&plugin_path(&name), &Query::default()).await?;
    Out.text(&format!("plugin/{name} forgotten"))?;
    Ok(Exit::Ok)
}
