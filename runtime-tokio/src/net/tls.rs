//! TLS for peers that know each other by key: each side shows a self-signed Ed25519 certificate and proves the key in
//! the handshake. Names and authorities mean nothing here.
//!
//! Certificates come from anyone. A certificate is accepted where it stands alone, is signed by its own Ed25519 key, and
//! the TLS 1.3 handshake is signed by that key too; then, and only then, the key is the peer's id. Sessions are never
//! resumed, so every connection proves its key afresh.

use std::sync::{Arc, OnceLock};

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, alg_id};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::sign::public_key_to_spki;
use rustls::version::TLS13;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::identity::Identity;
use hotstuff2_sync::ids::PeerId;

/// The protocol both sides must name, with its version: others are turned away in the handshake.
const ALPN: &[u8] = b"hs2-sync/1";

/// QUIC wants a server name. Peers are known by key, so that all go by this one; it is neither sent nor checked.
pub(super) const SERVER_NAME: &str = "hs2-sync";

/// The server half of an endpoint's TLS.
pub(super) fn server_config(identity: &Identity) -> Result<QuicServerConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(ClientKey { algorithms: provider.signature_verification_algorithms });
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate()], identity.key().into())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    QuicServerConfig::try_from(config).map_err(|error| Error::General(error.to_string()))
}

/// The client half, for one dial: `key` says what is expected, and afterwards what was found.
pub(super) fn client_config(identity: &Identity, key: Arc<ServerKey>) -> Result<QuicClientConfig, Error> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(key)
        .with_client_auth_cert(vec![identity.certificate()], identity.key().into())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    QuicClientConfig::try_from(config).map_err(|error| Error::General(error.to_string()))
}

/// The peer at the other end of a connection whose handshake is done, if it speaks this protocol.
pub(super) fn peer_of(connection: &quinn::Connection) -> Option<PeerId> {
    let handshake = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    let certificates = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    match certificates.as_slice() {
        [certificate] if handshake.protocol.as_deref() == Some(ALPN) => {
            key_of(&ParsedCertificate::try_from(certificate).ok()?).ok()
        }
        _ => None,
    }
}

/// The key that a dial expects of the server, and the one that it found.
#[derive(Debug)]
pub(super) struct ServerKey {
    own: PeerId,
    expected: Option<PeerId>,
    found: OnceLock<PeerId>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerKey {
    /// Expects `expected`, or where that is `None` any key but `own`.
    pub(super) fn new(own: PeerId, expected: Option<PeerId>) -> Self {
        let algorithms = default_provider().signature_verification_algorithms;
        Self { own, expected, found: OnceLock::new(), algorithms }
    }

    /// The key the server claimed. It was proven only if the handshake succeeded.
    pub(super) fn found(&self) -> Option<PeerId> {
        self.found.get().copied()
    }
}

impl ServerCertVerifier for ServerKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = verify_self_signed(end_entity, intermediates, now, &self.algorithms)?;
        let found = *self.found.get_or_init(|| key);
        // Refused before our own certificate is shown: a stranger need not learn who dialled.
        if found == self.own || self.expected.is_some_and(|expected| expected != found) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Accepts any client that proves an Ed25519 key; whether that key is welcome is decided after the handshake.
#[derive(Debug)]
struct ClientKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for ClientKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        verify_self_signed(end_entity, intermediates, now, &self.algorithms)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The key of a certificate that stands alone and is signed by it.
fn verify_self_signed(
    certificate: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<PeerId, Error> {
    if !intermediates.is_empty() {
        return Err(CertificateError::ApplicationVerificationFailure.into());
    }
    let parsed = ParsedCertificate::try_from(certificate)?;
    // The key first: it bounds the check that follows to one Ed25519 signature.
    let key = key_of(&parsed)?;
    let mut itself = RootCertStore::empty();
    itself.add(certificate.clone().into_owned())?;
    verify_server_cert_signed_by_trust_anchor(&parsed, &itself, &[], now, algorithms.all)?;
    Ok(key)
}

/// The Ed25519 key of a certificate; any other kind is refused.
fn key_of(certificate: &ParsedCertificate<'_>) -> Result<PeerId, Error> {
    let info = certificate.subject_public_key_info();
    let key = info.last_chunk::<32>().ok_or(CertificateError::BadEncoding)?;
    // Encoding the key again is the strictest parser there is.
    if public_key_to_spki(&alg_id::ED25519, key) != info {
        return Err(CertificateError::ApplicationVerificationFailure.into());
    }
    Ok(PeerId::from_bytes(*key))
}

/// Ring, with AES-128 preferred: bulk data is encrypted on the cores that also verify it.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..default_provider()
    })
}
