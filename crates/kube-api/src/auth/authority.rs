//! The cluster's own certificate authority: its key and the key of tokens are kept in a folder; certificates for the server and for
//! clients are made from it when the server starts.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, date_time_ymd,
};
use serde_json::{Value, json};
use thiserror::Error;

use super::token::Signer;

/// How long the authority's own certificate and the server's hold, years.
const AUTHORITY_YEARS: i32 = 10;
/// How long a client's certificate holds, years.
const CLIENT_YEARS: i32 = 1;

/// Why there is no authority.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// The file system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder is something else.
    #[error("{} is not a folder: restore it from a copy, or remove it to start with a new authority, which no old kubeconfig knows", path.display())]
    NoFolder {
        /// What is there.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{} holds no usable key or certificate ({source}): restore it from a copy, or remove the folder to start with a new authority, which no old kubeconfig knows", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// A file is not even text.
    #[error("{} holds no key or certificate: restore it from a copy, or remove the folder to start with a new authority, which no old kubeconfig knows", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
    },
    /// A file is not there, though others are.
    #[error("{} is not there, though the certificate is: restore it from a copy, or remove the folder to start with a new authority, which no old kubeconfig knows", path.display())]
    Lost {
        /// Which file.
        path: PathBuf,
    },
    /// The files are each as they should be, but of different authorities.
    #[error("{} is not the key of {}: restore both from one copy, or remove the folder to start with a new authority, which no old kubeconfig knows", key.display(), certificate.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// No key could be made or read.
    #[error("the key of service account tokens is not usable: {0}")]
    Key(ring::error::KeyRejected),
}

/// The certificate authority of the cluster.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    token_key_der: Vec<u8>,
}

/// A certificate with its key, PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: String,
}

/// Names and addresses that the server answers to.
#[derive(Clone, Debug, Default)]
pub struct ServerNames {
    /// Names.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

impl Authority {
    /// The authority of a folder, which is made if it is not there.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, AuthorityError> {
        let file = |what, path: &Path| {
            let path = path.to_owned();
            move |source| AuthorityError::File { what, path, source }
        };
        match fs::create_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(AuthorityError::NoFolder { path: folder.to_owned() });
            }
            made => made.map_err(file("make", folder))?,
        }
        let (certificate, key, token) = (folder.join("ca.crt"), folder.join("ca.key"), folder.join("sa.key"));
        // The certificate comes last: with it, the key is there too.
        if !certificate.exists() {
            let pair = KeyPair::generate()?;
            let made = authority_params(now).self_signed(&pair)?;
            write(&key, &pair.serialize_pem(), 0o600).map_err(file("write", &key))?;
            write(&certificate, &made.pem(), 0o644).map_err(file("write", &certificate))?;
        }
        if !token.exists() {
            write(&token, &KeyPair::generate()?.serialize_pem(), 0o600).map_err(file("write", &token))?;
        }
        let read = |path: &Path| match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(AuthorityError::Lost { path: path.to_owned() })
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(AuthorityError::Text { path: path.to_owned() })
            }
            read => read.map_err(file("read", path)),
        };
        let damaged = |path: &Path| {
            let path = path.to_owned();
            move |source| AuthorityError::Damaged { path, source }
        };
        let certificate_pem = read(&certificate)?;
        let pair = KeyPair::from_pem(&read(&key)?).map_err(damaged(&key))?;
        if !certifies(&certificate_pem, &pair) {
            return Err(AuthorityError::Mismatch { certificate, key });
        }
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, pair).map_err(damaged(&certificate))?;
        let token_key = KeyPair::from_pem(&read(&token)?).map_err(damaged(&token))?;
        Ok(Self { issuer, certificate_pem, token_key_der: token_key.serialize_der() })
    }

    /// The authority's certificate, PEM: what clients trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What signs tokens of service accounts.
    pub fn signer(&self) -> Result<Signer, AuthorityError> {
        Signer::new(&self.token_key_der).map_err(AuthorityError::Key)
    }

    /// A certificate for the server, or for a node's kubelet port.
    pub fn server(&self, names: &ServerNames, now: Timestamp) -> Result<Pair, AuthorityError> {
        let all = names.names.iter().cloned().chain(names.addresses.iter().map(ToString::to_string));
        let mut params = CertificateParams::new(all.collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, "linkspan");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, now, AUTHORITY_YEARS)
    }

    /// A certificate for a client: its user name, and its group.
    pub fn client(&self, user: &str, group: &str, now: Timestamp) -> Result<Pair, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, now, CLIENT_YEARS)
    }

    fn issue(&self, mut params: CertificateParams, now: Timestamp, years: i32) -> Result<Pair, AuthorityError> {
        hold(&mut params, now, years);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// A kubeconfig for a client of the server at a URL.
    pub fn kubeconfig(&self, server: &str, user: &str, client: &Pair) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "preferences": {},
            "clusters": [{ "name": "linkspan", "cluster": {
                "server": server, "certificate-authority-data": STANDARD.encode(&self.certificate_pem),
            } }],
            "users": [{ "name": user, "user": {
                "client-certificate-data": STANDARD.encode(&client.certificate_pem),
                "client-key-data": STANDARD.encode(&client.key_pem),
            } }],
            "contexts": [{ "name": "linkspan", "context": { "cluster": "linkspan", "user": user } }],
            "current-context": "linkspan",
        })
    }
}

/// Whether a key is that of a certificate; what is no certificate is not judged here.
fn certifies(certificate_pem: &str, key: &KeyPair) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes()) else { return true };
    let certificate = x509_parser::parse_x509_certificate(&pem.contents);
    certificate.map_or(true, |(_, certificate)| certificate.public_key().raw == key.subject_public_key_info())
}

fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "linkspan-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::KeyEncipherment];
    hold(&mut params, now, AUTHORITY_YEARS);
    params
}

/// From the beginning of time: clocks differ, and some are not set when a machine starts. Until so many years from now, or from when this was
/// written, if the clock says that it is earlier.
fn hold(params: &mut CertificateParams, now: Timestamp, years: i32) {
    const WRITTEN: i32 = 2026;
    let year = i32::from(now.to_zoned(TimeZone::UTC).date().year()).max(WRITTEN);
    let date = now.to_zoned(TimeZone::UTC).date();
    params.not_before = date_time_ymd(1970, 1, 2);
    // The day before, so that a leap day needs no thought.
    params.not_after = date_time_ymd(year + years, date.month().unsigned_abs(), date.day().unsigned_abs().min(28));
}

/// Writes a file so that a crash leaves the whole of it or none.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{AUTHENTICATED, MASTERS, User};

    #[test]
    fn what_is_damaged_is_refused_with_the_remedy() {
        let now = Timestamp::from_second(1_790_000_000).expect("a time");
        let check = |damage: fn(&Path), words: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            Authority::open(folder.path(), now).expect("an authority");
            damage(folder.path());
            let error = Authority::open(folder.path(), now).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(words) && error.contains("restore"), "{error}");
        };
        check(
            |folder| fs::write(folder.join("ca.crt"), "").expect("a file"),
            "ca.crt holds no usable key or certificate",
        );
        check(
            |folder| fs::write(folder.join("ca.key"), "junk").expect("a file"),
            "ca.key holds no usable key or certificate",
        );
        check(
            |folder| fs::write(folder.join("sa.key"), "junk").expect("a file"),
            "sa.key holds no usable key or certificate",
        );
        check(|folder| fs::write(folder.join("ca.crt"), [0xff; 100]).expect("a file"), "ca.crt");
        check(|folder| fs::remove_file(folder.join("ca.key")).expect("a file"), "ca.key is not there");
        check(|folder| assert!(fs::copy(folder.join("sa.key"), folder.join("ca.key")).is_ok()), "is not the key of");
    }

    #[test]
    fn a_clock_that_is_not_set_yet_makes_certificates_that_last() {
        for now_s in [0, 86_400 * 59, 1_700_000_000, 1_790_000_000, 4_000_000_000] {
            let folder = tempfile::tempdir().expect("a folder");
            let now = Timestamp::from_second(now_s).expect("a time");
            let authority = Authority::open(folder.path(), now).expect("an authority");
            for pem in
                [authority.client("a", MASTERS, now).expect("a certificate").certificate_pem, authority.certificate_pem]
            {
                let (_, der) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
                let (_, certificate) = x509_parser::parse_x509_certificate(&der.contents).expect("a certificate");
                let (from, until) =
                    (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
                assert!(from <= 86_400 && until > now_s.max(1_790_000_000) + 86_400 * 30, "{now_s}: {from} {until}");
            }
        }
    }

    #[test]
    fn an_authority_is_the_same_when_opened_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Timestamp::from_second(1_790_000_000).expect("a time");
        let first = Authority::open(folder.path(), now).expect("an authority");
        let again = Authority::open(folder.path(), now).expect("the same");
        assert_eq!(first.certificate_pem(), again.certificate_pem());
        assert_eq!(first.token_key_der, again.token_key_der);
        let client = again.client("admin", MASTERS, now).expect("a certificate");
        let (_, der) = x509_parser::pem::parse_x509_pem(client.certificate_pem.as_bytes()).expect("PEM");
        let user = User::of_certificate(&der.contents).expect("a user");
        assert_eq!((user.name.as_str(), user.groups), ("admin", vec![MASTERS.to_owned(), AUTHENTICATED.to_owned()]));
        fs::write(folder.path().join("ca.key"), "x").expect("written");
        assert!(matches!(Authority::open(folder.path(), now), Err(AuthorityError::Damaged { .. })));
    }
}
