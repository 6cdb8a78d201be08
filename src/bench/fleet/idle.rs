//! The same connections over tonic, to compare with.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    Fleet, FleetRow,
    child::Process,
    order::{Done, Order},
    rows::{LONGER, Rows, first, millis},
    tonic::Listening,
};

/// Idle streams over tonic.
pub(super) async fn run(fleet: &Fleet, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Vec<FleetRow>> {
    let mut rows = Rows {
        fleet,
        peer: "tonic",
        rows: Vec::new(),
    };
    let args = ["bench", "fleet-tonic-server"];
    let mut server = Process::start("tonic's server", &fleet.program, args)?;
    let Listening { address } = server.answer(Duration::from_secs(20)).await?;
    let to = format!("http://{address}");
    let args = ["bench", "fleet-tonic-clients", "--to", to.as_str()];
    let mut clients = Process::start("tonic's clients", &fleet.program, args)?;
    let within_ms = millis(fleet.patience);
    let order = |count| Order::Dial { count, within_ms };
    let first = first(fleet.plugins);
    let count = fleet.plugins - first;
    progress(&format!("tonic: {} streams are opened", fleet.plugins));
    if first > 0 {
        clients
            .ask::<Done>(&order(first), fleet.patience + LONGER)
            .await?;
    }
    sleep(Duration::from_millis(500)).await;
    let (server_before, clients_before) = (server.usage()?, clients.usage()?);
    let done: Done = clients.ask(&order(count), fleet.patience + LONGER).await?;
    sleep(Duration::from_millis(500)).await;
    rows.add("connect", count as f64 * 1e3 / done.took_ms, "plugins/s", None);
    rows.connected("hub", count, server_before, server.usage()?, None);
    rows.connected("plugin", count, clients_before, clients.usage()?, None);
    clients.kill().await?;
    server.kill().await?;
    Ok(rows.rows)
}
