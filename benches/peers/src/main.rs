//! How long the Rust runtimes that a user would pick take for ONNX models: a line of JSON each, with the
//! fields of the library's example `run_time`.
//!
//! ```text
//! cargo run --release -- --batch 64 --threads 2 r20_s0.onnx r20_s90.onnx
//! ```
//!
//! Files are named as ../shared/peers/make_models.py does: `r20_s90_int8.onnx` is a ResNet-20 of which
//! 90 % of the weights are zero, in 8 bits.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Parser, ValueEnum};
use serde::Serialize;

mod onnxruntime;
mod rten_engine;
mod tract;

/// Times ONNX models in other Rust runtimes.
#[derive(Parser)]
struct Arguments {
    /// ONNX models with one input of images and a batch of any size
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Which runtimes; all of them unless given
    #[arg(long, value_enum, value_delimiter = ',')]
    engine: Vec<Engine>,
    /// Images of a call
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// For how long calls are timed; at least five are
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    Tract,
    Rten,
    /// ONNX Runtime by the crate `ort`; ORT_DYLIB_PATH names its library
    Ort,
}

type Failed = Box<dyn Error>;

/// A loaded model with its input: each call runs it once.
type Call = Box<dyn FnMut() -> Result<(), Failed>>;

#[derive(Serialize)]
struct Line {
    model: String,
    sparsity: f64,
    pattern: &'static str,
    bits: u32,
    batch: usize,
    threads: usize,
    engine: &'static str,
    isa: &'static str,
    ms_min: f64,
    ms_median: f64,
    images_per_s: f64,
    file_bytes: u64,
}

/// What the name of a file says.
struct Named {
    model: String,
    sparsity: f64,
    bits: u32,
    side: usize,
}

fn main() {
    let arguments = Arguments::parse();
    let engines = match arguments.engine.as_slice() {
        [] => Engine::value_variants(),
        chosen => chosen,
    };
    for path in &arguments.models {
        for &engine in engines {
            // Some runtimes panic at what they do not support.
            let line = AssertUnwindSafe(|| measure(engine, path, &arguments));
            match catch_unwind(line) {
                Ok(Ok(line)) => println!("{line}"),
                Ok(Err(error)) => eprintln!("{engine:?} on {}: {error}", path.display()),
                Err(_) => eprintln!("{engine:?} on {}: it panicked", path.display()),
            }
        }
    }
}

fn measure(engine: Engine, path: &Path, arguments: &Arguments) -> Result<String, Failed> {
    let named = named(path);
    let (batch, threads) = (arguments.batch, arguments.threads);
    let shape = [batch, 3, named.side, named.side];
    let input: Vec<f32> = (0..shape.iter().product::<usize>())
        .map(|index| (index % 11) as f32 / 11.0 - 0.5)
        .collect();
    let (name, call) = match engine {
        Engine::Tract => ("tract", tract::load(path, shape, input, threads)?),
        Engine::Rten => ("rten", rten_engine::load(path, shape, input, threads)?),
        Engine::Ort => ("ort", onnxruntime::load(path, shape, input, threads)?),
    };
    let seconds = timed(arguments.seconds, call)?;
    let line = Line {
        model: named.model,
        sparsity: named.sparsity,
        pattern: "unstructured",
        bits: named.bits,
        batch,
        threads,
        engine: name,
        isa: isa(),
        ms_min: seconds[0] * 1e3,
        ms_median: seconds[seconds.len() / 2] * 1e3,
        images_per_s: batch as f64 / seconds[0],
        file_bytes: std::fs::metadata(path)?.len(),
    };
    Ok(serde_json::to_string(&line)?)
}

fn named(path: &Path) -> Named {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut parts = stem.split('_');
    let short = parts.next().unwrap_or_default();
    let percent = parts.next().and_then(|part| part.strip_prefix('s'));
    let percent = percent.and_then(|percent| percent.parse::<f64>().ok());
    let model = short
        .strip_prefix('r')
        .filter(|depth| depth.parse::<u32>().is_ok());
    Named {
        model: model.map_or(short.to_string(), |depth| format!("resnet{depth}")),
        sparsity: percent.unwrap_or(0.0) / 100.0,
        bits: if stem.ends_with("_int8") { 8 } else { 32 },
        side: if short == "r20" { 32 } else { 224 },
    }
}

/// The time of each call in seconds, the shortest first.
fn timed(seconds: f64, mut call: Call) -> Result<Vec<f64>, Failed> {
    for _ in 0..3 {
        call()?;
    }
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed().as_secs_f64() < seconds || times.len() < 5 {
        let start = Instant::now();
        call()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn isa() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") {
            return "avx512_vnni";
        }
        if is_x86_feature_detected!("avx512bw") {
            return "avx512";
        }
        if is_x86_feature_detected!("avx2") {
            return "avx2";
        }
    }
    match cfg!(target_arch = "aarch64") {
        true => "neon",
        false => "baseline",
    }
}
