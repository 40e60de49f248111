//! What `dns serve` answers from: a master file, or a cluster's configuration.

use std::path::Path;

use anyhow::{Context, Result};
use app_config::{Config, Role};
use gslb_core::{Freshness, Name, Snapshot, SnapshotProblem, SnapshotSpec, Verdicts};
use gslb_dns::wire::{CookieSecret, Terms};
use model::{Generation, GroupId, SiteId};

use super::Serve;
use crate::answers::{RouteTo, Routes, spec, terms};
use crate::cli::{self, BadInput};
use crate::clock;
use crate::daemon::probes::Probes;
use crate::daemon::readings::Readings;

/// What is served, and where it is read from.
pub(super) enum Source<'a> {
    /// A master file.
    File {
        /// Where it lies.
        file: &'a Path,
        /// Its zone.
        origin: Name,
    },
    /// A configuration, whose pools are checked from here.
    Steered(Box<Steered<'a>>),
}

/// A configuration, its checks, and what they have found.
pub(super) struct Steered<'a> {
    file: &'a Path,
    config: Config,
    site: SiteId,
    routes: Routes,
    probes: Probes,
    verdicts: Verdicts,
}

impl<'a> Source<'a> {
    /// As the command line says. Checks begin.
    pub(super) fn of(serve: &'a Serve) -> Result<Self> {
        if let (Some(file), Some(origin)) = (&serve.zone_file, &serve.origin) {
            let origin = origin.parse().map_err(|e| BadInput(format!("--origin: {e}")))?;
            return Ok(Source::File { file, origin });
        }
        let file = serve.config.as_deref().context("neither a zone nor a configuration is given")?;
        Ok(Source::Steered(Box::new(Steered::of(serve, file)?)))
    }

    /// For people.
    pub(super) fn title(&self) -> String {
        match self {
            Source::File { origin, .. } => format!("zone {origin}"),
            Source::Steered(steered) => {
                let zone = steered.config.zone().map_or_else(String::new, |zone| zone.origin.to_string());
                format!("zone {zone}, checked from {},", steered.site)
            }
        }
    }

    /// What is answered changes by itself.
    pub(super) fn steers(&self) -> bool {
        matches!(self, Source::Steered(_))
    }

    /// What is added to answers: the command line's word, else the configuration's.
    pub(super) fn terms(&self, serve: &Serve) -> Terms {
        let nsid = serve.nsid.clone().unwrap_or_default();
        let terms = match self {
            Source::File { .. } => Terms { nsid, cookies: Some(CookieSecret::drawn()), rate_limit: None },
            Source::Steered(steered) => terms(&steered.config, nsid),
        };
        Terms { rate_limit: serve.rate_limit.or(terms.rate_limit), ..terms }
    }

    /// What is answered, under the verdicts of now, where they are others.
    pub(super) fn look(&mut self, answered: &Snapshot) -> Option<Snapshot> {
        let Source::Steered(steered) = self else { return None };
        let verdicts = steered.probes.verdicts(clock::now());
        if verdicts == steered.verdicts {
            return None;
        }
        steered.verdicts.clone_from(&verdicts);
        Some(answered.with(verdicts, Freshness::Fresh))
    }

    /// The zone as it is answered, and what of it is not.
    pub(super) fn read(&mut self, generation: Generation) -> Result<(Snapshot, Vec<String>)> {
        match self {
            Source::File { file, origin } => load(file, origin, generation),
            Source::Steered(steered) => Ok((steered.read(generation)?, Vec::new())),
        }
    }
}

impl<'a> Steered<'a> {
    fn of(serve: &Serve, file: &'a Path) -> Result<Self> {
        let config = cli::load(file)?;
        let bad = |why: String| BadInput(format!("{}: {why}", file.display()));
        if config.zone().is_none() {
            return Err(bad("it has no zone, so there is nothing to answer".into()).into());
        }
        let listed = |ids: Vec<String>| if ids.is_empty() { "none".into() } else { ids.join(", ") };
        let known = |site: &SiteId| match config.sites().contains_key(site) {
            true => Ok(()),
            false => {
                let sites = listed(config.sites().keys().map(ToString::to_string).collect());
                Err(bad(format!("it has no site {site:?}; its sites: {sites}", site = site.as_str())))
            }
        };
        for (group, site) in &serve.active {
            if !config.groups().contains_key(group) {
                let groups = listed(config.groups().keys().map(ToString::to_string).collect());
                return Err(bad(format!("it has no group {:?}; its groups: {groups}", group.as_str())).into());
            }
            known(site)?;
        }
        let first = config.sites().values().find(|site| site.role == Role::Data);
        let site = serve.site.clone().or_else(|| first.map(|site| site.id.clone()));
        let site = site.context("the configuration has no data site")?;
        known(&site)?;
        let route =
            |(group, site): &(GroupId, SiteId)| (group.clone(), RouteTo { site: site.clone(), server: None });
        let routes = serve.active.iter().map(route).collect();
        let probes = Probes::start(&config, &site, Readings::new(&config));
        Ok(Self { file, config, site, routes, probes, verdicts: Verdicts::new() })
    }

    fn read(&mut self, generation: Generation) -> Result<Snapshot> {
        let read = if generation > Generation(1) { Some(cli::load(self.file)?) } else { None };
        let config = read.as_ref().unwrap_or(&self.config);
        if config.zone().is_none() {
            return Err(mistakes(self.file, vec!["it has no zone any more".into()]));
        }
        let spec = spec(config, generation, Freshness::Fresh, &self.routes, self.verdicts.clone())?;
        let snapshot = Snapshot::build(spec).map_err(|problems: Vec<SnapshotProblem>| {
            mistakes(self.file, problems.iter().map(ToString::to_string).collect())
        })?;
        if let Some(config) = read {
            self.probes.configure(&config);
            self.config = config;
        }
        Ok(snapshot)
    }
}

/// The zone as it is answered, and what is not.
fn load(file: &Path, origin: &Name, generation: Generation) -> Result<(Snapshot, Vec<String>)> {
    let text = std::fs::read(file)
        .map_err(|error| BadInput(format!("{}: {error}; name a master file", file.display())))?;
    let read = gslb_master::read(file, &text, origin, &mut |path: &Path| {
        std::fs::read(path).map_err(|error| error.to_string())
    });
    let faults = read.faults.iter().map(ToString::to_string);
    refuse(file, faults.collect())?;
    let (zone, outside) = match gslb_master::zone(origin, &read.records) {
        Ok(made) => made,
        Err(faults) => return Err(mistakes(file, faults.iter().map(ToString::to_string).collect())),
    };
    let spec = SnapshotSpec {
        generation,
        freshness: Freshness::Fresh,
        zones: vec![zone],
        pools: Default::default(),
        names: Vec::new(),
        verdicts: Default::default(),
    };
    let (snapshot, problems) = Snapshot::build_tolerant(spec)
        .map_err(|problems| mistakes(file, problems.iter().map(ToString::to_string).collect()))?;
    let mut notes: Vec<String> =
        outside.iter().map(|place| format!("{place}: not in zone {origin}, and left out")).collect();
    notes.extend(problems.iter().map(|p| format!("{}: {p}", file.display())));
    Ok((snapshot, notes))
}

fn refuse(file: &Path, faults: Vec<String>) -> Result<()> {
    if faults.is_empty() { Ok(()) } else { Err(mistakes(file, faults)) }
}

fn mistakes(file: &Path, told: Vec<String>) -> anyhow::Error {
    let s = if told.len() == 1 { "" } else { "s" };
    BadInput(format!("{} has {} mistake{s}:\n{}", file.display(), told.len(), told.join("\n"))).into()
}
