//! What a network computes in double precision: whose rounding it is, where two in single precision differ.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{FloatDType, Tensor};

use super::any::{Any, map};
use super::case::Case;
use super::network::Net;

/// Burn's output of a case's network, pruned, rounded once; none where Burn does not compute a layer so.
pub fn exact(case: &Case, net: Net, x: Any) -> Option<Vec<f32>> {
    let run = AssertUnwindSafe(|| {
        let net = match case.pruned() {
            Some(plan) => plan.apply(net).ok()?.module,
            None => net,
        };
        let x = map!(x, x => x.cast(FloatDType::F64));
        let found = net.map(&mut Double).forward(&case.network, x);
        Some(map!(found, x => x.cast(FloatDType::F32)).values())
    });
    catch_unwind(run).ok().flatten()
}

struct Double;

impl ModuleMapper for Double {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(FloatDType::F64))
    }
}
