//! Downloads by HTTP and HTTPS that go on where they stopped.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use lab_core::digest::Digest;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use super::cache::{self, Cache, PartialFile};
use super::space::Space;
use super::{Identity, SourceError};
use crate::{Progress, Stage, Written};

/// Attempts in a row that may bring no new byte.
const FRUITLESS_ATTEMPTS: u32 = 4;
/// How long a server may take to accept a connection, or to send the next bytes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait after the second fruitless attempt; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Refuses a URL that cannot be downloaded from, or whose bytes nobody could check.
pub(super) fn check(url: &str, sha256: Option<Digest>) -> Result<Digest, SourceError> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        return Err(SourceError::UrlScheme { url: url.to_owned() });
    }
    sha256.ok_or_else(|| SourceError::UrlWithoutDigest { url: url.to_owned() })
}

/// Downloads a file and takes its digest. What has arrived stays for the next attempt, or the next run, when the
/// connection fails.
pub(super) fn fetch(
    cache: &Cache,
    url: &str,
    sha256: Option<Digest>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(PartialFile, Written), SourceError> {
    let expected = check(url, sha256)?;
    let path = cache.folder("partial")?.join(format!("{}.part", Identity::Url(url).digest()));
    let left_over = fs::metadata(&path).is_ok_and(|file| file.len() > 0);
    let written = download(url, &path, progress)?;
    // What an earlier run left may belong to another version of the file: once more from the start.
    let written = if left_over && written.sha256 != expected {
        fs::remove_file(&path).map_err(SourceError::file("remove", &path))?;
        download(url, &path, progress)?
    } else {
        written
    };
    Ok((PartialFile { path }, written))
}

fn download(url: &str, path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Written, SourceError> {
    let agent = agent();
    let options = File::options().create(true).truncate(false).read(true).write(true).open(path);
    let mut file = options.map_err(SourceError::file("open", path))?;
    let mut transfer = Transfer { url, path, agent: &agent, progress };
    let mut fruitless = 0;
    loop {
        let before = file_length(&file, path)?;
        let message = match transfer.attempt(&mut file, before)? {
            Attempt::Complete => break,
            Attempt::Dropped { message } => message,
        };
        let received = file_length(&file, path)?;
        fruitless = if received > before { 0 } else { fruitless + 1 };
        if fruitless >= FRUITLESS_ATTEMPTS {
            let (url, attempts) = (url.to_owned(), fruitless);
            return Err(SourceError::Connection { url, received, attempts, message });
        }
        pause(fruitless);
    }
    let bytes = file_length(&file, path)?;
    cache::hash(path, bytes, transfer.progress)
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE));
    config.build().into()
}

fn file_length(file: &File, path: &Path) -> Result<u64, SourceError> {
    Ok(file.metadata().map_err(SourceError::file("read", path))?.len())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a server in trouble is not helped by being asked at once again"
)]
fn pause(fruitless: u32) {
    if fruitless > 1 {
        std::thread::sleep(FIRST_PAUSE * 2_u32.pow(fruitless - 2));
    }
}

enum Attempt {
    Complete,
    Dropped { message: String },
}

struct Transfer<'a> {
    url: &'a str,
    path: &'a Path,
    agent: &'a Agent,
    progress: &'a mut dyn FnMut(Progress),
}

impl Transfer<'_> {
    /// Asks for the bytes from `have` on and appends what comes.
    fn attempt(&mut self, file: &mut File, have: u64) -> Result<Attempt, SourceError> {
        let mut request = self.agent.get(self.url).header(header::ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(Attempt::Dropped { message: error.to_string() }),
        };
        match response.status() {
            StatusCode::OK => self.receive(response, file, 0),
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(have) => {
                self.receive(response, file, have)
            }
            StatusCode::RANGE_NOT_SATISFIABLE if range_total(&response) == Some(have) => {
                Ok(Attempt::Complete)
            }
            // Another range than the one asked for, or a file that is shorter than what is here.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                file.set_len(0).map_err(SourceError::file("write", self.path))?;
                Ok(Attempt::Dropped {
                    message: "the server's file does not go on where this one ends".to_owned(),
                })
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Ok(Attempt::Dropped { message: format!("the server answered {}", status.as_u16()) })
            }
            status => Err(SourceError::HttpStatus { url: self.url.to_owned(), status: status.as_u16() }),
        }
    }

    /// Writes a body behind the first `have` bytes of the file and drops what the file had after them.
    fn receive(
        &mut self,
        response: Response<ureq::Body>,
        file: &mut File,
        have: u64,
    ) -> Result<Attempt, SourceError> {
        file.set_len(have).map_err(SourceError::file("write", self.path))?;
        file.seek(SeekFrom::Start(have)).map_err(SourceError::file("write", self.path))?;
        let length = response.body().content_length();
        let total = length.map(|length| have.saturating_add(length));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let what = format!("the file from `{}`", self.url);
        let space = Space { folder, what: &what, needed: length.unwrap_or(0) };
        space.check()?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 18];
        let mut done = have;
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Attempt::Dropped { message: error.to_string() }),
            };
            file.write_all(&buffer[..count]).map_err(|error| space.failed("write", self.path, error))?;
            done += count as u64;
            (self.progress)(Progress { stage: Stage::Downloading, done, total });
        }
        match total {
            Some(total) if done < total => {
                Ok(Attempt::Dropped { message: format!("the connection closed at {done} of {total} bytes") })
            }
            _ => Ok(Attempt::Complete),
        }
    }
}

/// Returns `first` of `Content-Range: bytes first-last/total` (RFC 9110, section 14.4).
fn range_start(response: &Response<ureq::Body>) -> Option<u64> {
    content_range(response)?.split_once('-')?.0.parse().ok()
}

/// Returns `total` of `Content-Range: bytes …/total`.
fn range_total(response: &Response<ureq::Body>) -> Option<u64> {
    content_range(response)?.split_once('/')?.1.parse().ok()
}

fn content_range(response: &Response<ureq::Body>) -> Option<&str> {
    response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")
}

#[cfg(test)]
mod tests;
