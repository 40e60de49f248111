//! Says in plain words why a handshake failed, and what to do.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::verify::Refused;

/// Why a connection failed; errors that are not of TLS are told as they are.
pub fn explain(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => explain_tls(error),
        None => error.to_string(),
    }
}

/// Why a handshake failed, as this end saw it.
pub fn explain_tls(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => explain_certificate(error),
        Error::NoCertificatesPresented => {
            "the other end presented no certificate; give it one made by `twofold cert`".to_owned()
        }
        Error::AlertReceived(alert) => explain_alert(*alert),
        Error::InvalidMessage(_) => format!("the other end does not speak TLS ({error}); check the port"),
        Error::PeerIncompatible(_) => {
            format!("the other end speaks another TLS ({error}); TLS 1.3 is wanted")
        }
        other => other.to_string(),
    }
}

fn explain_certificate(error: &CertificateError) -> String {
    use CertificateError as C;
    match error {
        C::UnknownIssuer | C::BadSignature => {
            "the certificate is not signed by this cluster's CA; issue it from the CA whose ca.pem lies here"
                .to_owned()
        }
        C::Expired | C::ExpiredContext { .. } => {
            format!("the certificate has expired{}; issue a new one with `twofold cert`", ago(error))
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "the certificate is not valid yet; compare the clocks of both hosts".to_owned()
        }
        C::NotValidForNameContext { expected, presented } => format!(
            "the certificate is not for {}, but for {}; check the address, or issue it anew",
            expected.to_str(),
            presented.join(", ")
        ),
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            "the certificate is a client's, and the other end of it is a server; use the node's own"
                .to_owned()
        }
        C::Other(other) => match other.0.downcast_ref::<Refused>() {
            Some(refused) => refused.to_string(),
            None => other.to_string(),
        },
        other => format!("the certificate is invalid: {other}"),
    }
}

fn ago(error: &CertificateError) -> String {
    let CertificateError::ExpiredContext { time, not_after } = error else { return String::new() };
    let seconds = time.as_secs().saturating_sub(not_after.as_secs());
    match seconds {
        0..7_200 => format!(" {} minutes ago", seconds / 60),
        7_200..172_800 => format!(" {} hours ago", seconds / 3_600),
        _ => format!(" {} days ago", seconds / 86_400),
    }
}

fn explain_alert(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::UnknownCA | A::DecryptError => {
            "the other end refused our certificate: it is not signed by the CA it believes".to_owned()
        }
        A::CertificateExpired => "the other end refused our certificate: it has expired there".to_owned(),
        A::CertificateRequired => "the other end wants a certificate and we presented none".to_owned(),
        A::CertificateUnknown | A::BadCertificate | A::UnsupportedCertificate | A::AccessDenied => {
            "the other end refused our certificate; its log says why".to_owned()
        }
        other => format!("the other end broke the handshake off: {other:?}"),
    }
}
