//! What goes wrong between a client and a broker, and whether waiting mends it.

use std::io;
use std::time::Duration;

use crate::packet::Violation;

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// Nobody listens there, or there is no way there.
    #[error("the broker at `{address}` cannot be reached: {source}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// It did not answer in time.
    #[error("the broker did not {what} within {seconds} s", seconds = patience.as_secs_f64())]
    Silent {
        /// What it was to do, such as `acknowledge a message`.
        what: &'static str,
        /// How long it had.
        patience: Duration,
    },
    /// It hung up.
    #[error("the broker closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection to the broker broke: {0}")]
    Broken(io::Error),
    /// It sends what no broker sends.
    #[error("what answers is no broker of MQTT 3.1.1: {0}")]
    Violation(&'static str),
    /// It will not have this client.
    #[error("the broker refuses the connection: {refusal}", refusal = refusal(*code))]
    Refused {
        /// Its answer (section 3.2.2.3).
        code: u8,
    },
    /// It will not have this subscription.
    #[error(
        "the broker refuses the subscription to `{filter}`: its access rules do not allow it to this user"
    )]
    SubscriptionRefused {
        /// What was subscribed to.
        filter: String,
    },
    /// The broker will not wait for acknowledgements.
    #[error(
        "the broker grants the subscription to `{filter}` with QoS 0: what is not acknowledged may be lost"
    )]
    Downgraded {
        /// What was subscribed to.
        filter: String,
    },
    /// Its certificate does not prove who it is.
    #[error("the broker at `{address}` does not prove who it is: {reason}")]
    Untrusted {
        /// Where it is.
        address: String,
        /// What is wrong with its certificate.
        reason: String,
    },
    /// The broker does not accept the client's certificate, or wants one and got none.
    #[error("the broker refuses the client's certificate ({reason}): `--cert` and `--key` give one")]
    ClientRefused {
        /// What the broker said, by the name of the alert in TLS (RFC 8446, section 6).
        reason: String,
    },
    /// A host name that no certificate can have.
    #[error("`{host}` is no name that a certificate can prove")]
    HostName {
        /// The name.
        host: String,
    },
    /// A payload that no packet can hold.
    #[error("a payload of {bytes} bytes is longer than MQTT has packets for (256 MiB)")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
}

impl MqttError {
    /// Returns whether it stays so until somebody changes something: waiting for the broker does not help.
    pub fn is_lasting(&self) -> bool {
        match self {
            // 3 is "server unavailable".
            Self::Refused { code } => *code != 3,
            Self::SubscriptionRefused { .. }
            | Self::Downgraded { .. }
            | Self::Untrusted { .. }
            | Self::ClientRefused { .. }
            | Self::HostName { .. }
            | Self::TooLong { .. } => true,
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Closed
            | Self::Broken(_)
            | Self::Violation(_) => false,
        }
    }
}

impl From<Violation> for MqttError {
    fn from(Violation(what): Violation) -> Self {
        Self::Violation(what)
    }
}

/// Returns the words for an answer to a connection (section 3.2.2.3).
fn refusal(code: u8) -> &'static str {
    match code {
        1 => "it does not speak MQTT 3.1.1",
        2 => "it does not accept the client's id",
        3 => "it is not available",
        4 => "the user's name or password is wrong",
        5 => "this user is not authorised",
        _ => "for a reason that MQTT 3.1.1 does not know",
    }
}
