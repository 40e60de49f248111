//! A new generation of the configuration.

use model::{Generation, WallTime};

use super::{Refusal, rule};
use crate::configuration::{CONFIG_TEXT_MAX, Configured, NewConfiguration};
use crate::{Event, Group, State};

/// Compared with another generation, it is refused: what was shown to the person is not what would be
/// changed. Groups come and never go, and keep their servers: their authority rests on them.
pub(super) fn configure(
    state: &mut State,
    new: NewConfiguration,
    at: WallTime,
) -> Result<Vec<Event>, Refusal> {
    let now = state.configuration.generation();
    if now != new.expect {
        return Err(Refusal::Generation { now, expected: new.expect });
    }
    if state.incarnation.0 == 0 {
        return rule("the cluster is not founded yet");
    }
    let bytes = new.text.as_str().len();
    if bytes == 0 || bytes > CONFIG_TEXT_MAX {
        return rule(format!("a configuration of {bytes} bytes is not within 1 to {CONFIG_TEXT_MAX}"));
    }
    for (id, group) in &state.groups {
        match new.groups.get(id) {
            None => return rule(format!("group {id} is missing; a group does not go")),
            Some(spec) if spec.servers != group.servers => {
                return rule(format!("group {id} has other servers; its authority rests on them"));
            }
            Some(_) => {}
        }
    }
    for (id, spec) in new.groups {
        state.groups.entry(id).or_insert_with(|| Group::of(spec));
    }
    let configured = Configured {
        generation: Generation(now.0 + 1),
        text: new.text,
        changes: new.changes,
        restores: new.restores,
        by: new.by,
        why: new.why,
        at,
    };
    let event = Event::Configured {
        generation: configured.generation,
        changes: configured.changes.clone(),
        restores: configured.restores,
        by: configured.by.clone(),
        why: configured.why.clone(),
        at,
    };
    state.configuration.succeed(configured);
    Ok(vec![event])
}
