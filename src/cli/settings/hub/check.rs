//! What the settings of a hub may not be together.

use super::HubSettings;
use crate::{cli::exit::Failure, limits};

impl HubSettings {
    pub(super) fn validate(&self) -> Result<(), Failure> {
        if let Some(name) = self.allowed_hosts.value.iter().find(|name| !is_host(name)) {
            return Err(Failure::Config(format!(
                "hub.allowed_hosts (from {}): {name:?} is no host name: give it without scheme, port and path",
                self.allowed_hosts.source
            )));
        }
        if self.listen.value.is_empty() {
            return Err(Failure::Config(
                "hub.listen: is empty; give at least one address".to_owned(),
            ));
        }
        if self.tls_cert.value.is_some() != self.tls_key.value.is_some() {
            return Err(Failure::Config(
                "tls_cert and tls_key belong together: give both or neither".to_owned(),
            ));
        }
        if self.state_key_file.value.is_some() && self.state_dir.value.is_none() {
            return Err(Failure::Config(
                "hub.state_key_file: is of no use without a state_dir; give --state-dir too".to_owned(),
            ));
        }
        self.interlink.check(self.token_file.value.is_some())?;
        if cfg!(not(feature = "grpc")) && !self.grpc_listen.value.is_empty() {
            return Err(Failure::Config(format!(
                "hub.grpc_listen (from {}): this build has no gRPC; leave it out, or take a build with the feature grpc",
                self.grpc_listen.source
            )));
        }
        let listeners = [
            &self.listen,
            &self.link_listen,
            &self.admin_listen,
            &self.grpc_listen,
        ];
        let open = listeners
            .iter()
            .flat_map(|setting| &setting.value)
            .find(|listen| !listen.is_local());
        if let Some(address) = open.filter(|_| self.token_file.value.is_none() && !self.insecure.value) {
            return Err(Failure::Config(format!(
                "refusing to listen on {address} without a token: everyone who reaches it could run pods and read their \
                 logs and secrets. Give --token-file FILE (`openssl rand -hex 32 | tr -d '\\n' > FILE`: the virtual \
                 kubelet fails on a line end), listen on 127.0.0.1, or, if the network itself is trusted, add --insecure"
            )));
        }
        let hold = self.create_hold.value;
        if hold > limits::CREATE_TIMEOUT {
            return Err(Failure::Config(format!(
                "hub.create_hold: {}s is over {}s; the virtual kubelet gives up after 120s",
                hold.as_secs(),
                limits::CREATE_TIMEOUT.as_secs()
            )));
        }
        Ok(())
    }
}

/// A host name or an IP address, bare.
fn is_host(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    !name.is_empty() && (name.bytes().all(plain) || address.parse::<std::net::IpAddr>().is_ok())
}
