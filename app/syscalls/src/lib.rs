//! The system calls that no safe wrapper offers: the one file that may hold unsafe code (STYLE §6).
//!
//! WDIOC_SETTIMEOUT sets a watchdog's timeout (Linux Documentation/watchdog/watchdog-api.rst).
//! TUNSETIFF makes a TAP interface and ties it to an open file (tun(4),
//! Documentation/networking/tuntap.rst), in the network namespace of the calling thread.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

use nix::libc;

mod ioctl {
    nix::ioctl_readwrite!(
        /// Sets a watchdog's timeout in seconds; the driver writes back what it took.
        wdioc_settimeout,
        b'W',
        6,
        nix::libc::c_int
    );
    nix::ioctl_write_ptr_bad!(
        /// Ties a new or existing interface to an open /dev/net/tun.
        tun_set_iff,
        nix::libc::TUNSETIFF,
        nix::libc::ifreq
    );
}

/// Makes a TAP interface called `name` in the calling thread's network namespace. Frames are read
/// and written whole through the file, without any header before them (IFF_NO_PI); the interface
/// goes when the file is closed.
///
/// # Errors
/// The system's: no /dev/net/tun, no right to it, a name that is taken or longer than 15 bytes.
pub fn open_tap(name: &str) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: ifreq is plain old data; all zeroes are a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "interface name longer than 15 bytes",
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI).expect("both flags lie in the low 15 bits");
    // SAFETY: the file is open for the whole call and `request` is a valid ifreq that the kernel
    // only reads and fills in place.
    unsafe { ioctl::tun_set_iff(file.as_raw_fd(), &raw const request) }?;
    Ok(file)
}

/// Sets the timeout of an open watchdog and resets its countdown; what the driver took, in seconds.
///
/// # Errors
/// The system's: ENOTTY of what is no watchdog, EINVAL of a timeout that the driver cannot keep.
pub fn set_watchdog_timeout(device: &File, seconds: u8) -> std::io::Result<u32> {
    let mut taken = nix::libc::c_int::from(seconds);
    // SAFETY: the descriptor is open for as long as `device` is borrowed, and the kernel reads and
    // writes one c_int at this address, which lives until the call is over.
    unsafe { ioctl::wdioc_settimeout(device.as_raw_fd(), &raw mut taken) }?;
    Ok(u32::try_from(taken).unwrap_or(u32::MAX))
}
