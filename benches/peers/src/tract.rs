use std::path::Path;

use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

use super::{Call, Failed};

pub fn load(
    path: &Path,
    shape: [usize; 4],
    input: Vec<f32>,
    threads: usize,
) -> Result<Call, Failed> {
    set_default_executor(match threads {
        1 => Executor::SingleThread,
        _ => Executor::multithread(threads),
    });
    let model = tract_onnx::onnx()
        .model_for_path(path)?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let input: TValue = Tensor::from_shape(&shape, &input)?.into();
    Ok(Box::new(move || {
        model.run(tvec!(input.clone()))?;
        Ok(())
    }))
}
