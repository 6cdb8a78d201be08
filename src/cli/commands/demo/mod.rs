//! `towline demo`: a hub and a plugin as two peers over a WebSocket on loopback, and a pod that goes all the way.

mod scene;
mod show;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::{
    args::{ClientArgs, DemoArgs},
    client::Client,
    exit::Exit,
    output::Out,
    settings::{ClientSettings, Sources},
    stop,
};
use scene::Scene;

/// Where the hub listens when it can: then the client verbs need no --hub.
const ADDRESS: &str = "127.0.0.1:3000";
/// The pod runs about five seconds; a machine that needs this long has another problem.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) async fn run(args: DemoArgs) -> anyhow::Result<Exit> {
    let stop = stop::on_signals()?;
    let scene = Scene::set(ADDRESS).await?;
    let client = client_of(&scene)?;
    let result = play(&client, &scene, &args, &stop).await;
    let left = scene.clear(&client).await;
    let exit = result?;
    left?;
    Ok(exit)
}

/// The show itself; whatever it says, the scene is cleared afterwards.
async fn play(
    client: &Client,
    scene: &Scene,
    args: &DemoArgs,
    stop: &CancellationToken,
) -> anyhow::Result<Exit> {
    let shown = async {
        scene.ready(client).await?;
        show::pod(client).await
    };
    let succeeded = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        shown = tokio::time::timeout(LIMIT, shown) => match shown {
            Ok(shown) => Some(shown?),
            Err(_) => anyhow::bail!("the demo's pod did not finish within {} s", LIMIT.as_secs()),
        },
    };
    if succeeded.is_some() && !args.once {
        Out.text(&what_next(&scene.hub, &scene.address))?;
        stop.cancelled().await;
        eprintln!("towline demo: stopping");
        return Ok(Exit::Ok);
    }
    Ok(if succeeded == Some(true) {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// A client of the demo's own hub: settings of the environment are for another one.
fn client_of(scene: &Scene) -> anyhow::Result<Client> {
    let args = ClientArgs {
        hub: Some(scene.hub.clone()),
        ..ClientArgs::default()
    };
    let nothing = |_: &str| None;
    Ok(Client::new(&ClientSettings::resolve(
        &args,
        &Sources::only(&nothing),
    )?)?)
}

fn what_next(hub: &str, address: &str) -> String {
    let option = if address == ADDRESS {
        String::new()
    } else {
        format!(" --hub {hub}")
    };
    format!(
        "
The hub goes on at {hub}. In another terminal:

  towline get plugins{option} -o wide
  towline get pods{option} -w
  towline status demo{option}
  towline logs demo{option} -c ticker --timestamps
  towline delete pod demo{option}
  towline plugin --hub ws://{address}/ws --name second      # a second plugin
  curl -s {hub}/metrics

A virtual kubelet gets there with InterlinkURL: \"http://127.0.0.1\" and InterlinkPort: \"{port}\".
Ctrl-C ends hub, plugin and pods, and removes their files.",
        port = address.rsplit(':').next().unwrap_or_default(),
    )
}
