use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::super::rows::to_rows;
use super::super::{CompressError, Layer};
use super::Observations;
use crate::prune::Need;

impl Observations {
    /// Adds the gradients of a batch whose shares were computed apart: their sum.
    pub(crate) fn gradients_of_all<M: Module>(
        &mut self,
        gradients: &[&GradientsParams],
        module: &M,
    ) -> Result<(), CompressError> {
        if !self.needs.iter().any(|need| need.is_gradient()) {
            return Ok(());
        }
        let layers = self.layers.iter();
        let mut reader = Reader {
            path: Vec::new(),
            layers: layers.map(|l| (l.path.as_str(), l)).collect(),
            gradients,
            found: Vec::new(),
            wrong: None,
        };
        module.visit(&mut reader);
        let Reader {
            found,
            layers: left,
            wrong,
            ..
        } = reader;
        if let Some(error) = wrong {
            return Err(error);
        }
        if let Some(layer) = left.into_values().min_by(|a, b| a.path.cmp(&b.path)) {
            let layer = layer.path.clone();
            return Err(CompressError::Detached { layer });
        }
        for (path, gradient) in found {
            self.add(
                &path,
                Need::SquaredGradient,
                gradient.clone() * gradient.clone(),
            );
            self.add(&path, Need::Gradient, gradient);
        }
        Ok(())
    }
}

struct Reader<'a> {
    path: Vec<String>,
    /// Those that were not found yet.
    layers: HashMap<&'a str, &'a Layer>,
    gradients: &'a [&'a GradientsParams],
    found: Vec<(String, Tensor<2>)>,
    wrong: Option<CompressError>,
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let Some(layer) = self.layers.remove(path.as_str()) else {
            return;
        };
        let shares = self.gradients.iter();
        let shares = shares.filter_map(|gradients| gradients.get::<D>(param.id));
        let gradient = shares.map(Tensor::without_autodiff).reduce(|sum, share| {
            let share = share.to_device(&sum.device());
            sum + share
        });
        let Some(gradient) = gradient else {
            return;
        };
        if gradient.dims()[..] != *layer.view.dims() {
            let (found, wanted) = (gradient.dims(), layer.view.dims());
            self.wrong.get_or_insert(CompressError::Observed {
                layer: path,
                need: Need::Gradient,
                what: format!("it is of {found:?}, the layer of {wanted:?}"),
            });
            return;
        }
        self.found.push((path, to_rows(gradient, &layer.view)));
    }
}
