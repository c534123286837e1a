//! Which socket is spoken to, and what is said when nobody answers there.
//!
//! What was named (`--socket`, then the environment) is used whatever its state: silently taking
//! another controller instead would act on the wrong fleet. Only the two places nobody named, the
//! project's socket and the host's, are looked at in turn, and the first that exists is taken. A
//! project's socket that nobody named must be ours or root's.

use std::{
    env, fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use cattle_schemas::api::{DEFAULT_SOCKET, PROJECT_SOCKET, SOCKET_ENV};

use crate::owner::{self, Stranger};

/// The longest path a Unix socket address holds on Linux, without its final NUL (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Where a path came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `--socket`.
    Flag,
    /// `CLF_SOCKET_PATH`.
    Environment,
    /// `.clawdlets/…` in the project of `--project`.
    NamedProject,
    /// `.clawdlets/…` in this directory or one above it.
    Project,
    /// `/run/clf/…`.
    Host,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "--socket",
            Self::Environment => SOCKET_ENV,
            Self::NamedProject => "--project",
            Self::Project => "the project",
            Self::Host => "the host",
        }
    }
}

/// A place to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The socket's path.
    pub(crate) path: PathBuf,
    /// Who named it.
    pub(crate) source: Source,
}

/// Why no controller was reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// None of the places has anything.
    #[error("no controller found; looked at {}", listed(.tried))]
    Absent {
        /// In order.
        tried: Vec<Candidate>,
    },
    /// Something else lies there.
    #[error("`{}` is not a socket", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A socket that somebody else may have planted, in a project that nobody named.
    #[error("{stranger}: this controller is not taken for yours")]
    Planted {
        /// What of it is whose.
        stranger: Stranger,
        /// The socket.
        path: PathBuf,
    },
    /// A socket nobody listens at.
    #[error("nobody listens at `{}`: its controller has ended", .path.display())]
    Refused {
        /// The path.
        path: PathBuf,
    },
    /// The socket, or a directory above it, is closed to us.
    #[error("permission to connect to `{}` is denied", .path.display())]
    Denied {
        /// The path.
        path: PathBuf,
        /// The group that may, where the socket can be looked at.
        group: Option<String>,
    },
    /// The address would not fit.
    #[error("`{}` is too long for a socket ({} bytes, at most {MAX_SOCKET_PATH})", .path.display(), .path.as_os_str().len())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Any other refusal of the system.
    #[error("cannot connect to `{}`", .path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl ConnectError {
    /// The next step.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Absent { .. } => "start a controller with `clf-orchestrator run` in the project, \
                 or name its socket with `--socket`; `clf-orchestrator demo --keep` starts one to try"
                .to_owned(),
            Self::NotASocket { .. } => format!(
                "name the controller's socket with `--socket` or `{SOCKET_ENV}`"
            ),
            Self::Planted { path, .. } => format!(
                "if you trust its owner, say so: `--socket {}`",
                path.display()
            ),
            Self::Refused { .. } => "start it again with `clf-orchestrator run`".to_owned(),
            // Nobody should join root's group for this.
            Self::Denied {
                group: Some(group), ..
            } if group == "root" => "run as root, or add a group `clf-bots`, join it, and start \
                 the controller again: it opens the socket to that group"
                .to_owned(),
            Self::Denied {
                group: Some(group), ..
            } => format!(
                "it is open to group `{group}`: `sudo usermod -aG {group} $USER`, then log in again"
            ),
            Self::Denied { group: None, .. } => {
                "a directory above it is closed to you; run as its owner".to_owned()
            }
            Self::TooLong { .. } => {
                "use a shorter path, or a symbolic link to its directory".to_owned()
            }
            Self::Io { .. } => "look at the controller's own log".to_owned(),
        }
    }

    /// What a failed connect means.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { path },
            io::ErrorKind::PermissionDenied => {
                let group = fs::metadata(&path).ok().map(|meta| group_name(meta.gid()));
                Self::Denied { path, group }
            }
            io::ErrorKind::NotFound => Self::Absent {
                tried: vec![Candidate {
                    path,
                    source: Source::Flag,
                }],
            },
            _ => Self::Io { path, source },
        }
    }
}

fn listed(tried: &[Candidate]) -> String {
    tried
        .iter()
        .map(|candidate| {
            format!(
                "`{}` ({})",
                candidate.path.display(),
                candidate.source.as_str()
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// The places to look at, in order.
pub(crate) fn candidates(
    flag: Option<&Path>,
    environment: Option<PathBuf>,
    named_project: Option<&Path>,
    cwd: &Path,
) -> Vec<Candidate> {
    let one = |path: PathBuf, source| vec![Candidate { path, source }];
    if let Some(path) = flag {
        return one(path.to_owned(), Source::Flag);
    }
    if let Some(path) = environment {
        return one(path, Source::Environment);
    }
    if let Some(project) = named_project {
        return one(project.join(PROJECT_SOCKET), Source::NamedProject);
    }
    let project = cwd
        .ancestors()
        .map(|directory| directory.join(PROJECT_SOCKET))
        .find(|path| exists(path))
        .unwrap_or_else(|| cwd.join(PROJECT_SOCKET));
    vec![
        Candidate {
            path: project,
            source: Source::Project,
        },
        Candidate {
            path: PathBuf::from(DEFAULT_SOCKET),
            source: Source::Host,
        },
    ]
}

/// Whether something is there, or cannot be looked at (which connecting will explain).
fn exists(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// The socket to use.
///
/// # Errors
/// Nothing at any place, or something that is not a socket.
pub(crate) fn find(
    flag: Option<&Path>,
    named_project: Option<&Path>,
    cwd: &Path,
) -> Result<PathBuf, ConnectError> {
    let environment = env::var_os(SOCKET_ENV)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    choose(candidates(flag, environment, named_project, cwd))
}

fn choose(candidates: Vec<Candidate>) -> Result<PathBuf, ConnectError> {
    let Some(found) = candidates.iter().find(|one| exists(&one.path)) else {
        return Err(ConnectError::Absent { tried: candidates });
    };
    let path = found.path.clone();
    if found.source == Source::Project {
        refuse_planted(&path)?;
    }
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(ConnectError::TooLong { path });
    }
    match fs::metadata(&path) {
        Ok(meta) if !meta.file_type().is_socket() => Err(ConnectError::NotASocket { path }),
        Ok(_) => Ok(path),
        // A dangling link.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ConnectError::Absent { tried: candidates })
        }
        Err(error) => Err(ConnectError::from_io(&path, error)),
    }
}

/// The project, the directories down to its socket, and the socket itself.
fn refuse_planted(socket: &Path) -> Result<(), ConnectError> {
    let depth = Path::new(PROJECT_SOCKET).components().count();
    let Some(project) = socket.ancestors().nth(depth) else {
        return Ok(());
    };
    let beneath: Vec<&str> = Path::new(PROJECT_SOCKET)
        .ancestors()
        .filter_map(Path::to_str)
        .filter(|part| !part.is_empty())
        .collect();
    owner::check(project, &beneath).map_err(|stranger| ConnectError::Planted {
        stranger,
        path: socket.to_owned(),
    })
}

/// A group's name, or its number where `/etc/group` does not know it.
fn group_name(gid: u32) -> String {
    fs::read_to_string("/etc/group")
        .ok()
        .and_then(|text| name_in_group_file(&text, gid))
        .unwrap_or_else(|| gid.to_string())
}

fn name_in_group_file(text: &str, gid: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?.parse::<u32>().ok()?;
        (number == gid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_flag_comes_before_the_environment_and_both_stand_alone() {
        let cwd = Path::new("/nowhere");
        let flag = candidates(Some(Path::new("/a")), Some("/b".into()), None, cwd);
        assert_eq!(flag.len(), 1);
        assert_eq!(flag[0].source, Source::Flag);
        let environment = candidates(None, Some("/b".into()), Some(Path::new("/c")), cwd);
        assert_eq!(environment.len(), 1);
        assert_eq!(environment[0].path, Path::new("/b"));
    }

    #[test]
    fn the_projects_socket_is_found_from_a_directory_below() {
        let project = tempfile::tempdir().unwrap();
        let below = project.path().join("cattle/specs");
        fs::create_dir_all(&below).unwrap();
        let socket = project.path().join(PROJECT_SOCKET);
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(
            choose(candidates(None, None, None, &below)).unwrap(),
            socket
        );
    }

    #[test]
    fn an_absent_socket_lists_every_place_looked_at() {
        let error = choose(vec![
            Candidate {
                path: "/nowhere/a.sock".into(),
                source: Source::Project,
            },
            Candidate {
                path: "/nowhere/b.sock".into(),
                source: Source::Host,
            },
        ])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "no controller found; looked at `/nowhere/a.sock` (the project), `/nowhere/b.sock` (the host)"
        );
    }

    #[test]
    fn a_path_that_no_address_holds_is_named_as_such() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x".repeat(120));
        fs::write(&path, "").unwrap();
        let error = choose(candidates(Some(&path), None, None, Path::new("/"))).unwrap_err();
        assert!(matches!(error, ConnectError::TooLong { .. }), "{error}");
    }

    #[test]
    fn a_denied_connect_names_the_group_that_may() {
        let denied = ConnectError::Denied {
            path: "/run/clf/orchestrator.sock".into(),
            group: name_in_group_file("root:x:0:\nclf-bots:x:977:rex\n", 977),
        };
        assert_eq!(
            denied.hint(),
            "it is open to group `clf-bots`: `sudo usermod -aG clf-bots $USER`, then log in again"
        );
    }
}
