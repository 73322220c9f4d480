use std::path::Path;
use std::sync::Arc;

use rten::{Model, RunOptions, ThreadPool, Value};

use super::{Call, Failed};

pub fn load(
    path: &Path,
    shape: [usize; 4],
    input: Vec<f32>,
    threads: usize,
) -> Result<Call, Failed> {
    let model = Model::load_file(path)?;
    let (Some(&from), Some(&to)) = (model.input_ids().first(), model.output_ids().first()) else {
        return Err("the model has no input or no output".into());
    };
    let input = Value::from_shape(&shape, input)?;
    let pool = Arc::new(ThreadPool::with_num_threads(threads));
    let options = RunOptions::default().with_thread_pool(Some(pool));
    Ok(Box::new(move || {
        let inputs = vec![(from, input.as_view().into())];
        model.run(inputs, &[to], Some(options.clone()))?;
        Ok(())
    }))
}
