//! A site's port on the hub: a TAP interface that was made inside the site's bridge namespace.

use std::fs::File;
use std::path::Path;

use crate::enter::join_netns;
use crate::layout::{Lab, LabSite};
use crate::net::{WAN_PORT, plug_wan_port};
use app_syscalls::open_tap;

/// Makes the port of a site and plugs it into the site's bridge. The port goes with the file.
///
/// # Errors
/// When the namespace, /dev/net/tun or ip(8) refuse.
pub fn open(lab: &Lab, site: LabSite) -> anyhow::Result<File> {
    let netns = Path::new("/run/netns").join(lab.bridge_netns(site));
    // In a thread of its own, which ends inside the namespace it has joined.
    let made = std::thread::spawn(move || -> anyhow::Result<File> {
        join_netns(&netns)?;
        Ok(open_tap(WAN_PORT)?)
    })
    .join();
    let file =
        made.map_err(|_| anyhow::anyhow!("the thread that makes the port of site {site} panicked"))??;
    plug_wan_port(lab, site)?;
    Ok(file)
}

/// The site a frame is for, by its destination address (byte 4 of the lab's hardware addresses);
/// none for broadcasts and strangers, which go to all.
pub fn destination(frame: &[u8]) -> Option<LabSite> {
    match frame {
        [0x02, 0x54, 10, 77, net, ..] => LabSite::of_net(*net),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::HOSTS;

    #[test]
    fn frames_go_to_the_site_of_their_destination_and_broadcasts_to_all() {
        for h in HOSTS {
            let mut frame = h.mac().to_vec();
            frame.extend([0u8; 54]);
            assert_eq!(destination(&frame), Some(h.site));
        }
        assert_eq!(destination(&[0xff; 60]), None);
        assert_eq!(destination(&[]), None);
    }
}
