//! `lab run --publish`: be an edge device. Files of metrics are written and published between repetitions, never during one,
//! and nothing is connected while something is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use jiff::Timestamp;
use lab_core::clock::Clock as _;
use lab_core::device::DeviceId;
use lab_core::record::Session;
use lab_formats::device_files::{self, Device, LOADING_FILE};
use lab_host::clock::Monotonic;
use lab_mqtt::{Pattern, client_id};

use crate::broker::BrokerOptions;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::whole_file;

use super::spool::{Recipient, Sent, Spool};

/// What `lab run` takes about publishing.
#[derive(Debug, Args)]
#[command(next_help_heading = "Publishing")]
pub(crate) struct PublishOptions {
    /// Write files of metrics as an edge device does, and publish them at this broker: `mqtt://HOST[:PORT]` or `mqtts://…`.
    #[arg(long, value_name = "BROKER")]
    publish: Option<String>,
    /// The topics, and where in them the device stands.
    #[arg(long, value_name = "PATTERN", default_value = "iot/metrics/{device_id}", requires = "publish")]
    publish_topic: String,
    /// Write and publish after so many repetitions that count, and at the end.
    #[arg(long, value_name = "N", default_value = "10", requires = "publish", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    publish_every: usize,
    /// What this device is called [default: the MAC address of its first physical interface, or else the host's name].
    #[arg(long, value_name = "ID", requires = "publish")]
    device_id: Option<String>,
    /// Where to write the files [default: `metrics/` and the device's id].
    #[arg(long, value_name = "FOLDER", requires = "publish")]
    publish_folder: Option<PathBuf>,
    /// The most documents that wait while the broker is away; the oldest are dropped.
    #[arg(long, value_name = "N", default_value = "1000", requires = "publish", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    spool_limit: usize,
    #[command(flatten)]
    broker: BrokerOptions,
}

impl PublishOptions {
    /// Returns whether anything is to be published.
    pub(crate) fn is_given(&self) -> bool {
        self.publish.is_some()
    }
}

/// Writes and publishes what a session measures.
pub(super) struct Publication {
    recipient: Recipient,
    device: DeviceId,
    clock_began: Timestamp,
    every: usize,
    folder: PathBuf,
    spool: Spool,
    /// Repetitions that count and are in files.
    n_told: usize,
    n_published: usize,
    n_dropped: usize,
}

impl Publication {
    /// Reads what the user asks for; nothing where nothing is to be published.
    pub(super) fn of(options: &PublishOptions, global: &Global) -> Result<Option<Self>> {
        let Some(publish) = &options.publish else {
            return match options.broker.given() {
                None => Ok(None),
                Some(option) => {
                    Err(Failure::usage(anyhow!("`{option}` is about a broker, and none is named"))
                        .hint("`--publish BROKER` names it"))
                }
            };
        };
        let device = device(options.device_id.as_deref(), global)?;
        let pattern = Pattern::parse(&options.publish_topic).map_err(Failure::usage)?;
        let recipient = Recipient {
            broker: options.broker.broker(publish)?,
            client_id: client_id(&["publish", device.as_str(), &pattern.filter()]),
            topic: pattern.topic(&device),
        };
        let default = || Path::new("metrics").join(device.as_str());
        let folder = options.publish_folder.clone().unwrap_or_else(default);
        must_take_files(&folder)?;
        Ok(Some(Self {
            recipient,
            clock_began: clock_began(),
            every: options.publish_every,
            spool: Spool::new(folder.join("spool"), options.spool_limit),
            folder,
            device,
            n_told: 0,
            n_published: 0,
            n_dropped: 0,
        }))
    }

    /// Writes and publishes what a session has new, where that is enough for a file. Returns what went wrong.
    pub(super) fn between(&mut self, session: &Session) -> Option<String> {
        let n_usable = session.usable().count();
        if n_usable - self.n_told < self.every {
            return None;
        }
        self.write_inferences(session, n_usable).and_then(|()| self.send()).err()
    }

    /// Writes and publishes what is left when a session has ended, and returns what became of it all.
    pub(super) fn finish(mut self, session: &Session) -> String {
        let n_usable = session.usable().count();
        let written = self.write_inferences(session, n_usable).and_then(|()| self.write_loading(session));
        let trouble = written.and_then(|()| self.send()).err();
        let n_waiting = self.spool.waiting().map_or(0, |waiting| waiting.len());
        let mut words = vec![format!(
            "published: {} to {} at {}",
            self.n_published,
            self.recipient.topic,
            self.recipient.broker.address()
        )];
        if n_waiting > 0 {
            words.push(format!("{n_waiting} wait in `{}` for the next run", self.spool.folder().display()));
        }
        if self.n_dropped > 0 {
            words
                .push(format!("the oldest {} were dropped: more did not fit into the spool", self.n_dropped));
        }
        words.extend(trouble);
        words.join("; ")
    }

    fn device_of_files(&self) -> Device<'_> {
        Device { id: self.device.as_str(), clock_began: self.clock_began }
    }

    fn write_inferences(&mut self, session: &Session, n_usable: usize) -> std::result::Result<(), String> {
        let range = self.n_told..n_usable;
        let Some(document) = device_files::inferences(session, self.device_of_files(), range) else {
            return Ok(());
        };
        let name = self.free_name();
        self.write(&name, document.as_bytes())?;
        // They are told: what becomes of the spool, no second file has them.
        self.n_told = n_usable;
        self.spool(&name, document.as_bytes())
    }

    fn write_loading(&mut self, session: &Session) -> std::result::Result<(), String> {
        match device_files::loading(session, self.device_of_files()) {
            Some(document) => {
                self.write(LOADING_FILE, document.as_bytes())?;
                self.spool(LOADING_FILE, document.as_bytes())
            }
            None => Ok(()),
        }
    }

    /// Returns a name that no file has: that of now, or of the next second that is free.
    fn free_name(&self) -> String {
        let mut at = Timestamp::now();
        loop {
            let name = device_files::inferences_file(self.device.as_str(), at);
            if !self.folder.join(&name).exists() {
                return name;
            }
            at = at.saturating_add(Duration::from_secs(1)).expect("a second can be added to any time");
        }
    }

    fn write(&self, name: &str, document: &[u8]) -> std::result::Result<(), String> {
        let path = self.folder.join(name);
        whole_file::write(&path, document)
            .map_err(|error| format!("cannot write `{}`: {error}", path.display()))
    }

    /// Keeps what is to be published.
    fn spool(&mut self, name: &str, document: &[u8]) -> std::result::Result<(), String> {
        // To the nanosecond: two runs may end within one second, and nothing that waits may be written over.
        let in_spool = format!("{:020}_{name}", Timestamp::now().as_nanosecond());
        self.n_dropped += self.spool.add(&in_spool, document).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn send(&mut self) -> std::result::Result<(), String> {
        let Sent { n_sent, set_aside: mut told, trouble } = self.spool.send(&self.recipient);
        self.n_published += n_sent;
        told.extend(trouble.map(|error| format!("not published: {error}")));
        if told.is_empty() { Ok(()) } else { Err(told.join("; ")) }
    }
}

/// Returns what this device is called.
fn device(given: Option<&str>, global: &Global) -> Result<DeviceId> {
    let name = match given {
        Some(given) => given.to_owned(),
        None => {
            let roots = global.roots()?;
            let own = lab_host::network::mac_address(&roots).or_else(|_| lab_host::machine::hostname(&roots));
            own.map_err(Failure::run)?
        }
    };
    DeviceId::parse(&name).map_err(|error| match given {
        Some(_) => Failure::usage(error),
        None => Failure::usage(error).hint("`--device-id ID` names this device"),
    })
}

/// Returns when this machine's monotonic clock read 0.
fn clock_began() -> Timestamp {
    let running = Duration::from_nanos(Monotonic.now_ns());
    Timestamp::now().checked_sub(running).expect("no machine runs longer than the calendar goes back")
}
/// Makes the folder that files are to be written into, and refuses one that takes none, before anything is measured.
fn must_take_files(folder: &Path) -> Result<()> {
    let tried = fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    match tried {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Failure::usage(anyhow!("no files can be written into `{}`: {error}", folder.display()))
                .hint("`--publish-folder FOLDER` names another; nothing was measured"))
        }
    }
}
