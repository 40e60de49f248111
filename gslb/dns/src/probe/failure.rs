//! Why a request got no answer, in the words of whoever must mend it: connection, certificate or TLS.
//!
//! The reason lies several errors deep, and partly inside `std::io::Error`, whose `source` steps over
//! what it holds.

use std::error::Error;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

/// Most names of a certificate that are told: one for a hundred hosts must not fill the line.
const NAMES_TOLD: usize = 4;

/// What failed.
pub(super) fn told(error: &reqwest::Error) -> String {
    if let Some(tls) = inside::<rustls::Error>(error) {
        return tls_told(tls);
    }
    match inside::<std::io::Error>(error) {
        Some(io) if error.is_connect() => format!("connect: {io}"),
        _ => chain(error),
    }
}

/// An error with its sources: reqwest's own text stops before the reason.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The innermost error of a type among an error's sources.
fn inside<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let held = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
    let next = held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source());
    next.and_then(inside::<T>).or_else(|| error.downcast_ref::<T>())
}

fn tls_told(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error),
        error => format!("tls: {error}"),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("certificate: it ended at {}", moment(*not_after))
        }
        CertificateError::Expired => "certificate: it has ended".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("certificate: it begins at {}; is this node's clock right?", moment(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let (told, rest) = presented.split_at(presented.len().min(NAMES_TOLD));
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            let of = match told {
                [] => "it names nobody".to_owned(),
                names => format!("it is for {}{more}", names.join(", ")),
            };
            format!("certificate: it is not for {}; {of}", expected.to_str())
        }
        CertificateError::NotValidForName => "certificate: it is for another name".to_owned(),
        CertificateError::UnknownIssuer => {
            "certificate: its issuer is unknown; is the right ca given, and does the server send the whole chain?"
                .to_owned()
        }
        CertificateError::Revoked => "certificate: it was revoked".to_owned(),
        // A self-signed one that is marked as a CA, among others; rustls' own words serve.
        other => format!("certificate: {other}"),
    }
}

fn moment(at: UnixTime) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("second {seconds}"), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::pki_types::ServerName;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    }

    #[test]
    fn each_failure_of_a_certificate_says_what_is_wrong_with_it() {
        let expected = || ServerName::try_from("www.example.com").unwrap().to_owned();
        let names = |count: usize| (0..count).map(|n| format!("n{n}.example.com")).collect();
        let named = |presented| CertificateError::NotValidForNameContext { expected: expected(), presented };
        for (error, wanted) in [
            (
                CertificateError::ExpiredContext { time: at(2_000_000_000), not_after: at(1_800_000_000) },
                "certificate: it ended at 2027-01-15T08:00:00Z",
            ),
            (
                CertificateError::NotValidYetContext { time: at(0), not_before: at(1_800_000_000) },
                "certificate: it begins at 2027-01-15T08:00:00Z; is this node's clock right?",
            ),
            (named(names(1)), "certificate: it is not for www.example.com; it is for n0.example.com"),
            (
                named(names(6)),
                "certificate: it is not for www.example.com; it is for n0.example.com, n1.example.com, \
                 n2.example.com, n3.example.com and 2 more",
            ),
            (named(names(0)), "certificate: it is not for www.example.com; it names nobody"),
            (
                CertificateError::UnknownIssuer,
                "certificate: its issuer is unknown; is the right ca given, and does the server send the whole chain?",
            ),
        ] {
            assert_eq!(tls_told(&rustls::Error::InvalidCertificate(error)), wanted);
        }
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName);
        assert!(tls_told(&alert).starts_with("tls: "), "{}", tls_told(&alert));
    }

    #[test]
    fn the_reason_is_found_behind_errors_that_step_over_it() {
        let reason = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, reason.clone()));
        assert_eq!(inside::<rustls::Error>(&wrapped), Some(&reason));
        let refused = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(inside::<io::Error>(&refused).unwrap().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(inside::<rustls::Error>(&refused), None);
    }
}
