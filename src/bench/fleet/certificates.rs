//! A certificate for 127.0.0.1, made for one run.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// PEM files in a directory of their own, gone with this.
#[derive(Debug)]
pub(super) struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    pub(super) fn make() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("towline-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let made = Self { dir };
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?;
        made.write("ca.pem", &authority.pem())?;
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        let loopback = SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST));
        params.subject_alt_names.push(loopback);
        let key = KeyPair::generate()?;
        let chain = params.signed_by(&key, &issuer)?;
        made.write("hub.pem", &chain.pem())?;
        made.write("hub.key", &key.serialize_pem())?;
        Ok(made)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    pub(super) fn chain(&self) -> PathBuf {
        self.dir.join("hub.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.dir.join("hub.key")
    }

    #[cfg(test)]
    fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // What is left in a directory for temporary files hurts nobody.
        let _ = fs::remove_dir_all(Path::new(&self.dir));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transport::{ServerTls, TlsConfig};

    #[test]
    fn they_are_good_and_go_with_their_owner() {
        let made = Certificates::make().unwrap();
        let server = ServerTls {
            cert_file: made.chain(),
            key_file: made.key(),
        };
        server.server_config().unwrap();
        let client = TlsConfig {
            ca_file: Some(made.ca()),
            ..TlsConfig::default()
        };
        client.client_config().unwrap();
        let dir = made.dir().to_owned();
        drop(made);
        assert!(!dir.exists());
    }
}
