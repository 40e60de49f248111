//! The gate: an nftables set whose element's timeout is the lease (DESIGN §4; nft(8)).
//!
//! Table `inet twofold_<group>` has input and output chains at priority −300, before connection
//! tracking. Packets to or from the gated ports pass only while the port is in the set of the open
//! epoch, or when the other end is an exempt replica host. Hosts of servers whose acks would stand for an acker's do not
//! pass at all: both ends of their connections are reset. The set's name carries the epoch, so what
//! was meant for one epoch can never open another. An endless lease's element has no timeout: it stands
//! until the guard takes it away, or the boot. Every change is one transaction, which asserts
//! table, chains and rules anew (a distribution's nftables.conf may have flushed them), and is read
//! back.
//!
//! Calls to nft are bounded; one that is not over in time is killed and reaped before anything else
//! is asked, so nothing lands later than its successor.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use failover_core::{ENDLESS, GateAct, GateRead};
use model::Epoch;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tracing::warn;

/// Deadline of one call to nft.
const NFT_WITHIN: Duration = Duration::from_secs(1);

/// What is gated and who is exempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateSpec {
    /// The group; part of the table's name.
    pub group: String,
    /// All listeners of the server.
    pub ports: BTreeSet<u16>,
    /// Hosts of the group's other servers: replication and CLONE pass.
    pub exempt: BTreeSet<IpAddr>,
    /// Those of them that do not pass now.
    pub barred: BTreeSet<IpAddr>,
}

impl GateSpec {
    fn table(&self) -> String {
        format!("twofold_{}", self.group.replace('-', "_"))
    }
}

/// Performs and reads back.
pub async fn perform(spec: &GateSpec, act: GateAct) -> GateRead {
    let script = script(spec, act);
    match nft(&["-f", "-"], Some(&script)).await {
        // The table is there: it was made in this very transaction.
        Ok(_) => list(spec).await,
        Err(why) => {
            warn!(?act, why, "the gate could not be set");
            GateRead::Failed
        }
    }
}

/// What stands in the kernel now.
pub async fn read(spec: &GateSpec) -> GateRead {
    match nft(&["-j", "list", "tables"], None).await {
        Ok(text) if !has_table(&text, &spec.table()) => return GateRead::Absent,
        Ok(_) => {}
        Err(why) => {
            warn!(why, "the gate could not be read");
            return GateRead::Failed;
        }
    }
    list(spec).await
}

/// The table as it stands; one that is not there could not be read.
async fn list(spec: &GateSpec) -> GateRead {
    match nft(&["-j", "list", "table", "inet", &spec.table()], None).await {
        Ok(text) => parse(&text, spec).unwrap_or_else(|| {
            warn!(table = spec.table(), "the gate reads as nothing this guard wrote");
            GateRead::Failed
        }),
        Err(why) => {
            warn!(why, "the gate could not be read");
            GateRead::Failed
        }
    }
}

/// One transaction: the table is made anew, with exactly one set.
fn script(spec: &GateSpec, act: GateAct) -> String {
    let table = spec.table();
    let ports = join(spec.ports.iter());
    let (epoch, element) = match act {
        GateAct::Shut => (Epoch(0), String::new()),
        GateAct::Open { epoch, left } => {
            let timeout = match left {
                ENDLESS => String::new(),
                left => format!(" timeout {}ms", left.as_millis().max(1)),
            };
            let elements: Vec<String> = spec.ports.iter().map(|p| format!("{p}{timeout}")).collect();
            (epoch, format!("elements = {{ {} }};", elements.join(", ")))
        }
    };
    let mut exempt_in = String::new();
    let mut exempt_out = String::new();
    let mut lines = |addresses: Vec<&IpAddr>, verdicts: &[&str]| {
        for (keyword, v4) in [("ip", true), ("ip6", false)] {
            let list = join(addresses.iter().filter(|a| a.is_ipv4() == v4));
            for verdict in verdicts.iter().filter(|_| !list.is_empty()) {
                exempt_in += &format!("    {keyword} saddr {{ {list} }} tcp dport {{ {ports} }} {verdict}\n");
                exempt_out +=
                    &format!("    {keyword} daddr {{ {list} }} tcp sport {{ {ports} }} {verdict}\n");
            }
        }
    };
    // A reset passes, or nobody would hear of it: the kernel sends it through these very chains.
    lines(spec.barred.iter().collect(), &["tcp flags & rst == rst accept", "reject with tcp reset"]);
    lines(spec.exempt.difference(&spec.barred).collect(), &["accept"]);
    format!(
        "table inet {table} {{}}\n\
         delete table inet {table}\n\
         table inet {table} {{\n\
         \x20 set open_{epoch} {{ type inet_service; flags timeout; {element} }}\n\
         \x20 chain input {{\n    type filter hook input priority -300; policy accept;\n{exempt_in}\
         \x20   tcp dport @open_{epoch} accept\n\
         \x20   tcp dport {{ {ports} }} tcp flags & (syn|ack) == syn reject with tcp reset\n\
         \x20   tcp dport {{ {ports} }} drop\n  }}\n\
         \x20 chain output {{\n    type filter hook output priority -300; policy accept;\n{exempt_out}\
         \x20   tcp sport @open_{epoch} accept\n\
         \x20   tcp sport {{ {ports} }} tcp flags & rst == rst accept\n\
         \x20   tcp sport {{ {ports} }} drop\n  }}\n\
         }}\n"
    )
}

fn join<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|i| i.to_string()).collect::<Vec<_>>().join(", ")
}

async fn nft(args: &[&str], stdin: Option<&str>) -> Result<String, String> {
    let mut command = Command::new("nft");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| format!("run nft: {e}; install nftables"))?;
    if let Some(mut pipe) = child.stdin.take()
        && let Some(text) = stdin
    {
        pipe.write_all(text.as_bytes()).await.map_err(|e| format!("write to nft: {e}"))?;
    }
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        use tokio::io::AsyncReadExt;
        let (mut text, mut complaint) = (String::new(), String::new());
        if let Some(out) = out.as_mut() {
            let _ = out.read_to_string(&mut text).await;
        }
        if let Some(err) = err.as_mut() {
            let _ = err.read_to_string(&mut complaint).await;
        }
        (child.wait().await, text, complaint)
    };
    match tokio::time::timeout(NFT_WITHIN, work).await {
        Ok((Ok(status), text, _)) if status.success() => Ok(text),
        Ok((_, _, complaint)) => Err(format!("nft {}: {}", args.join(" "), complaint.trim())),
        Err(_) => {
            // Killed and reaped before anybody may ask again: it must not land later.
            let _ = child.kill().await;
            Err(format!("nft {} was not done in {NFT_WITHIN:?}", args.join(" ")))
        }
    }
}

fn has_table(json: &str, table: &str) -> bool {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(json) else { return false };
    let items = value["nftables"].as_array().cloned().unwrap_or_default();
    items.iter().any(|i| i["table"]["name"] == table && i["table"]["family"] == "inet")
}

/// The gate as nft lists it. None when rules or sets are not what this guard writes.
fn parse(json: &str, spec: &GateSpec) -> Option<GateRead> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let items = value["nftables"].as_array()?;
    let drops = items
        .iter()
        .filter(|i| i["rule"]["expr"].as_array().is_some_and(|e| e.iter().any(|x| x.get("drop").is_some())));
    let hooks: BTreeSet<&str> = items.iter().filter_map(|i| i["chain"]["hook"].as_str()).collect();
    if drops.count() != 2 || hooks != BTreeSet::from(["input", "output"]) {
        return None;
    }
    let mut sets = items.iter().filter_map(|i| i.get("set"));
    let set = sets.next()?;
    if sets.next().is_some() {
        return None;
    }
    let epoch = Epoch(set["name"].as_str()?.strip_prefix("open_")?.parse().ok()?);
    let Some(elements) = set["elem"].as_array() else { return Some(GateRead::Shut) };
    // nft tells what is left in whole seconds here; what was asked for is the tighter bound, and the
    // guard takes the lesser of the two.
    // An element without a timeout is a bare port.
    let left = match elements.iter().filter(|e| e.is_u64()).count() {
        0 => Duration::from_secs(elements.iter().filter_map(|e| e["elem"]["expires"].as_u64()).min()?),
        all if all == elements.len() => ENDLESS,
        _ => return None,
    };
    let _ = &spec.ports;
    Some(GateRead::Open { epoch, left })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> GateSpec {
        GateSpec {
            group: "shop-a".into(),
            ports: BTreeSet::from([3306, 33060]),
            exempt: BTreeSet::from(["10.77.2.21".parse().unwrap(), "10.77.2.22".parse().unwrap()]),
            barred: BTreeSet::from(["10.77.2.22".parse().unwrap()]),
        }
    }

    #[test]
    fn the_script_opens_only_the_set_of_its_epoch_in_both_directions() {
        let text = script(&spec(), GateAct::Open { epoch: Epoch(7), left: Duration::from_millis(1234) });
        assert!(text.contains("set open_7 { type inet_service; flags timeout; elements = { 3306 timeout 1234ms, 33060 timeout 1234ms };"));
        for direction in ["dport", "sport"] {
            let accept = text.find(&format!("tcp {direction} @open_7 accept")).unwrap();
            let drop = text.find(&format!("tcp {direction} {{ 3306, 33060 }} drop")).unwrap();
            assert!(accept < drop);
        }
        assert!(text.contains("ip saddr { 10.77.2.21 } tcp dport"));
        let barred = "ip saddr { 10.77.2.22 } tcp dport { 3306, 33060 } reject with tcp reset";
        assert!(text.find(barred).unwrap() < text.find("tcp dport @open_7 accept").unwrap(), "{text}");
        let endless = script(&spec(), GateAct::Open { epoch: Epoch(7), left: ENDLESS });
        assert!(endless.contains("flags timeout; elements = { 3306, 33060 };"), "{endless}");
        let shut = script(&spec(), GateAct::Shut);
        assert!(shut.contains("set open_0 { type inet_service; flags timeout;  }"));
    }

    #[test]
    fn a_foreign_table_is_not_taken_for_a_gate() {
        assert_eq!(parse("{\"nftables\":[]}", &spec()), None);
        assert_eq!(parse("garbage", &spec()), None);
    }
}
