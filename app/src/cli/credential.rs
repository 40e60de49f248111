//! How the command line proves who asks: a client certificate, or a token. A token is never an argument,
//! since arguments are seen by every account of the host.

use std::path::Path;

use anyhow::{Context, Result};
use app_cert::{CertError, Kind, Trust, without_certificate};
use app_config::Config;
use rustls::ClientConfig;

use super::{BadInput, screen};
use crate::caller::PREFIX;
use crate::links;

/// A token, where there is no file.
pub const TOKEN_VARIABLE: &str = "TWOFOLD_TOKEN";
/// The longest token that is read; they have 67 characters.
const TOKEN_MAX: usize = 512;

/// What is shown to nodes.
pub struct Credential {
    /// The caller's side of TLS; it verifies the nodes by the CA in either case.
    pub tls: ClientConfig,
    /// The token, if that speaks for the caller; no certificate is shown then.
    pub token: Option<String>,
}

/// The token of the file or else of the variable, or the certificate.
pub fn credential(config: &Config, file: Option<&Path>, client: &str) -> Result<Credential> {
    let variable = std::env::var(TOKEN_VARIABLE).ok().filter(|text| !text.is_empty());
    let token = match (file, variable) {
        (Some(file), _) => Some(from_file(file)?),
        (None, Some(text)) => Some(checked(&text, &format!("the variable {TOKEN_VARIABLE}"))?),
        (None, None) => None,
    };
    let tls = match token {
        Some(_) => without_certificate(&config.tls().ca, config.cluster().as_str())
            .context("a token needs the CA's certificate, to know the nodes by")?,
        None => certificate(config, client)?.client()?,
    };
    Ok(Credential { tls: (*tls).clone(), token })
}

fn from_file(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        BadInput(format!("{}: {error}; name a file that holds one token", path.display()))
    })?;
    if readable_by_others(path) {
        screen::err(format_args!(
            "twofold: {} can be read by other accounts of this host: chmod 600 {0}",
            path.display()
        ));
    }
    checked(&text, &path.display().to_string())
}

fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 != 0)
}

/// What is no token is told here: it might be another secret, which no node is to see.
fn checked(text: &str, place: &str) -> Result<String> {
    let token = text.trim();
    let made_of = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    if token.len() > TOKEN_MAX || !token.starts_with(PREFIX) || !token.bytes().all(made_of) {
        let why = format!("{place} holds no token: those begin with {PREFIX} (twofold token create)");
        return Err(BadInput(why).into());
    }
    Ok(token.to_owned())
}

/// The client's certificate; a name that has none is the caller's mistake.
fn certificate(config: &Config, name: &str) -> Result<Trust> {
    links::trust(config, Kind::Client, name).map_err(|error| match error.downcast_ref::<CertError>() {
        Some(CertError::Read { path, source })
            if *path != config.tls().ca && source.kind() == std::io::ErrorKind::NotFound =>
        {
            let why = format!(
                "there is no certificate of client {name:?} at {}; mend --identity or tls, make it: \
                 twofold cert client {name}, or use a token: {TOKEN_VARIABLE}, --token-file",
                path.display()
            );
            BadInput(why).into()
        }
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_from_other_secrets() {
        let token = format!("{PREFIX}{}", "a1".repeat(32));
        assert_eq!(checked(&format!(" {token}\n"), "x").unwrap(), token);
        for wrong in
            ["", "secret", "tf_a b", "tf_\u{e9}", "AKIAIOSFODNN7EXAMPLE", &format!("tf_{}", "a".repeat(600))]
        {
            let told = checked(wrong, "the file").unwrap_err().to_string();
            assert!(told.contains("the file holds no token"), "{told}");
            assert!(wrong.is_empty() || !told.contains(wrong), "the secret is not repeated: {told}");
        }
    }
}
