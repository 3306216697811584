//! The client's side of MQTT 3.1.1, as far as metrics of devices need it: QoS 1 in both directions, a session that the broker
//! keeps while nobody listens, TLS, credentials.
//!
//! Everything blocks, and nothing here runs by itself: no executor, no timer, and no thread but the one that looks a host's name
//! up, for the system's resolver knows no deadline. A [`Subscriber`] does what there is to
//! do when it is asked for the next event, so that a message is acknowledged by whoever has stored it and not before. A
//! [`Publisher`] is connected for as long as it publishes: nothing is sent to keep it alive while somebody measures.
//!
//! What it does not do: QoS 2, wills, MQTT 5, WebSockets. Section numbers are those of the OASIS standard "MQTT Version 3.1.1"
//! (2014).

mod address;
mod broker;
mod connection;
mod deadline;
mod error;
mod packet;
mod publisher;
mod resolve;
mod socket;
mod subscriber;
mod tls;
mod topic;
mod transport;

pub use address::{Address, AddressError};
pub use broker::{Broker, Credentials, client_id};
pub use error::MqttError;
pub use publisher::Publisher;
pub use subscriber::{Event, Message, Receipt, Subscriber, retry_after};
pub use tls::{Tls, TlsError, TlsFiles};
pub use topic::{Pattern, TopicError};
