use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{GradientCheckpointingStrategy, Tensor};

/// A copy of a module that shares nothing with it; see [`Compression::snapshot`](super::Compression::snapshot).
pub(crate) fn snapshot<M: Module>(module: &M) -> M {
    let mut tracked = Tracked::default();
    module.visit(&mut tracked);
    match tracked.strategy {
        None => module.valid(),
        Some(GradientCheckpointingStrategy::Disabled) => module.valid().train(),
        Some(_) => module.valid().train().map(&mut tracked),
    }
}

// How a module in training trades memory for time; mode changes lose it.
#[derive(Default)]
struct Tracked {
    strategy: Option<GradientCheckpointingStrategy>,
}

impl ModuleVisitor for Tracked {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.strategy = self
            .strategy
            .or_else(|| param.base().gradient_checkpointing_strategy());
    }
}

impl ModuleMapper for Tracked {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(strategy) = self.strategy else {
            return param;
        };
        param.map(|tensor| {
            let require_grad = tensor.is_require_grad();
            let tensor = tensor
                .detach()
                .with_gradient_checkpointing_strategy(strategy);
            tensor.set_require_grad(require_grad)
        })
    }
}
