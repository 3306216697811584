//! A real broker of a test's own: mosquitto, with a folder for what it keeps, that can be ended and started again.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a test waits for something that takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a broker is started anew, at another port or the same one, where it dies at once.
const ATTEMPTS: usize = 20;

/// A broker that listens on a free port of the loopback interface until it is dropped.
pub(crate) struct Mosquitto {
    folder: TempDir,
    /// What its configuration has besides the port.
    lines: String,
    port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts a broker that anybody may use, and that keeps any number of messages for those who are away.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| "allow_anonymous true\n".to_owned())
    }

    /// Starts a broker with further lines in its configuration. `lines` is given its folder.
    pub(crate) fn start_with(lines: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines = lines(folder.path());
        let mut broker = Self { folder, lines, port: 0, child: None };
        for _ in 0..ATTEMPTS {
            broker.choose_port();
            if broker.attempt() {
                return broker;
            }
        }
        panic!("mosquitto died at {ATTEMPTS} ports: {}", broker.log());
    }

    /// Writes the configuration for a port that is free now. Another process may take it before the broker does.
    fn choose_port(&mut self) {
        self.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "listener {} 127.0.0.1\npersistence true\npersistence_location {}/\nmax_queued_messages 0\n\
             set_tcp_nodelay true\nuser root\nlog_dest stderr\n{}",
            self.port,
            self.folder.path().display(),
            self.lines
        );
        fs::write(self.folder.path().join("mosquitto.conf"), config).unwrap();
    }

    /// Returns its address.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Ends it in order: it writes down what it keeps.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        child.wait().unwrap();
    }

    /// Starts it, with what it kept and where it was, and returns when it listens.
    pub(crate) fn resume(&mut self) {
        let is_started = (0..ATTEMPTS).any(|_| self.attempt());
        assert!(is_started, "mosquitto died {ATTEMPTS} times: {}", self.log());
    }

    /// Starts it and returns whether it listens; it does not where it died at once, as of a port that is taken.
    fn attempt(&mut self) -> bool {
        let n_before = self.n_listened();
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut child = Command::new(program("mosquitto"))
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let is_started = wait_for("the broker", || match child.try_wait().unwrap() {
            Some(_) => Some(false),
            // Its own words: whoever took the port would accept a connection too.
            None => (self.n_listened() > n_before).then_some(true),
        });
        if is_started {
            self.child = Some(child);
        }
        is_started
    }

    /// Returns how often it has said that it runs, which it does when it listens.
    fn n_listened(&self) -> usize {
        let is_said = |line: &&str| line.contains("mosquitto version") && line.ends_with(" running");
        self.log().lines().filter(is_said).count()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Returns what it has said so far; nothing before its first start.
    fn log(&self) -> String {
        fs::read(self.log_path()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Publishes a message that the broker keeps for whoever subscribes, byte by byte as the standard has it.
    pub(crate) fn retain(&self, topic: &str, payload: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"\x10\x0f\0\x04MQTT\x04\x02\0\0\0\x03raw").unwrap();
        assert_eq!(answer(&mut stream), [0x20, 2, 0, 0]);
        let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        body.extend_from_slice(topic.as_bytes());
        body.extend([0, 1]);
        body.extend_from_slice(payload);
        assert!(body.len() < 1 << 14, "two bytes of length are enough for a test");
        let length =
            [u8::try_from(body.len() % 128).unwrap() | 0x80, u8::try_from(body.len() / 128).unwrap()];
        stream.write_all(&[&[0x33][..], &length, &body].concat()).unwrap();
        assert_eq!(answer(&mut stream), [0x40, 2, 0, 1]);
        stream.write_all(b"\xe0\0").unwrap();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only for a process that is gone already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn answer(stream: &mut TcpStream) -> [u8; 4] {
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// Finds a program of the Debian package `mosquitto`: a test that cannot run fails, and says what it lacks.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no `{name}`: install the Debian package `mosquitto`"))
}

/// Looks again and again until something is there.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests of this crate have no other clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
