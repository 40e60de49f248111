//! Goal: what was written is read back or the file is called damaged, with the next act; a log is
//! never silently shorter or fresh. Method: the model is [`Recovered`], which absorbs the same
//! writes; damage is made byte by byte, or by writing contradictions with the store's own means.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use redb::StorageBackend;

use super::*;

fn identity() -> Identity {
    Identity { cluster: "shop".to_owned(), node: 1, incarnation: 1 }
}

fn genesis() -> Recovered {
    Recovered::genesis(&[1, 2, 3], b"first".to_vec())
}

fn entry(index: u64, term: u64) -> Entry {
    let mut entry = Entry::default();
    (entry.index, entry.term) = (index, term);
    entry.data = format!("entry {index} of term {term}").into_bytes().into();
    entry
}

fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
    let mut hard_state = HardState::default();
    (hard_state.term, hard_state.vote, hard_state.commit) = (term, vote, commit);
    hard_state
}

fn snapshot(index: u64, term: u64) -> Snapshot {
    let mut snapshot = genesis().snapshot;
    snapshot.set_data(format!("state at {index}").into_bytes().into());
    (snapshot.mut_metadata().index, snapshot.mut_metadata().term) = (index, term);
    snapshot
}

fn append(range: std::ops::RangeInclusive<u64>, term: u64) -> Persist {
    Persist {
        hard_state: Some(hard_state(term, 2, range.start() - 1)),
        entries: range.map(|index| entry(index, term)).collect(),
        snapshot: None,
        must_sync: true,
    }
}

/// A directory with a log of a few entries in it.
fn written() -> (tempfile::TempDir, PathBuf, Recovered) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft.redb");
    let mut store = Store::create(&path, &identity(), &genesis()).unwrap();
    let mut model = genesis();
    for persist in [append(2..=9, 2), append(7..=8, 3)] {
        store.write(&persist).unwrap();
        model.absorb(&persist);
    }
    drop(store);
    (directory, path, model)
}

fn damage(opened: Result<Store, StoreError>) -> String {
    match opened {
        Err(error @ StoreError::Damaged { .. }) => error.to_string(),
        Err(error) => panic!("called {error:?}"),
        Ok(_) => panic!("opened"),
    }
}

#[test]
fn a_log_is_read_back_as_it_was_written() {
    let (_directory, path, model) = written();
    let store = Store::open(&path, &identity()).unwrap();
    assert_eq!(*store.recovered(), model);
    assert_eq!(model.last_index(), 8, "a newer leader's entries replace all behind them");
    assert_eq!(store.identity(), &identity());
}

#[test]
fn a_commit_index_alone_waits_for_the_next_write_or_flush() {
    let (_directory, path, mut model) = written();
    let commit =
        Persist { hard_state: Some(hard_state(3, 2, 8)), entries: vec![], snapshot: None, must_sync: false };
    let mut store = Store::open(&path, &identity()).unwrap();
    store.write(&commit).unwrap();
    drop(store);
    let mut store = Store::open(&path, &identity()).unwrap();
    assert_eq!(*store.recovered(), model);
    store.write(&commit).unwrap();
    store.flush().unwrap();
    drop(store);
    model.absorb(&commit);
    assert_eq!(*Store::open(&path, &identity()).unwrap().recovered(), model);
}

#[test]
fn a_missing_log_is_not_a_fresh_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft.redb");
    let error = Store::open(&path, &identity()).err().unwrap();
    assert!(matches!(error, StoreError::Missing { .. }));
    assert!(error.to_string().contains("only if this node never took part"), "{error}");
    assert!(!path.exists(), "looking makes nothing");
}

#[test]
fn a_fresh_log_is_not_made_over_anything() {
    let (_directory, path, _) = written();
    assert!(matches!(Store::create(&path, &identity(), &genesis()), Err(StoreError::Exists { .. })));
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(Store::create(&path, &identity(), &genesis()), Err(StoreError::Exists { .. })));
}

#[test]
fn a_creation_that_did_not_end_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft.redb");
    std::fs::write(path.with_extension("new"), b"half of it").unwrap();
    let store = Store::create(&path, &identity(), &genesis()).unwrap();
    assert_eq!(*store.recovered(), genesis());
    assert!(!path.with_extension("new").exists());
}

#[test]
fn another_nodes_clusters_or_incarnations_log_is_refused() {
    let (_directory, path, _) = written();
    let mine = identity();
    let others = [
        (Identity { node: 2, ..mine.clone() }, "belongs to node \"1\", not \"2\""),
        (Identity { cluster: "lab".to_owned(), ..mine.clone() }, "belongs to cluster \"shop\", not \"lab\""),
        (Identity { incarnation: 2, ..mine.clone() }, "belongs to incarnation \"1\", not \"2\""),
    ];
    for (other, words) in others {
        let error = Store::open(&path, &other).err().unwrap();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    Store::open(&path, &mine).unwrap();
}

#[test]
fn a_log_in_use_is_not_opened_twice() {
    let (_directory, path, _) = written();
    let _store = Store::open(&path, &identity()).unwrap();
    assert!(matches!(Store::open(&path, &identity()), Err(StoreError::InUse { .. })));
}

#[test]
fn an_empty_or_truncated_or_foreign_file_is_damage_and_names_the_next_act() {
    let (_directory, path, _) = written();
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 1, 64, 320, 4_095, 4_096, 8_192, whole.len() / 2, whole.len() - 4_096, whole.len() - 1]
    {
        std::fs::write(&path, &whole[..length]).unwrap();
        let words = damage(Store::open(&path, &identity()));
        assert!(words.contains("raft.redb is damaged"), "{length}: {words}");
        assert!(words.contains("make no fresh log for this node"), "{length}: {words}");
    }
    std::fs::write(&path, vec![0; whole.len()]).unwrap();
    damage(Store::open(&path, &identity()));
    std::fs::write(&path, b"{\"not\": \"a database\"}").unwrap();
    damage(Store::open(&path, &identity()));
}

/// Every byte of redb's header (320 bytes), and a sample of the rest: flipped, the log must be
/// called damaged or read back whole (the byte was in free space, or told twice).
#[test]
fn a_flipped_byte_never_shortens_the_log() {
    let (_directory, path, model) = written();
    let whole = std::fs::read(&path).unwrap();
    let content: Vec<usize> = (320..whole.len()).filter(|&at| whole[at] != 0).collect();
    let sample = content.iter().copied().step_by(content.len().div_ceil(300));
    let mut damaged = 0;
    for offset in (0..320).chain(sample) {
        for mask in [0x01, 0xfe] {
            let mut bytes = whole.clone();
            bytes[offset] ^= mask;
            std::fs::write(&path, &bytes).unwrap();
            match Store::open(&path, &identity()) {
                Ok(store) => assert_eq!(*store.recovered(), model, "byte {offset} ^ {mask:#x}"),
                Err(StoreError::Damaged { .. }) => damaged += 1,
                Err(error) => panic!("byte {offset} ^ {mask:#x}: {error:?}"),
            }
        }
    }
    // What a copy-on-write tree left behind is not looked at, so most flips do nothing.
    assert!(damaged > 100, "{damaged}");
}

/// A crash of the process leaves the file as it is at that moment; a copy is the same.
#[test]
fn what_was_written_survives_a_crash_right_after() {
    let (directory, path, mut model) = written();
    let mut store = Store::open(&path, &identity()).unwrap();
    let copy = directory.path().join("copy.redb");
    for number in 0..20_u64 {
        let persist = append(9 + number * 3..=11 + number * 3, 3 + number);
        store.write(&persist).unwrap();
        model.absorb(&persist);
        if number % 5 == 4 {
            let index = model.last_index() - 2;
            let term = model.term_at(index).unwrap();
            let trimmed = (index - 3, model.term_at(index - 3).unwrap());
            let compaction = Compaction { snapshot: snapshot(index, term), trimmed };
            store.compact(&compaction).unwrap();
            model.compact(&compaction);
        }
        std::fs::copy(&path, &copy).unwrap();
        assert_eq!(*Store::open(&copy, &identity()).unwrap().recovered(), model);
    }
}

/// Writes contradictions with the store's own means, so that all checksums fit.
#[test]
fn a_log_that_contradicts_itself_is_damage() {
    type Spoil = fn(&WriteTransaction) -> Result<(), redb::Error>;
    fn put_entry(transaction: &WriteTransaction, key: u64, entry: &Entry) -> Result<(), redb::Error> {
        let value = seal(Place::Entry(key), &record::bytes(entry));
        transaction.open_table(LOG)?.insert(key, value.as_slice())?;
        Ok(())
    }
    let spoils: [(&str, Spoil); 12] = [
        ("has entry 6 where entry 5 belongs", |transaction| {
            transaction.open_table(LOG)?.remove(5)?;
            Ok(())
        }),
        ("has entry 3 where entry 2 belongs", |transaction| {
            transaction.open_table(LOG)?.remove(2)?;
            Ok(())
        }),
        ("entry 5 says it is entry 6", |transaction| put_entry(transaction, 5, &entry(6, 2))),
        ("entry 5 does not match its checksum", |transaction| {
            let value = seal(Place::Entry(4), &record::bytes(&entry(5, 2)));
            transaction.open_table(LOG)?.insert(5, value.as_slice())?;
            Ok(())
        }),
        ("entry 5 is cut short", |transaction| {
            transaction.open_table(LOG)?.insert(5, [1, 2].as_slice())?;
            Ok(())
        }),
        ("entry 6 has term 2, outside 3 to 3", |transaction| put_entry(transaction, 5, &entry(5, 3))),
        ("entry 8 has term 9, outside 3 to 3", |transaction| put_entry(transaction, 8, &entry(8, 9))),
        ("commit index 20 lies beyond the last entry 8", |transaction| {
            put_state(transaction, HARD_STATE, &record::bytes(&hard_state(3, 2, 20)))
        }),
        ("snapshot at 40 does not join the log", |transaction| {
            put_state(transaction, SNAPSHOT, &record::bytes(&snapshot(40, 3)))
        }),
        ("its hard-state is missing", |transaction| {
            transaction.open_table(STATE)?.remove(HARD_STATE)?;
            Ok(())
        }),
        ("its identity is of format 2", |transaction| {
            let mut content = record::identity_bytes(&identity());
            content[0] = 2;
            put_state(transaction, IDENTITY, &content)
        }),
        ("Table 'log' does not exist", |transaction| {
            transaction.delete_table(LOG)?;
            Ok(())
        }),
    ];
    for (words, spoil) in spoils {
        let (_directory, path, _) = written();
        let database = Database::open(&path).unwrap();
        let transaction = begin(&database).unwrap();
        spoil(&transaction).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let found = damage(Store::open(&path, &identity()));
        assert!(found.contains(words), "{found:?} does not say {words:?}");
    }
}

/// A disk in memory whose syncs fail when it is told so.
#[derive(Debug, Default)]
struct Failing {
    disk: redb::backends::InMemoryBackend,
    fails: Arc<AtomicBool>,
}

impl StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("the disk is gone"));
        }
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.disk.write(offset, data)
    }
}

/// A store that fails for as long as the flag says.
fn failing() -> (Store, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let backend = Failing { fails: fails.clone(), ..Failing::default() };
    let database = Database::builder().create_with_backend(backend).unwrap();
    write_genesis(&database, &identity(), &genesis()).unwrap();
    (Store::of(Path::new("raft.redb"), &identity(), database, genesis()), fails)
}

#[test]
fn a_failed_sync_is_final_even_if_the_disk_comes_back() {
    let (mut store, fails) = failing();
    store.write(&append(2..=3, 2)).unwrap();
    fails.store(true, Ordering::Relaxed);
    let error = store.write(&append(4..=4, 2)).unwrap_err();
    assert!(matches!(error, StoreError::Write { .. }), "{error:?}");
    fails.store(false, Ordering::Relaxed);
    for error in [store.write(&append(4..=4, 2)).unwrap_err(), store.flush().unwrap_err()] {
        assert!(matches!(error, StoreError::FailedBefore { .. }), "{error:?}");
    }
}

#[test]
fn a_failed_sync_ends_the_driver_and_says_why() {
    use crate::{Driver, DriverConfig, ReplicaConfig, StateMachine};
    struct Nothing;
    impl StateMachine for Nothing {
        fn apply(&mut self, _index: u64, _data: &[u8]) {}
        fn snapshot(&self) -> Vec<u8> {
            Vec::new()
        }
        fn restore(&mut self, _data: &[u8]) {}
    }
    let (store, fails) = failing();
    fails.store(true, Ordering::Relaxed);
    let replica = ReplicaConfig {
        id: 1,
        election_ticks_min: 2,
        election_ticks_max: 3,
        heartbeat_ticks: 1,
        priority: 0,
    };
    let (tick, clock) = (std::time::Duration::from_millis(5), Box::new(|| 0));
    let config = DriverConfig { replica, tick, snapshot_every: 10, seed: 1, clock };
    let (sent, asked_for_votes) = std::sync::mpsc::channel();
    let outbound = move |_, bytes: Vec<u8>| {
        let _ = sent.send(crate::wire::decode(&bytes).unwrap().get_msg_type());
    };
    let handle = Driver::start(config, store, Nothing, outbound).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let kind = asked_for_votes.recv().unwrap();
    assert_eq!(kind, crate::MessageType::MsgRequestPreVote, "nothing to persist before that");
    // A pre-vote answered makes it vote for itself, which it cannot write.
    let mut answer = crate::Message::default();
    (answer.from, answer.to, answer.term) = (2, 1, 2);
    answer.set_msg_type(crate::MessageType::MsgRequestPreVoteResponse);
    let mut status = handle.status();
    let stopped = runtime.block_on(async {
        loop {
            let _ = handle.step(2, &crate::wire::encode(&answer).unwrap());
            if status.borrow_and_update().ended {
                return status.borrow().stopped.clone().unwrap();
            }
            status.changed().await.unwrap();
        }
    });
    assert!(stopped.why.contains("was not written"), "{}", stopped.why);
    assert!(stopped.why.contains("the disk is gone"), "{}", stopped.why);
    let after: Vec<_> = asked_for_votes.iter().collect();
    assert!(after.iter().all(|kind| *kind == crate::MessageType::MsgRequestPreVote), "{after:?}");
}

/// What a random leader might have a follower write.
#[derive(Debug, Clone)]
enum Act {
    Append { back: u64, count: u64, newer: bool },
    Commit { by: u64 },
    Install { ahead: u64 },
    Compact { kept: u64 },
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..4_u64, 1..6_u64, any::<bool>())
            .prop_map(|(back, count, newer)| Act::Append { back, count, newer }),
        3 => (1..5_u64).prop_map(|by| Act::Commit { by }),
        1 => (1..9_u64).prop_map(|ahead| Act::Install { ahead }),
        2 => (0..6_u64).prop_map(|kept| Act::Compact { kept }),
        2 => Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_writes_is_read_back(acts in prop::collection::vec(act(), 1..25)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raft.redb");
        let mut store = Store::create(&path, &identity(), &genesis()).unwrap();
        let mut model = genesis();
        let mut term = 1;
        for act in acts {
            let (commit, last) = (model.hard_state.commit, model.last_index());
            match act {
                Act::Append { back, count, newer } => {
                    term += u64::from(newer);
                    // What is committed is never replaced.
                    let first = (last + 1).saturating_sub(back).max(commit + 1);
                    let entries = (first..first + count).map(|index| entry(index, term)).collect();
                    let hard_state = Some(hard_state(term, 3, commit));
                    let persist = Persist { hard_state, entries, snapshot: None, must_sync: true };
                    store.write(&persist).unwrap();
                    model.absorb(&persist);
                }
                Act::Commit { by } => {
                    let hard_state = Some(hard_state(term, 3, (commit + by).min(last)));
                    let persist = Persist { hard_state, must_sync: false, ..Persist::default() };
                    store.write(&persist).unwrap();
                    model.absorb(&persist);
                }
                Act::Install { ahead } => {
                    let snapshot = Some(snapshot(last + ahead, term));
                    let hard_state = Some(hard_state(term, 3, last + ahead));
                    let persist = Persist { hard_state, entries: vec![], snapshot, must_sync: true };
                    store.write(&persist).unwrap();
                    model.absorb(&persist);
                }
                Act::Compact { kept } if commit > model.snapshot_index() => {
                    let trim = commit.saturating_sub(kept).max(model.trimmed.0);
                    let compaction = Compaction {
                        snapshot: snapshot(commit, model.term_at(commit).unwrap()),
                        trimmed: (trim, model.term_at(trim).unwrap()),
                    };
                    store.compact(&compaction).unwrap();
                    model.compact(&compaction);
                }
                Act::Compact { .. } => {}
                Act::Reopen => {
                    store.flush().unwrap();
                    drop(store);
                    store = Store::open(&path, &identity()).unwrap();
                    prop_assert_eq!(store.recovered(), &model);
                }
            }
        }
        store.flush().unwrap();
        drop(store);
        let store = Store::open(&path, &identity()).unwrap();
        prop_assert_eq!(store.recovered(), &model);
    }
}

/// The checked-in file was written by the first version of this layout; it must stay readable.
#[test]
fn a_log_of_version_1_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft.redb");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/records-v1.txt");
    let database = Database::create(&path).unwrap();
    let transaction = begin(&database).unwrap();
    let text = std::fs::read_to_string(sample).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line.split_once(' ').unwrap();
        let value: Vec<u8> = (0..value.len() / 2)
            .map(|at| u8::from_str_radix(&value[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        match key.parse::<u64>() {
            Ok(index) => {
                transaction.open_table(LOG).unwrap().insert(index, value.as_slice()).unwrap();
            }
            Err(_) => {
                transaction.open_table(STATE).unwrap().insert(key, value.as_slice()).unwrap();
            }
        }
    }
    transaction.commit().unwrap();
    drop(database);
    let store = Store::open(&path, &identity()).unwrap();
    let mut model = genesis();
    model.absorb(&append(2..=4, 2));
    assert_eq!(*store.recovered(), model);
    assert_eq!(model.entries, VecDeque::from([entry(2, 2), entry(3, 2), entry(4, 2)]));
}

/// Prints the sample anew, for a next version: `UPDATE_GOLDEN=1`.
#[test]
fn the_sample_of_version_1_is_what_is_written() {
    let hex = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (genesis, persist) = (genesis(), append(2..=4, 2));
    let state = [
        (IDENTITY, record::identity_bytes(&identity())),
        (HARD_STATE, record::bytes(persist.hard_state.as_ref().unwrap())),
        (SNAPSHOT, record::bytes(&genesis.snapshot)),
        (TRIMMED, record::trimmed_bytes(genesis.trimmed)),
    ];
    let mut text = "# Values of a raft log, version 1: key, then checksum and content in hex.\n".to_owned();
    for (name, content) in state {
        text += &format!("{name} {}\n", hex(&seal(Place::State(name), &content)));
    }
    for entry in &persist.entries {
        text +=
            &format!("{} {}\n", entry.index, hex(&seal(Place::Entry(entry.index), &record::bytes(entry))));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/records-v1.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

/// Goal: state a limit. After a crash, one bit in redb's header says which of its two last
/// transactions counts, and no checksum covers it; flipped, the last write is taken back in
/// silence. Every other byte of the header is guarded. (After an orderly end both are the same.)
#[test]
fn after_a_crash_one_bit_of_the_header_is_trusted() {
    let (directory, path, mut model) = written();
    let mut store = Store::open(&path, &identity()).unwrap();
    for index in 9..=11 {
        let persist = append(index..=index, 3);
        store.write(&persist).unwrap();
        model.absorb(&persist);
    }
    let copy = directory.path().join("copy.redb");
    std::fs::copy(&path, &copy).unwrap();
    let whole = std::fs::read(&copy).unwrap();
    let mut shortened = Vec::new();
    for offset in 0..320 {
        let mut bytes = whole.clone();
        bytes[offset] ^= 1;
        std::fs::write(&copy, &bytes).unwrap();
        if let Ok(store) = Store::open(&copy, &identity())
            && *store.recovered() != model
        {
            shortened.push((offset, store.recovered().last_index()));
        }
    }
    assert_eq!(shortened, [(9, 10)]);
}
