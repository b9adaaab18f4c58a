//! QUIC between nodes of which each has the same key, which anyone may read here: there is nothing to protect where only a
//! line is measured.

use std::sync::Arc;

use quinn::{ClientConfig, ServerConfig};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The name that a client says, and that the certificate is for.
pub(crate) const NAME: &str = "plain";
/// What comes before the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The key of all, and the certificate that it signs for itself.
fn certified() -> Result<(PrivatePkcs8KeyDer<'static>, CertificateDer<'static>), Failure> {
    let key = PrivatePkcs8KeyDer::from([PKCS8_HEAD.as_slice(), &[7; 32]].concat());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519)?;
    let certificate = CertificateParams::new([NAME.to_owned()])?.self_signed(&pair)?.der().clone();
    Ok((key, certificate))
}

pub(crate) fn server() -> Result<ServerConfig, Failure> {
    let (key, certificate) = certified()?;
    Ok(ServerConfig::with_single_cert(vec![certificate], key.into())?)
}

pub(crate) fn client() -> Result<ClientConfig, Failure> {
    let mut trusted = RootCertStore::empty();
    trusted.add(certified()?.1)?;
    Ok(ClientConfig::with_root_certificates(Arc::new(trusted))?)
}
