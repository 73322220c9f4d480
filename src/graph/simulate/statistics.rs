use std::collections::HashMap;

use burn::module::{ModuleMapper, Param};
use burn::tensor::Tensor;

/// Moves the running statistics of batch norms towards those of a batch.
pub(super) struct Follow {
    path: Vec<String>,
    /// By the path of the parameter: mean or variance of the batch.
    batch: HashMap<String, Tensor<1>>,
    momentum: f64,
}

impl Follow {
    pub fn new(batch: HashMap<String, Tensor<1>>, momentum: f64) -> Self {
        Self {
            path: Vec::new(),
            batch,
            momentum,
        }
    }
}

impl ModuleMapper for Follow {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(batch) = self.batch.remove(&self.path.join(".")) else {
            return param;
        };
        let momentum = self.momentum;
        param.map(|old| {
            let dims = old.dims();
            let batch = batch.detach().reshape(dims);
            old * (1.0 - momentum) + batch * momentum
        })
    }
}
