//! Certificates and keys from PEM files: read anew whenever they change, and
//! what is wrong with them in words, and until when they are valid. The only module
//! that names rustls.
//!
//! Knows neither RabbitMQ nor HTTP. Deliberately absent: revocation lists, and
//! any way to switch verification off.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::core::time::Moment;

/// What is wrong with certificates, keys or a handshake, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

/// The files of a client: whom it trusts, and who it is. Clones share what servers
/// have shown.
#[derive(Debug, Clone, Default)]
pub struct ClientFiles {
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    shown: Arc<Shown>,
}

impl PartialEq for ClientFiles {
    fn eq(&self, other: &Self) -> bool {
        (&self.ca, &self.identity) == (&other.ca, &other.identity)
    }
}

impl Eq for ClientFiles {}

impl ClientFiles {
    /// Takes the files. Without `ca` the system's authorities are trusted, with
    /// it those in it and no other.
    ///
    /// # Errors
    /// A certificate without its key, or a key without its certificate.
    pub fn new(ca: Option<PathBuf>, cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Self, Problem> {
        Ok(Self { ca, identity: pair(cert, key)?, shown: Arc::default() })
    }

    /// Returns until when the certificate is valid that the server has shown last, of
    /// those that were accepted; nothing before the first handshake.
    #[must_use]
    pub fn server_valid_until(&self) -> Option<Moment> {
        *self.shown.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a client certificate.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Returns who the client certificate says that we are: its subject, as RabbitMQ
    /// writes it, and the common name in that; nothing where it cannot be read.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        let (cert, _) = self.identity.as_ref()?;
        read_chain(cert).ok()?.first().and_then(subject_of)
    }

    /// Returns a watch over these files.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let identity = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        Watch::new(self.ca.iter().chain(identity).cloned().collect())
    }

    /// Reads the files and makes a configuration of them.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn config(&self) -> Result<Arc<ClientConfig>, Problem> {
        self.config_of(rustls::DEFAULT_VERSIONS)
    }

    /// As [`ClientFiles::config`], for asking why a connection ended. In TLS 1.3 a
    /// server says that it refuses a client only after the client believes the
    /// handshake done, and the word is often lost; in TLS 1.2 it is part of it.
    ///
    /// # Errors
    /// As [`ClientFiles::config`].
    pub fn diagnostic_config(&self) -> Result<Arc<ClientConfig>, Problem> {
        self.config_of(&[&rustls::version::TLS12])
    }

    fn config_of(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Result<Arc<ClientConfig>, Problem> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(self.roots()?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| Problem(format!("the trusted certificates cannot be used: {error}")))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| Problem(error.to_string()))?
            // rustls calls any verifier of one's own dangerous. This one leaves every answer to its own.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Remembering { verifier, shown: Arc::clone(&self.shown) }));
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                builder.with_client_auth_cert(read_chain(cert)?, read_key(key)?).map_err(|error| misfit(cert, key, &error))?
            }
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, Problem> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(file) => {
                for certificate in read_chain(file)? {
                    roots.add(certificate).map_err(|error| match error {
                        Error::InvalidCertificate(error) => Problem(format!("the certificate in {} {}", file.display(), flaw(&error))),
                        error => Problem(format!("{}: {error}", file.display())),
                    })?;
                }
            }
            None => {
                let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if added == 0 {
                    return Err(Problem(
                        "this system has no trusted certificates; name a file with the authority's certificate in WSB_AMQP_CA".into(),
                    ));
                }
            }
        }
        Ok(roots)
    }
}

/// Who a certificate says that somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// All of it, such as `CN=wsb-broker,O=STAR`.
    pub distinguished: String,
    /// The common name in it.
    pub common: Option<String>,
}

fn subject_of(certificate: &CertificateDer<'_>) -> Option<Subject> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = certificate.subject();
    let written = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        let id = attribute.attr_type();
        let name =
            x509_parser::objects::oid2abbrev(id, x509_parser::objects::oid_registry()).map_or_else(|_| id.to_id_string(), str::to_owned);
        let value: String = attribute
            .as_str()
            .unwrap_or_default()
            .chars()
            .flat_map(|letter| ",+\"\\<>;".contains(letter).then_some('\\').into_iter().chain([letter]))
            .collect();
        format!("{name}={value}")
    };
    let mut parts: Vec<String> = subject.iter_rdn().map(|part| part.iter().map(written).collect::<Vec<_>>().join("+")).collect();
    // The last in the certificate is written first.
    parts.reverse();
    let common = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned);
    Some(Subject { distinguished: parts.join(","), common })
}

/// Until when the certificate is valid that a server has shown last.
#[derive(Debug, Default)]
struct Shown(Mutex<Option<Moment>>);

/// Verifies as rustls does, and remembers until when what was accepted is valid.
#[derive(Debug)]
struct Remembering {
    verifier: Arc<WebPkiServerVerifier>,
    shown: Arc<Shown>,
}

impl ServerCertVerifier for Remembering {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        *self.shown.0.lock().unwrap_or_else(PoisonError::into_inner) = valid_until(certificate);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[rustls::DistinguishedName]> {
        self.verifier.root_hint_subjects()
    }
}

/// The files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    cert: PathBuf,
    key: PathBuf,
}

impl ServerFiles {
    /// Takes the files; `None` if there are none.
    ///
    /// # Errors
    /// One without the other.
    pub fn new(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Self>, Problem> {
        Ok(pair(cert, key)?.map(|(cert, key)| Self { cert, key }))
    }

    /// Reads the files and makes a configuration of them that can be renewed.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn open(self) -> Result<Identity, Problem> {
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current(RwLock::new(self.read(&provider)?)));
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Problem(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        let watch = Watch::new(vec![self.cert.clone(), self.key.clone()]);
        Ok(Identity { files: self, provider, current, config: Arc::new(config), watch })
    }

    fn read(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Problem> {
        let made = CertifiedKey::from_der(read_chain(&self.cert)?, read_key(&self.key)?, provider);
        made.map(Arc::new).map_err(|error| misfit(&self.cert, &self.key, &error))
    }
}

/// Who a server is, as its files say now.
pub struct Identity {
    files: ServerFiles,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
    watch: Watch,
}

impl Identity {
    /// Returns the configuration; it stays the same when the files are renewed.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Looks at the files, and takes them over once they have changed and fit.
    /// `None` if nothing has changed.
    pub fn poll(&mut self) -> Option<Result<(), Problem>> {
        if !self.watch.has_changed() {
            return None;
        }
        Some(self.files.read(&self.provider).map(|read| {
            *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = read;
        }))
    }
}

/// The certificates that the broker works with, to be asked until when they are
/// valid. A file is read once, and again when it has changed. Clones share what has
/// been read.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    http: Option<Arc<Current>>,
    amqp: ClientFiles,
    read: Arc<Mutex<BTreeMap<PathBuf, Read>>>,
}

/// What a file held when it was as the stamp says: until when each of its certificates is valid.
type Read = (Stamp, Vec<Moment>);

/// Until when a certificate is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Which: `http`, `amqp_client`, `amqp_ca` or `amqp_server`.
    pub certificate: &'static str,
    /// The setting that names its file, or whose it is.
    pub whose: &'static str,
    /// Until when.
    pub at: Moment,
}

impl Certificates {
    /// Takes those of the server, if HTTP is served with any, and of the client.
    #[must_use]
    pub fn new(http: Option<&Identity>, amqp: ClientFiles) -> Self {
        Self { http: http.map(|identity| Arc::clone(&identity.current)), amqp, read: Arc::default() }
    }

    /// Returns until when each is valid, of those that can be read. For HTTP the one in
    /// use counts, whatever lies in the file since; those for RabbitMQ are read anew
    /// for every connection, and its own is the one that it has shown last.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry> {
        let http = self.http.as_ref().map(|current| moments(&current.now().cert)).unwrap_or_default();
        let client = self.amqp.identity.as_ref().map(|(cert, _)| self.of_file(cert)).unwrap_or_default();
        let authorities = self.amqp.ca.as_ref().map(|ca| self.of_file(ca)).unwrap_or_default();
        // A chain holds no longer than its first to end. Of authorities one is enough:
        // a new one is put beside the old one before it is needed.
        let found = [
            ("http", "WSB_HTTP_CERT", http.into_iter().min()),
            ("amqp_client", "WSB_AMQP_CERT", client.into_iter().min()),
            ("amqp_ca", "WSB_AMQP_CA", authorities.into_iter().max()),
            ("amqp_server", "RabbitMQ", self.amqp.server_valid_until()),
        ];
        found.into_iter().filter_map(|(certificate, whose, at)| Some(Expiry { certificate, whose, at: at? })).collect()
    }

    fn of_file(&self, file: &PathBuf) -> Vec<Moment> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it is read: a file that changes meanwhile is read once more.
        let stamp = stamp(file);
        if let Some((_, known)) = read.get(file).filter(|(of, _)| *of == stamp && stamp.is_some()) {
            return known.clone();
        }
        let found = read_chain(file).map(|chain| moments(&chain)).unwrap_or_default();
        read.insert(file.clone(), (stamp, found.clone()));
        found
    }
}

fn moments(chain: &[CertificateDer<'_>]) -> Vec<Moment> {
    chain.iter().filter_map(valid_until).collect()
}

fn valid_until(certificate: &CertificateDer<'_>) -> Option<Moment> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(Moment(certificate.validity().not_after.timestamp().saturating_mul(1_000_000)))
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn now(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

/// Notices that files have changed. Has no clock: whoever owns it asks.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    known: Vec<Stamp>,
    /// What the poll before this one saw, if it differs from `known`.
    candidate: Option<Vec<Stamp>>,
}

type Stamp = Option<(i64, i64, u64, u64)>;

impl Watch {
    fn new(files: Vec<PathBuf>) -> Self {
        let known = stamps(&files);
        Self { files, known, candidate: None }
    }

    /// Whether there is nothing to watch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether the files have changed since this last said so. A change is told
    /// when two looks in a row find the same: certificate and key are written
    /// one after the other.
    pub fn has_changed(&mut self) -> bool {
        let seen = stamps(&self.files);
        if seen == self.known {
            self.candidate = None;
            return false;
        }
        if self.candidate.as_ref() != Some(&seen) {
            self.candidate = Some(seen);
            return false;
        }
        self.candidate = None;
        self.known = seen;
        true
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(stamp).collect()
}

fn stamp(file: &PathBuf) -> Stamp {
    fs::metadata(file).ok().map(|found| (found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
}

fn pair(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<(PathBuf, PathBuf)>, Problem> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(cert), None) => Err(Problem(format!("the certificate {} needs its private key beside it", cert.display()))),
        (None, Some(key)) => Err(Problem(format!("the private key {} needs its certificate beside it", key.display()))),
    }
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let text = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(Problem(format!("{} holds no certificate in PEM form", file.display()))),
    }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    let text = read(file)?;
    // The cause could quote the file; what it holds is nobody's business.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| Problem(format!("{} holds no unencrypted private key in PEM form", file.display())))
}

fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(file).map_err(|error| Problem(format!("cannot read {}: {error}", file.display())))
}

fn misfit(cert: &Path, key: &Path, error: &Error) -> Problem {
    match error {
        Error::InconsistentKeys(_) => {
            Problem(format!("the certificate {} and the key {} do not belong together", cert.display(), key.display()))
        }
        Error::InvalidCertificate(error) => Problem(format!("the certificate {} cannot be used: it {}", cert.display(), flaw(error))),
        // Whatever the library makes of a key: nobody reads more than that in it.
        Error::General(_) => Problem(format!(
            "the key {} cannot be used: take RSA of 2048 to 8192 bits, ECDSA (P-256, P-384, P-521) or Ed25519, and have the certificate {} made anew for it",
            key.display(),
            cert.display()
        )),
        other => Problem(format!("the certificate {} with the key {} cannot be used: {other}", cert.display(), key.display())),
    }
}

/// Says what is wrong with a certificate by itself, and what to do: what follows "it".
fn flaw(error: &CertificateError) -> String {
    let words = match error {
        CertificateError::BadEncoding => "is garbled; have it made anew",
        CertificateError::UnhandledCriticalExtension => {
            "has a critical extension that is not understood here; have it made anew without it"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not made for a server; have it made anew with extendedKeyUsage serverAuth"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed in a way that is not accepted here, such as with SHA-1; have it made anew with SHA-256"
        }
        // The library has no words for these, and names them by its own.
        CertificateError::Other(other) => match other.0.to_string().as_str() {
            "CaUsedAsEndEntity" => {
                "is self-signed, or an authority's own (CA:TRUE), which no server may show; have one made for the server, with CA:FALSE, \
                 signed by an authority that is trusted"
            }
            "UnsupportedCertVersion" => {
                "is of X.509 version 1; have it made anew as version 3, with the name of the server as subjectAltName"
            }
            name => return format!("cannot be accepted ({name}); have it made anew"),
        },
        other => return format!("cannot be accepted ({other}); have it made anew"),
    };
    words.to_owned()
}

/// Returns a name of a certificate as people write it, without the kind of name that
/// it is.
fn bare_name(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(presented);
    inner.trim_matches('"')
}

impl Problem {
    /// The server went away once the handshake was done, without a word.
    #[must_use]
    pub fn ended_without_a_word() -> Self {
        let words = "it ended the connection right after the handshake, without a reason; most often it refuses our client certificate, and its log says why";
        Self(words.to_owned())
    }
}

/// Returns what went wrong with a handshake, if that is what the error is about:
/// "its" is the server's, "our" the client's.
#[must_use]
pub fn problem_of(error: &io::Error) -> Option<Problem> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let words = match error {
        Error::InvalidCertificate(error) => certificate_problem(error),
        Error::AlertReceived(alert) => alert_problem(*alert),
        Error::InvalidMessage(_) => "it does not speak TLS at this port; amqps usually is at 5671".to_owned(),
        other => other.to_string(),
    };
    Some(Problem(words))
}

fn certificate_problem(error: &CertificateError) -> String {
    let on = |time: &UnixTime| Moment(i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000_000));
    match error {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => format!("its certificate expired on {}", on(not_after)),
        CertificateError::NotValidYet => "its certificate is not valid yet; compare the clocks of both machines".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid before {}; compare the clocks of both machines", on(not_before))
        }
        CertificateError::UnknownIssuer => {
            "its certificate comes from an authority that is not trusted here; name a file with that authority's certificate in WSB_AMQP_CA"
                .to_owned()
        }
        CertificateError::NotValidForName => "its certificate is for another name than the one in the address".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is for {}, and not for {}; connect by a name that it has, or have the certificate made anew",
            if presented.is_empty() {
                "no name at all".to_owned()
            } else {
                presented.iter().map(|name| bare_name(name)).collect::<Vec<_>>().join(", ")
            },
            expected.to_str()
        ),
        CertificateError::Revoked => "its certificate has been revoked".to_owned(),
        CertificateError::BadSignature => {
            "its certificate has a signature that is not its authority's, or the key that signed it is RSA of less than 2048 bits"
                .to_owned()
        }
        other => format!("its certificate {}", flaw(other)),
    }
}

fn alert_problem(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "it wants a client certificate; name one in WSB_AMQP_CERT and WSB_AMQP_KEY".to_owned(),
        AlertDescription::UnknownCA => "it refuses our client certificate: it does not trust the authority that issued it".to_owned(),
        AlertDescription::CertificateExpired => "it refuses our client certificate: it has expired".to_owned(),
        AlertDescription::CertificateRevoked => "it refuses our client certificate: it has been revoked".to_owned(),
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown | AlertDescription::UnsupportedCertificate => {
            "it refuses our client certificate".to_owned()
        }
        AlertDescription::HandshakeFailure => {
            "it ends the handshake: no common cipher, or it wants a client certificate (WSB_AMQP_CERT, WSB_AMQP_KEY)".to_owned()
        }
        other => format!("it ends the handshake: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_its_key_come_together() {
        let file = |name: &str| Some(PathBuf::from(name));
        assert!(ClientFiles::new(None, None, None).is_ok());
        let check = |cert, key, expected: &str| {
            assert_eq!(ServerFiles::new(cert, key).map_err(|problem| problem.to_string()), Err(expected.to_owned()));
        };
        check(file("c.pem"), None, "the certificate c.pem needs its private key beside it");
        check(None, file("k.pem"), "the private key k.pem needs its certificate beside it");
    }

    #[test]
    fn a_change_is_told_once_it_has_settled() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("cert.pem");
        let mut watch = Watch::new(vec![file.clone()]);
        assert!(!watch.has_changed());
        fs::write(&file, "a").expect("the folder is writable");
        assert!(!watch.has_changed(), "may still be being written");
        assert!(watch.has_changed());
        assert!(!watch.has_changed());
        fs::write(&file, "ab").expect("the folder is writable");
        assert!(!watch.has_changed());
        fs::write(&file, "abc").expect("the folder is writable");
        assert!(!watch.has_changed(), "still being written");
        assert!(watch.has_changed());
    }

    /// Of nobody, valid to the end of the century; its key exists no more.
    const LONG: &str = "\
-----BEGIN CERTIFICATE-----
MIIBHjCBxQIUOGoRF0sDGAwCLP9d2yqLjkWh+VMwCgYIKoZIzj0EAwIwETEPMA0G
A1UEAwwGbm9ib2R5MCAXDTI1MDEwMTAwMDAwMFoYDzIwOTkwMTAxMDAwMDAwWjAR
MQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ8qmbf
XwVcCnYUT6Tqy6W99nU4Dt5Lhka6smGAAWmSLC8TVx2q0mWZGB6GiOrBcR5NckDF
nT4EWUmuf+P90alwMAoGCCqGSM49BAMCA0gAMEUCIQDLiKLyQM1SLiwkk/NkNBuN
aMs2ZkqGluKJDqkNnoXL1AIgIRzgxcTYPVp0RP4ya8upMHxoi3SmZc49Yddzqwem
Zio=
-----END CERTIFICATE-----
";
    /// Of nobody, valid until noon of 1 June 2030.
    const SHORT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBHDCBwwIUbN+J6pUGdLBi9B6u+0+XnMJOxZEwCgYIKoZIzj0EAwIwETEPMA0G
A1UEAwwGbm9ib2R5MB4XDTI1MDEwMTAwMDAwMFoXDTMwMDYwMTEyMDAwMFowETEP
MA0GA1UEAwwGbm9ib2R5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAgY3oLOZ
1UpKV8gXOkb+PkH/yqukqQ0OWEQwmN398a7OMmw/wfEtDZiu3b4mNjliEqj0gh1z
RF39eyVbnUESpDAKBggqhkjOPQQDAgNIADBFAiEAz0KDqqSaOLtqcF9cORn5Xiax
unpJ96wPiq9t0WvXNh8CIDKm75u/jn9MC+mE5GbU3R05OnJoFFK59I+k/HQk/F7M
-----END CERTIFICATE-----
";

    /// An authority's own; its key exists no more, as that of the next.
    const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUCeDK4H5jZ6leD85OwpbghjWw1hgwCgYIKoZIzj0EAwIw
IjEPMA0GA1UECgwGTm9ib2R5MQ8wDQYDVQQDDAZub2JvZHkwIBcNMjYxMTI3MjIx
MjIyWhgPMjEwMDA0MTMyMjEyMjJaMCIxDzANBgNVBAoMBk5vYm9keTEPMA0GA1UE
AwwGbm9ib2R5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0i/i7OT/AWAHA8oj
SlyoYxLAu0qBeodBhr0ou9yWLqU2/qIG5s3aODg1M6qekYjaDg/KJZ4U78bTjYJ9
WQI7T6NTMFEwHQYDVR0OBBYEFOUce4CE8GlLQq+yMRePwpot8ypkMB8GA1UdIwQY
MBaAFOUce4CE8GlLQq+yMRePwpot8ypkMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZI
zj0EAwIDSAAwRQIgbFLKuX+PNieQzphAVU9kRhjf0OE6+/Apvx9mPgDMp08CIQCh
mr7bW/A8U3za4d5msCP/mOsLwUo9GVJ8y9h5FWGazQ==
-----END CERTIFICATE-----
";
    /// Of `rabbit.example`, issued by that authority.
    const SERVER: &str = "\
-----BEGIN CERTIFICATE-----
MIIBvjCCAWWgAwIBAgIUR2KmOC+rg8e/ihS5I9+7jwkJHMowCgYIKoZIzj0EAwIw
IjEPMA0GA1UECgwGTm9ib2R5MQ8wDQYDVQQDDAZub2JvZHkwIBcNMjYxMTI3MjIx
MjIyWhgPMjEwMDA0MTMyMjEyMjJaMCsxFDASBgNVBAoMC05vYm9keSwgSW5jMRMw
EQYDVQQDDAp3c2ItYnJva2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhc0G
On8UPrKaYGrLgLm3b5XSTHTb4vJz4GYZ0EDb57RJkJtvfMYAuQDUma+8PsBtoTtH
O/VDp+Slb8iGIpOnPaNuMGwwHwYDVR0RBBgwFoIOcmFiYml0LmV4YW1wbGWHBH8A
AAEwCQYDVR0TBAIwADAdBgNVHQ4EFgQUBCHv6rzXbF4eVQWo6Ej5KxBxHYswHwYD
VR0jBBgwFoAU5Rx7gITwaUtCr7IxF4/Cmi3zKmQwCgYIKoZIzj0EAwIDRwAwRAIg
Dw6I4v6M/05HJAiHOqDGx8gQi57+xLl8RiPg/JIpLmwCIARcxpkBH1id7gQsyN+k
8rjxJ8JOrQSsSIa8bKlhh8iI
-----END CERTIFICATE-----
";

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
    }

    #[test]
    fn what_is_wrong_with_a_servers_certificate_is_told_in_words() {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(der(AUTHORITY)).expect("an authority");
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier");
        let words = |pem: &str, name: &'static str| {
            let name = ServerName::try_from(name).expect("a name");
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_900_000_000));
            let verified = verifier.verify_server_cert(&der(pem), &[], &name, &[], now).map(drop);
            verified.map_err(|error| problem_of(&io::Error::new(io::ErrorKind::InvalidData, error)).expect("about TLS").to_string())
        };
        assert_eq!(words(SERVER, "rabbit.example"), Ok(()));
        for (pem, name, parts) in [
            (SERVER, "rabbit.test", ["is for rabbit.example, 127.0.0.1, and not for rabbit.test", "connect by a name that it has"]),
            (AUTHORITY, "rabbit.example", ["is self-signed, or an authority's own", "CA:FALSE"]),
            (LONG, "rabbit.example", ["X.509 version 1", "have it made anew as version 3"]),
        ] {
            let words = words(pem, name).expect_err("refused");
            assert!(words.starts_with("its certificate ") && parts.iter().all(|part| words.contains(part)), "{words}");
            assert!(["Other", "Name(", "Ca", "peer"].iter().all(|name| !words.contains(name)), "{words}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_or_key_of_our_own_is_told_in_words() {
        let provider = ring::default_provider();
        let random = ::ring::rand::SystemRandom::new();
        let signing = &::ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let good = ::ring::signature::EcdsaKeyPair::generate_pkcs8(signing, &random).expect("a key").as_ref().to_vec();
        let words = |pem: &str, key: &[u8]| {
            let made = CertifiedKey::from_der(vec![der(pem)], PrivateKeyDer::Pkcs8(key.to_vec().into()), &provider);
            misfit(Path::new("c.pem"), Path::new("k.pem"), &made.expect_err("refused")).to_string()
        };
        let of_version_1 = words(LONG, &good);
        assert!(of_version_1.contains("c.pem cannot be used: it is of X.509 version 1; have it made anew"), "{of_version_1}");
        let too_short = words(SERVER, b"as one of 1024 bits, no key that can be used");
        assert!(too_short.contains("k.pem cannot be used: take RSA of 2048 to 8192 bits"), "{too_short}");
        let of_another = words(SERVER, &good);
        assert!(of_another.contains("do not belong together"), "{of_another}");
    }

    #[test]
    fn a_subject_is_written_as_rabbitmq_writes_it() {
        let subject = subject_of(&der(SERVER)).expect("a subject");
        assert_eq!(subject.distinguished, "CN=wsb-broker,O=Nobody\\, Inc");
        assert_eq!(subject.common.as_deref(), Some("wsb-broker"));
    }

    #[test]
    fn a_chain_ends_with_its_first_and_authorities_with_their_last() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        fs::write(file("both.pem"), format!("{LONG}{SHORT}")).expect("the folder is writable");
        fs::write(file("garbled.pem"), "no certificate").expect("the folder is writable");
        let of = |ca: Option<&str>, cert: Option<&str>| {
            let files = ClientFiles::new(ca.map(file), cert.map(file), cert.map(file)).expect("a pair");
            let found = Certificates::new(None, files).expiries();
            found.into_iter().map(|expiry| (expiry.certificate, expiry.at.to_string())).collect::<Vec<_>>()
        };
        let (short, long) = ("2030-06-01T12:00:00Z", "2099-01-01T00:00:00Z");
        let both = vec![("amqp_client", short.to_owned()), ("amqp_ca", long.to_owned())];
        assert_eq!(of(Some("both.pem"), Some("both.pem")), both);
        // A file that is exchanged is asked anew, and one that cannot be read says nothing.
        fs::write(file("both.pem"), SHORT).expect("the folder is writable");
        assert_eq!(of(Some("both.pem"), None), [("amqp_ca", short.to_owned())]);
        assert_eq!(of(Some("garbled.pem"), Some("gone.pem")), []);
        assert_eq!(of(None, None), []);
    }

    #[test]
    fn a_file_is_read_once_and_again_when_it_has_changed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca = folder.path().join("ca.pem");
        let write = |text: &str, at: std::time::SystemTime| {
            fs::write(&ca, text).expect("the folder is writable");
            fs::File::options().write(true).open(&ca).and_then(|file| file.set_modified(at)).expect("our own file");
        };
        let certificates = Certificates::new(None, ClientFiles::new(Some(ca.clone()), None, None).expect("no pair"));
        let until = || certificates.clone().expiries().pop().map(|expiry| expiry.at.to_string());
        let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        let later = then + std::time::Duration::from_secs(1);
        assert_eq!(until(), None, "there is no file yet");
        write(SHORT, then);
        assert_eq!(until().as_deref(), Some("2030-06-01T12:00:00Z"));
        // Of the same length and time: nothing says that it is another one.
        write(&"x".repeat(SHORT.len()), then);
        assert_eq!(until().as_deref(), Some("2030-06-01T12:00:00Z"), "it is read at every look");
        write(&"x".repeat(SHORT.len()), later);
        assert_eq!(until(), None, "its time has changed");
        write(LONG, later);
        assert_eq!(until().as_deref(), Some("2099-01-01T00:00:00Z"), "its length has changed");
    }

    #[test]
    fn what_is_no_certificate_is_refused_without_its_text() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("x.pem");
        fs::write(&file, "hemmeligt").expect("the folder is writable");
        for refused in [read_chain(&file).map(drop), read_key(&file).map(drop), read_key(&folder.path().join("gone")).map(drop)] {
            let words = refused.expect_err("refused").to_string();
            assert!(!words.contains("hemmeligt") && words.contains(&folder.path().display().to_string()), "{words}");
        }
    }

    #[test]
    fn certificate_errors_name_the_remedy() {
        let words = |error: Error| problem_of(&io::Error::new(io::ErrorKind::InvalidData, error)).map(|problem| problem.to_string());
        assert!(words(CertificateError::UnknownIssuer.into()).is_some_and(|words| words.contains("WSB_AMQP_CA")));
        assert!(words(Error::AlertReceived(AlertDescription::CertificateRequired)).is_some_and(|words| words.contains("WSB_AMQP_CERT")));
        assert!(words(Error::AlertReceived(AlertDescription::UnknownCA)).is_some_and(|words| words.contains("authority that issued it")));
        assert_eq!(problem_of(&io::Error::other("something else")), None);
    }
}
