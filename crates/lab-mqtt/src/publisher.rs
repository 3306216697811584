//! The end that publishes.

use std::time::Duration;

use lab_core::clock::Clock;

use crate::broker::Broker;
use crate::connection::{Connection, nanoseconds};
use crate::error::MqttError;
use crate::packet::{Connect, Incoming, publish};

/// Publishes with QoS 1, one message after the other: each is with the broker before the next is sent.
///
/// A connection lasts for a few messages. It announces no keep-alive, so that nothing is sent while nothing is published.
pub struct Publisher<'a> {
    connection: Connection,
    clock: &'a dyn Clock,
    next: u16,
}

impl<'a> Publisher<'a> {
    /// Connects. `patience` bounds connecting, agreeing on keys and the broker's welcome, each.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached, does not prove who it is, or refuses the client.
    pub fn connect(
        broker: &Broker,
        client_id: &str,
        patience: Duration,
        clock: &'a dyn Clock,
    ) -> Result<Self, MqttError> {
        // What was not acknowledged is kept by whoever publishes: the broker has nothing to remember.
        let connect = Connect { client_id, credentials: None, clean: true, keep_alive: 0 };
        Ok(Self { connection: Connection::open(broker, &connect, patience, clock)?, clock, next: 1 })
    }

    /// Publishes a message and returns when the broker has acknowledged it.
    ///
    /// # Errors
    ///
    /// When it is not acknowledged within `patience`. The broker may have it all the same: whoever publishes it again may
    /// double it.
    ///
    /// # Panics
    ///
    /// When the topic is longer than 65 535 bytes: those of a [`Pattern`](crate::Pattern) never are.
    pub fn publish(&mut self, topic: &str, payload: &[u8], patience: Duration) -> Result<(), MqttError> {
        let number = self.next;
        self.next = self.next.checked_add(1).unwrap_or(1);
        let too_long = MqttError::TooLong { bytes: payload.len() };
        self.connection.send(&publish(topic, payload, number).ok_or(too_long)?)?;
        let deadline_ns = self.clock.now_ns().saturating_add(nanoseconds(patience));
        loop {
            let left = Duration::from_nanos(deadline_ns.saturating_sub(self.clock.now_ns()));
            match self.connection.await_packet("acknowledge a message", left, self.clock) {
                Ok(Incoming::PubAck(acknowledged)) if acknowledged == number => return Ok(()),
                // A broker that goes on about something else is as good as silent.
                Ok(_) if self.clock.now_ns() >= deadline_ns => {
                    return Err(MqttError::Silent { what: "acknowledge a message", patience });
                }
                Ok(_) => {}
                Err(MqttError::Silent { what, .. }) => return Err(MqttError::Silent { what, patience }),
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the connection in order.
    pub fn close(self) {
        self.connection.close();
    }
}
