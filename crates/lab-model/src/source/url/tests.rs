use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use lab_core::model::{ModelSource, ModelSpec};

use super::*;
use crate::source::{LocalModel, ModelStatus, obtain, status};

/// How the server answers one request.
#[derive(Clone, Copy)]
enum Answer {
    /// As HTTP says: the range that was asked for, or everything.
    Honest,
    /// Everything, whatever was asked for.
    IgnoreRange,
    /// As `Honest`, but the connection closes after this many bytes of the body.
    DropAfter(usize),
    /// Only a status.
    Status(u16),
    /// Everything, with a content length that is too long by this much.
    Announce(usize),
}

/// Answers one connection after the other and returns the `Range` headers it saw.
fn serve(content: Vec<u8>, answers: &[Answer]) -> (String, JoinHandle<Vec<Option<String>>>) {
    serve_each(answers.iter().map(|answer| (content.clone(), *answer)).collect())
}

/// As [`serve`], with a file that may change from one request to the next.
fn serve_each(answers: Vec<(Vec<u8>, Answer)>) -> (String, JoinHandle<Vec<Option<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/m.gguf", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let answer =
            |(content, answer): (Vec<u8>, Answer)| serve_one(listener.accept().unwrap().0, &content, answer);
        answers.into_iter().map(answer).collect()
    });
    (url, server)
}

fn serve_one(mut stream: TcpStream, content: &[u8], answer: Answer) -> Option<String> {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range =
        headers.iter().find_map(|line| line.to_lowercase().strip_prefix("range: ").map(str::to_owned));
    let start =
        range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let start = start.filter(|_| !matches!(answer, Answer::IgnoreRange)).unwrap_or(0_usize);
    let body = content.get(start..).unwrap_or_default();
    let (status, length, send) = match answer {
        Answer::Status(status) => (status, 0, &body[..0]),
        _ if start > 0 && start >= content.len() => (416, 0, &body[..0]),
        Answer::DropAfter(bytes) => {
            (if start > 0 { 206 } else { 200 }, body.len(), &body[..bytes.min(body.len())])
        }
        Answer::Announce(extra) => (200, body.len() + extra, body),
        Answer::Honest | Answer::IgnoreRange => (if start > 0 { 206 } else { 200 }, body.len(), body),
    };
    let total = content.len();
    let content_range = match status {
        206 => format!("Content-Range: bytes {start}-{}/{total}\r\n", total - 1),
        416 => format!("Content-Range: bytes */{total}\r\n"),
        _ => String::new(),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{content_range}Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(send).unwrap();
    range
}

fn content() -> Vec<u8> {
    (0..1_000_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

fn spec(url: &str, sha256: Option<Digest>) -> ModelSpec {
    ModelSpec { name: "m".to_owned(), source: ModelSource::Url(url.to_owned()), sha256, requantize: None }
}

/// A cache in a folder that goes away, and what is in it.
struct Fixture {
    folder: tempfile::TempDir,
    cache: Cache,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        Self { folder, cache }
    }

    fn obtain(&self, spec: &ModelSpec) -> Result<LocalModel, SourceError> {
        obtain(&self.cache, spec, self.folder.path(), &mut |_| {})
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.cache.root().join(folder)) else {
            return Vec::new();
        };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn a_download_ends_in_the_cache_and_is_not_repeated() {
    let fixture = Fixture::new();
    let (url, server) = serve(content(), &[Answer::Honest]);
    let spec = spec(&url, Some(Digest::of(&content())));
    let needed = status(&fixture.cache, &spec, fixture.folder.path()).unwrap();
    assert_eq!(needed, ModelStatus::NeedsDownload { what: url });

    let mut reports = Vec::new();
    let model =
        obtain(&fixture.cache, &spec, fixture.folder.path(), &mut |progress| reports.push(progress)).unwrap();
    assert_eq!(fs::read(&model.path).unwrap(), content());
    assert_eq!((model.bytes, model.sha256), (1_000_000, Digest::of(&content())));
    let downloading = reports.iter().rfind(|report| report.stage == Stage::Downloading).unwrap();
    assert_eq!((downloading.done, downloading.total), (1_000_000, Some(1_000_000)));
    assert_eq!(server.join().unwrap(), [None]);

    // The server has gone: only the cache can answer.
    assert_eq!(fixture.obtain(&spec).unwrap(), model);
    assert_eq!(status(&fixture.cache, &spec, fixture.folder.path()).unwrap(), ModelStatus::Cached(model));
    assert_eq!(fixture.names("partial"), [""; 0]);
}

#[test]
fn a_pin_that_changed_with_the_file_brings_the_new_file() {
    let fixture = Fixture::new();
    let (old, new) = (b"the old file".to_vec(), b"the new file".to_vec());
    let (url, server) = serve_each(vec![(old.clone(), Answer::Honest), (new.clone(), Answer::Honest)]);
    let [first, second] = [&old, &new].map(|content| spec(&url, Some(Digest::of(content))));
    assert_eq!(fs::read(fixture.obtain(&first).unwrap().path).unwrap(), old);
    let needed = status(&fixture.cache, &second, fixture.folder.path()).unwrap();
    assert_eq!(needed, ModelStatus::NeedsDownload { what: url });
    assert_eq!(fs::read(fixture.obtain(&second).unwrap().path).unwrap(), new);
    assert_eq!(server.join().unwrap().len(), 2);
    // Neither pin asks the server again.
    assert_eq!(fixture.obtain(&first).unwrap().sha256, Digest::of(&old));
    assert_eq!(fixture.obtain(&second).unwrap().sha256, Digest::of(&new));
}

#[test]
fn a_dropped_connection_is_taken_up_where_it_broke() {
    let fixture = Fixture::new();
    let (url, server) =
        serve(content(), &[Answer::DropAfter(300_000), Answer::DropAfter(200_000), Answer::Honest]);
    let model = fixture.obtain(&spec(&url, Some(Digest::of(&content())))).unwrap();
    assert_eq!(fs::read(model.path).unwrap(), content());
    let ranges = server.join().unwrap();
    assert_eq!(ranges, [None, Some("bytes=300000-".to_owned()), Some("bytes=500000-".to_owned())]);
}

#[test]
fn a_server_that_ignores_ranges_starts_the_file_anew() {
    let fixture = Fixture::new();
    let (url, server) = serve(content(), &[Answer::DropAfter(300_000), Answer::IgnoreRange]);
    let model = fixture.obtain(&spec(&url, Some(Digest::of(&content())))).unwrap();
    assert_eq!(fs::read(model.path).unwrap(), content());
    assert_eq!(server.join().unwrap().len(), 2);
}

#[test]
fn what_an_earlier_run_left_is_used_and_given_up_if_it_belongs_to_another_file() {
    for (left, requests) in
        [(content()[..400_000].to_vec(), 1), (vec![7; 400_000], 2), (vec![7; 2_000_000], 2)]
    {
        let fixture = Fixture::new();
        let answers = vec![Answer::Honest; requests];
        let (url, server) = serve(content(), &answers);
        let spec = spec(&url, Some(Digest::of(&content())));
        let partial =
            fixture.cache.folder("partial").unwrap().join(format!("{}.part", Identity::Url(&url).digest()));
        fs::write(partial, left).unwrap();
        let model = fixture.obtain(&spec).unwrap();
        assert_eq!(fs::read(model.path).unwrap(), content());
        assert_eq!(server.join().unwrap().len(), requests);
    }
}

#[test]
fn a_file_that_was_complete_but_not_yet_adopted_is_not_downloaded_again() {
    let fixture = Fixture::new();
    let (url, server) = serve(content(), &[Answer::Honest]);
    let partial =
        fixture.cache.folder("partial").unwrap().join(format!("{}.part", Identity::Url(&url).digest()));
    fs::write(partial, content()).unwrap();
    let model = fixture.obtain(&spec(&url, Some(Digest::of(&content())))).unwrap();
    assert_eq!(model.bytes, 1_000_000);
    assert_eq!(server.join().unwrap(), [Some("bytes=1000000-".to_owned())]);
}

#[test]
fn a_wrong_digest_names_both_and_keeps_nothing() {
    let fixture = Fixture::new();
    let (url, server) = serve(content(), &[Answer::Honest]);
    let expected = Digest::of(b"another file");
    let error = fixture.obtain(&spec(&url, Some(expected))).unwrap_err().to_string();
    let found = Digest::of(&content());
    assert_eq!(
        error,
        format!("the file from `{url}` has the SHA-256 digest {found}, the plan expects {expected}")
    );
    server.join().unwrap();
    for folder in ["blobs/sha256", "partial", "index"] {
        assert_eq!(fixture.names(folder), [""; 0], "{folder}");
    }
}

#[test]
fn a_missing_file_is_not_asked_for_twice() {
    let fixture = Fixture::new();
    let (url, server) = serve(content(), &[Answer::Status(404)]);
    let error = fixture.obtain(&spec(&url, Some(Digest::of(b"")))).unwrap_err().to_string();
    assert_eq!(error, format!("the server answered 404 for `{url}`"));
    assert_eq!(server.join().unwrap().len(), 1);
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let fixture = Fixture::new();
    let (url, server) = serve(content(), &[Answer::Status(503), Answer::Honest]);
    assert!(fixture.obtain(&spec(&url, Some(Digest::of(&content())))).is_ok());
    assert_eq!(server.join().unwrap().len(), 2);
}

#[test]
fn a_length_that_is_never_reached_does_not_pass_for_the_file() {
    let fixture = Fixture::new();
    // The bytes are all there, but more were announced; the server then has nothing behind them.
    let (url, server) = serve(content(), &[Answer::Announce(10), Answer::Honest]);
    let model = fixture.obtain(&spec(&url, Some(Digest::of(&content())))).unwrap();
    assert_eq!(model.bytes, 1_000_000);
    let ranges = server.join().unwrap();
    assert_eq!(ranges, [None, Some("bytes=1000000-".to_owned())]);
}

#[test]
fn a_plan_without_digest_or_with_another_scheme_is_refused() {
    let fixture = Fixture::new();
    let error = fixture.obtain(&spec("https://models.test/m.gguf", None)).unwrap_err().to_string();
    assert_eq!(error, "the download `https://models.test/m.gguf` has no `sha256`, which downloads need");
    for url in ["ftp://models.test/m.gguf", "models.test/m.gguf", "file:///m.gguf"] {
        let error = fixture.obtain(&spec(url, Some(Digest::of(b"")))).unwrap_err();
        assert!(matches!(error, SourceError::UrlScheme { .. }), "{error}");
    }
}
