//! Where the time of a generation goes in the built-in engine, without a harness around it.
//!
//! `operations MODEL PROMPT GENERATE`: loads a GGUF Llama with a profile, generates once to warm up and once for real
//! (greedy, from a comma-separated list of token ids), and prints one line for each kind of operation to standard error.

use std::error::Error;
use std::time::Instant;

use lab_candle::Candle;
use lab_core::clock::Clock;
use lab_core::engine::{Engine as _, LoadRequest, Profile};
use lab_core::workload::{Sampling, Stop, Workload};

struct Since(Instant);

impl Clock for Since {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn wait_until_ns(&self, deadline_ns: u64) {
        while self.now_ns() < deadline_ns {
            std::hint::spin_loop();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this program stands outside lab and has no clock of its")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompt, generate] = arguments.as_slice() else {
        return Err("usage: operations MODEL PROMPT GENERATE".into());
    };
    let prompt = prompt.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let clock = Since(Instant::now());
    let mut engine = Candle::new(&clock, 1);
    let request = LoadRequest { model: model.clone(), positions: 4096, profile: true };
    let loaded = engine.load(&request)?;
    let workload = Workload {
        prompt,
        generate: generate.parse()?,
        sampling: Sampling::Greedy,
        stop: Stop::Length,
        forced: None,
    };
    engine.generate(&workload, 0)?;
    let begun_ns = clock.now_ns();
    engine.generate(&workload, begun_ns)?;
    report(&engine.profile()?, clock.now_ns() - begun_ns, loaded.bytes_per_token);
    Ok(())
}

#[expect(clippy::print_stderr, reason = "standard output is for the engine protocol wherever this code runs")]
#[expect(clippy::cast_precision_loss, reason = "minutes at most")]
fn report(profile: &Profile, elapsed_ns: u64, bytes_per_token: Option<u64>) {
    for operation in &profile.operations {
        let share = operation.self_ns as f64 / profile.total_ns() as f64;
        let ms = operation.self_ns as f64 / 1e6;
        eprintln!(
            "{:<12} {ms:>10.3} ms {:>6.2} % {:>8} calls",
            operation.kind,
            share * 100.0,
            operation.calls
        );
    }
    eprintln!("named {:.2} % of {:.3} ms", profile.named_share() * 100.0, profile.total_ns() as f64 / 1e6);
    eprintln!("elapsed {:.3} ms, bytes per token {bytes_per_token:?}", elapsed_ns as f64 / 1e6);
}
