//! The hub of a fleet: `towline hub` as a child.

use std::{ffi::OsString, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

use super::{
    certificates::Certificates,
    child::{Process, Usage},
    rest::Rest,
};
use crate::transport::TlsConfig;

/// How long it may take to listen.
const START: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// A running hub.
#[derive(Debug)]
pub(super) struct HubProcess {
    process: Process,
    /// HOST:PORT.
    pub(super) address: String,
    scheme: &'static str,
    tls: TlsConfig,
}

impl HubProcess {
    /// Starts one on this address; port 0 for any.
    pub(super) async fn start(
        program: &Path,
        address: &str,
        certificates: Option<&Certificates>,
    ) -> anyhow::Result<Self> {
        let mut args: Vec<OsString> = ["hub", "--log-level", "error", "--listen", address]
            .map(OsString::from)
            .to_vec();
        if let Some(certificates) = certificates {
            args.extend(["--tls-cert".into(), certificates.chain().into()]);
            args.extend(["--tls-key".into(), certificates.key().into()]);
        }
        let process = Process::start("the hub", program, args)?;
        let began = Instant::now();
        let address = loop {
            let said = process.said();
            if let Some(address) = said.iter().find_map(|line| listening(line)) {
                break address;
            }
            // The socket of a hub that was killed is gone, but its port may be taken by somebody else meanwhile.
            process
                .usage()
                .with_context(|| format!("the hub does not listen: {}", said.join("; ")))?;
            if began.elapsed() > START {
                bail!("the hub does not listen after {START:?}: {}", said.join("; "));
            }
            sleep(LOOK).await;
        };
        Ok(Self {
            process,
            address,
            scheme: if certificates.is_some() { "https" } else { "http" },
            tls: TlsConfig {
                ca_file: certificates.map(Certificates::ca),
                ..TlsConfig::default()
            },
        })
    }

    /// Where its plugins dial.
    pub(super) fn link(&self) -> String {
        let scheme = if self.scheme == "https" { "wss" } else { "ws" };
        format!("{scheme}://{}/ws", self.address)
    }

    pub(super) async fn rest(&self) -> anyhow::Result<Rest> {
        Rest::connect(&format!("{}://{}", self.scheme, self.address), &self.tls).await
    }

    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }

    pub(super) async fn kill(self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// Waits until a metric has reached a value.
    pub(super) async fn reaches(
        &self,
        rest: &mut Rest,
        (name, label): (&str, &str),
        value: f64,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let now = rest.metric(name, label).await?;
            if now >= value {
                return Ok(());
            }
            if began.elapsed() > patience {
                bail!("{name} is {now} and not {value} after {patience:?}");
            }
            sleep(LOOK * 2).await;
        }
    }

    /// Waits until the hub has had nothing to do for a while: then what its start and its links needed for a moment has
    /// been given back, as far as it ever is.
    pub(super) async fn settles(&self) -> anyhow::Result<Usage> {
        const CALM: Duration = Duration::from_millis(500);
        let mut before = self.usage()?;
        for _ in 0..20 {
            sleep(CALM).await;
            let now = self.usage()?;
            if now.cpu.saturating_sub(before.cpu) <= Duration::from_millis(20) {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }
}

/// The address in the line that says where the hub listens.
fn listening(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    let (_, address) = rest.split_once("://")?;
    address.split(' ').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_what_a_hub_says() {
        let line = "towline hub: listening on https://127.0.0.1:3000 (interLink REST, plugins at /ws)";
        assert_eq!(listening(line).as_deref(), Some("127.0.0.1:3000"));
        assert_eq!(listening("towline hub: no --state-dir: a restart forgets"), None);
    }
}
