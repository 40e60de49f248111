//! Which transactions of one server another lacks.

use model::GtidSet;

/// What `mine` holds and `theirs` lacks: MySQL's `GTID_SUBTRACT(mine, theirs)`.
///
/// Give held sets (executed and received together) on both sides. On a server that was killed in
/// `Sync` these are the ghosts: written, and never acknowledged to anybody.
#[must_use]
pub fn extra_transactions(mine: &GtidSet, theirs: &GtidSet) -> GtidSet {
    mine.subtract(theirs)
}

/// What `held` contains that no epoch's recorded range explains: transactions written behind the
/// primary's back. Purged transactions count, since a held set contains them.
///
/// `recorded` are the ranges of all epochs so far, each the GTIDs its primary wrote, the current
/// primary's `gtid_executed` among them.
#[must_use]
pub fn errant<'a>(held: &GtidSet, recorded: impl IntoIterator<Item = &'a GtidSet>) -> GtidSet {
    recorded.into_iter().fold(held.clone(), |left, range| left.subtract(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errant_is_what_no_epoch_wrote() {
        let set = |t: &str| t.parse::<GtidSet>().unwrap();
        let a = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let b = "4e11fa47-71ca-11e1-9e33-c80aa9429562";
        let held = set(&format!("{a}:1-12,{b}:1-3"));
        let epochs = [set(&format!("{a}:1-10")), set(&format!("{b}:1-3"))];
        assert_eq!(errant(&held, &epochs), set(&format!("{a}:11-12")));
        assert_eq!(extra_transactions(&held, &epochs[0]), set(&format!("{a}:11-12,{b}:1-3")));
        assert!(errant(&GtidSet::empty(), &epochs).is_empty());
    }
}
