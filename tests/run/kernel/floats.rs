//! Products of floats: near to what f64 gives.

use burn_compress::kernel::{
    Epilogue, FILTER_BLOCK, Filter, Kernels, PackedWeights, Product, Residual, Sink, VectorBlock,
};
use proptest::prelude::*;

use super::layer::{FloatForm, Layer, layers, sparse, windowed_layers};
use super::{ALL, all, at, cases, marked, real};
use crate::noise::Noise;

#[derive(Debug)]
struct Case {
    layer: Layer,
    weights: Vec<f32>,
    input: Vec<f32>,
    added: Vec<f32>,
    epilogue: Epilogue,
}

impl Case {
    fn new(layer: Layer, residual: bool, bounds: (f32, f32)) -> Self {
        let mut noise = Noise(layer.seed);
        let weights = sparse(&layer, &mut noise, real);
        let input = (0..layer.input.count())
            .map(|_| 4.0 * real(&mut noise))
            .collect();
        let added = (0..layer.output.count())
            .map(|_| real(&mut noise))
            .collect();
        let filter = |offset: f32| Filter {
            start: 0,
            multiplier: 1.0,
            offset,
        };
        let filters = (0..layer.filters)
            .map(|_| filter(real(&mut noise)))
            .collect();
        let factor = real(&mut noise);
        let residual = residual.then_some(Residual {
            factor,
            low: 0,
            plane: layer.residual.blocks,
        });
        let epilogue = Epilogue {
            filters,
            residual,
            bounds,
            sink: Sink::Floats,
        };
        Self {
            layer,
            weights,
            input,
            added,
            epilogue,
        }
    }

    // What comes before bounds, and the sum of what its terms are without a sign.
    fn sum(&self, at: usize, [lane, filter, y, x]: [usize; 4]) -> (f64, f64) {
        let layer = &self.layer;
        let mut terms = vec![f64::from(self.epilogue.filters[filter].offset)];
        if let Some(of) = &self.epilogue.residual {
            terms.push(f64::from(of.factor) * f64::from(self.added[at]));
        }
        for channel in 0..layer.input.channels {
            for tap in 0..layer.taps() {
                let [row, column] = layer.reads([y, x], tap);
                let x = self.input[layer.input.at(lane, channel, row, column)];
                let weight = self.weights[layer.weight(filter, channel, tap)];
                terms.push(f64::from(x) * f64::from(weight));
            }
        }
        (
            terms.iter().sum(),
            terms.iter().map(|term| term.abs()).sum(),
        )
    }

    fn check(
        &self,
        form: FloatForm,
        kernels: Kernels,
        sums: &[(f64, f64)],
    ) -> Result<(), TestCaseError> {
        let layer = &self.layer;
        let input = layer.input.floats(&self.input, &layer.from);
        let added = layer.output.floats(&self.added, &layer.residual);
        let entries = layer.float_entries(&self.weights, form);
        let plane = layer.to.blocks;
        let product = Product::new(
            entries,
            self.epilogue.clone(),
            match form {
                FloatForm::Winograd(side) => layer.windows(side),
                _ => layer.positions(),
            },
            plane,
            false,
        )
        .unwrap();
        let product = product.in_position_blocks(layer.block);
        let before = marked(layer.filters * plane);
        // The blocks of filters one by one, the last first.
        let mut output = before.clone();
        for filter_block in (0..layer.filters / FILTER_BLOCK).rev() {
            let to = &mut output[filter_block * FILTER_BLOCK * plane..][..FILTER_BLOCK * plane];
            product
                .run(kernels, filter_block..filter_block + 1, &input, &added, to)
                .unwrap();
        }
        let mut together = before.clone();
        product
            .run(
                kernels,
                0..layer.filters / FILTER_BLOCK,
                &input,
                &added,
                &mut together,
            )
            .unwrap();
        prop_assert!(
            output == together,
            "{:?}: blocks of filters differ",
            kernels.isa()
        );
        // In two parts, whose windows are whole, each with what it reads of the input.
        let side = match form {
            FloatForm::Winograd(side) => side * side,
            _ => 1,
        };
        let all = layer.output.size[0] * layer.output.size[1];
        let half = all / side / 2 * side;
        let mut parts = before.clone();
        for part in [0..half, half..all] {
            let read = product.reads(part.clone());
            let filter_blocks = 0..layer.filters / FILTER_BLOCK;
            let input = (&input[read.clone()], read.start);
            product
                .run_part(
                    kernels,
                    (filter_blocks, part),
                    input,
                    &added,
                    (&mut parts, 0),
                )
                .unwrap();
        }
        prop_assert!(parts == together, "{:?}: parts differ", kernels.isa());
        // A slice of the input after the other: the same terms in the same order.
        let mut sliced = before.clone();
        let all = 0..layer.filters / FILTER_BLOCK;
        let product = product.in_slices(layer.slice);
        product
            .run(kernels, all, &input, &added, &mut sliced)
            .unwrap();
        prop_assert!(sliced == together, "{:?}: slices differ", kernels.isa());

        let (least, most) = self.epilogue.bounds;
        let floats = VectorBlock::floats(&output).to_vec();
        for (at, [lane, filter, y, x]) in layer.output.all().enumerate() {
            let (sum, size) = sums[at];
            let expected = sum.max(f64::from(least)).min(f64::from(most));
            let found = floats[(filter * plane + layer.to.block(y, x)) * VectorBlock::LANES + lane];
            let error = (f64::from(found) - expected).abs();
            // The transforms of four by four results multiply a number, and what rounding took off it, by
            // up to 29 along each axis.
            let part = match form {
                FloatForm::Winograd(4) => 850.0 * f64::from(f32::EPSILON) / 2.0,
                _ => 1e-5,
            };
            prop_assert!(
                error <= part * size,
                "{:?}: {found}, not {expected}",
                kernels.isa()
            );
        }
        // With the results as they were before, all is.
        let olds = layer.output.all().map(|[lane, filter, y, x]| {
            VectorBlock::floats(&before)
                [(filter * plane + layer.to.block(y, x)) * VectorBlock::LANES + lane]
        });
        let olds: Vec<f32> = olds.collect();
        layer
            .output
            .put_floats(&mut output, &layer.to, |at| olds[at]);
        prop_assert!(output == before, "{:?}: others were written", kernels.isa());
        Ok(())
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn products_of_floats_are_close(
        layer in layers(3, 1, 5),
        residual in any::<bool>(),
        bounds in prop::sample::select(vec![
            ALL,
            (0.0, f32::INFINITY),
            (-0.5, 1.5),
        ]),
    ) {
        let case = Case::new(layer, residual, bounds);
        let output = case.layer.output;
        let sums: Vec<_> = output.all().enumerate().map(|(at, place)| case.sum(at, place)).collect();
        for kernels in all() {
            case.check(FloatForm::Filter, kernels, &sums)?;
            case.check(FloatForm::Shared, kernels, &sums)?;
        }
    }

    #[test]
    fn transformed_products_are_close(
        layers in (windowed_layers(2), windowed_layers(4)),
        residual in any::<bool>(),
        bounds in prop::sample::select(vec![
            ALL,
            (0.0, f32::INFINITY),
            (-0.5, 1.5),
        ]),
    ) {
        for (side, layer) in [(2, layers.0), (4, layers.1)] {
            let case = Case::new(layer, residual, bounds);
            let output = case.layer.output;
            let places = output.all().enumerate();
            let sums: Vec<_> = places.map(|(at, place)| case.sum(at, place)).collect();
            // All that a window reads is in all of its results, until they are summed up: the largest one
            // decides how near they come.
            let windows = case.layer.window_places(side);
            let in_window = |[lane, filter, y, x]: [usize; 4]| {
                let of = windows.iter().find(|window| window.contains(&[y, x]));
                let places = of.into_iter().flatten();
                let sizes = places.map(|&[y, x]| sums[output.at(lane, filter, y, x)].1);
                sizes.fold(0.0, f64::max)
            };
            let of = output.all().zip(&sums);
            let sums: Vec<_> = of.map(|(place, (sum, _))| (*sum, in_window(place))).collect();
            for kernels in all() {
                case.check(FloatForm::Winograd(side), kernels, &sums)?;
            }
        }
    }
}

#[test]
fn transformed_products_of_few_bits_are_exact() {
    // Taps that 576 divides, and small whole inputs: no operation rounds.
    let (mut noise, filters, channels) = (Noise(3), 4, 2);
    for side in [2, 4] {
        let (pitch, apart) = (side + 2, (side + 2) * (side + 2));
        let tap = |noise: &mut Noise| 576.0 * (noise.below(9) as f32 - 4.0);
        let weights: Vec<[f32; 9]> = (0..filters * channels)
            .map(|_| std::array::from_fn(|_| tap(&mut noise)))
            .collect();
        let entries = PackedWeights::winograd(
            side,
            [filters, channels],
            [apart as u32, pitch as u32, 1],
            |filter, channel| weights[filter * channels + channel],
        );
        let mut input = vec![VectorBlock::default(); channels * apart];
        VectorBlock::floats_mut(&mut input).fill_with(|| noise.below(15) as f32 - 7.0);
        let filter = Filter {
            start: 0,
            multiplier: 1.0,
            offset: 7.0,
        };
        let epilogue = Epilogue {
            filters: vec![filter; filters],
            residual: None,
            bounds: ALL,
            sink: Sink::Floats,
        };
        let plane = side * side;
        let firsts: Vec<usize> = (0..plane).map(|at| at / side * pitch + at % side).collect();
        let positions = firsts.iter().enumerate();
        let positions = positions.map(|(to, &from)| at(from as u32, to as u32, 0));
        let product = Product::new(entries, epilogue, positions.collect(), plane, false).unwrap();
        let mut expected = vec![VectorBlock::default(); filters * plane];
        for (place, sum) in VectorBlock::floats_mut(&mut expected)
            .iter_mut()
            .enumerate()
        {
            let (lane, block) = (place % VectorBlock::LANES, place / VectorBlock::LANES);
            let (filter, first) = (block / plane, firsts[block % plane]);
            *sum = 7.0;
            for (channel, tap) in (0..channels).flat_map(|c| (0..9).map(move |tap| (c, tap))) {
                let block = channel * apart + first + tap / 3 * pitch + tap % 3;
                let x = VectorBlock::floats(&input)[block * VectorBlock::LANES + lane];
                *sum += x * weights[filter * channels + channel][tap];
            }
        }
        for kernels in all() {
            let mut output = marked(filters * plane);
            product
                .run(kernels, 0..1, &input, &[], &mut output)
                .unwrap();
            assert_eq!(output, expected, "{:?}", kernels.isa());
        }
    }
}
