//! Certificates made for one test.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use towline::transport::{Listener, ServerTls, TlsConfig};

/// A CA, another CA, and the hub's certificate signed by the first, as PEM files.
pub(crate) struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    /// For `localhost`, good now.
    pub(crate) fn good() -> Self {
        Self::with(|_| {})
    }

    /// It ended long ago.
    #[allow(dead_code)]
    pub(crate) fn expired() -> Self {
        Self::with(|params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    /// It begins in a far future.
    #[allow(dead_code)]
    pub(crate) fn not_yet_valid() -> Self {
        Self::with(|params| params.not_before = date_time_ymd(3000, 1, 1))
    }

    fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let cert = params.self_signed(&key).unwrap();
            std::fs::write(dir.path().join(name), cert.pem()).unwrap();
            Issuer::new(params, key)
        };
        let issuer = authority("ca.pem");
        authority("other.pem");
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let cert = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.path().join("hub.pem"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("hub.key"), key.serialize_pem()).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn server(&self) -> ServerTls {
        ServerTls {
            cert_file: self.path("hub.pem"),
            key_file: self.path("hub.key"),
        }
    }

    pub(crate) async fn listener(&self) -> Listener {
        Listener::bind("127.0.0.1:0", Some(self.server().server_config().unwrap()))
            .await
            .unwrap()
    }

    /// As [`Certificates::listener`], for gRPC.
    #[allow(dead_code)] // not every binary has it
    pub(crate) async fn grpc_listener(&self) -> Listener {
        let config = ServerTls::for_grpc(&self.server().server_config().unwrap());
        Listener::bind("127.0.0.1:0", Some(config)).await.unwrap()
    }

    /// `ca.pem` is the one that signed the hub's certificate, `other.pem` is not.
    pub(crate) fn trusting(&self, ca: &str) -> TlsConfig {
        TlsConfig {
            ca_file: Some(self.path(ca)),
            ..TlsConfig::default()
        }
    }
}

pub(crate) fn port_of(listener: &Listener) -> String {
    listener.local_addr().rsplit_once(':').unwrap().1.to_owned()
}
