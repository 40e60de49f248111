//! A cluster's certificates in a folder of their own.
#![allow(dead_code)]

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use app_cert::{
    CA_DAYS, Identity, IssuedFiles, Kind, LEAF_DAYS, Request, Trust, TrustFiles, create_ca, issue,
};

pub const DAY: Duration = Duration::from_secs(86_400);

pub struct Cluster {
    pub name: String,
    pub dir: tempfile::TempDir,
}

impl Cluster {
    pub fn new(name: &str) -> Self {
        Self::with_days(name, CA_DAYS)
    }

    pub fn with_days(name: &str, days: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // It began long ago, so that certificates that have expired can be made.
        let begin = if days == CA_DAYS { SystemTime::now() - DAY * 1000 } else { SystemTime::now() };
        let days = if days == CA_DAYS { days + 1000 } else { days };
        create_ca(dir.path(), name, days, begin).unwrap();
        Self { name: name.to_owned(), dir }
    }

    pub fn holder(&self, kind: Kind, name: &str) -> Identity {
        Identity { kind, name: name.to_owned(), cluster: self.name.clone() }
    }

    pub fn request(&self, kind: Kind, name: &str, addresses: &[IpAddr], days: u32) -> Request {
        Request { holder: self.holder(kind, name), addresses: addresses.to_vec(), days, role: None }
    }

    pub fn issue(
        &self,
        kind: Kind,
        name: &str,
        addresses: &[IpAddr],
        days: u32,
        now: SystemTime,
    ) -> IssuedFiles {
        issue(self.dir.path(), self.dir.path(), &self.request(kind, name, addresses, days), now).unwrap()
    }

    pub fn files(&self, name: &str) -> TrustFiles {
        TrustFiles {
            ca: self.dir.path().join("ca.pem"),
            certificate: self.dir.path().join(format!("{name}.pem")),
            key: self.dir.path().join(format!("{name}.key")),
        }
    }

    /// A process with a certificate made for it now.
    pub fn process(&self, kind: Kind, name: &str, addresses: &[IpAddr]) -> Trust {
        let now = SystemTime::now();
        self.issue(kind, name, addresses, LEAF_DAYS, now);
        Trust::read(self.files(name), &self.holder(kind, name), now).unwrap()
    }
}
