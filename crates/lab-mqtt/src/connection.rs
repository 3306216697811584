//! One connection, from the broker's welcome to its end.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use lab_core::clock::Clock;

use crate::broker::Broker;
use crate::error::MqttError;
use crate::packet::{Connect, DISCONNECT, Incoming, take};
use crate::transport::{Transport, broken, is_time_out};

/// What one read takes at most.
const READ_BYTES: usize = 16 * 1024;

/// A connection that the broker has accepted.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    received: Vec<u8>,
    /// Whether the broker remembers this client, its subscriptions and what was sent to it meanwhile.
    pub(crate) session_present: bool,
}

impl Connection {
    /// Connects and waits for the broker's welcome.
    pub(crate) fn open(
        broker: &Broker,
        connect: &Connect<'_>,
        patience: Duration,
        clock: &dyn Clock,
    ) -> Result<Self, MqttError> {
        let credentials = broker.credentials.as_ref().map(|own| own.pair());
        let connect = Connect { credentials, ..*connect };
        let transport = Transport::connect(broker, patience)?;
        let mut own = Self { transport, received: Vec::new(), session_present: false };
        own.send(&connect.bytes())?;
        match own.await_packet("answer", patience, clock)? {
            Incoming::ConnAck { session_present, code: 0 } => Ok(Self { session_present, ..own }),
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
        if let Some(packet) = take(&mut self.received)? {
            return Ok(Some(packet));
        }
        self.transport.set_patience(wait).map_err(broken)?;
        let mut chunk = [0; READ_BYTES];
        match self.transport.read(&mut chunk) {
            Ok(0) => Err(MqttError::Closed),
            Ok(n) => {
                self.received.extend_from_slice(&chunk[..n]);
                Ok(take(&mut self.received)?)
            }
            Err(error) if is_time_out(&error) => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }

    /// Waits for the next packet. `what` is what the broker then does.
    pub(crate) fn await_packet(
        &mut self,
        what: &'static str,
        patience: Duration,
        clock: &dyn Clock,
    ) -> Result<Incoming, MqttError> {
        let deadline_ns = clock.now_ns().saturating_add(nanoseconds(patience));
        loop {
            let left_ns = deadline_ns.saturating_sub(clock.now_ns());
            if let Some(packet) = self.receive(Duration::from_nanos(left_ns))? {
                return Ok(packet);
            }
            if clock.now_ns() >= deadline_ns {
                return Err(MqttError::Silent { what, patience });
            }
        }
    }

    /// Ends the connection in order. A broker that is gone has nothing to be told.
    pub(crate) fn close(mut self) {
        drop(self.send(&DISCONNECT));
    }
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
