use std::path::Path;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::session::Session;
use ort::value::Tensor;

use super::{Call, Failed};

pub fn load(
    path: &Path,
    shape: [usize; 4],
    input: Vec<f32>,
    threads: usize,
) -> Result<Call, Failed> {
    let mut session = Session::builder(environment()?)?
        .with_intra_threads(threads)?
        .commit_from_file(path)?;
    let input = Tensor::from_array((shape, input))?;
    Ok(Box::new(move || {
        session.run(ort::inputs![&input])?;
        Ok(())
    }))
}

/// The one that a process may have.
fn environment() -> Result<&'static Environment, Failed> {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let library = std::env::var("ORT_DYLIB_PATH")
        .map_err(|_| "ORT_DYLIB_PATH names no libonnxruntime (a Python installation has one)")?;
    let environment = ort::init_from(library)?.build()?;
    Ok(ENVIRONMENT.get_or_init(|| environment))
}
