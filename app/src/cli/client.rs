//! Speaks to the first node that answers with a quorum. Every wait has a deadline.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use app_api::v1::{Code, Problem};
use app_cert::explain_tls;
use clap::Args;
use reqwest::Method;
use rustls::CertificateError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::credential::{Credential, credential};
use super::load;

/// Where the cluster is, and who asks.
#[derive(Debug, Clone, Args)]
pub struct Connect {
    /// The configuration: names the nodes, the CA and the client's certificate.
    #[arg(long, env = "TWOFOLD_CONFIG", default_value = "twofold.yaml", value_name = "FILE")]
    pub config: PathBuf,
    /// Nodes to ask, instead of the configuration's: https://ADDRESS:PORT, comma-separated.
    #[arg(long, env = "TWOFOLD_API", value_delimiter = ',', value_name = "URL", value_parser = parse_api)]
    pub api: Vec<String>,
    /// Name of the client's certificate in `tls.dir`.
    #[arg(long = "identity", env = "TWOFOLD_CLIENT", default_value = "client", value_name = "NAME")]
    pub client: String,
    /// A file with an API token, instead of the certificate; else the environment's TWOFOLD_TOKEN.
    #[arg(long, value_name = "PATH")]
    pub token_file: Option<PathBuf>,
}

/// Deadline of connecting to one node; the next one is tried then.
const CONNECT_WITHIN: Duration = Duration::from_millis(800);
/// Deadline of one request: the node's own deadlines, with an election between, fit in.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// What came back.
pub enum Answer<T> {
    /// 2xx.
    Ok(T),
    /// The node's own word why not.
    Problem(Problem),
}

/// The base of a node's URL.
pub fn parse_api(text: &str) -> Result<String, String> {
    let wanted = || "write https://ADDRESS:PORT, for example https://10.77.1.1:7443".to_owned();
    let rest = text.strip_prefix("https://").ok_or_else(wanted)?;
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(wanted)?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_is_one = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)),
    };
    let port_is_one = port.parse::<u16>().is_ok_and(|p| p != 0);
    if host_is_one && port_is_one { Ok(format!("https://{host}:{port}")) } else { Err(wanted()) }
}

/// Why a node gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unanswered {
    /// Nothing came back.
    Silent(String),
    /// What came back is not of this cluster, or not for this address, or refuses us.
    NotBelieved { title: String, why: String },
}

/// Asks one node after the other until one answers with a quorum; else what the first one sees.
pub fn ask<T: DeserializeOwned>(
    connect: &Connect,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer<T>> {
    let config = load(&connect.config)?;
    let Credential { tls, token } = credential(&config, connect.token_file.as_deref(), &connect.client)?;
    let urls: Vec<String> = if connect.api.is_empty() {
        config.nodes().values().map(|n| format!("https://{}", n.api())).collect()
    } else {
        connect.api.clone()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .no_proxy()
            .build()
            .context("make the http client")?;
        let mut tried = Vec::new();
        let mut no_quorum: Option<Problem> = None;
        let mut unknown: Option<Problem> = None;
        let mut unconfirmed: Option<Value> = None;
        for base in &urls {
            let mut request = client.request(method.clone(), format!("{base}{path}"));
            if let Some(token) = &token {
                request = request.bearer_auth(token);
            }
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_string());
            }
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) => {
                    tried.push((base.clone(), unanswered(&error.without_url())));
                    continue;
                }
            };
            let ok = response.status().is_success();
            let text = response.text().await.with_context(|| format!("read the answer of {base}"))?;
            if ok {
                let value: Value = understood(base, serde_json::from_str(&text))?;
                // Another node may see a quorum that this one does not.
                if value.get("quorum") == Some(&Value::Bool(false)) {
                    unconfirmed.get_or_insert(value);
                    continue;
                }
                return Ok(Answer::Ok(understood(base, serde_json::from_value(value))?));
            }
            let problem: Problem =
                serde_json::from_str(&text).with_context(|| format!("{base} answered {text:?}"))?;
            // Another node may see a leader that this one does not.
            if problem.code == Code::NoQuorum {
                no_quorum.get_or_insert(problem);
                continue;
            }
            // Another node may have heard of a token that this one does not know yet.
            if problem.code == Code::Unauthenticated {
                unknown.get_or_insert(problem);
                continue;
            }
            return Ok(Answer::Problem(problem));
        }
        if let Some(problem) = unknown {
            return Ok(Answer::Problem(problem));
        }
        if let Some(view) = unconfirmed {
            return Ok(Answer::Ok(understood("a node", serde_json::from_value(view))?));
        }
        Ok(Answer::Problem(nobody(no_quorum, tried)))
    })
}

fn understood<T>(base: &str, parsed: serde_json::Result<T>) -> Result<T> {
    parsed.with_context(|| {
        format!("{base} answered what this program does not understand; is it of another version?")
    })
}

/// What to say when no node answered with a quorum.
fn nobody(no_quorum: Option<Problem>, tried: Vec<(String, Unanswered)>) -> Problem {
    let not_believed = tried.iter().find_map(|(_, why)| match why {
        Unanswered::NotBelieved { title, .. } => Some(title.clone()),
        Unanswered::Silent(_) => None,
    });
    let (code, title, hint) = match not_believed {
        Some(title) => (Code::Failed, title, None),
        None => {
            let hint = "are the nodes running, and can this host reach their API port?";
            (Code::NoQuorum, "no node answers".to_owned(), Some(hint.to_owned()))
        }
    };
    let mut problem =
        no_quorum.unwrap_or(Problem { code, title, detail: hint.into_iter().collect(), loss: None });
    problem.detail.extend(tried.into_iter().map(|(base, why)| match why {
        Unanswered::Silent(why) | Unanswered::NotBelieved { why, .. } => format!("{base}: {why}"),
    }));
    problem
}

fn unanswered(error: &reqwest::Error) -> Unanswered {
    let mut last: &(dyn StdError + 'static) = error;
    loop {
        if let Some(tls) = tls_error(last) {
            return not_believed(tls);
        }
        match last.source() {
            Some(below) => last = below,
            None => break,
        }
    }
    if error.is_timeout() {
        return Unanswered::Silent("no answer in time".into());
    }
    Unanswered::Silent(last.to_string())
}

/// The TLS error that an error is, or carries: an I/O error's own source skips what it carries.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    tls_error(error.downcast_ref::<std::io::Error>()?.get_ref()?)
}

fn not_believed(error: &rustls::Error) -> Unanswered {
    use CertificateError as C;
    let title = match error {
        rustls::Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
            "nodes answered with a certificate that is not of this CA; check tls.ca and which cluster this is"
        }
        rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "nodes answered with a certificate that is not for the address asked; ask the configuration's \
             addresses, or issue it with this one: twofold cert node NAME --address IP"
        }
        rustls::Error::InvalidCertificate(_) => {
            "nodes answered with a certificate that is not to be believed"
        }
        rustls::Error::AlertReceived(_) => {
            "nodes refuse this client's certificate; check --identity and tls.dir"
        }
        _ => "what answers there does not speak as a node of twofold; check the addresses and ports",
    };
    Unanswered::NotBelieved { title: title.to_owned(), why: explain_tls(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_address_is_one_or_says_how_to_write_it() {
        for good in ["https://10.77.1.1:7443", "https://[2001:db8::1]:7443", "https://pdc-1.example:7443"] {
            assert_eq!(parse_api(good), Ok(good.to_owned()));
            assert_eq!(parse_api(&format!("{good}/")), Ok(good.to_owned()));
        }
        for wrong in [
            "",
            "pdc-1",
            "10.77.1.1:7443",
            "http://10.77.1.1:7443",
            "https://",
            "https://10.77.1.1",
            "https://10.77.1.1:0",
            "https://10.77.1.1:70000",
            "https://10.77.1.1:7443/v1",
            "https://2001:db8::1:7443",
            "https://a b:7443",
        ] {
            let said = parse_api(wrong).unwrap_err();
            assert!(said.contains("write https://ADDRESS:PORT"), "{wrong:?}: {said}");
        }
    }

    fn silent() -> (String, Unanswered) {
        ("https://a:1".to_owned(), Unanswered::Silent("connection refused".into()))
    }

    #[test]
    fn silence_is_no_quorum_and_a_wrong_certificate_is_not() {
        let alone = nobody(None, vec![silent()]);
        assert_eq!((alone.code, alone.title.as_str()), (Code::NoQuorum, "no node answers"));
        let carried =
            std::io::Error::other(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        let foreign = not_believed(tls_error(&std::io::Error::other(carried)).expect("it carries one"));
        let told = nobody(None, vec![silent(), ("https://b:1".to_owned(), foreign.clone())]);
        assert_eq!(told.code.exit_code(), 1);
        assert!(told.title.contains("not of this CA; check tls.ca"), "{}", told.title);
        assert_eq!(told.detail.len(), 2, "{:?}", told.detail);
        let word = Problem { code: Code::NoQuorum, title: "no quorum".into(), detail: vec![], loss: None };
        let told = nobody(Some(word), vec![("https://b:1".to_owned(), foreign)]);
        assert_eq!(
            (told.code, told.title.as_str()),
            (Code::NoQuorum, "no quorum"),
            "a node's own word counts"
        );
    }
}
