use lab_core::model::{RequantizeTo, SyntheticMix};

use super::*;
use crate::Stage;
use crate::fixtures::TinyLlama;
use crate::gguf::write_header;

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

    /// Obtains a model and returns the stages it took.
    fn stages(&self, spec: &ModelSpec) -> Vec<Stage> {
        let mut stages = Vec::new();
        obtain(&self.cache, spec, self.folder.path(), &mut |progress| stages.push(progress.stage)).unwrap();
        stages.dedup();
        stages
    }

    fn status(&self, spec: &ModelSpec) -> ModelStatus {
        status(&self.cache, spec, self.folder.path()).unwrap()
    }

    /// Writes a tiny model into the plan's folder.
    fn own_model(&self, name: &str) -> Vec<u8> {
        let model = TinyLlama::new();
        let mut bytes = Vec::new();
        let layout = write_header(&mut bytes, &model.metadata, &model.tensors).unwrap();
        bytes.resize(usize::try_from(layout.file_bytes).unwrap(), 0);
        fs::write(self.folder.path().join(name), &bytes).unwrap();
        bytes
    }

    fn blobs(&self) -> usize {
        fs::read_dir(self.cache.root().join("blobs/sha256")).map_or(0, Iterator::count)
    }
}

fn own(path: &str) -> ModelSpec {
    ModelSpec {
        name: "own".to_owned(),
        source: ModelSource::Path(path.into()),
        sha256: None,
        requantize: None,
    }
}

fn synthetic(seed: u64) -> ModelSpec {
    let shape = SyntheticLlama {
        seed,
        layers: 1,
        embedding: 256,
        feed_forward: 256,
        heads: 4,
        kv_heads: 2,
        vocabulary: 259,
        context: 128,
        rope_base: 10_000,
        quantization: SyntheticMix::Q4K,
    };
    let source = ModelSource::Synthetic(shape);
    ModelSpec { name: "tiny-synthetic".to_owned(), source, sha256: None, requantize: None }
}

fn to_q8_0(sha256: Option<Digest>) -> Option<Requantize> {
    Some(Requantize { to: RequantizeTo::Q8_0, sha256 })
}

#[test]
fn a_file_of_ones_own_is_hashed_once_until_it_changes() {
    let fixture = Fixture::new();
    let bytes = fixture.own_model("m.gguf");
    let length = bytes.len() as u64;
    let spec = own("m.gguf");
    let path = fixture.folder.path().canonicalize().unwrap().join("m.gguf");
    assert_eq!(fixture.status(&spec), ModelStatus::NeedsHashing { path: path.clone(), bytes: length });
    assert_eq!(fixture.stages(&spec), [Stage::Hashing]);
    assert_eq!(fixture.stages(&spec), []);
    let sha256 = Digest::of(&bytes);
    let model = LocalModel { path: path.clone(), sha256, bytes: length, source_sha256: sha256 };
    assert_eq!(fixture.obtain(&spec).unwrap(), model);
    assert_eq!(fixture.status(&spec), ModelStatus::Cached(model));

    fs::write(&path, b"other bytes").unwrap();
    assert_eq!(fixture.status(&spec), ModelStatus::NeedsHashing { path, bytes: 11 });
    assert_eq!(fixture.obtain(&spec).unwrap().sha256, Digest::of(b"other bytes"));
}

#[test]
fn a_file_of_ones_own_that_is_not_there_or_not_the_expected_one_is_named() {
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("models/m.gguf");
    let error = fixture.obtain(&own("models/m.gguf")).unwrap_err().to_string();
    assert_eq!(error, format!("the model file `{}` does not exist", path.display()));
    assert_eq!(fixture.status(&own("models/m.gguf")), ModelStatus::Missing { path });
    assert!(matches!(fixture.obtain(&own(".")).unwrap_err(), SourceError::NotAFile { .. }));

    let found = Digest::of(&fixture.own_model("m.gguf"));
    let expected = Digest::of(b"");
    let error =
        fixture.obtain(&ModelSpec { sha256: Some(expected), ..own("m.gguf") }).unwrap_err().to_string();
    assert!(
        error.contains("m.gguf")
            && error.contains(&found.to_string())
            && error.contains(&expected.to_string())
    );
}

#[test]
fn a_synthetic_model_is_written_once() {
    let fixture = Fixture::new();
    let spec = synthetic(1);
    let ModelStatus::NeedsWriting { bytes } = fixture.status(&spec) else { panic!("another status") };
    assert_eq!(fixture.stages(&spec), [Stage::Writing]);
    assert_eq!(fixture.stages(&spec), []);
    let model = fixture.obtain(&spec).unwrap();
    assert_eq!(model.bytes, bytes);
    assert_eq!(model.sha256, Digest::of(&fs::read(&model.path).unwrap()));
    assert_eq!(fixture.status(&spec), ModelStatus::Cached(model));
}

#[test]
fn a_pin_that_was_left_behind_when_the_seed_changed_does_not_bring_the_old_file() {
    let fixture = Fixture::new();
    let first = fixture.obtain(&synthetic(1)).unwrap();
    let pinned = ModelSpec { sha256: Some(first.sha256), ..synthetic(1) };
    assert_eq!(fixture.obtain(&pinned).unwrap(), first);

    let changed = ModelSpec { sha256: Some(first.sha256), ..synthetic(2) };
    let SourceError::DigestMismatch { found, expected, what } = fixture.obtain(&changed).unwrap_err() else {
        panic!("another error");
    };
    assert_eq!((expected, what.as_str()), (first.sha256, "the synthetic model `tiny-synthetic`"));
    assert_ne!(found, expected);
    assert_eq!(fixture.blobs(), 1, "nothing is kept of a file with another digest");
    assert_eq!(fs::read_dir(fixture.cache.root().join("partial")).unwrap().count(), 0);
    // The same mismatch when the file is already there.
    fixture.obtain(&synthetic(2)).unwrap();
    assert!(matches!(fixture.obtain(&changed), Err(SourceError::DigestMismatch { .. })));
    let known = status(&fixture.cache, &changed, fixture.folder.path());
    assert!(matches!(known, Err(SourceError::DigestMismatch { .. })));
}

#[test]
fn a_corrupted_blob_is_never_used() {
    let fixture = Fixture::new();
    let spec = synthetic(1);
    let model = fixture.obtain(&spec).unwrap();
    let good = fs::read(&model.path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&model.path, &bad).unwrap();
    assert!(matches!(fixture.status(&spec), ModelStatus::NeedsHashing { .. }));
    assert_eq!(fixture.stages(&spec), [Stage::Hashing, Stage::Writing]);
    assert_eq!(fs::read(&model.path).unwrap(), good);
}

#[test]
fn a_blob_that_was_only_touched_is_hashed_and_kept() {
    let fixture = Fixture::new();
    let spec = synthetic(1);
    let model = fixture.obtain(&spec).unwrap();
    let good = fs::read(&model.path).unwrap();
    fs::write(&model.path, &good).unwrap();
    assert_eq!(fixture.stages(&spec), [Stage::Hashing]);
    assert_eq!(fixture.stages(&spec), []);
}

#[test]
fn requantising_adds_a_second_blob_and_remembers_its_source() {
    let fixture = Fixture::new();
    let bytes = fixture.own_model("m.gguf");
    let spec = ModelSpec { requantize: to_q8_0(None), ..own("m.gguf") };
    assert_eq!(fixture.stages(&spec), [Stage::Hashing, Stage::Requantizing]);
    assert_eq!(fixture.stages(&spec), []);
    let model = fixture.obtain(&spec).unwrap();
    assert_eq!(model.source_sha256, Digest::of(&bytes));
    assert_eq!(model.sha256, Digest::of(&fs::read(&model.path).unwrap()));
    assert_eq!(Gguf::read(&model.path).unwrap().quantization(), "q8_0");
    assert_eq!(fixture.status(&spec), ModelStatus::Cached(model.clone()));

    let pinned = ModelSpec { requantize: to_q8_0(Some(model.sha256)), ..own("m.gguf") };
    assert_eq!(fixture.obtain(&pinned).unwrap(), model);
    let wrong = ModelSpec { requantize: to_q8_0(Some(Digest::of(b""))), ..own("m.gguf") };
    assert!(matches!(fixture.obtain(&wrong), Err(SourceError::DigestMismatch { .. })));
}

#[test]
fn a_file_that_changes_while_it_is_requantised_gives_nothing() {
    let fixture = Fixture::new();
    fixture.own_model("m.gguf");
    let path = fixture.folder.path().canonicalize().unwrap().join("m.gguf");
    let spec = ModelSpec { requantize: to_q8_0(None), ..own("m.gguf") };
    let mut overwrite = |progress: Progress| {
        if progress.stage == Stage::Requantizing {
            let mut file = File::options().append(true).open(&path).unwrap();
            io::Write::write_all(&mut file, b"!").unwrap();
        }
    };
    let error = obtain(&fixture.cache, &spec, fixture.folder.path(), &mut overwrite).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` changed while it was being read", path.display()));
    assert_eq!(fixture.blobs(), 0);
    assert!(!fixture.cache.root().join("index").exists());
    assert_eq!(fixture.stages(&spec), [Stage::Requantizing], "the digest of the new bytes is known");
}

#[test]
fn status_says_what_requantising_will_write() {
    let fixture = Fixture::new();
    fixture.own_model("m.gguf");
    fixture.obtain(&own("m.gguf")).unwrap();
    let spec = ModelSpec { requantize: to_q8_0(None), ..own("m.gguf") };
    let ModelStatus::NeedsWriting { bytes } = fixture.status(&spec) else { panic!("another status") };
    let written = fixture.obtain(&spec).unwrap().bytes;
    assert!(bytes < written && written - bytes < HEADER_ROOM, "{bytes} of {written}");
}

#[test]
fn labs_that_want_the_same_model_at_once_all_get_it_and_write_it_once() {
    let fixture = Fixture::new();
    let spec = ModelSpec { requantize: to_q8_0(None), ..synthetic(1) };
    let work = || {
        let mut written = 0;
        let mut count = |progress: Progress| {
            written += u64::from(progress.stage == Stage::Writing && Some(progress.done) == progress.total);
        };
        let model = obtain(&fixture.cache, &spec, fixture.folder.path(), &mut count).unwrap();
        (model, written)
    };
    let results: Vec<(LocalModel, u64)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(results.iter().all(|(model, _)| *model == results[0].0));
    assert_eq!(results.iter().map(|(_, written)| written).sum::<u64>(), 1);
    assert_eq!(fixture.blobs(), 2);
}

#[test]
fn a_shape_that_makes_no_model_is_refused_before_anything_is_written() {
    let fixture = Fixture::new();
    let mut spec = synthetic(1);
    if let ModelSource::Synthetic(shape) = &mut spec.source {
        shape.heads = 3;
    }
    assert!(matches!(fixture.obtain(&spec), Err(SourceError::Synthetic(_))));
    assert!(matches!(status(&fixture.cache, &spec, fixture.folder.path()), Err(SourceError::Synthetic(_))));
    assert!(!fixture.cache.root().exists());
}
