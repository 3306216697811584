//! One connection, from the broker's welcome to its end.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use lab_core::clock::Clock;

use crate::broker::Broker;
use crate::deadline::Deadline;
use crate::error::MqttError;
use crate::packet::{Connect, DISCONNECT, Incoming, LONGEST, LONGEST_ANSWER, take};
use crate::transport::{Transport, broken, is_time_out};

/// What one read takes at most.
const READ_BYTES: usize = 16 * 1024;
/// What has arrived is read even where nobody has time to wait for more.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// A connection that the broker has accepted.
pub(crate) struct Connection<'a> {
    transport: Transport<'a>,
    clock: &'a dyn Clock,
    received: Vec<u8>,
    /// The longest packet that may come, without its fixed header.
    longest: usize,
    /// Whether the broker remembers this client, its subscriptions and what was sent to it meanwhile.
    pub(crate) session_present: bool,
}

impl<'a> Connection<'a> {
    /// Connects and waits for the broker's welcome: the name of its host, the connection, the keys and the welcome take
    /// `patience` together.
    pub(crate) fn open(
        broker: &Broker,
        connect: &Connect<'_>,
        patience: Duration,
        clock: &'a dyn Clock,
    ) -> Result<Self, MqttError> {
        let deadline = Deadline::after(patience, clock);
        let credentials = broker.credentials.as_ref().map(|own| own.pair());
        let connect = Connect { credentials, ..*connect };
        let transport = Transport::connect(broker, deadline)?;
        // Who has proved nothing yet makes nobody keep more than an answer.
        let longest = LONGEST_ANSWER;
        let mut own = Self { transport, clock, received: Vec::new(), longest, session_present: false };
        own.send(&connect.bytes()).map_err(|error| in_time(error, &deadline))?;
        match own.await_packet("answer", &deadline)? {
            Incoming::ConnAck { session_present, code: 0 } => {
                own.transport.welcome();
                Ok(Self { session_present, longest: LONGEST, ..own })
            }
            Incoming::ConnAck { code, .. } => Err(MqttError::Refused { code }),
            _ => Err(MqttError::Violation("its first packet is no answer to a connection")),
        }
    }

    /// Sends whole packets.
    pub(crate) fn send(&mut self, packets: &[u8]) -> Result<(), MqttError> {
        self.transport.write_all(packets).and_then(|()| self.transport.flush()).map_err(broken)
    }

    /// Returns the next packet; nothing where none is whole after one read that waits so long at most.
    pub(crate) fn receive(&mut self, wait: Duration) -> Result<Option<Incoming>, MqttError> {
        if let Some(packet) = take(&mut self.received, self.longest)? {
            return Ok(Some(packet));
        }
        self.transport.set_deadline(Deadline::after(wait.max(LEAST_WAIT), self.clock));
        let mut chunk = [0; READ_BYTES];
        match self.transport.read(&mut chunk) {
            Ok(0) => Err(MqttError::Closed),
            Ok(n) => {
                self.received.extend_from_slice(&chunk[..n]);
                Ok(take(&mut self.received, self.longest)?)
            }
            Err(error) if is_time_out(&error) => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }

    /// Waits for the next packet. `what` is what the broker then does.
    pub(crate) fn await_packet(
        &mut self,
        what: &'static str,
        deadline: &Deadline<'_>,
    ) -> Result<Incoming, MqttError> {
        loop {
            if let Some(packet) = self.receive(deadline.left())? {
                return Ok(packet);
            }
            if deadline.is_over() {
                return Err(deadline.missed(what));
            }
        }
    }

    /// Ends the connection in order. A broker that is gone has nothing to be told.
    pub(crate) fn close(mut self) {
        drop(self.send(&DISCONNECT));
    }
}

/// Returns the error of a broker that did not take the request for a connection, where that was only too late.
fn in_time(error: MqttError, deadline: &Deadline<'_>) -> MqttError {
    match error {
        MqttError::Broken(source) if is_time_out(&source) => deadline.missed("take what was sent"),
        other => other,
    }
}
