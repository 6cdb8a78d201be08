//! `towline delete`

use super::connect;
use crate::cli::{
    args::{DeleteArgs, DeleteKind},
    client::{Query, pod_path},
    exit::{self, Exit},
    output::Out,
};

/// Deletes each; the first error decides the exit code, the others are still tried.
pub(super) async fn run(args: DeleteArgs) -> anyhow::Result<Exit> {
    let DeleteKind::Pod = args.kind;
    let (client, settings) = connect(&args.client)?;
    let query = Query::default().maybe("grace_seconds", args.grace_period);
    let mut exit = Exit::Ok;
    for name in &args.names {
        match client.delete(&pod_path(settings.namespace(), name), &query).await {
            Ok(_) => Out.text(&format!("pod \"{name}\" deleted"))?,
            Err(error) => {
                let error = anyhow::Error::new(error);
                eprintln!("towline: {error:#}");
                if exit == Exit::Ok {
                    exit = exit::exit_of(&error);
                }
            }
        }
    }
    Ok(exit)
}
