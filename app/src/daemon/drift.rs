//! How the person's file on this node's disk differs from the configuration in force: an edit that
//! nobody applied, or a file that was not taken along.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::shared::Shared;

/// The file is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Of a difference so much is shown.
const SHOWN_MAX: usize = 120;

/// See the module. Ends with its owner.
pub struct Drift {
    said: Arc<Mutex<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Drift {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drift {
    /// Begins to look.
    pub fn watch(shared: &Arc<Shared>) -> Self {
        let said = Arc::new(Mutex::new("same".to_owned()));
        let (shared, place) = (shared.clone(), said.clone());
        let task = tokio::spawn(async move {
            let mut every = tokio::time::interval(LOOK_EVERY);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                let (file, folder, config) = (shared.file.clone(), shared.folder.clone(), shared.config());
                let looked = tokio::task::spawn_blocking(move || {
                    look(std::fs::read_to_string(&file), &folder, &config)
                });
                if let Ok(drift) = looked.await {
                    *place.lock().expect("no holder of this lock panics") = drift;
                }
            }
        });
        Self { said, task }
    }

    /// `same`, or in words.
    pub fn get(&self) -> String {
        self.said.lock().expect("no holder of this lock panics").clone()
    }
}

fn look(file: std::io::Result<String>, folder: &std::path::Path, in_force: &app_config::Config) -> String {
    let text = match file {
        Ok(text) => text,
        Err(error) => return format!("cannot be read: {error}"),
    };
    let checked = app_config::check(&text, folder);
    let Some(config) = checked.config else {
        let first = checked.problems.first().map(ToString::to_string).unwrap_or_default();
        return format!("has {} problems, the first: {}", checked.problems.len(), clipped(&first));
    };
    if config == *in_force {
        return "same".to_owned();
    }
    let found = app_config::differences(in_force, &config);
    match found.as_slice() {
        [] => "same".to_owned(),
        [one] => format!("differs: {}", clipped(&one.to_string())),
        [first, ..] => {
            format!("differs in {} places, the first: {}", found.len(), clipped(&first.to_string()))
        }
    }
}

fn clipped(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn an_edit_that_nobody_applied_is_said_and_a_comment_is_none() {
        let text = include_str!("../../config/testdata/smallest.yaml");
        let config = app_config::check(text, Path::new("/")).config.unwrap();
        let said = |text: &str| look(Ok(text.to_owned()), Path::new("/"), &config);
        assert_eq!(said(text), "same");
        assert_eq!(said(&format!("# by hand\n{text}")), "same");
        let edited = text.replace("main: {bound: main}", "main: {bound: main, ttl: 3s}");
        assert_eq!(said(&edited), "differs: ~ names.\"main.db.example.com.\".ttl: 1s -> 3s");
        assert!(said("version: 2").starts_with("has "), "{}", said("version: 2"));
        let gone = look(Err(std::io::ErrorKind::NotFound.into()), Path::new("/"), &config);
        assert!(gone.starts_with("cannot be read"), "{gone}");
    }
}
