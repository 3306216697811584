//! Bytes to and from a broker: a socket, or TLS over one.

use std::io::{self, Read, Write};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::broker::Broker;
use crate::deadline::Deadline;
use crate::error::MqttError;
use crate::resolve::resolve;
use crate::socket::Socket;

/// A connection that carries bytes.
pub(crate) enum Transport<'a> {
    Plain(Socket<'a>),
    Tls(Box<StreamOwned<ClientConnection, Socket<'a>>>),
}

impl<'a> Transport<'a> {
    /// Connects, and agrees on keys where the broker's address asks for TLS. All of it ends by the deadline.
    pub(crate) fn connect(broker: &Broker, deadline: Deadline<'a>) -> Result<Self, MqttError> {
        let socket = connect(broker, deadline)?;
        let Some(tls) = &broker.tls else { return Ok(Self::Plain(socket)) };
        let host = broker.address.host();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| MqttError::HostName { host: host.to_owned() })?;
        let mut session = ClientConnection::new(tls.config(), name)
            .map_err(|error| MqttError::Broken(io::Error::other(error)))?;
        let mut socket = socket;
        while session.is_handshaking() {
            session.complete_io(&mut socket).map_err(|error| handshake_error(broker, &deadline, error))?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(session, socket))))
    }

    /// Sets by when the next read ends.
    pub(crate) fn set_deadline(&mut self, deadline: Deadline<'a>) {
        self.socket().set_deadline(deadline);
    }

    /// Takes note that the broker has accepted the connection: from now on each write has a time of its own.
    pub(crate) fn welcome(&mut self) {
        self.socket().welcome();
    }

    fn socket(&mut self) -> &mut Socket<'a> {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

fn connect<'a>(broker: &Broker, deadline: Deadline<'a>) -> Result<Socket<'a>, MqttError> {
    let unreachable = |source| MqttError::Unreachable { address: broker.address.to_string(), source };
    let addresses =
        resolve(broker.address.host(), broker.address.port(), deadline.left()).map_err(unreachable)?;
    Socket::connect(&addresses, deadline).map_err(unreachable)
}

fn handshake_error(broker: &Broker, deadline: &Deadline<'_>, error: io::Error) -> MqttError {
    if is_time_out(&error) {
        return deadline.missed("agree on keys");
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

impl Read for Transport<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Transport<'_> {
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
