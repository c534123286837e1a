//! The socket itself: where it is, who may open it, and when another one may take its place.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream, unix::SocketAddr},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::peer::{Credentials, group_id};

/// The group that may open the socket.
pub const BOTS_GROUP: &str = "clf-bots";
/// Connections at once. Each costs a file descriptor and some kilobytes; a service's usual 1,024
/// descriptors leave room for the ledger, logs and Hetzner beside these.
pub const MAX_CONNECTIONS: usize = 512;
/// Connections of one user at once, so that no bot can shut out the others: twice its requests.
pub const MAX_CONNECTIONS_PER_USER: usize = 128;
/// After a failed `accept` (no descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers on it.
    #[error("socket path in use: another controller answers on {}", .0.display())]
    InUse(PathBuf),
    /// Something that is not a socket is there; it is not ours to remove.
    #[error("{} is there and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Opens the socket at `path`: mode 0660, group [`BOTS_GROUP`] where that exists. A socket that
/// nobody answers on is replaced; the directory is made (0700) when it is missing.
///
/// # Errors
/// A live controller answers there, something else is there, or the system refuses.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |operation| {
        let path = path.to_owned();
        move |source| BindError::Io {
            operation,
            path,
            source,
        }
    };
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        && !parent.exists()
    {
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|source| BindError::Io {
                operation: "create the directory",
                path: parent.to_owned(),
                source,
            })?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            // Nobody listens: left behind by a process that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed("replace"))?;
            }
            // It answers, or is too busy or too private to: not ours in any case.
            _ => return Err(BindError::InUse(path.to_owned())),
        },
    }
    // Bound under another name, and renamed when its mode is right: the path never names a socket
    // that the wrong people could open.
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!(".{}", std::process::id()));
    let staged = PathBuf::from(staged);
    let _ = fs::remove_file(&staged);
    let listener = UnixListener::bind(&staged).map_err(failed("listen on"))?;
    let open = || {
        fs::set_permissions(&staged, fs::Permissions::from_mode(0o660))?;
        if let Some(gid) = group_id(BOTS_GROUP)
            && let Err(error) = std::os::unix::fs::chown(&staged, None, Some(gid))
        {
            tracing::warn!(%error, group = BOTS_GROUP, "the socket stays with our own group");
        }
        fs::rename(&staged, path)
    };
    open()
        .inspect_err(|_| drop(fs::remove_file(&staged)))
        .map_err(failed("open"))?;
    Ok(listener)
}

/// The socket that systemd holds for us (`FileDescriptorName=jobs`, or the only one it passes).
///
/// # Errors
/// What was passed is not a Unix socket, or the runtime does not take it.
pub fn inherited() -> io::Result<Option<UnixListener>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let index = names
        .split(':')
        .position(|name| name == "jobs")
        .unwrap_or(0);
    let Some(listener) = listenfd::ListenFd::from_env().take_unix_listener(index)? else {
        return Ok(None);
    };
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener).map(Some)
}

/// A listener that accepts no more than [`MAX_CONNECTIONS`]; further ones wait in the kernel.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    places: Arc<Semaphore>,
    users: Users,
}

/// Connections by uid.
type Users = Arc<Mutex<HashMap<u32, usize>>>;

impl Socket {
    pub(super) fn new(listener: UnixListener) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            users: Users::default(),
        }
    }

    /// The connection, unless its user has too many: then it is closed.
    fn admit(&self, stream: UnixStream, place: OwnedSemaphorePermit) -> Option<Connection> {
        let found = stream.peer_cred().ok();
        let credentials = found.map(|found| Credentials {
            uid: found.uid(),
            gid: found.gid(),
        });
        let uid = credentials.map_or(u32::MAX, |credentials| credentials.uid);
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let own = users.entry(uid).or_default();
        if *own >= MAX_CONNECTIONS_PER_USER {
            tracing::warn!(uid, "too many connections of one user; one more is closed");
            return None;
        }
        *own += 1;
        Some(Connection {
            stream,
            credentials,
            _counted: Counted {
                users: Arc::clone(&self.users),
                uid,
            },
            _place: place,
        })
    }
}

/// One connection among its user's; counted back when dropped.
#[derive(Debug)]
struct Counted {
    users: Users,
    uid: u32,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = users.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                users.remove(&self.uid);
            }
        }
    }
}

impl Listener for Socket {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    if let Some(connection) = self.admit(stream, place) {
                        return (connection, address);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection, and its place among the allowed ones.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    credentials: Option<Credentials>,
    _counted: Counted,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Who is at the other end, by the kernel.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        self.credentials
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_its_owner_and_group_in_a_directory_of_our_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/orchestrator.sock");
        let _listener = bind(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing left beside"
        );
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_live_socket_is_left_alone_and_a_dead_one_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orchestrator.sock");
        let first = bind(&path).unwrap();
        let error = bind(&path).unwrap_err();
        assert!(
            error.to_string().starts_with("socket path in use"),
            "{error}"
        );
        drop(first);
        let _second = bind(&path).unwrap();
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orchestrator.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn one_user_cannot_hold_every_connection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orchestrator.sock");
        let mut socket = Socket::new(bind(&path).unwrap());
        let mut clients = Vec::new();
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS_PER_USER {
            clients.push(UnixStream::connect(&path).await.unwrap());
            held.push(socket.accept().await.0);
        }
        let mut refused = UnixStream::connect(&path).await.unwrap();
        let accepting = tokio::spawn(async move {
            let connection = socket.accept().await.0;
            (connection, socket)
        });
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read(&mut refused, &mut byte).await;
        assert_eq!(read.unwrap(), 0, "closed at once");
        held.pop();
        let _again = UnixStream::connect(&path).await.unwrap();
        let (connection, _socket) = accepting.await.unwrap();
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(connection.credentials().unwrap().uid, own);
    }
}
