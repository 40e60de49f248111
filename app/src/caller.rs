//! Who calls the API, and what they may do: pure, since the node that is asked and the leader must come to
//! the same answer.

use app_api::v1::{Code, Problem};
use failover_core::{State, Token};
use model::{Role, TokenId, WallTime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::wire::ApiRequest;

/// The longest account name that is kept: Linux has at most 32 characters (useradd(8)).
const SAID_MAX: usize = 32;
/// What every secret begins with, so that scanners of repositories and logs can find a lost one.
pub const PREFIX: &str = "tf_";
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Caller {
    /// The certificate's name, or the token's.
    pub name: String,
    /// How that was proven.
    pub proof: Proof,
}

/// What proves who calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Proof {
    /// A client certificate, verified in the handshake of the node that was asked; its role stands in it.
    Certificate { role: Role },
    /// A secret with this SHA-256. What it grants is looked up wherever it matters.
    Token { hash: String },
}

/// What a caller may do, as a state says it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    pub role: Role,
    /// None: all groups, and the cluster.
    pub groups: Option<Vec<String>>,
    pub break_glass: bool,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// What is told of each group is left out where the caller's rights do not reach.
    Each,
    /// One group.
    Group(&'a str),
    /// The cluster as a whole.
    Cluster,
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need<'a> {
    pub role: Role,
    pub scope: Scope<'a>,
    /// For a sentence: `a failover needs operator`.
    pub what: &'static str,
}

impl Caller {
    /// How the audit names whoever is behind a request: the name that was proven, and the account that
    /// the command says it ran under, which was not.
    pub fn for_person(&self, said: &str) -> String {
        let said: String = said.chars().filter(|c| !c.is_control()).take(SAID_MAX).collect();
        let proven = self.proven();
        if said.is_empty() || said == self.name { proven } else { format!("{proven} ({said})") }
    }

    /// The name that was proven: a certificate's stands alone, a token says that it is one.
    pub fn proven(&self) -> String {
        match self.proof {
            Proof::Certificate { .. } => self.name.clone(),
            Proof::Token { .. } => format!("token {}", self.name),
        }
    }

    /// What this caller may do by `state`, at `now`.
    ///
    /// # Errors
    /// The problem to answer: a token that does not stand (any more), or has expired.
    pub fn rights(&self, state: &State, now: WallTime) -> Result<Rights, Box<Problem>> {
        let hash = match &self.proof {
            Proof::Certificate { role } => {
                return Ok(Rights { role: *role, groups: None, break_glass: false });
            }
            Proof::Token { hash } => hash,
        };
        let named = self.name.parse::<TokenId>().ok().and_then(|id| state.people.tokens.get(&id));
        // Another secret may stand under the name by now.
        let Some(token) = named.filter(|t| same(&t.hash, hash)) else { return Err(unknown_token()) };
        if token.terms.expired(now) {
            return Err(problem(
                Code::TokenExpired,
                format!("token {:?} has expired", self.name),
                "an admin issues another: twofold token create NAME --role ROLE --expires 30d",
            ));
        }
        let groups = token.terms.groups.iter().map(ToString::to_string).collect::<Vec<_>>();
        Ok(Rights {
            role: token.terms.role,
            groups: (!groups.is_empty()).then_some(groups),
            break_glass: token.terms.break_glass,
        })
    }

    /// The refusal where these rights are not enough.
    ///
    /// # Errors
    /// That problem.
    pub fn may(&self, rights: &Rights, need: Need) -> Result<(), Box<Problem>> {
        let who = match self.proof {
            Proof::Certificate { .. } => format!("client {:?}", self.name),
            Proof::Token { .. } => format!("token {:?}", self.name),
        };
        let Need { role, scope, what } = need;
        if rights.role < role {
            let title = format!("{who} has the role {}, and {what} needs {role}", rights.role);
            let hint = format!(
                "an admin issues one: twofold cert client NAME --role {role}, or twofold token create NAME --role {role}"
            );
            return Err(problem(Code::Forbidden, title, &hint));
        }
        let Some(groups) = &rights.groups else { return Ok(()) };
        let only = groups.join(", ");
        let title = match scope {
            Scope::Group(group) if !groups.iter().any(|g| g == group) => {
                format!("{who} is for group {only}, and {what} is asked for {group:?}")
            }
            Scope::Cluster => format!("{who} is for group {only}, and {what} is about the whole cluster"),
            Scope::Each | Scope::Group(_) => return Ok(()),
        };
        Err(problem(Code::Forbidden, title, "use a token that reaches it, or a client certificate"))
    }
}

impl ApiRequest {
    /// What it needs.
    pub fn need(&self) -> Need<'_> {
        let need = |role, scope, what| Need { role, scope, what };
        match self {
            ApiRequest::Status => need(Role::Viewer, Scope::Each, "status"),
            ApiRequest::Explain { group } => need(Role::Viewer, Scope::Group(group), "an explanation"),
            // To lose what somebody was told is safe cannot be undone.
            ApiRequest::Failover { group, body } if body.accept_loss.is_some() => {
                need(Role::Approver, Scope::Group(group), "accepting a loss")
            }
            ApiRequest::Failover { group, .. } => need(Role::Operator, Scope::Group(group), "a failover"),
            ApiRequest::Switchover { group, body } if body.dry_run => {
                need(Role::Viewer, Scope::Group(group), "a plan")
            }
            ApiRequest::Switchover { group, .. } => need(Role::Operator, Scope::Group(group), "a switchover"),
            ApiRequest::Rebuild { group, body, .. } if body.accept_loss.is_some() => {
                need(Role::Approver, Scope::Group(group), "accepting a loss")
            }
            ApiRequest::Rebuild { group, .. } => need(Role::Operator, Scope::Group(group), "a rebuild"),
            ApiRequest::Release { group, .. } => need(Role::Operator, Scope::Group(group), "a release"),
            ApiRequest::Maintain { group, .. } => need(Role::Operator, Scope::Group(group), "maintenance"),
            ApiRequest::Config => need(Role::Viewer, Scope::Cluster, "the configuration"),
            ApiRequest::Configure { body } if body.dry_run => {
                need(Role::Viewer, Scope::Cluster, "a plan of the configuration")
            }
            ApiRequest::Configure { .. } => need(Role::Admin, Scope::Cluster, "another configuration"),
            ApiRequest::Tokens => need(Role::Viewer, Scope::Cluster, "the list of tokens"),
            ApiRequest::IssueToken { .. } => need(Role::Admin, Scope::Cluster, "issuing a token"),
            ApiRequest::RevokeToken { .. } => need(Role::Admin, Scope::Cluster, "revoking a token"),
            ApiRequest::Acknowledge { .. } => need(Role::Admin, Scope::Cluster, "acknowledging an alarm"),
            ApiRequest::BreakGlass { .. } => need(Role::Admin, Scope::Cluster, "breaking the glass"),
        }
    }
}

/// Who bears a secret, by the tokens of `state`. Every token is looked at, and each hash to its end, so
/// that the time taken tells nothing.
pub fn bearer(state: &State, secret: &str) -> Result<Caller, Box<Problem>> {
    let hash = hash(secret);
    let mut found: Option<&TokenId> = None;
    for (name, Token { hash: kept, .. }) in &state.people.tokens {
        if same(kept, &hash) {
            found = Some(name);
        }
    }
    match found {
        Some(name) => Ok(Caller { name: name.to_string(), proof: Proof::Token { hash } }),
        None => Err(unknown_token()),
    }
}

/// SHA-256 in hex. A slow hash would protect words that people think of; these are 256 random bits.
pub fn hash(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new secret.
///
/// # Errors
/// The operating system gives no randomness.
pub fn new_secret() -> anyhow::Result<String> {
    use rand::TryRngCore;
    let mut bytes = [0_u8; SECRET_BYTES];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes.iter().fold(PREFIX.to_owned(), |text, byte| text + &format!("{byte:02x}")))
}

fn same(kept: &str, shown: &str) -> bool {
    kept.as_bytes().ct_eq(shown.as_bytes()).into()
}

fn unknown_token() -> Box<Problem> {
    problem(
        Code::Unauthenticated,
        "no such token stands: it was revoked, or never issued here".into(),
        "twofold token list shows those that stand; an admin issues another: twofold token create",
    )
}

fn problem(code: Code, title: String, hint: &str) -> Box<Problem> {
    Box::new(Problem { code, title, detail: vec![hint.to_owned()], loss: None })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use failover_core::Terms;

    use super::*;

    const NOW: WallTime = WallTime(1_000);

    fn state(role: Role, groups: &[&str], expires: WallTime) -> State {
        let groups: BTreeSet<_> = groups.iter().map(|g| g.parse().unwrap()).collect();
        let terms = Terms { role, groups, expires, break_glass: false };
        let token = Token { hash: hash("tf_right"), terms, by: "ana".into(), issued: WallTime(0) };
        let mut state = State::default();
        state.people.tokens.insert("ci".parse().unwrap(), token);
        state
    }

    fn failover(group: &str, accept_loss: Option<&str>) -> ApiRequest {
        let body = app_api::v1::FailoverRequest {
            to: "mdc".into(),
            accept_loss: accept_loss.map(str::to_owned),
            fenced: None,
            reason: None,
            by: String::new(),
        };
        ApiRequest::Failover { group: group.into(), body }
    }

    #[test]
    fn the_proven_name_comes_first_and_what_was_said_is_kept_short() {
        let caller = Caller { name: "ana".into(), proof: Proof::Certificate { role: Role::Operator } };
        for (said, person) in [("root", "ana (root)"), ("ana", "ana"), ("", "ana"), ("a\nb", "ana (ab)")] {
            assert_eq!(caller.for_person(said), person);
        }
        assert!(caller.for_person(&"x".repeat(500)).len() < 50);
        let token = Caller { proof: Proof::Token { hash: String::new() }, ..caller };
        assert_eq!(token.for_person("root"), "token ana (root)", "never taken for the certificate");
    }

    /// Goal: a secret is a token's or nobody's, and what it grants ends with its time, its revocation and
    /// its groups.
    #[test]
    fn a_secret_grants_what_its_token_says_and_no_more() {
        let state = state(Role::Operator, &["shop"], WallTime(2_000));
        let caller = bearer(&state, "tf_right").unwrap();
        assert_eq!(caller.name, "ci");
        for wrong in ["", "tf_", "tf_wrong", "tf_right ", "ci"] {
            assert_eq!(bearer(&state, wrong).unwrap_err().code, Code::Unauthenticated, "{wrong:?}");
        }
        let rights = caller.rights(&state, NOW).unwrap();
        let may = |request: ApiRequest| caller.may(&rights, request.need()).map_err(|p| (p.code, p.title));
        assert_eq!(may(failover("shop", None)), Ok(()));
        let (code, title) = may(failover("bank", None)).unwrap_err();
        assert_eq!(code, Code::Forbidden);
        assert_eq!(title, "token \"ci\" is for group shop, and a failover is asked for \"bank\"");
        let (_, title) = may(failover("shop", Some("a1"))).unwrap_err();
        assert_eq!(title, "token \"ci\" has the role operator, and accepting a loss needs approver");
        let (_, title) = may(ApiRequest::Tokens).unwrap_err();
        assert!(title.contains("about the whole cluster"), "{title}");
        assert_eq!(may(ApiRequest::Status), Ok(()), "its groups are shown");
        assert_eq!(caller.rights(&state, WallTime(2_000)).unwrap_err().code, Code::TokenExpired);
        assert_eq!(caller.rights(&State::default(), NOW).unwrap_err().code, Code::Unauthenticated);
    }

    /// Goal: a token that was revoked and issued anew under its name is another one.
    #[test]
    fn a_forwarded_name_counts_with_its_own_secret_only() {
        let state = state(Role::Admin, &[], WallTime(2_000));
        let old = Caller { name: "ci".into(), proof: Proof::Token { hash: hash("tf_old") } };
        assert_eq!(old.rights(&state, NOW).unwrap_err().code, Code::Unauthenticated);
    }

    #[test]
    fn secrets_are_long_marked_and_never_the_same() {
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 2 * SECRET_BYTES, "{one}");
        assert_ne!(one, two);
    }
}
