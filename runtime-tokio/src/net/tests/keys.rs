//! A peer that connects proves an Ed25519 key, and in no other way than by signing the handshake with it.

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;

use super::super::tls::{SERVER_NAME, ServerKey};
use super::*;

/// Shows one certificate and signs with one key, whether or not they belong together.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl Shown {
    fn new(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<Self> {
        let key = PrivatePkcs8KeyDer::from(key.serialized_der().to_vec());
        let key = ring::sign::any_supported_type(&key.into()).unwrap();
        Arc::new(Self(Arc::new(CertifiedKey::new(vec![certificate], key))))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Tries `shown` as a server's and as a client's certificate; true where each was accepted.
async fn accepted(shown: &Arc<Shown>, alpn: &[u8]) -> (bool, bool) {
    let provider = Arc::new(ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let mut server =
        builder.with_protocol_versions(&[&TLS13]).unwrap().with_no_client_auth().with_cert_resolver(shown.clone());
    server.alpn_protocols = vec![alpn.to_vec()];
    let server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).unwrap()));
    let endpoint = Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop((connection, endpoint));
    });
    let client = Node::asking();
    let as_server = client.network.connect(address, None).await.is_ok();
    accepting.abort();

    let mut server = Node::serving(echo());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
    let key = Arc::new(ServerKey::new(PeerId::from_bytes([0; 32]), None));
    let mut client = builder.dangerous().with_custom_certificate_verifier(key).with_client_cert_resolver(shown.clone());
    client.alpn_protocols = vec![alpn.to_vec()];
    let client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let _connection = endpoint.connect_with(client, server.address, SERVER_NAME).unwrap().await;
    let as_client = timeout(Duration::from_millis(300), server.events.recv()).await.is_ok();
    (as_server, as_client)
}

const ALPN: &[u8] = b"hs2-sync/1";

#[tokio::test]
async fn a_key_is_proven_by_signing_the_handshake() {
    let (own, stolen) = (KeyPair::generate_for(&PKCS_ED25519).unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let certificate = |key: &KeyPair| CertificateParams::default().self_signed(key).unwrap().der().clone();
    assert_eq!(accepted(&Shown::new(certificate(&own), &own), ALPN).await, (true, true), "the test itself is sound");
    assert_eq!(accepted(&Shown::new(certificate(&stolen), &own), ALPN).await, (false, false));
}

#[tokio::test]
async fn a_certificate_is_signed_by_its_own_key() {
    let (own, other) = (KeyPair::generate_for(&PKCS_ED25519).unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let params = CertificateParams::default();
    let certificate = params.signed_by(&own, &Issuer::from_params(&params, &other)).unwrap();
    assert_eq!(accepted(&Shown::new(certificate.der().clone(), &own), ALPN).await, (false, false));
}

#[tokio::test]
async fn keys_of_another_kind_are_refused() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    assert_eq!(accepted(&Shown::new(certificate.der().clone(), &key), ALPN).await, (false, false));
}

#[tokio::test]
async fn another_protocol_version_is_refused() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let shown = Shown::new(CertificateParams::default().self_signed(&key).unwrap().der().clone(), &key);
    assert_eq!(accepted(&shown, b"hs2-sync/2").await, (false, false));
}
