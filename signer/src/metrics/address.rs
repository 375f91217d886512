//! Where metrics are served: what `--metrics` may say.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::str::FromStr;

use cli::Failure;

use crate::control::Directory;

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A port of this machine, for whoever is on it.
    Loopback(SocketAddr),
    /// A socket in a private folder, for this user and root.
    Unix(PathBuf),
}

/// An address that is listened on.
pub(super) enum Listener {
    Tcp(TcpListener),
    /// With the folder, which stays claimed as long as it is listened on.
    Unix(UnixListener, Directory),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("unix: is followed by the path of a socket".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address: SocketAddr = numeric
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map_err(|_| "127.0.0.1:PORT, [::1]:PORT or unix:PATH is expected".to_owned())?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "metrics are not authenticated, so that {} won't do: give 127.0.0.1:PORT, [::1]:PORT or unix:PATH",
                address.ip()
            ));
        }
        Ok(Self::Loopback(address))
    }
}

impl Address {
    /// Listens there.
    ///
    /// # Errors
    /// The port is taken, the folder is not private, or another signer has the socket.
    pub(super) fn listen(&self) -> Result<Listener, Failure> {
        match self {
            Self::Loopback(address) => TcpListener::bind(address).map(Listener::Tcp).map_err(|error| {
                let help = match error.kind() {
                    ErrorKind::AddrInUse => ": choose another port, or 0 for any",
                    ErrorKind::PermissionDenied => ": choose a port above 1023, or 0 for any",
                    _ => "",
                };
                Failure::environment(format_args!("can't serve metrics on {address}: {error}{help}"))
            }),
            Self::Unix(path) => {
                let directory = Directory::claim_for(path)?;
                Ok(Listener::Unix(directory.listen()?, directory))
            }
        }
    }
}
