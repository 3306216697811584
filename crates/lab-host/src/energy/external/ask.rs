//! Asking a program or an address, with a time-out.

use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lab_core::clock::{Clock as _, nanoseconds};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use ureq::Agent;

use crate::Unavailable;
use crate::clock::Monotonic;

/// A number and the JSON around it; more is some other page.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// Returns what an address answers with.
///
/// # Errors
///
/// When it does not answer in time, or not with success.
pub(super) fn ask_address(url: &str, patience: Duration) -> Result<String, Unavailable> {
    // A meter stands in the house: no proxy knows it, and where a redirect leads is another one.
    let config = Agent::config_builder().timeout_global(Some(patience)).proxy(None).max_redirects(0);
    let agent: Agent = config.build().into();
    let body = |mut response: ureq::http::Response<ureq::Body>| {
        response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string()
    };
    agent
        .get(url)
        .call()
        .and_then(body)
        .map_err(|error| Unavailable::new(format!("does not answer: {error}")))
}

/// Returns what a program writes to its standard output. No shell stands between; whatever it started is killed with it,
/// at its end or when it takes longer than `patience`.
///
/// # Errors
///
/// When it does not start, does not end in time, or ends without success.
pub(super) fn run(words: &[String], patience: Duration) -> Result<String, Unavailable> {
    let (program, arguments) = words.split_first().ok_or_else(|| Unavailable::new("names no program"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child =
        command.spawn().map_err(|error| Unavailable::new(format!("`{program}` does not start: {error}")))?;
    let output = output(&mut child, patience);
    // Whatever it started ends with it. It is not reaped yet: nobody else can have its number.
    kill(&child);
    let status = child.wait();
    match (output, status) {
        (Ok(Some(text)), Ok(status)) if status.success() => Ok(text),
        (Ok(Some(_)), Ok(status)) => Err(Unavailable::new(format!("ended with {status}"))),
        (Ok(None), _) => {
            Err(Unavailable::new(format!("was killed after {} s without an end", patience.as_secs_f64())))
        }
        (Err(error), _) | (_, Err(error)) => Err(Unavailable::new(format!("cannot be read: {error}"))),
    }
}

/// Returns the output once the program has ended; none where it did not in time.
fn output(child: &mut Child, patience: Duration) -> io::Result<Option<String>> {
    let deadline_ns = Monotonic.now_ns().saturating_add(nanoseconds(patience));
    let process = pidfd_open(pid(child), PidfdFlags::empty())?;
    let mut stdout = child.stdout.take().expect("the output was asked for at the start");
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if !wait_for(&stdout, deadline_ns)? {
            return Ok(None);
        }
        match stdout.read(&mut buffer)? {
            0 => break,
            n_bytes => bytes.extend_from_slice(&buffer[..n_bytes]),
        }
        if bytes.len() as u64 > MAX_ANSWER_BYTES {
            return Err(io::Error::other(format!("the answer is longer than {MAX_ANSWER_BYTES} bytes")));
        }
    }
    // A process may close its output and live on; its descriptor is readable when it has ended (pidfd_open(2)).
    Ok(wait_for(&process, deadline_ns)?.then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Waits until there is something to read, and tells whether there was before the deadline.
fn wait_for(descriptor: &impl AsFd, deadline_ns: u64) -> io::Result<bool> {
    loop {
        let left_ns = deadline_ns.saturating_sub(Monotonic.now_ns());
        let left = Timespec::try_from(Duration::from_nanos(left_ns)).expect("five seconds fit");
        match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&left)) {
            Ok(n_ready) => return Ok(n_ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn kill(child: &Child) {
    // An error means that it is gone already.
    let _gone = kill_process_group(pid(child), Signal::KILL);
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(script: &str, patience: Duration) -> Result<String, String> {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&words, patience).map_err(|error| error.reason)
    }

    #[test]
    fn a_program_answers_with_its_output() {
        assert_eq!(shell("echo 4; echo ignored >&2", PATIENCE).unwrap(), "4\n");
        assert_eq!(shell("echo 4; exit 3", PATIENCE).unwrap_err(), "ended with exit status: 3");
        let missing = run(&["/nonexistent/meter".to_owned()], PATIENCE).unwrap_err();
        assert!(missing.reason.starts_with("`/nonexistent/meter` does not start: "), "{missing}");
        let endless = shell("while :; do echo 123456789; done", PATIENCE).unwrap_err();
        assert_eq!(endless, "cannot be read: the answer is longer than 65536 bytes");
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_its_children() {
        let before_ns = Monotonic.now_ns();
        for script in ["sleep 600", "sleep 600 & echo 4", "exec >&-; sleep 600"] {
            let reason = shell(script, Duration::from_millis(200)).unwrap_err();
            assert_eq!(reason, "was killed after 0.2 s without an end", "{script}");
        }
        assert!(Monotonic.now_ns() - before_ns < 60_000_000_000);
    }

    /// Serves one answer and returns what asking for it led to.
    fn served(answer: &'static str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/power", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let n_bytes = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..n_bytes]).into_owned()
        });
        let answer = ask_address(&url, PATIENCE).map_err(|error| error.reason);
        assert!(server.join().unwrap().starts_with("GET /power HTTP/1.1\r\n"));
        answer
    }

    #[test]
    fn an_address_answers_with_its_body_or_its_refusal() {
        let fine = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n17.5";
        assert_eq!(served(fine).unwrap(), "17.5");
        let absent = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(served(absent).unwrap_err(), "does not answer: http status: 404");
    }

    #[test]
    fn an_address_that_stays_silent_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let error = ask_address(&url, Duration::from_millis(200)).unwrap_err();
        assert!(error.reason.starts_with("does not answer: timeout"), "{error}");
    }
}
