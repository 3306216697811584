//! Numbers for names of hosts, by a deadline.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Returns where a host listens. A number is taken as it is.
///
/// # Errors
///
/// When the system's resolver knows no such name, or does not answer in time.
pub(crate) fn resolve(host: &str, port: u16, patience: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Ok(number) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(number, port)]);
    }
    let host = host.to_owned();
    answer_of(patience, move || {
        let found = (host.as_str(), port).to_socket_addrs()?;
        Ok(found.collect())
    })
}

/// Asks in a thread of its own, for the system's resolver knows no deadline: it asks one server after the other for as long as
/// its own configuration says, half a minute and more. What it finds out later is heard by nobody.
fn answer_of(
    patience: Duration,
    ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("resolver".to_owned()).spawn(move || drop(sender.send(ask())))?;
    receiver.recv_timeout(patience).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => {
                io::Error::new(io::ErrorKind::TimedOut, "the system's resolver did not find its name in time")
            }
            RecvTimeoutError::Disconnected => io::Error::other("the system's resolver gave no answer"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_number_needs_no_resolver() {
        for (host, expected) in [("127.0.0.1", "127.0.0.1:1883"), ("::1", "[::1]:1883")] {
            let found = resolve(host, 1883, Duration::ZERO).unwrap();
            assert_eq!(found, [expected.parse::<SocketAddr>().unwrap()]);
        }
    }

    #[test]
    fn what_the_resolver_answers_is_passed_on() {
        let expected = vec![SocketAddr::from(([127, 0, 0, 1], 1883))];
        let own = expected.clone();
        assert_eq!(answer_of(PATIENCE, move || Ok(own)).unwrap(), expected);
        let error = answer_of(PATIENCE, || Err(io::Error::other("no such name"))).unwrap_err();
        assert_eq!(error.to_string(), "no such name");
    }

    #[test]
    fn a_resolver_that_does_not_answer_is_given_up() {
        let (hold, held) = mpsc::channel::<()>();
        let never = move || {
            // It ends with the test.
            assert!(held.recv().is_err());
            Ok(Vec::new())
        };
        let error = answer_of(Duration::from_millis(20), never).unwrap_err();
        assert_eq!(error.to_string(), "the system's resolver did not find its name in time");
        drop(hold);
    }
}
