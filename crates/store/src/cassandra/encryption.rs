//! Encryption: whose certificates we believe.
//!
//! In: a PEM file, or the operating system's. Out: a TLS client's configuration.
//! Always: a node's certificate is checked, its name included; there is no way to switch that off.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::CassandraTls;
use crate::StoreError;

/// Where operating systems keep the authorities that they believe: Debian, Fedora, Alpine.
const OF_THE_SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// A client that believes these authorities.
pub(super) fn client(tls: &CassandraTls) -> Result<Arc<ClientConfig>, StoreError> {
    let roots = match &tls.ca_file {
        Some(file) => authorities(file)?,
        None => {
            let found = OF_THE_SYSTEM.iter().map(Path::new).find(|file| file.exists());
            authorities(found.ok_or_else(|| {
                StoreError::Refused("this system has no list of authorities: name a file".to_owned())
            })?)?
        }
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Refused(error.to_string()))?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}

fn authorities(file: &Path) -> Result<RootCertStore, StoreError> {
    let refused = |why: &dyn std::fmt::Display| {
        StoreError::Refused(format!("the authorities in {}: {why}", file.display()))
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| refused(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refused(&error))?;
        // A system's list may hold one that this build cannot read; a list of ours may not be without any.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(refused(&"there is no certificate in it"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused_by_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let missing = Path::new("/nowhere/ca.pem");
        for path in [file.path(), missing] {
            let tls = CassandraTls {
                ca_file: Some(path.to_owned()),
            };
            let error = client(&tls).unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
