//! A program held to the reference on the machine where it runs.

use super::{EngineError, Options, Program, Tuning};
use crate::kernel::VectorBlock;
use crate::network::{Network, StepOp, Value};

/// What a verification has compared.
///
/// ```
/// use burn_compress::engine::Verified;
/// fn words(verified: Verified) -> String {
///     match verified.tolerance {
///         0.0 => format!("{} numbers are the reference's", verified.numbers),
///         _ => format!("{} numbers are near the reference's", verified.numbers),
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Verified {
    /// Numbers of the output that were compared with the reference's.
    pub numbers: usize,
    /// The difference that was admitted, as a share of the largest number of the output: 0 where they had to
    /// be the same to the bit.
    pub tolerance: f32,
    /// The largest difference, as the same share.
    pub difference: f32,
}

impl Program {
    /// Runs a made-up sample, alone and as all samples of a batch, and compares with what the reference makes
    /// of it on this machine. It takes as long as the reference does for one sample: a second for about a
    /// hundred million multiply-adds.
    ///
    /// | Network | Admitted, as a share of the largest number |
    /// |---|---|
    /// | in whole numbers | nothing: the same bits |
    /// | with steps in floats | 1e-4, since the order of sums differs between instruction sets |
    /// | with codes made of such steps | 0.05, since a code next to a tie may be its neighbour |
    ///
    /// Fails with [`EngineError::Differs`], which names the first step whose results differ: then a kernel of
    /// this program is wrong on this machine.
    ///
    /// ```
    /// # use burn_compress::engine::{Options, Program};
    /// # fn check() -> Result<(), burn_compress::engine::EngineError> {
    /// let program = Program::load("model.bcm", Options::default())?;
    /// let verified = program.verify()?;
    /// println!("{} numbers are right", verified.numbers);
    /// # Ok(())
    /// # }
    /// ```
    pub fn verify(&self) -> Result<Verified, EngineError> {
        self.verify_as(self.model())
    }

    // The reference runs a network of the same steps.
    fn verify_as(&self, reference: &Network) -> Result<Verified, EngineError> {
        let samples = match self.model().keeps_samples_apart() {
            true => VectorBlock::LANES + 1,
            false => 1,
        };
        let sample = sample(reference);
        let (expected, _) = reference.run_with(&sample, 1, 1)?;
        let one = self.run(&sample, 1)?;
        let many = self.run(&sample.repeat(samples), samples)?;
        let tolerance = reference.tolerance();
        let mut difference = 0.0_f32;
        for found in one
            .chunks(expected.len().max(1))
            .chain(many.chunks(expected.len().max(1)))
        {
            match differs(found, &expected, tolerance) {
                Ok(most) => difference = difference.max(most),
                Err(_) => return Err(self.first_difference(reference, &sample)?),
            }
        }
        Ok(Verified {
            numbers: one.len() + many.len(),
            tolerance,
            difference,
        })
    }

    // The first step that differs, where the network ends there.
    fn first_difference(
        &self,
        reference: &Network,
        sample: &[f32],
    ) -> Result<EngineError, EngineError> {
        let options = Options {
            threads: Some(1),
            isa: Some(self.isa()),
            tuning: Tuning::Estimated,
        };
        let expected = reference.trace(sample, 1)?;
        let error = |layer: &str, op: &str, (element, found, expected)| EngineError::Differs {
            layer: layer.to_string(),
            op: op.to_string(),
            isa: self.isa(),
            element,
            found,
            expected,
        };
        let steps = self.model().steps();
        for (index, (step, expected)) in steps.iter().zip(&expected).enumerate() {
            let until = Network::new(
                self.model().input().to_vec(),
                self.model().constants().to_vec(),
                steps[..=index].to_vec(),
                Value::Node(index),
            )?;
            let found = Self::compile(&until, options)?.run(sample, 1)?;
            if let Err(place) = differs(&found, &expected.values(), until.tolerance()) {
                return Ok(error(&step.layer, step.op.name(), place));
            }
        }
        // Only together, or in a batch.
        let (expected, _) = reference.run_with(sample, 1, 1)?;
        let found = self.run(sample, 1)?;
        let place = differs(&found, &expected, reference.tolerance()).err();
        let place = place.unwrap_or((0, f32::NAN, f32::NAN));
        Ok(error("the output", "a batch", place))
    }
}

impl Network {
    // Of results: none where all are whole numbers, or moved.
    fn tolerance(&self) -> f32 {
        let floats = |op: &StepOp| matches!(op, StepOp::Float(_));
        let codes = self.steps().iter().any(|step| match step.op {
            StepOp::Float(_) => step.grid.is_some(),
            StepOp::Quantize => matches!(step.inputs[..], [Value::Node(_)]),
            _ => false,
        });
        match self.steps().iter().any(|step| floats(&step.op)) {
            false => 0.0,
            true if codes => 0.05,
            true => 1e-4,
        }
    }
}

// Numbers in the range of the first codes that are made of the input, or from -1 to 1.
fn sample(model: &Network) -> Vec<f32> {
    let numbers: usize = model.input().iter().map(|dim| dim.at(1)).product();
    let grids = model.steps().iter().filter_map(|step| match step.op {
        StepOp::Quantize => step.grid,
        _ => None,
    });
    let mut ranges = grids.map(|grid| [grid.low(), grid.high()].map(|code| grid.dequantize(code)));
    let [least, most] = ranges.next().unwrap_or([-1.0, 1.0]);
    // The fractions of multiples of an irrational number lie evenly, and in no order of an image.
    let share = |index: usize| (0.754_877_666 * (index as f64 + 1.0)).fract() as f32;
    (0..numbers)
        .map(|index| least + share(index) * (most - least))
        .collect()
}

// The largest difference as a share of the largest number; or an element that differs too much, what was found
// there and what was expected.
fn differs(found: &[f32], expected: &[f32], tolerance: f32) -> Result<f32, (usize, f32, f32)> {
    let finite = expected.iter().filter(|x| x.is_finite());
    let largest = finite.fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    let mut most = 0.0_f32;
    for (element, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let same = found == expected || found.is_nan() && expected.is_nan();
        let share = match same {
            true => 0.0,
            false => (found - expected).abs() / largest,
        };
        let wrong = match tolerance {
            0.0 => found.to_bits() != expected.to_bits(),
            // NaN in place of a number, too, is wrong.
            _ => share.is_nan() || share > tolerance,
        };
        if wrong {
            return Err((element, found, expected));
        }
        most = most.max(share);
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Granularity, Mapping, Scheme};
    use crate::network::{Dim, Grid, Op, Rescale, Step, Weights};

    // Two linear layers in whole numbers.
    fn network(second: i32) -> Network {
        let scheme = Scheme::new(8, Mapping::Affine, Granularity::Tensor).unwrap();
        let grid = Grid::new(scheme, 0.5, 128).unwrap();
        let step = |op, input, grid, layer: &str| Step {
            op,
            inputs: vec![input],
            grid,
            dims: vec![Dim::Batch(1), Dim::Fixed(2)],
            layer: layer.to_string(),
        };
        let linear = |codes: [i32; 4]| StepOp::Product {
            op: Op::Linear,
            weights: Some(Weights {
                dims: vec![2, 2],
                codes: codes.to_vec().into(),
            }),
            rescale: Rescale::by(0.01),
        };
        let steps = vec![
            step(StepOp::Quantize, Value::Input, Some(grid), "input"),
            step(
                linear([100, -3, 7, 90]),
                Value::Node(0),
                Some(grid),
                "first",
            ),
            step(
                linear([1, second, 5, -9]),
                Value::Node(1),
                Some(grid),
                "second",
            ),
            step(linear([4, 3, 2, 1]), Value::Node(2), None, "third"),
        ];
        Network::new(
            vec![Dim::Batch(1), Dim::Fixed(2)],
            vec![],
            steps,
            Value::Node(3),
        )
        .unwrap()
    }

    #[test]
    fn the_first_step_that_differs_is_named() {
        let program = Program::compile(&network(80), Options::default()).unwrap();
        let verified = program.verify().unwrap();
        assert!(
            verified.tolerance == 0.0 && verified.difference == 0.0 && verified.numbers == 2 * 18
        );
        match program.verify_as(&network(-80)).unwrap_err() {
            EngineError::Differs {
                layer,
                op,
                isa,
                found,
                expected,
                ..
            } => {
                assert_eq!(
                    (layer.as_str(), op.as_str(), isa),
                    ("second", "linear", program.isa())
                );
                assert_ne!(found, expected);
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn differences_of_floats_are_shares() {
        assert_eq!(differs(&[2.0, 0.0], &[2.0, -0.0], 1e-4), Ok(0.0));
        assert_eq!(differs(&[2.0, 0.0], &[2.0, -0.0], 0.0), Err((1, 0.0, -0.0)));
        assert_eq!(
            differs(&[1.0, 4.0001], &[1.0, 4.0], 1e-4).map(|share| share < 3e-5),
            Ok(true)
        );
        assert_eq!(differs(&[1.001, 4.0], &[1.0, 4.0], 1e-4).unwrap_err().0, 0);
        let none = f32::NAN;
        assert_eq!(differs(&[none, 4.0], &[1.0, 4.0], 1e-4).unwrap_err().0, 0);
        assert_eq!(differs(&[none, 4.0], &[none, 4.0], 1e-4), Ok(0.0));
        let infinite = f32::INFINITY;
        assert_eq!(
            differs(&[infinite, 5.0], &[infinite, 4.0], 1e-4)
                .unwrap_err()
                .0,
            1
        );
    }
}
