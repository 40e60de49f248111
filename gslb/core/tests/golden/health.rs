//! Commands: `own SITE`; `member POOL/MEMBER site=S rise=N fall=N fresh=SECONDS`;
//! `T VANTAGE POOL/MEMBER ok|REASON` (an observation at T seconds); `T expire`; `T adopt POOL/MEMBER up|down`;
//! `verdicts`; `next-expiry`; `unheard`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use gslb_core::{Health, MemberCheck, VerdictChange, Verdicts, observe};
use model::{MemberId, Observation, PoolId, Timestamp, Verdict, VerdictState};

#[derive(Default)]
pub struct World {
    health: Option<Health>,
    checks: BTreeMap<(PoolId, MemberId), MemberCheck>,
}

fn key(text: &str) -> Result<(PoolId, MemberId), String> {
    let (pool, member) = text.split_once('/').ok_or("POOL/MEMBER")?;
    Ok((pool.parse().map_err(|_| "pool")?, member.parse().map_err(|_| "member")?))
}

fn say(verdict: Verdict) -> String {
    let state = match verdict.state {
        VerdictState::Up => "up",
        VerdictState::Down => "down",
        VerdictState::Unknown => "unknown",
    };
    format!("{state}/{}", verdict.probes_to_change)
}

fn print(change: &VerdictChange) -> String {
    let VerdictChange { pool, member, from, to, because } = change;
    let kind = if change.state_changed() { "changed" } else { "sooner or later" };
    format!("{pool}/{member} {} -> {} ({kind}): {because}\n", say(*from), say(*to))
}

impl super::World for World {
    fn run(&mut self, command: &str) -> Result<String, String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        if let ["own", site] = words[..] {
            self.health = Some(Health::new(site.parse().map_err(|_| "site")?));
            return Ok(String::new());
        }
        let health = self.health.as_mut().ok_or("own SITE comes first")?;
        match words[..] {
            ["member", member, ref settings @ ..] => {
                let setting = |name: &str| {
                    let found = settings.iter().find_map(|s| s.strip_prefix(name)?.strip_prefix('='));
                    found.ok_or(format!("{name}= is missing"))
                };
                let number = |name: &str| setting(name)?.parse::<u32>().map_err(|e| e.to_string());
                let check = MemberCheck {
                    site: setting("site")?.parse().map_err(|_| "site")?,
                    rise: number("rise")?,
                    fall: number("fall")?,
                    freshness: Duration::from_secs(number("fresh")?.into()),
                };
                self.checks.insert(key(member)?, check);
                health.configure(self.checks.clone());
                Ok(String::new())
            }
            ["forget", member] => {
                self.checks.remove(&key(member)?);
                health.configure(self.checks.clone());
                Ok(String::new())
            }
            ["verdicts"] => {
                let mut out = String::new();
                for (pool, members) in health.verdicts() {
                    for (member, verdict) in members {
                        writeln!(out, "{pool}/{member} {}", say(verdict)).unwrap();
                    }
                }
                Ok(out)
            }
            ["next-expiry"] => {
                Ok(health.next_expiry().map_or("never\n".to_owned(), |t| format!("{}s\n", t.0 / 1_000_000)))
            }
            ["unheard"] => {
                Ok(health.unheard().iter().map(|(pool, member)| format!("{pool}/{member}\n")).collect())
            }
            [time, ref act @ ..] => {
                let seconds: f64 = time.parse().map_err(|_| "unknown command")?;
                timed(health, Timestamp((seconds * 1e6) as u64), act)
            }
            [] => Ok(String::new()),
        }
    }
}

fn timed(health: &mut Health, at: Timestamp, act: &[&str]) -> Result<String, String> {
    match act {
        ["expire"] => Ok(health.expire(at).iter().map(print).collect()),
        ["adopt", member, state] => {
            let (pool, member) = key(member)?;
            let state = if *state == "up" { VerdictState::Up } else { VerdictState::Down };
            let verdict = Verdict { state, probes_to_change: 3 };
            let verdicts = Verdicts::from([(pool, BTreeMap::from([(member, verdict)]))]);
            health.adopt(&verdicts, at);
            Ok(String::new())
        }
        [vantage, member, result @ ..] => {
            let (pool, member) = key(member)?;
            let result = if *result == ["ok"] { Ok(1_000) } else { Err(result.join(" ")) };
            let vantage = vantage.parse().map_err(|_| "vantage")?;
            let change = observe(health, Observation { pool, member, vantage, at, result });
            Ok(change.as_ref().map(print).unwrap_or_default())
        }
        _ => Err("unknown command".to_owned()),
    }
}
