//! Bytes to and from a broker: a socket, or TLS over one.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::broker::Broker;
use crate::error::MqttError;

/// How long a broker may leave sent bytes untaken.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// A socket takes no time-out of zero.
const LEAST_PATIENCE: Duration = Duration::from_millis(1);

/// A connection that carries bytes.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    /// Connects, and agrees on keys where the broker's address asks for TLS. Each of the two takes `patience` at most, for each
    /// of the host's addresses; looking its name up takes as long as the system's resolver does.
    pub(crate) fn connect(broker: &Broker, patience: Duration) -> Result<Self, MqttError> {
        let socket = connect(broker, patience)?;
        let Some(tls) = &broker.tls else { return Ok(Self::Plain(socket)) };
        let host = broker.address.host();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| MqttError::HostName { host: host.to_owned() })?;
        let mut session = ClientConnection::new(tls.config(), name)
            .map_err(|error| MqttError::Broken(io::Error::other(error)))?;
        let mut socket = socket;
        while session.is_handshaking() {
            session.complete_io(&mut socket).map_err(|error| handshake_error(broker, patience, error))?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(session, socket))))
    }

    /// Sets how long the next read waits.
    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        };
        socket.set_read_timeout(Some(patience.max(LEAST_PATIENCE)))
    }
}

fn connect(broker: &Broker, patience: Duration) -> Result<TcpStream, MqttError> {
    let unreachable = |source| MqttError::Unreachable { address: broker.address.to_string(), source };
    let addresses = (broker.address.host(), broker.address.port()).to_socket_addrs().map_err(unreachable)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, patience.max(LEAST_PATIENCE)) {
            Ok(socket) => {
                let set = socket
                    .set_nodelay(true)
                    .and_then(|()| socket.set_write_timeout(Some(WRITE_PATIENCE)))
                    .and_then(|()| socket.set_read_timeout(Some(patience.max(LEAST_PATIENCE))));
                return set.map(|()| socket).map_err(unreachable);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

fn handshake_error(broker: &Broker, patience: Duration, error: io::Error) -> MqttError {
    if is_time_out(&error) {
        return MqttError::Silent { what: "agree on keys", patience };
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            MqttError::Untrusted { address: broker.address.to_string(), reason: reason.to_string() }
        }
        _ => broken(error),
    }
}

/// Returns what an error of a connection comes to: a broker that says why it hangs up does not change its mind.
pub(crate) fn broken(error: io::Error) -> MqttError {
    use rustls::AlertDescription as Alert;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(
            alert @ (Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateExpired
            | Alert::CertificateUnknown),
        )) => MqttError::ClientRefused { reason: format!("{alert:?}") },
        _ => MqttError::Broken(error),
    }
}

/// Returns whether nothing came in time. A signal counts as that: whoever waits looks around.
pub(crate) fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
