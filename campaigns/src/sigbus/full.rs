//! A tmpfs without room: a ring that doesn't fit is refused, and one that is punched can't be filled again.
//!
//! The tmpfs is mounted in a mount namespace of this thread's own, which takes root, so that nobody else sees it and it
//! goes when the thread ends.

use std::path::Path;

use cli::Failure;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::support::process::{manner, run as run_command};
use crate::support::rng::Rng;
use crate::support::session::Session;
use crate::support::site::Site;

use super::damage::{Damage, names_in};
use super::round::{Ends, Round, len_of};

/// Rings that are punched.
pub const ROUNDS: u64 = 3;

/// What came of it.
pub enum Outcome {
    /// It can't be done here.
    Skipped(String),
    /// How the programs ended.
    Done(Ends),
}

/// Mounts a tmpfs of a megabyte for this thread, and does it.
///
/// # Errors
/// The campaign can't go on.
pub fn run(session: &Session, runtime: &str, rng: &mut Rng) -> Result<Outcome, Failure> {
    let folder = tempfile::Builder::new()
        .prefix("campaign-")
        .tempdir()
        .map_err(|error| Failure::environment(format_args!("{error}")))?;
    if let Err(error) = mount_for_this_thread(folder.path()) {
        return Ok(Outcome::Skipped(format!("can't mount a tmpfs: {error}")));
    }
    let ends = on_tmpfs(session, runtime, folder.path(), rng);
    // Else the folder could not be removed.
    let _ = unmount(folder.path(), UnmountFlags::DETACH);
    ends.map(Outcome::Done)
}

fn on_tmpfs(session: &Session, runtime: &str, folder: &Path, rng: &mut Rng) -> Result<Ends, Failure> {
    see_refusal(session, folder)?;
    let mut ends = Ends::default();
    for _ in 0..ROUNDS {
        let site = Site::with_ring_in(session, folder)?;
        site.create_ring(&["--capacity".into(), "256".into()])?;
        let filler = folder.join("filler");
        let damage = Damage::draw_full(len_of(&site.ring())?, filler.clone(), rng);
        ends.add(Round::on(session, site, runtime, &damage, rng)?);
        std::fs::remove_file(&filler).map_err(|error| Failure::environment(format_args!("{error}")))?;
    }
    Ok(ends)
}

fn mount_for_this_thread(folder: &Path) -> Result<(), Errno> {
    // SAFETY: only flags that are about descriptors are unsafe, for they take them from other threads' eyes.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }?;
    // Nothing that is mounted here may show outside.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("tmpfs", folder, "tmpfs", MountFlags::empty(), c"size=1m,mode=0700")
}

/// A ring that is larger than the tmpfs.
fn see_refusal(session: &Session, folder: &Path) -> Result<(), Failure> {
    let ring = folder.join("ring");
    let arguments = ["create", "--capacity", "4096"].map(Into::into);
    let ran =
        run_command(&session.program("ringctl"), arguments.iter().chain([&ring.clone().into_os_string()]))?;
    let is_one_line = ran.stderr.lines().count() == 1 && ran.stderr.contains("no room");
    if ran.status.code() != Some(3) || !is_one_line {
        session.complain(format_args!(
            "a ring larger than its tmpfs: {}, {:?}",
            manner(ran.status),
            ran.stderr
        ));
    }
    let left = names_in(folder);
    if !left.is_empty() {
        session.complain(format_args!("a ring that was refused has left {left:?}"));
    }
    Ok(())
}
