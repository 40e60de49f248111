//! The host's watchdog, rung 4 of the ladder (Linux Documentation/watchdog/watchdog-api.rst): opened,
//! it counts down; any byte resets it; closed without the letter V before, it goes on counting, so a
//! guard that dies takes its host along.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use app_config::Server;
use failover_core::WatchdogAct;
use tracing::{info, warn};

/// Closing after this letter stops the countdown.
const ORDERLY: &[u8] = b"V";
/// Any other byte resets it.
const FED: &[u8] = b"\0";

/// See the module.
pub struct Watchdog {
    device: PathBuf,
    timeout_s: u8,
    open: Option<File>,
}

impl Watchdog {
    /// The one that the configuration names, not armed yet.
    pub fn of(server: &Server) -> Option<Self> {
        let watchdog = server.watchdog.as_ref()?;
        Some(Self { device: watchdog.device.clone(), timeout_s: watchdog.timeout_s, open: None })
    }

    /// Performs; whether it counts now.
    pub fn perform(&mut self, act: WatchdogAct) -> bool {
        let done = match act {
            WatchdogAct::Arm => self.arm(),
            WatchdogAct::Feed => self.write(FED),
            WatchdogAct::Disarm => self.write(ORDERLY),
        };
        if let Err(error) = done {
            warn!(?act, error = format!("{error:#}"), "watchdog");
        }
        if act == WatchdogAct::Disarm {
            self.open = None;
        }
        self.open.is_some()
    }

    fn arm(&mut self) -> Result<()> {
        if self.open.is_some() {
            return self.write(FED);
        }
        let named = || format!("watchdog {}", self.device.display());
        let mut device = OpenOptions::new().write(true).open(&self.device).with_context(named)?;
        let set = app_syscalls::set_watchdog_timeout(&device, self.timeout_s);
        let taken = set.with_context(|| format!("{}: set its timeout to {} s", named(), self.timeout_s));
        let fits = taken.and_then(|taken| {
            ensure!(
                taken <= u32::from(self.timeout_s),
                "{} takes no timeout below {taken} s, and {} s would be right; lengthen the ladder",
                named(),
                self.timeout_s
            );
            Ok(())
        });
        if fits.is_err() {
            // It counts since it was opened; without this the host would be reset for a mistake.
            let _ = device.write_all(ORDERLY);
        }
        fits?;
        info!(device = %self.device.display(), timeout_s = self.timeout_s, "watchdog armed");
        self.open = Some(device);
        Ok(())
    }

    fn write(&mut self, what: &[u8]) -> Result<()> {
        let Some(device) = &mut self.open else { return Ok(()) };
        device.write_all(what).with_context(|| format!("watchdog {}", self.device.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn watchdog(device: &str, open: Option<File>) -> Watchdog {
        Watchdog { device: device.into(), timeout_s: 2, open }
    }

    /// Goal: what is fed and how it is closed. Method: a pipe where the device would be.
    #[test]
    fn it_is_fed_by_a_byte_and_closed_by_a_v() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut dog = watchdog("pipe", Some(File::from(std::os::fd::OwnedFd::from(writer))));
        assert!(dog.perform(WatchdogAct::Feed) && dog.perform(WatchdogAct::Arm));
        assert!(!dog.perform(WatchdogAct::Disarm));
        assert!(!dog.perform(WatchdogAct::Feed), "a closed one is not fed");
        let mut written = Vec::new();
        reader.read_to_end(&mut written).unwrap();
        assert_eq!(written, b"\0\0V");
    }

    /// Goal: what is no watchdog is never taken for one.
    #[test]
    fn what_is_no_watchdog_is_not_armed() {
        for path in ["/dev/null", "/no/such/watchdog"] {
            assert!(!watchdog(path, None).perform(WatchdogAct::Arm), "{path}");
        }
    }
}
