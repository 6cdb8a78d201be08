//! TLS settings for both roles, on rustls with aws-lc-rs given explicitly: no process-wide default is set.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

/// HTTP/1.1 in ALPN (RFC 7301).
const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 in ALPN.
pub(super) const HTTP2: &[u8] = b"h2";

/// What a dialling peer trusts and shows. The default trusts the system's roots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file of the only CA certificates to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of this peer's own certificate chain; needs `key_file` too.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the private key of `cert_file`.
    pub key_file: Option<PathBuf>,
}

/// What an accepting peer shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM file of the certificate chain, the server's own first.
    pub cert_file: PathBuf,
    /// PEM file of its private key.
    pub key_file: PathBuf,
}

/// Why TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("cannot read {what} from {}: {problem}", file.display())]
    File {
        /// What was looked for.
        what: &'static str,
        /// Where.
        file: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// Certificate and key do not work together.
    #[error("certificate {} does not go with key {}: {problem}", cert.display(), key.display())]
    Pair {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls said.
        problem: String,
    },
    /// Only one of certificate and key is set.
    #[error("a client certificate needs both a certificate file and a key file; {missing} is missing")]
    Half {
        /// Which one.
        missing: &'static str,
    },
    /// This system has no CA certificates.
    #[error("no CA certificates found on this system: install ca-certificates or set a CA file")]
    NoRoots,
    /// rustls refused the settings.
    #[error("TLS settings: {0}")]
    Settings(#[from] rustls::Error),
}

impl TlsConfig {
    /// Reads the files and builds the client's settings. Blocks on the file system.
    ///
    /// # Errors
    /// Names the file that is missing or wrong.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        self.client_config_for(HTTP1)
    }

    /// The same for a peer that speaks `protocol`, as ALPN names it.
    pub(super) fn client_config_for(&self, protocol: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?);
        let mut config = match (&self.cert_file, &self.key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| pair(cert, key, &error))?,
            (Some(_), None) => {
                return Err(TlsError::Half {
                    missing: "the key file",
                });
            }
            (None, Some(_)) => {
                return Err(TlsError::Half {
                    missing: "the certificate file",
                });
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.ca_file else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return if roots.is_empty() {
                Err(TlsError::NoRoots)
            } else {
                Ok(roots)
            };
        };
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| TlsError::File {
                what: "a CA certificate",
                file: file.clone(),
                problem: error.to_string(),
            })?;
        }
        Ok(roots)
    }
}

impl ServerTls {
    /// Reads the files and builds the server's settings. Blocks on the file system.
    ///
    /// # Errors
    /// Names the file that is missing or wrong.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates(&self.cert_file)?, private_key(&self.key_file)?)
            .map_err(|error| pair(&self.cert_file, &self.key_file, &error))?;
        config.alpn_protocols = vec![HTTP1.to_vec()];
        Ok(Arc::new(config))
    }

    /// The same settings for a port that speaks gRPC. HTTP/1.1 is agreed on too, so that who speaks it there can be told.
    #[must_use]
    pub fn for_grpc(config: &ServerConfig) -> Arc<ServerConfig> {
        let mut config = config.clone();
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Arc::new(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Fills `bytes` so that nobody can guess them.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), std::io::Error> {
    provider()
        .secure_random
        .fill(bytes)
        .map_err(|_| std::io::Error::other("the system gives no random bytes"))
}

fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |problem: String| TlsError::File {
        what: "a certificate",
        file: file.clone(),
        problem,
    };
    let found = CertificateDer::pem_file_iter(file)
        .and_then(|blocks| blocks.collect::<Result<Vec<_>, _>>())
        .map_err(|error| fail(explain(&error)))?;
    if found.is_empty() {
        return Err(fail("it has no CERTIFICATE block".to_owned()));
    }
    Ok(found)
}

fn private_key(file: &PathBuf) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| TlsError::File {
        what: "a private key",
        file: file.clone(),
        problem: match error {
            pem::Error::NoItemsFound => {
                "it has no PRIVATE KEY block (an encrypted key is not read)".to_owned()
            }
            other => explain(&other),
        },
    })
}

fn explain(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it has no fitting PEM block".to_owned(),
        other => format!("not good PEM: {other}"),
    }
}

fn pair(cert: &Path, key: &Path, error: &rustls::Error) -> TlsError {
    TlsError::Pair {
        cert: cert.to_owned(),
        key: key.to_owned(),
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn errors_name_the_file_and_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let missing = TlsConfig {
            ca_file: Some(dir.path().join("no-such.pem")),
            ..TlsConfig::default()
        };
        let text = missing.client_config().unwrap_err().to_string();
        assert!(
            text.contains("no-such.pem") && text.contains("No such file"),
            "{text}"
        );

        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "nothing here\n").unwrap();
        let server = ServerTls {
            cert_file: empty.clone(),
            key_file: empty.clone(),
        };
        let text = server.server_config().unwrap_err().to_string();
        assert!(
            text.contains("empty.pem") && text.contains("no CERTIFICATE block"),
            "{text}"
        );

        let half = TlsConfig {
            ca_file: None,
            cert_file: Some(empty),
            key_file: None,
        };
        let text = TlsConfig {
            ca_file: Some(signed(dir.path(), "a").0),
            ..half
        }
        .client_config()
        .unwrap_err()
        .to_string();
        assert!(text.contains("key file is missing"), "{text}");
    }

    #[test]
    fn a_certificate_with_the_key_of_another_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (cert_file, _) = signed(dir.path(), "a");
        let (_, key_file) = signed(dir.path(), "b");
        let text = ServerTls { cert_file, key_file }
            .server_config()
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("a.pem does not go with key") && text.contains("b.key"),
            "{text}"
        );
    }

    fn signed(dir: &std::path::Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (cert, key)
    }
}
