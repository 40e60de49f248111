//! The decision not to act, for the audit: what was the matter, by which inputs, and why nothing was done.

use serde::{Deserialize, Serialize};

use super::{Diagnosis, Explanation};

/// Something is the matter and the leader holds still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Held {
    /// Name of the diagnosis.
    pub diagnosis: String,
    /// Its inputs.
    pub because: Vec<String>,
    /// Why it is not acted on; none where a diagnosis asks for no move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<String>,
}

impl Held {
    /// The same decision, whatever numbers its inputs have by now.
    #[must_use]
    pub fn is_like(&self, other: &Held) -> bool {
        self.diagnosis == other.diagnosis && self.holds.is_some() == other.holds.is_some()
    }
}

impl Explanation {
    /// The decision not to act, where there is one: not while all is well or something is being done.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        let passing = [Diagnosis::Well, Diagnosis::Moving, Diagnosis::Observing].contains(&self.diagnosis);
        (!passing && self.act.is_none()).then(|| Held {
            diagnosis: self.diagnosis.name().into(),
            because: self.because.clone(),
            holds: self.holds.clone(),
        })
    }
}
