//! The end that publishes.

use std::time::Duration;

use lab_core::clock::Clock;

use crate::broker::Broker;
use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::error::MqttError;
use crate::packet::{Connect, Incoming, publish};

/// Publishes with QoS 1, one message after the other: each is with the broker before the next is sent.
///
/// A connection lasts for a few messages. It announces no keep-alive, so that nothing is sent while nothing is published.
pub struct Publisher<'a> {
    connection: Connection<'a>,
    clock: &'a dyn Clock,
    next: u16,
}

impl<'a> Publisher<'a> {
    /// Connects. `patience` bounds looking the host's name up, connecting, agreeing on keys and the broker's welcome, all
    /// together.
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
        let deadline = Deadline::after(patience, self.clock);
        loop {
            match self.connection.await_packet("acknowledge a message", &deadline)? {
                Incoming::PubAck(acknowledged) if acknowledged == number => return Ok(()),
                // A broker that goes on about something else is as good as silent.
                _ if deadline.is_over() => return Err(deadline.missed("acknowledge a message")),
                _ => {}
            }
        }
    }

    /// Ends the connection in order.
    pub fn close(self) {
        self.connection.close();
    }
}
