//! The end that listens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lab_core::clock::{Clock, nanoseconds};

use crate::broker::Broker;
use crate::connection::Connection;
use crate::error::MqttError;
use crate::packet::{Connect, Incoming, PING, Published, acknowledge, subscribe};

/// After how long a broker may take the client for dead, in seconds. It is sent something at least every half of it.
const KEEP_ALIVE_S: u16 = 30;
const KEEP_ALIVE: Duration = Duration::from_secs(KEEP_ALIVE_S as u64);
/// How long looking the host's name up, connecting, agreeing on keys and the broker's welcome may take, all together.
const PATIENCE: Duration = Duration::from_secs(10);
/// The number of the one subscription among the packets of a connection.
const SUBSCRIPTION: u16 = 1;

/// Listens to one filter with QoS 1, in a session that the broker keeps while nobody listens.
///
/// A message is acknowledged when [`Subscriber::acknowledge`] says so; until then the broker keeps it and sends it again to the
/// next connection. Brokers send so many unacknowledged messages and no more until some are acknowledged (mosquitto: 20).
pub struct Subscriber<'a> {
    broker: Broker,
    client_id: String,
    filter: String,
    clock: &'a dyn Clock,
    link: Link<'a>,
    /// Counts connections: a receipt holds for its own.
    serial: u64,
    /// Connections in a row that failed, or broke soon.
    n_failed: u32,
    /// Whether this subscriber has subscribed, in this connection or one before.
    has_subscribed: bool,
}

/// What became of the wait for the next message.
#[derive(Debug)]
pub enum Event {
    /// Nothing came.
    Nothing,
    /// The broker accepts the client and, as far as that was needed, its subscription.
    Listening {
        /// Whether the broker remembered the client, and has kept what came for it meanwhile.
        is_resumed: bool,
    },
    /// A message. The broker keeps it until it is acknowledged.
    Message(Message),
    /// There is no connection; another will be tried. Messages that were not acknowledged come again.
    Lost {
        /// Why.
        error: MqttError,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// Whether the broker kept it for whoever subscribes: such a message comes with every subscription.
    pub is_retained: bool,
    /// Whether the broker says that it sent it before.
    pub is_repeated: bool,
    /// What it is acknowledged by; none for a message that was published with QoS 0.
    pub receipt: Option<Receipt>,
}

/// What a message is acknowledged by. It holds for the connection that the message came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    serial: u64,
    packet: u16,
}

/// Connections of this process so far: no receipt may pass for one of another connection, whoever made that.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

enum Link<'a> {
    /// Not before this time.
    Waiting {
        until_ns: u64,
    },
    Up(Up<'a>),
    /// It broke where no event could say so.
    Broken(MqttError, u64),
}

struct Up<'a> {
    connection: Connection<'a>,
    since_ns: u64,
    sent_ns: u64,
    /// When a ping was sent that is not answered.
    pinged_ns: Option<u64>,
}

impl<'a> Subscriber<'a> {
    /// Makes a subscriber. It connects when it is asked for the first event, and panics then if the client's id or the filter
    /// is longer than 65 535 bytes.
    pub fn new(broker: Broker, client_id: &str, filter: &str, clock: &'a dyn Clock) -> Self {
        Self {
            broker,
            client_id: client_id.to_owned(),
            filter: filter.to_owned(),
            clock,
            link: Link::Waiting { until_ns: 0 },
            serial: 0,
            n_failed: 0,
            has_subscribed: false,
        }
    }

    /// Does what there is to do and returns what came of it, after so long at most; connecting takes its own time.
    ///
    /// # Errors
    ///
    /// Those that last: waiting for the broker does not mend them.
    pub fn next(&mut self, wait: Duration) -> Result<Event, MqttError> {
        let link = std::mem::replace(&mut self.link, Link::Waiting { until_ns: 0 });
        let outcome = match link {
            Link::Waiting { until_ns } => return self.wait(until_ns, wait),
            Link::Broken(error, since_ns) => Err((error, since_ns)),
            Link::Up(mut up) => {
                let since_ns = up.since_ns;
                let event = self.listen(&mut up, wait);
                self.link = Link::Up(up);
                event.map_err(|error| (error, since_ns))
            }
        };
        outcome.or_else(|(error, since_ns)| self.lost(error, Some(since_ns)))
    }

    /// Acknowledges messages. Receipts of a connection that is gone are worth nothing: those messages come again.
    pub fn acknowledge(&mut self, receipts: impl IntoIterator<Item = Receipt>) {
        let own = receipts.into_iter().filter(|receipt| receipt.serial == self.serial);
        let packets: Vec<u8> = own.flat_map(|receipt| acknowledge(receipt.packet)).collect();
        let Link::Up(up) = &mut self.link else { return };
        if packets.is_empty() {
            return;
        }
        match up.connection.send(&packets) {
            Ok(()) => up.sent_ns = self.clock.now_ns(),
            Err(error) => self.link = Link::Broken(error, up.since_ns),
        }
    }

    /// Ends the connection in order. The broker keeps the session, and what comes for it.
    pub fn close(self) {
        if let Link::Up(up) = self.link {
            up.connection.close();
        }
    }

    /// Waits for the time of the next attempt, and makes it.
    fn wait(&mut self, until_ns: u64, wait: Duration) -> Result<Event, MqttError> {
        let now_ns = self.clock.now_ns();
        let enough_ns = now_ns.saturating_add(nanoseconds(wait));
        if until_ns > now_ns {
            self.clock.wait_until_ns(until_ns.min(enough_ns));
        }
        if until_ns > enough_ns {
            self.link = Link::Waiting { until_ns };
            return Ok(Event::Nothing);
        }
        self.connect().or_else(|error| self.lost(error, None))
    }

    fn connect(&mut self) -> Result<Event, MqttError> {
        let connect =
            Connect { client_id: &self.client_id, credentials: None, clean: false, keep_alive: KEEP_ALIVE_S };
        let mut connection = Connection::open(&self.broker, &connect, PATIENCE, self.clock)?;
        self.serial = CONNECTIONS.fetch_add(1, Ordering::Relaxed) + 1;
        let is_resumed = connection.session_present;
        // Once in every process all the same: the session may be that of another filter.
        let is_known = is_resumed && self.has_subscribed;
        if !is_known {
            connection.send(&subscribe(&self.filter, SUBSCRIPTION))?;
        }
        let now_ns = self.clock.now_ns();
        self.link = Link::Up(Up { connection, since_ns: now_ns, sent_ns: now_ns, pinged_ns: None });
        match is_known {
            true => Ok(Event::Listening { is_resumed }),
            // It listens when the broker has said so.
            false => Ok(Event::Nothing),
        }
    }

    fn listen(&mut self, up: &mut Up<'_>, wait: Duration) -> Result<Event, MqttError> {
        match up.connection.receive(wait.min(KEEP_ALIVE / 4))? {
            // Only now: an answer may have lain there for long.
            None => self.keep_alive(up).map(|()| Event::Nothing),
            Some(Incoming::Publish(message)) => Ok(Event::Message(self.message(message))),
            Some(Incoming::PingResp) => {
                up.pinged_ns = None;
                Ok(Event::Nothing)
            }
            Some(Incoming::SubAck { code: 1 }) => {
                self.has_subscribed = true;
                Ok(Event::Listening { is_resumed: up.connection.session_present })
            }
            Some(Incoming::SubAck { code: 0 }) => Err(MqttError::Downgraded { filter: self.filter.clone() }),
            Some(Incoming::SubAck { .. }) => {
                Err(MqttError::SubscriptionRefused { filter: self.filter.clone() })
            }
            Some(Incoming::PubAck(_) | Incoming::ConnAck { .. }) => {
                Err(MqttError::Violation("it answers what was not asked"))
            }
        }
    }

    /// Sends something when nothing was sent for long, and gives up a broker that does not answer.
    fn keep_alive(&self, up: &mut Up<'_>) -> Result<(), MqttError> {
        let now_ns = self.clock.now_ns();
        let is_over = |from_ns: u64, limit: Duration| now_ns.saturating_sub(from_ns) >= nanoseconds(limit);
        if up.pinged_ns.is_some_and(|from_ns| is_over(from_ns, KEEP_ALIVE)) {
            return Err(MqttError::Silent { what: "answer a ping", patience: KEEP_ALIVE });
        }
        if up.pinged_ns.is_none() && is_over(up.sent_ns, KEEP_ALIVE / 2) {
            up.connection.send(&PING)?;
            (up.sent_ns, up.pinged_ns) = (now_ns, Some(now_ns));
        }
        Ok(())
    }

    fn message(&self, message: Published) -> Message {
        let Published { topic, payload, packet, is_retained, is_repeated } = message;
        let receipt = packet.map(|packet| Receipt { serial: self.serial, packet });
        Message { topic, payload, is_retained, is_repeated, receipt }
    }

    /// Takes note of a connection that failed, or that was lost after it stood since a time.
    fn lost(&mut self, error: MqttError, since_ns: Option<u64>) -> Result<Event, MqttError> {
        if error.is_lasting() {
            return Err(error);
        }
        let now_ns = self.clock.now_ns();
        let has_lasted = since_ns.is_some_and(|from_ns| now_ns - from_ns >= nanoseconds(KEEP_ALIVE));
        self.n_failed = if has_lasted { 1 } else { self.n_failed.saturating_add(1) };
        let retry_in = retry_after(self.n_failed);
        self.link = Link::Waiting { until_ns: now_ns.saturating_add(nanoseconds(retry_in)) };
        Ok(Event::Lost { error, retry_in })
    }
}

/// Returns how long to wait after so many connections in a row that failed or broke soon: 250 ms, doubled each time, 30 s at
/// most. There is nothing random in it: a lab has few clients, and its waits are to be foreseen.
pub fn retry_after(n_failed: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(30);
    let doubled = FIRST.saturating_mul(1 << n_failed.saturating_sub(1).min(16));
    doubled.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute() {
        let waits = [1, 2, 3, 7, 8, 9, u32::MAX].map(|n| retry_after(n).as_millis());
        assert_eq!(waits, [250, 500, 1_000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(retry_after(0).as_millis(), 250);
    }
}
