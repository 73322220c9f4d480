//! Turns the ONNX files of a folder (the variable MODELS) into Burn modules, and lists them.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

/// Name, shape of an input, forward pass with one output.
const MODELS: [(&str, &str, &str); 6] = [
    ("cls", "[1, 3, 48, 192]", "|m, x| m.forward(x)"),
    ("det6", "[1, 3, 320, 320]", "|m, x| m.forward(x)"),
    ("nude", "[1, 3, 320, 320]", "|m, x| m.forward(x)"),
    (
        "pitch",
        "[1, 43844, 1]",
        "|m, x| { let (a, b, c) = m.forward(x); Tensor::cat(vec![a, b, c], 2) }",
    ),
    ("wake", "[1, 76, 32, 1]", "|m, x| m.forward(x)"),
    ("minilm", "[1, 64, 384]", "|m, x| m.forward(x)"),
];

fn main() {
    println!("cargo:rerun-if-env-changed=MODELS");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let folder = PathBuf::from(env::var("MODELS").unwrap_or_default());
    let (mut modules, mut calls) = (String::new(), String::new());
    for (name, shape, forward) in MODELS {
        let path = folder.join("onnx").join(format!("{name}.onnx"));
        if !path.exists() {
            continue;
        }
        println!("cargo:rerun-if-changed={}", path.display());
        burn_onnx::ModelGen::new()
            .input(path.to_str().expect("a path in UTF-8"))
            .out_dir("models/")
            .run_from_script();
        let file = out.join("models").join(format!("{name}.rs"));
        writeln!(
            modules,
            "#[allow(warnings, clippy::all)] mod {name} {{ include!({file:?}); }}"
        )
        .expect("a string");
        let call = format!("bench.model({name:?}, {name}::Model::default, {shape}, {forward})?;");
        writeln!(calls, "if bench.wants({name:?}) {{ {call} }}").expect("a string");
    }
    let all = format!(
        "{modules}\nfn all(bench: &mut Bench) -> Result<(), Box<dyn Error>> {{ {calls} Ok(()) }}\n"
    );
    fs::write(out.join("list.rs"), all).expect("OUT_DIR can be written");
}
