//! Whose a file is: what others have planted is not acted on unless it was named.
//!
//! A project and its socket are looked for upwards from the working directory, and directories above
//! may belong to anybody (`/tmp`, a share). Taking a stranger's would check against their limits, and
//! send specs to their controller.

use std::{
    env, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Something that belongs neither to us nor to root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` belongs to uid {owner}, not to you", .path.display())]
pub(crate) struct Stranger {
    /// The path.
    pub(crate) path: PathBuf,
    /// Its owner.
    pub(crate) owner: u32,
}

/// Refuses what is a stranger's: `root` and each path of `beneath`, in it. Of a link both count, the
/// link and what it leads to. What is not there is nobody's.
pub(crate) fn check(root: &Path, beneath: &[&str]) -> Result<(), Stranger> {
    let paths = beneath.iter().map(|path| root.join(path));
    for path in [root.to_owned()].into_iter().chain(paths) {
        let owners = [path.symlink_metadata(), path.metadata()];
        for owner in owners.into_iter().flatten().map(|meta| meta.uid()) {
            if !is_ours(owner) {
                return Err(Stranger { path, owner });
            }
        }
    }
    Ok(())
}

/// As [`check`], for what is about to be written into.
pub(crate) fn check_directory(path: &Path) -> io::Result<()> {
    check(path, &[]).map_err(|stranger| io::Error::new(io::ErrorKind::PermissionDenied, stranger))
}

fn is_ours(owner: u32) -> bool {
    let own = rustix::process::geteuid();
    if owner == own.as_raw() || owner == 0 {
        return true;
    }
    // Under sudo, what belongs to whoever typed it is theirs.
    let behind = || env::var("SUDO_UID").ok()?.parse::<u32>().ok();
    own.is_root() && behind() == Some(owner)
}
