//! Products of bytes: bit for bit what whole numbers and single operations on floats give.

use std::ops::Range;

use burn_compress::kernel::{
    Epilogue, FILTER_BLOCK, Filter, Kernels, Product, Residual, Sink, VectorBlock,
};
use proptest::prelude::*;

use super::layer::{Form, Layer, layers, sparse};
use super::{ALL, all, byte, cases, marked, real, within};
use crate::noise::Noise;

#[derive(Debug)]
struct Case {
    layer: Layer,
    weights: Vec<i8>,
    input: Vec<u8>,
    added: Vec<u8>,
    epilogue: Epilogue,
}

impl Case {
    fn new(layer: Layer, residual: bool, codes: bool) -> Self {
        let mut noise = Noise(layer.seed);
        let extreme = noise.below(4) == 0;
        let weights = sparse(&layer, &mut noise, |noise| match extreme {
            true => noise.pick(&[-128, 127]),
            false => noise.within(-128, 127) as i8,
        });
        let byte = |noise: &mut Noise| match extreme {
            true => noise.pick(&[0, 255]),
            false => noise.within(0, 255) as u8,
        };
        let input = (0..layer.input.count()).map(|_| byte(&mut noise)).collect();
        let added = (0..layer.output.count())
            .map(|_| byte(&mut noise))
            .collect();
        let short = noise.below(2) == 0;
        let filters = (0..layer.filters)
            .map(|_| filter(&mut noise, short))
            .collect();
        let factor = real(&mut noise);
        let residual = residual.then(|| Residual {
            factor: noise.pick(&[0.5, 0.25, -1.5, factor]),
            low: noise.within(-255, 0),
            plane: layer.residual.blocks,
        });
        let low = noise.within(-255, 0);
        let ends = [low, low + noise.below(256) as i32, 0, low + 255];
        let bounds = match codes {
            true => {
                let (a, b) = (noise.pick(&ends), noise.pick(&ends));
                (a.min(b) as f32, a.max(b) as f32)
            }
            false => noise.pick(&[ALL, (0.0, f32::INFINITY), (-1.25, 6.0)]),
        };
        let sink = match codes {
            true => Sink::Codes { low },
            false => Sink::Floats,
        };
        let epilogue = Epilogue {
            filters,
            residual,
            bounds,
            sink,
        };
        Self {
            layer,
            weights,
            input,
            added,
            epilogue,
        }
    }

    fn product(&self, form: Form) -> Product {
        let entries = self.layer.code_entries(&self.weights, form);
        let positions = self.layer.positions();
        let plane = self.layer.to.blocks;
        let product = Product::new(entries, self.epilogue.clone(), positions, plane, true);
        product.unwrap().in_position_blocks(self.layer.block)
    }

    // What comes before bounds, `[lane][filter][y][x]`.
    fn sums(&self) -> Vec<f32> {
        let layer = &self.layer;
        let result = |(at, [lane, filter, y, x]): (usize, [usize; 4])| {
            let end = &self.epilogue.filters[filter];
            let mut sum = i64::from(end.start);
            for channel in 0..layer.input.channels {
                for tap in 0..layer.taps() {
                    let [row, column] = layer.reads([y, x], tap);
                    let x = self.input[layer.input.at(lane, channel, row, column)];
                    let weight = self.weights[layer.weight(filter, channel, tap)];
                    sum += i64::from(x) * i64::from(weight);
                }
            }
            let t = sum as i32 as f32 * end.multiplier;
            let t = t + end.offset;
            match &self.epilogue.residual {
                Some(of) => t + (i32::from(self.added[at]) + of.low) as f32 * of.factor,
                None => t,
            }
        };
        layer.output.all().enumerate().map(result).collect()
    }

    // All planes, of which none but results are written.
    fn expected(&self, sums: &[f32]) -> Vec<VectorBlock> {
        let (dims, bounds) = (&self.layer.output, self.epilogue.bounds);
        match self.epilogue.sink {
            Sink::Codes { low } => {
                let mut blocks = marked(self.layer.filters / FILTER_BLOCK * self.layer.to.blocks);
                let code = |at: usize| byte(sums[at], bounds, low);
                dims.put_bytes(&mut blocks, &self.layer.to, code);
                blocks
            }
            Sink::Floats => {
                let mut blocks = marked(self.layer.filters * self.layer.to.blocks);
                let bounded = |at: usize| within(sums[at], bounds);
                dims.put_floats(&mut blocks, &self.layer.to, bounded);
                blocks
            }
        }
    }

    // Some positions of some blocks of filters, written from the first vector block of theirs on: no other is.
    fn check_positions(
        &self,
        product: &Product,
        kernels: Kernels,
        filter_blocks: Range<usize>,
        (input, added, expected): (&[VectorBlock], &[VectorBlock], &[VectorBlock]),
    ) -> Result<(), TestCaseError> {
        let positions = self.layer.positions();
        let some = positions.len() / 3..positions.len() - positions.len() / 4;
        let blocks = positions[some.clone()]
            .iter()
            .map(|position| position.output as usize);
        let first = blocks.clone().min().unwrap_or(0);
        let plane = product.plane();
        let planes = filter_blocks.start * product.planes()..filter_blocks.end * product.planes();
        let mut only = marked(expected.len());
        for block in planes
            .clone()
            .flat_map(|of| blocks.clone().map(move |block| of * plane + block))
        {
            only[block] = expected[block];
        }
        let mut output = marked(expected.len());
        let end = planes.end * plane;
        let to = &mut output[(planes.start * plane + first).min(end)..end];
        // Of the input what these read, and no more.
        let read = product.reads(some.clone());
        let part = (filter_blocks, some);
        let input = (&input[read.clone()], read.start);
        product
            .run_part(kernels, part, input, added, (to, first))
            .unwrap();
        prop_assert!(output == only, "{:?}", kernels.isa());
        Ok(())
    }

    // For every instruction set and form, in blocks and in slices: all blocks of filters, then some.
    fn check(&self, forms: &[Form], some: Range<usize>) -> Result<(), TestCaseError> {
        let input = self.layer.input.bytes(&self.input, &self.layer.from);
        let added = self.layer.output.bytes(&self.added, &self.layer.residual);
        let expected = self.expected(&self.sums());
        let filter_blocks = self.layer.filters / FILTER_BLOCK;
        let filter_block = expected.len() / filter_blocks;
        let products = forms.iter().flat_map(|&form| {
            let blocks = self.product(form);
            let slices = blocks.clone().in_slices(self.layer.slice);
            [(form, blocks), (form, slices)]
        });
        for (form, product) in products {
            prop_assert_eq!(product.planes() * product.plane(), filter_block);
            for kernels in all() {
                let mut output = marked(expected.len());
                product
                    .run(kernels, 0..filter_blocks, &input, &added, &mut output)
                    .unwrap();
                prop_assert!(output == expected, "{:?}, {form:?}", kernels.isa());

                let part = some.start * filter_block..some.end * filter_block;
                let mut output = marked(expected.len());
                let to = &mut output[part.clone()];
                product
                    .run(kernels, some.clone(), &input, &added, to)
                    .unwrap();
                let mut only = marked(expected.len());
                only[part.clone()].copy_from_slice(&expected[part]);
                prop_assert!(output == only, "{:?}, {form:?}, {some:?}", kernels.isa());
                let blocks = (&input[..], &added[..], &expected[..]);
                self.check_positions(&product, kernels, some.clone(), blocks)?;
            }
        }
        Ok(())
    }
}

// Multipliers with which sums tie, and that bring sums near a byte's range; starts that wrap. In short,
// of 22 bits and near zero: those products take fewer operations.
fn filter(noise: &mut Noise, short: bool) -> Filter {
    let small = real(noise) * 0.01;
    let small = match short {
        true => f32::from_bits(small.to_bits() & !3),
        false => small,
    };
    let multiplier = noise.pick(&[0.5, 0.25, 0.0078125, 0.0009765625, -0.5, small, small]);
    let term = real(noise) * 100.0;
    let near = noise.within(-40_000, 40_000);
    let far = match short {
        true => [0, near],
        false => [i32::MAX, i32::MIN],
    };
    Filter {
        start: noise.pick(&[0, near, near, near, far[0], far[1]]),
        multiplier,
        offset: noise.pick(&[-0.0, 0.5, -12.25, term]),
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn products_of_codes_are_exact(
        layer in layers(3, 4, 3),
        residual in any::<bool>(),
        codes in any::<bool>(),
        ends in [0..4usize, 0..4],
    ) {
        let filter_blocks = layer.filters / FILTER_BLOCK;
        let (a, b) = (ends[0].min(filter_blocks), ends[1].min(filter_blocks));
        let forms = [Form::Filter, Form::Shared];
        Case::new(layer, residual, codes).check(&forms, a.min(b)..a.max(b))?;
    }

    #[test]
    fn depthwise_products_of_codes_are_exact(
        layer in layers(3, 4, 1),
        residual in any::<bool>(),
        codes in any::<bool>(),
        ends in [0..4usize, 0..4],
    ) {
        let filter_blocks = layer.filters / FILTER_BLOCK;
        let (a, b) = (ends[0].min(filter_blocks), ends[1].min(filter_blocks));
        let mut case = Case::new(layer.depthwise_layer(), residual, codes);
        case.layer.own_channels(&mut case.weights);
        case.check(&[Form::Filter, Form::Depthwise], a.min(b)..a.max(b))?;
    }

    #[test]
    fn tiles_of_codes_are_exact(
        layer in layers(11, 4, 20),
        (residual, codes) in any::<(bool, bool)>(),
        depth in 1..=16usize,
        ends in [0..12usize, 0..12],
    ) {
        let filter_blocks = layer.filters / FILTER_BLOCK;
        let (a, b) = (ends[0].min(filter_blocks), ends[1].min(filter_blocks));
        Case::new(layer, residual, codes).check(&[Form::Tiles(depth)], a.min(b)..a.max(b))?;
    }
}
