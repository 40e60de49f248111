//! Speaks to the first node that answers. Every wait has a deadline.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use app_api::v1::{Code, Problem};
use app_cert::Kind;
use clap::Args;
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::load;
use crate::links;

/// Where the cluster is, and who asks.
#[derive(Debug, Args)]
pub struct Connect {
    /// The configuration: names the nodes, the CA and the client's certificate.
    #[arg(long, env = "TWOFOLD_CONFIG", default_value = "twofold.yaml", value_name = "FILE")]
    pub config: PathBuf,
    /// Nodes to ask, instead of the configuration's: https://ADDRESS:PORT, comma-separated.
    #[arg(long, env = "TWOFOLD_API", value_delimiter = ',', value_name = "URL")]
    pub api: Vec<String>,
    /// Name of the client's certificate in `tls.dir`.
    #[arg(long, env = "TWOFOLD_CLIENT", default_value = "client", value_name = "NAME")]
    pub client: String,
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

/// Asks one node after the other until one answers.
pub fn ask<T: DeserializeOwned>(
    connect: &Connect,
    method: Method,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Result<Answer<T>> {
    let config = load(&connect.config)?;
    let trust = links::trust(&config, Kind::Client, &connect.client)?;
    let tls = (*trust.client()?).clone();
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
        for base in &urls {
            let url = format!("{}{path}", base.trim_end_matches('/'));
            let mut request = client.request(method.clone(), &url);
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_string());
            }
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) => {
                    tried.push(format!("{base}: {:#}", anyhow::Error::from(error)));
                    continue;
                }
            };
            let ok = response.status().is_success();
            let text = response.text().await.with_context(|| format!("read the answer of {base}"))?;
            if ok {
                let value = serde_json::from_str(&text).with_context(|| {
                    format!(
                        "{base} answered what this program does not understand; is it of another version?"
                    )
                })?;
                return Ok(Answer::Ok(value));
            }
            let problem: Problem =
                serde_json::from_str(&text).with_context(|| format!("{base} answered {text:?}"))?;
            // Another node may see a leader that this one does not.
            if problem.code == Code::NoQuorum {
                no_quorum = Some(problem);
                continue;
            }
            return Ok(Answer::Problem(problem));
        }
        let mut problem = no_quorum.unwrap_or_else(|| Problem {
            code: Code::NoQuorum,
            title: "no node answers".into(),
            detail: vec!["are the nodes running, and can this host reach their API port?".into()],
            loss: None,
        });
        problem.detail.extend(tried);
        Ok(Answer::Problem(problem))
    })
}
