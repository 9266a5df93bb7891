//! Certificates made by openssl, of people and machines that do not exist.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority that issues certificates into a folder.
pub struct Authority {
    folder: PathBuf,
    name: String,
}

impl Authority {
    /// Makes an authority.
    pub fn create(folder: &Path, name: &str) -> Self {
        let authority = Self { folder: folder.to_owned(), name: name.replace(' ', "-") };
        let (key, cert) = (authority.file("key"), authority.file("pem"));
        openssl(&[
            "req",
            "-x509",
            "-days",
            "30",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &cert,
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]);
        fs::write(authority.file("index"), "").unwrap();
        let settings = format!(
            "[ca]\ndefault_ca = c\n[c]\ndatabase = {0}\nnew_certs_dir = {1}\nrand_serial = yes\nunique_subject = no\ndefault_md = sha256\n\
             policy = p\ncopy_extensions = copy\n[p]\ncommonName = supplied\norganizationName = optional\n",
            authority.file("index"),
            folder.display()
        );
        fs::write(authority.file("cnf"), settings).unwrap();
        authority
    }

    /// Returns the file of its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.file("pem").into()
    }

    /// Issues `FILE.pem` and `FILE.key`, valid for a month.
    pub fn issue(&self, file: &str, common_name: &str, names: &str) -> (PathBuf, PathBuf) {
        self.issue_for(file, &format!("/CN={common_name}"), names, "20250101000000Z", "20990101000000Z")
    }

    /// Issues a certificate that was valid in the year before last only.
    pub fn issue_expired(&self, file: &str, common_name: &str, names: &str) -> (PathBuf, PathBuf) {
        self.issue_for(file, &format!("/CN={common_name}"), names, "20230101000000Z", "20240101000000Z")
    }

    /// Issues a certificate for a whole subject, with its days.
    pub fn issue_for(&self, file: &str, subject: &str, names: &str, from: &str, until: &str) -> (PathBuf, PathBuf) {
        let path = |end: &str| self.folder.join(format!("{file}.{end}"));
        let text = |end: &str| path(end).to_str().unwrap().to_owned();
        // Written beside, then renamed, as whoever exchanges certificates of a
        // running program should do it.
        let (key, cert) = (text("key.new"), text("pem.new"));
        let names = format!("subjectAltName={names}");
        openssl(&[
            "req",
            "-new",
            "-subj",
            subject,
            "-addext",
            &names,
            "-keyout",
            &key,
            "-out",
            &text("csr"),
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]);
        let (own, own_key, settings) = (self.file("pem"), self.file("key"), self.file("cnf"));
        openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            &settings,
            "-cert",
            &own,
            "-keyfile",
            &own_key,
            "-startdate",
            from,
            "-enddate",
            until,
            "-in",
            &text("csr"),
            "-out",
            &cert,
        ]);
        fs::rename(&key, path("key")).unwrap();
        fs::rename(&cert, path("pem")).unwrap();
        (path("pem"), path("key"))
    }

    fn file(&self, end: &str) -> String {
        self.folder.join(format!("{}.{end}", self.name)).to_str().unwrap().to_owned()
    }
}

#[track_caller]
fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed: `make setup` installs it");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
