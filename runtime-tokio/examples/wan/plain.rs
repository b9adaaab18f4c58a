//! A plain QUIC download, as quinn does it by default: what the lines give without a synchronization in the way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// Bytes that are written and read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// What a download took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Download {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// Sends to everyone who opens a stream, until it is closed.
pub(crate) async fn serve(address: SocketAddr) -> Result<(), Failure> {
    let certified = rcgen::generate_simple_self_signed(vec!["plain".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())?;
    let endpoint = Endpoint::server(ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?)), address)?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let chunk = vec![0x5a; CHUNK_BYTES];
            while let Ok((mut send, _)) = connection.accept_bi().await {
                let chunk = chunk.clone();
                tokio::spawn(async move { while send.write_all(&chunk).await.is_ok() {} });
            }
        });
    }
    Ok(())
}

/// Takes `bytes` in all from all of `servers` at once.
pub(crate) async fn get(servers: &[SocketAddr], bytes: u64) -> Result<Download, Failure> {
    let provider = Arc::new(ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
    let (begin, received) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for &server in servers {
        let connecting = endpoint.connect_with(config.clone(), server, "plain")?;
        let received = Arc::clone(&received);
        tasks.spawn(async move {
            let connection = connecting.await?;
            let (mut send, mut receive) = connection.open_bi().await?;
            send.write_all(&[0]).await?;
            while let Some(chunk) = receive.read_chunk(CHUNK_BYTES, true).await? {
                received.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
            }
            Ok::<(), Failure>(())
        });
    }
    while received.load(Ordering::Relaxed) < bytes {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
            Some(ended) = tasks.join_next() => ended??,
        }
    }
    Ok(Download { bytes: received.load(Ordering::Relaxed), seconds: begin.elapsed().as_secs_f64() })
}

/// Trusts anyone: there is nothing to protect here.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
