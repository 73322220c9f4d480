//! Turns an ONNX file into a Burn module: that of the variable ONNX, else `small.onnx`.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-env-changed=ONNX");
    let path = env::var("ONNX").unwrap_or_else(|_| "small.onnx".into());
    println!("cargo:rerun-if-changed={path}");
    // The generated file has the name of the ONNX file, so that it is copied to one name.
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let copy = out.join("model.onnx");
    fs::copy(&path, &copy).unwrap_or_else(|error| panic!("ONNX={path}: {error}"));
    burn_onnx::ModelGen::new()
        .input(copy.to_str().expect("a path in UTF-8"))
        .out_dir("model/")
        .run_from_script();
}
