//! Whom to trust, and what proves who connects: rustls with the authorities of Mozilla or of a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// A file that TLS cannot be set up with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// It holds something else.
    #[error("`{}` holds no {what} in PEM form: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("a client's certificate and its key belong together: one of the two is not given")]
    Half,
    /// Key and certificate do not fit.
    #[error("the client's certificate in `{}` cannot be used: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Files in PEM form.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsFiles<'a> {
    /// Certificates of the authorities that are trusted; those of Mozilla where none is given.
    pub ca: Option<&'a Path>,
    /// The client's own certificate, with those between it and its authority.
    pub certificate: Option<&'a Path>,
    /// The key of the client's certificate.
    pub key: Option<&'a Path>,
}

/// How a broker proves who it is, and the client.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When one cannot be read, does not hold what it should, or the certificate comes without its key.
    pub fn new(files: &TlsFiles<'_>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of TLS 1.2 and 1.3")
            .with_root_certificates(authorities(files.ca)?);
        let config = match (files.certificate, files.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let unusable = |error: rustls::Error| TlsError::Certificate {
                    path: certificate.to_owned(),
                    reason: error.to_string(),
                };
                builder
                    .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                    .map_err(unusable)?
            }
            (Some(_), None) | (None, Some(_)) => return Err(TlsError::Half),
        };
        Ok(Self { config: Arc::new(config) })
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let Some(path) = file else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| foreign(path, "certificate", error))?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let certificates: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| foreign(path, "certificate", error))?;
    match certificates.is_empty() {
        true => Err(foreign(path, "certificate", "there is none in it")),
        false => Ok(certificates),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| foreign(path, "private key", error))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn foreign(path: &Path, what: &'static str, reason: impl ToString) -> TlsError {
    TlsError::Foreign { path: path.to_owned(), what, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_files_the_authorities_of_mozilla_are_trusted() {
        Tls::new(&TlsFiles::default()).unwrap();
        assert!(authorities(None).unwrap().len() > 50);
    }

    #[test]
    fn files_that_hold_something_else_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let error = |files: &TlsFiles<'_>| Tls::new(files).unwrap_err().to_string();
        let ca = TlsFiles { ca: Some(&path), ..TlsFiles::default() };
        assert!(error(&ca).starts_with("cannot read `"));
        fs::write(&path, "no certificate\n").unwrap();
        assert!(error(&ca).ends_with("ca.pem` holds no certificate in PEM form: there is none in it"));
        fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(error(&ca).contains("ca.pem` holds no certificate in PEM form: "));
        let half = TlsFiles { key: Some(&path), ..TlsFiles::default() };
        assert!(error(&half).contains("belong together"));
        let authority = rcgen::generate_simple_self_signed(vec!["broker".to_owned()]).unwrap();
        fs::write(&path, authority.cert.pem()).unwrap();
        Tls::new(&ca).unwrap();
        let keyless = TlsFiles { certificate: Some(&path), key: Some(&path), ..TlsFiles::default() };
        assert!(error(&keyless).contains("ca.pem` holds no private key in PEM form: "));
    }
}
