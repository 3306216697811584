//! `lab watch`: take in what devices publish, as `lab import device` takes their files.
//!
//! A message is acknowledged when it is in the store or in quarantine, and not before: what a crash, a full disk or a broker
//! that goes away cuts off comes again. What comes again is known by the digest of its payload and stored once. A store that
//! another process holds for long ends nothing: what has arrived is kept and tried again.

mod quarantine;
mod taken;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use jiff::SignedDuration;
use lab_core::clock::{Clock as _, nanoseconds};
use lab_host::clock::Monotonic;
use lab_mqtt::{Event, Message, MqttError, Pattern, Receipt, Subscriber, client_id};
use lab_store::{Store, StoreError};

use crate::amount::{Size, size};
use crate::broker::BrokerOptions;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::progress::WatchLine;
use crate::terminal::say;
use crate::{recording, store};

use quarantine::Quarantine;
use taken::{Counts, Taker};

const EXAMPLES: &str = "\
Examples:
  lab watch mqtt://broker.local --topic 'iot/metrics/{device_id}'
  lab watch mqtts://broker.local --ca ca.pem --user lab --password-file password.txt
  lab watch mqtt://broker.local --for 10m

The broker keeps what comes while nobody watches, for the same client id. Ctrl-C stores what has arrived and ends with 0. What is
no metrics document is kept in the quarantine folder, with the reason, while there is room.";

/// Messages that are stored in one transaction at most, and bytes after which no further one is waited for.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 16 << 20;
/// How long a batch waits for its next message. Brokers send a few (mosquitto: 20) and then wait for their acknowledgement.
const QUIET: Duration = Duration::from_millis(20);
/// How long nothing may come before it is looked whether the user has enough.
const IDLE: Duration = Duration::from_millis(200);

/// What `lab watch` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The broker: `mqtt://HOST[:PORT]`, or `mqtts://HOST[:PORT]` for TLS.
    broker: String,
    /// The topics, and where in them the device stands.
    #[arg(long, value_name = "PATTERN", default_value = "iot/metrics/{device_id}")]
    topic: String,
    /// The client that the broker keeps messages for [default: one made of host, topic and store].
    #[arg(long, value_name = "ID", value_parser = given_client_id)]
    client_id: Option<String>,
    /// Where to keep what cannot be stored [default: `quarantine` beside the store].
    #[arg(long, value_name = "FOLDER")]
    quarantine: Option<PathBuf>,
    /// The most that the quarantine folder may take of the disk, such as `500MB`; what is beyond is dropped, and told.
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = size)]
    quarantine_limit: Size,
    /// End after so many new documents, stored or in quarantine.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    once: Option<usize>,
    /// End after a time, such as `30s` or `2h`.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Option<Duration>,
    #[command(flatten)]
    options: BrokerOptions,
}

fn given_client_id(text: &str) -> std::result::Result<String, String> {
    let is_id = (1..=256).contains(&text.len()) && !text.contains(char::is_control);
    is_id
        .then(|| text.to_owned())
        .ok_or_else(|| "1 to 256 bytes without control characters were expected".to_owned())
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let own = text.parse::<SignedDuration>().ok().and_then(|own| Duration::try_from(own).ok());
    let own = own.filter(|own| !own.is_zero());
    own.ok_or_else(|| "a time above zero was expected, such as `30s`, `10m` or `2h`".to_owned())
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let pattern = Pattern::parse(&arguments.topic).map_err(Failure::usage)?;
    let broker = arguments.options.broker(&arguments.broker)?;
    let address = broker.address().to_string();
    let mut store = store::open_for_recording(&global.store)?;
    let folder = arguments.quarantine.clone().unwrap_or_else(|| global.store.with_file_name("quarantine"));
    let Size(limit) = arguments.quarantine_limit;
    let client = arguments.client_id.clone().map_or_else(|| own_client_id(&pattern, global), Ok)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    recording::listen_for_interruption(&interrupted)?;
    say(&format!("watching {} at {address} as client {client}", pattern.filter()));
    let begun_ns = Monotonic.now_ns();
    let limits = Limits {
        most: arguments.once,
        until_ns: arguments.time.map(|own| begun_ns.saturating_add(nanoseconds(own))),
    };
    let mut watch = Watch {
        subscriber: Subscriber::new(broker, &client, &pattern.filter(), &Monotonic),
        taker: Taker { pattern: &pattern, address: &address, quarantine: Quarantine::new(folder, limit) },
        store: &mut store,
        pending: Vec::new(),
        counts: Counts::default(),
        line: WatchLine::new(),
        begun_ns,
        has_listened: false,
        has_greeted: false,
        last_error: None,
    };
    watch.listen(&limits, &interrupted)?;
    watch.conclude()
}

/// Returns the client's id for this host, these topics and this store: each store gets every message.
fn own_client_id(pattern: &Pattern, global: &Global) -> Result<String> {
    let host = lab_host::machine::hostname(&global.roots()?).unwrap_or_default();
    let path = std::fs::canonicalize(&global.store).unwrap_or_else(|_| global.store.clone());
    Ok(client_id(&["watch", &host, &pattern.filter(), &path.to_string_lossy()]))
}

/// When to end.
struct Limits {
    /// After so many new documents.
    most: Option<usize>,
    until_ns: Option<u64>,
}

struct Watch<'a> {
    subscriber: Subscriber<'a>,
    taker: Taker<'a>,
    store: &'a mut Store,
    /// Messages that were neither stored nor acknowledged yet.
    pending: Vec<Message>,
    counts: Counts,
    line: WatchLine,
    begun_ns: u64,
    /// Whether the broker ever accepted the subscription, or sent what it had kept for it.
    has_listened: bool,
    /// Whether the broker has answered a subscription before.
    has_greeted: bool,
    last_error: Option<MqttError>,
}

impl Watch<'_> {
    fn listen(&mut self, limits: &Limits, interrupted: &AtomicBool) -> Result<()> {
        while !interrupted.load(Ordering::Relaxed) && !self.is_enough(limits) {
            if self.is_full(limits) {
                self.take()?;
                continue;
            }
            let wait = if self.pending.is_empty() { IDLE } else { QUIET };
            match self.subscriber.next(wait)? {
                Event::Message(message) => {
                    // A broker that kept messages sends them before it answers the subscription.
                    self.has_listened = true;
                    self.pending.push(message);
                }
                Event::Nothing => self.take()?,
                Event::Listening { is_resumed } => self.greet(is_resumed),
                Event::Lost { error, retry_in } => {
                    let seconds = retry_in.as_secs_f64();
                    self.line.say(&format!("note: {error}; the next attempt is in {seconds} s"));
                    self.last_error = Some(error);
                    self.take()?;
                }
            }
        }
        self.store_pending()
    }

    fn greet(&mut self, is_resumed: bool) {
        let what = match (std::mem::replace(&mut self.has_greeted, true), is_resumed) {
            (_, true) => "listening; the broker has kept what came meanwhile",
            (false, false) => "listening; the broker keeps from now on what comes for this client",
            (true, false) => {
                "listening; note: the broker has forgotten this client, and what came for it meanwhile"
            }
        };
        self.has_listened = true;
        self.line.say(what);
    }

    fn is_enough(&self, limits: &Limits) -> bool {
        limits.most.is_some_and(|most| self.counts.n_new() >= most)
            || limits.until_ns.is_some_and(|until_ns| Monotonic.now_ns() >= until_ns)
    }

    /// No batch holds more than may still be taken: the rest stays with the broker.
    fn is_full(&self, limits: &Limits) -> bool {
        let left = limits.most.map_or(usize::MAX, |most| most.saturating_sub(self.counts.n_new()));
        let bytes: usize = self.pending.iter().map(|message| message.payload.len()).sum();
        self.pending.len() >= BATCH.min(left) || bytes >= BATCH_BYTES
    }

    /// Stores what has arrived, and acknowledges it then. While another process holds the store, it stays pending.
    fn take(&mut self) -> Result<()> {
        match self.store_pending() {
            Err(failure) if is_busy(&failure) => {
                self.line
                    .say(&format!("note: {}; what has arrived is kept and tried again", failure.sentence()));
                Ok(())
            }
            other => other,
        }
    }

    fn store_pending(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // Copies, so that what could not be stored is still here.
        let taken = self.taker.take(self.pending.clone(), self.store).map_err(|failure| {
            failure
                .hint("what was not stored is not acknowledged: the broker sends it again to the next watch")
        })?;
        let receipts: Vec<Receipt> = self.pending.drain(..).filter_map(|message| message.receipt).collect();
        self.subscriber.acknowledge(receipts);
        taken.told.iter().for_each(|sentence| self.line.say(sentence));
        self.counts.add(&taken.counts);
        self.line.show(&format!("{}, {}", self.counts, self.rate()));
        Ok(())
    }

    fn rate(&self) -> String {
        let seconds = Duration::from_nanos(Monotonic.now_ns() - self.begun_ns).as_secs_f64();
        let rate = f64::from(u32::try_from(self.counts.n_taken()).unwrap_or(u32::MAX)) / seconds.max(1e-3);
        format!("{rate:.1} a second")
    }

    fn conclude(self) -> Result<Exit> {
        let Self { subscriber, counts, line, has_listened, last_error, taker, .. } = self;
        subscriber.close();
        drop(line);
        match (has_listened, last_error) {
            (false, Some(error)) => return Err(Failure::from(error)),
            (false, None) => return Err(Failure::run(anyhow!("the broker did not answer before the end"))),
            (true, _) => {}
        }
        let place = match counts.quarantined + counts.dropped {
            0 => String::new(),
            _ => format!("; the quarantine is `{}`", taker.quarantine.folder().display()),
        };
        say(&format!("{counts}{place}"));
        Ok(Exit::Pass)
    }
}

/// Returns whether another process held the store for longer than an append waits.
fn is_busy(failure: &Failure) -> bool {
    matches!(failure.error.downcast_ref::<StoreError>(), Some(StoreError::Busy { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_another_process_holds_is_no_end() {
        let path = PathBuf::from("lab.sqlite");
        let busy = Failure::from(StoreError::Busy { path: path.clone(), seconds: 600 });
        assert!(is_busy(&busy.hint("wait")));
        assert!(!is_busy(&Failure::from(StoreError::DiskFull { path })));
        assert!(!is_busy(&Failure::run(anyhow!("the broker did not answer"))));
    }

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        for text in ["", "0s", "-5s", "5", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
