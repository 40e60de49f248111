//! Where a copy is made: beside the data directory that it takes the place of.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{CopyError, file};
use crate::deadline::Deadline;
use crate::read::last_row;
use crate::session::Session;

/// What is put behind the data directory's name.
const SUFFIX: &str = ".twofold-copy";

/// Variables that say where a server keeps data, and must say: in the data directory.
const PLACES: [&str; 5] = [
    "innodb_data_home_dir",
    "innodb_log_group_home_dir",
    "innodb_undo_directory",
    "aria_log_dir_path",
    "log_bin_basename",
];

/// See the module. Both names are in one folder of one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPlace {
    /// The data directory, without links in its path.
    pub data: PathBuf,
    /// The copy; once they have changed places, the old data.
    pub beside: PathBuf,
}

impl CopyPlace {
    /// Beside `data_dir`, where that can change places with another directory.
    pub fn of(data_dir: &Path) -> Result<CopyPlace, CopyError> {
        let look = |e| file("look at", data_dir, e);
        let data = fs::canonicalize(data_dir).map_err(look)?;
        let (Some(parent), Some(name)) = (data.parent(), data.file_name()) else {
            return Err(CopyError::MountPoint { path: data });
        };
        let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).map_err(look);
        if device(&data)? != device(parent)? {
            return Err(CopyError::MountPoint { path: data });
        }
        let mut beside = name.to_os_string();
        beside.push(SUFFIX);
        let beside = data.with_file_name(beside);
        Ok(CopyPlace { data, beside })
    }

    /// Refuses where the data would not fit a second time.
    pub fn room_for(&self, wanted: u64) -> Result<(), CopyError> {
        let stat = rustix::fs::statvfs(&self.data).map_err(|e| file("look at", &self.data, e.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < wanted {
            return Err(CopyError::Room { path: self.data.clone(), free, wanted });
        }
        Ok(())
    }

    /// Removes what is beside the data directory.
    pub async fn clear(&self) -> Result<(), CopyError> {
        let beside = self.beside.clone();
        let removed = tokio::task::spawn_blocking(move || match fs::remove_dir_all(&beside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(file("remove", &beside, e)),
            _ => Ok(()),
        });
        removed.await.unwrap_or_else(|e| Err(file("remove", &self.beside, io::Error::other(e))))
    }

    /// All of the server's data lies here. Returns the base name of its binary logs.
    pub(crate) async fn holds_all(
        &self,
        session: &mut Session,
        deadline: Deadline,
    ) -> Result<String, CopyError> {
        let columns: Vec<_> = PLACES.iter().map(|name| format!("@@GLOBAL.{name} AS {name}")).collect();
        let sql = format!("SELECT {}", columns.join(", "));
        let sets = session.ask("read where the data lies", &sql, deadline).await?;
        let row = last_row(&sets, "where the data lies")?;
        let mut logs = String::new();
        for variable in PLACES {
            let value = row.maybe(variable)?.unwrap_or_default();
            let outside = || CopyError::Outside { variable, value: value.clone() };
            let path = self.data.join(&value);
            if variable == "log_bin_basename" {
                let folder = path.parent().and_then(|folder| fs::canonicalize(folder).ok());
                let name = path.file_name().and_then(|name| name.to_str());
                logs = name.filter(|_| folder.as_ref() == Some(&self.data)).ok_or_else(outside)?.to_owned();
            } else if fs::canonicalize(&path).ok().as_ref() != Some(&self.data) {
                return Err(outside());
            }
        }
        Ok(logs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_made_beside_the_directory_that_a_link_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        fs::create_dir(real.join("mysql")).unwrap();
        std::os::unix::fs::symlink(real.join("mysql"), real.join("link")).unwrap();
        let place = CopyPlace::of(&real.join("link")).unwrap();
        assert_eq!(place.data, real.join("mysql"));
        assert_eq!(place.beside, real.join("mysql.twofold-copy"));
        assert!(place.room_for(1).is_ok());
        assert!(matches!(place.room_for(u64::MAX), Err(CopyError::Room { .. })));
    }

    #[test]
    fn a_mount_point_is_refused_by_name() {
        let error = CopyPlace::of(Path::new("/proc")).unwrap_err();
        assert!(matches!(error, CopyError::MountPoint { .. }), "{error}");
        assert!(CopyPlace::of(Path::new("/no/such/folder")).is_err());
    }
}
