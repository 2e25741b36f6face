//! Certificates of clients. One that does not hold does not break the handshake: who shows it is answered 401, as by kube-apiserver, and so
//! learns why nothing is to be had.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, UnixTime},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::User;

/// Judges certificates by the cluster's authority.
#[derive(Debug)]
pub struct Certificates(Arc<dyn ClientCertVerifier>);

/// What somebody has shown of themselves at the beginning of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// No certificate.
    Nothing,
    /// A certificate of the authority that holds now.
    Holds(User),
    /// One that does not hold.
    DoesNotHold,
}

impl Certificates {
    /// Of an authority.
    pub fn new(roots: RootCertStore) -> Result<Self, VerifierBuilderError> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
        builder.allow_unauthenticated().build().map(Self)
    }

    /// Who shows this chain at this time.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Shown {
        let Some((first, others)) = chain.split_first() else { return Shown::Nothing };
        match self.0.verify_client_cert(first, others, now) {
            Ok(_) => User::of_certificate(first).map_or(Shown::DoesNotHold, Shown::Holds),
            Err(_) => Shown::DoesNotHold,
        }
    }
}

impl ClientCertVerifier for Certificates {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    /// What it is worth is judged when the handshake is over; only what is no certificate is refused here.
    fn verify_client_cert(
        &self,
        first: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match x509_parser::parse_x509_certificate(first) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(_) => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
