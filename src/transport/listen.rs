//! [`Listener`]: accepts byte streams on a TCP port or a Unix socket, TLS done.

use std::{
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::ServerConfig;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, UnixListener},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{Io, endpoint::MAX_UNIX_PATH, handshake::handshake, io::tune};
use crate::limits;

/// TLS handshakes at once; while there are so many, further peers wait in the kernel's queue.
const MAX_HANDSHAKES: usize = 512;
/// Pause after an accept that failed for want of a resource.
const PAUSE: Duration = Duration::from_millis(200);

/// Accepts peers. Dropping it closes the socket and removes a Unix socket's file.
#[derive(Debug)]
pub struct Listener {
    socket: ListenSocket,
    tls: Option<Arc<ServerConfig>>,
    handshakes: JoinSet<Option<(Io, String)>>,
}

#[derive(Debug)]
enum ListenSocket {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        file: SocketFile,
    },
    Queue {
        streams: tokio::sync::mpsc::Receiver<(Io, String)>,
        name: String,
    },
}

/// Why nothing can listen there.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {problem}")]
pub struct ListenError {
    address: String,
    problem: String,
    source: Option<io::Error>,
}

impl Listener {
    /// Listens on `127.0.0.1:3000` (port 0 takes a free one) or `unix:///path`.
    ///
    /// # Errors
    /// What is wrong with the address, or who has it already.
    pub async fn bind(address: &str, tls: Option<Arc<ServerConfig>>) -> Result<Self, ListenError> {
        let fail = |problem: String, source| ListenError {
            address: address.to_owned(),
            problem,
            source,
        };
        let socket = if let Some(path) = address.strip_prefix("unix://") {
            if tls.is_some() {
                return Err(fail(
                    "a Unix socket takes no TLS: leave out certificate and key".to_owned(),
                    None,
                ));
            }
            let (listener, file) = bind_unix(Path::new(path)).await.map_err(|error| {
                let problem = error.to_string();
                fail(problem, Some(error))
            })?;
            ListenSocket::Unix { listener, file }
        } else {
            if address.contains("://") || !address.contains(':') {
                let forms = "give HOST:PORT, for example 127.0.0.1:3000, or unix:///path";
                return Err(fail(forms.to_owned(), None));
            }
            let listener = bind_tcp(address)
                .await
                .map_err(|error| fail(advice(&error), Some(error)))?;
            ListenSocket::Tcp(listener)
        };
        Ok(Self {
            socket,
            tls,
            handshakes: JoinSet::new(),
        })
    }

    /// Accepts what somebody else has accepted: streams of another kind, for example of a simulated network, each with its
    /// peer's address for people. TLS, if any, is theirs. `name` is shown as the address.
    pub fn of_streams(name: impl Into<String>, streams: tokio::sync::mpsc::Receiver<(Io, String)>) -> Self {
        Self {
            socket: ListenSocket::Queue {
                streams,
                name: name.into(),
            },
            tls: None,
            handshakes: JoinSet::new(),
        }
    }

    /// Where it listens: `127.0.0.1:41234` (the port in use) or `unix:///path`.
    pub fn local_addr(&self) -> String {
        match &self.socket {
            ListenSocket::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|e| e.to_string(), |a| a.to_string()),
            ListenSocket::Unix { file, .. } => format!("unix://{}", file.path.display()),
            ListenSocket::Queue { name, .. } => name.clone(),
        }
    }

    /// True when only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match &self.socket {
            ListenSocket::Tcp(listener) => listener
                .local_addr()
                .is_ok_and(|address| address.ip().is_loopback()),
            ListenSocket::Unix { .. } => true,
            ListenSocket::Queue { .. } => false,
        }
    }

    /// The next peer, TLS done, with its address for people. Waits through a lack of file descriptors; a peer
    /// whose handshake fails or takes over 5 s never shows; one that speaks plain HTTP to TLS is told so.
    ///
    /// # Cancel safety
    /// No peer is lost; handshakes under way go on.
    pub async fn accept(&mut self) -> (Io, String) {
        loop {
            let room = self.handshakes.len() < MAX_HANDSHAKES;
            let accepted = tokio::select! {
                biased;
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(peer)) => return peer,
                    _ => continue,
                },
                accepted = accept_one(&mut self.socket), if room => accepted,
            };
            match accepted {
                Ok(Incoming::Ready(io, peer)) => return (io, peer),
                Ok(Incoming::Tcp(stream, peer)) => match &self.tls {
                    None => return (Io::Tcp(stream), peer),
                    Some(config) => {
                        self.handshakes
                            .spawn(handshake(TlsAcceptor::from(Arc::clone(config)), stream, peer));
                    }
                },
                // The peer went away between the two; the next one is there at once.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    tracing::warn!(%error, "accept failed; pausing");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

enum Incoming {
    Tcp(TcpStream, String),
    Ready(Io, String),
}

async fn accept_one(socket: &mut ListenSocket) -> io::Result<Incoming> {
    match socket {
        ListenSocket::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            tune(&stream);
            Ok(Incoming::Tcp(stream, peer.to_string()))
        }
        ListenSocket::Unix { listener, .. } => Ok(Incoming::Ready(
            Io::Unix(listener.accept().await?.0),
            "unix".to_owned(),
        )),
        ListenSocket::Queue { streams, .. } => match streams.recv().await {
            Some((io, peer)) => Ok(Incoming::Ready(io, peer)),
            // Nobody is left who could bring one.
            None => std::future::pending().await,
        },
    }
}

/// The file of a Unix socket, removed when it is dropped if it is still this one.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
        {
            let _gone_already = std::fs::remove_file(&self.path);
        }
    }
}

/// As [`TcpListener::bind`], but with room for all plugins of a site that come back in the same second: one that finds the
/// queue full is not told, and tries again after 1, 3 and 7 s.
async fn bind_tcp(address: &str) -> io::Result<TcpListener> {
    let mut last = None;
    for address in tokio::net::lookup_host(address).await? {
        let bound = || {
            let socket = if address.is_ipv4() {
                TcpSocket::new_v4()?
            } else {
                TcpSocket::new_v6()?
            };
            // The sockets of a hub that has just ended do not keep its address.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(limits::LISTEN_BACKLOG.into())
        };
        match bound() {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")))
}

async fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    if !path.is_absolute() || path.as_os_str().len() > MAX_UNIX_PATH {
        let text = "a Unix socket needs a path from the root of at most 107 bytes: unix:///path/of.sock";
        return Err(io::Error::new(ErrorKind::InvalidInput, text));
    }
    remove_stale(path).await?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket
        .bind(&SockAddr::unix(path)?)
        .map_err(|error| io::Error::new(error.kind(), advice(&error)))?;
    // Who may connect may start processes, so only this user may. To let others in, put the socket into a
    // directory that they can enter and change its mode after start. Set before listen: no moment is open.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let found = std::fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: (found.dev(), found.ino()),
    };
    socket.listen(limits::LISTEN_BACKLOG.into())?;
    Ok((
        UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))?,
        file,
    ))
}

/// Removes what a process that ended hard left behind; never a socket on which somebody answers.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "there is a file that is not a socket",
        ));
    }
    match tokio::net::UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            ErrorKind::AddrInUse,
            "another process listens there",
        )),
    }
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "the address is in use: stop the other process or choose another port".to_owned()
        }
        ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        ErrorKind::PermissionDenied => {
            format!("{error}: ports below 1024 and foreign directories need rights")
        }
        ErrorKind::NotFound => "the directory does not exist".to_owned(),
        _ => error.to_string(),
    }
}
