use burn_compress::network::{Binary, Network, Op, Rescale, StepOp, Unary, Value, Weights, Window};

use super::{KINDS, Kind, Making, check, check_batches, codes, fine, floats};

/// The window and what it makes of a length.
#[derive(Debug, Clone, Copy)]
struct Form {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [(usize, usize); 2],
    dilation: [usize; 2],
    more: [usize; 2],
}

impl Form {
    fn square(kernel: usize, stride: usize, padding: usize, more: usize) -> Self {
        Self {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [(padding, padding); 2],
            dilation: [1; 2],
            more: [more; 2],
        }
    }

    fn of(&self, rank: usize, groups: usize) -> Op {
        let mut window = Window {
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
        };
        let mut output_padding = self.more;
        if rank == 1 {
            (window.kernel[0], window.stride[0], window.dilation[0]) = (1, 1, 1);
            (window.padding[0], output_padding[0]) = ((0, 0), 0);
        }
        Op::TransposedConvolution {
            rank,
            window,
            output_padding,
            groups,
        }
    }

    fn output(&self, axis: usize, length: usize) -> usize {
        let full = (length - 1) * self.stride[axis]
            + self.dilation[axis] * (self.kernel[axis] - 1)
            + 1
            + self.more[axis];
        full - self.padding[axis].0 - self.padding[axis].1
    }
}

// Dimensions of a sample, channels first; then the layer, maybe with what follows it.
fn transposed(
    making: &mut Making,
    input: Value,
    (form, groups, filters): (&Form, usize, usize),
    follows: bool,
) -> Value {
    let from = making.dims(input);
    let rank = from.len() - 1;
    let mut to = vec![filters];
    to.extend((1..=rank).map(|axis| form.output(axis + 1 - rank, from[axis])));
    let mut weights = vec![from[0], filters / groups];
    weights.extend(&form.kernel[2 - rank..]);
    let count = weights.iter().product();
    let op = form.of(rank, groups);
    match making.kind {
        Kind::Floats => {
            let values = floats(&mut making.noise, count);
            let weights = making.constant(&weights, values);
            let made = making.float(op, vec![input, weights], &to);
            if !follows {
                return made;
            }
            let bias = floats(&mut making.noise, filters);
            let mut dims = vec![1; rank + 2];
            dims[1] = filters;
            let bias = making.constant(&dims, bias);
            let made = making.float(Op::Binary(Binary::Add), vec![made, bias], &to);
            making.float(Op::Unary(Unary::Relu), vec![made], &to)
        }
        Kind::Codes => {
            let codes = codes(&mut making.noise, count);
            let mut rescale = making.noise.rescale(filters, false);
            for factor in &mut rescale.multiplier {
                *factor *= 0.01;
            }
            let grid = fine(making.noise.grid(8));
            let mut inputs = vec![input];
            if follows && groups == 1 {
                // The residual comes from a layer of its own.
                let other = transposed(making, input, (form, groups, filters), false);
                let other = making.touched(other);
                inputs.push(other);
                rescale = Rescale {
                    residual: Some(0.75),
                    ..rescale
                };
            }
            let weights = Some(Weights {
                dims: weights,
                codes: codes.into(),
            });
            let op = StepOp::Product {
                op,
                weights,
                rescale,
            };
            making.step(op, inputs, Some(grid), &to)
        }
    }
}

fn network(
    kind: Kind,
    input: &[usize],
    layer: (&Form, usize, usize),
    follows: bool,
    seed: u64,
) -> Network {
    let mut making = Making::new(kind, seed, input);
    let input = making.input();
    let made = transposed(&mut making, input, layer, follows);
    making.end(made)
}

fn bound(kind: Kind) -> f32 {
    match kind {
        // Transformed windows of a stride of 1 round more.
        Kind::Floats => 1e-5,
        Kind::Codes => 0.0,
    }
}

#[test]
fn usual_ones() {
    let forms = [
        Form::square(2, 2, 0, 0),
        Form::square(3, 2, 1, 1),
        Form::square(4, 2, 1, 0),
        Form::square(3, 1, 1, 0),
        Form::square(3, 2, 0, 0),
        Form::square(2, 4, 0, 1),
        Form::square(5, 3, 2, 1),
    ];
    for (place, form) in forms.iter().enumerate() {
        for kind in KINDS {
            // Of four channels planes stay whole.
            for (filters, size) in [(8, [8, 8]), (3, [5, 7])] {
                let follows = place % 2 == 0;
                let model = network(kind, &[6, size[0], size[1]], (form, 1, filters), follows, 5);
                check(
                    &model,
                    bound(kind),
                    &format!("{form:?}, {kind:?}, {filters} of {size:?}"),
                );
            }
        }
    }
}

#[test]
fn in_groups_and_along_one_axis() {
    let forms = [
        Form::square(2, 2, 0, 0),
        Form::square(4, 2, 1, 0),
        Form::square(3, 3, 1, 2),
    ];
    for form in &forms {
        for kind in KINDS {
            for (input, groups, filters) in [
                (&[8, 6, 5][..], 8, 8),
                (&[6, 4, 7], 2, 8),
                (&[5, 9], 1, 4),
                (&[4, 17], 4, 4),
            ] {
                let model = network(kind, input, (form, groups, filters), true, 9);
                check(
                    &model,
                    bound(kind),
                    &format!("{form:?}, {kind:?}, {input:?} in {groups}"),
                );
            }
        }
    }
}

#[test]
fn random_ones() {
    for seed in 0..30 {
        let mut making = Making::new(KINDS[seed as usize % 2], seed, &[4, 6, 5]);
        let noise = &mut making.noise;
        let mut form = Form::square(1, 1, 0, 0);
        for axis in 0..2 {
            form.kernel[axis] = 1 + noise.below(5);
            form.stride[axis] = 1 + noise.below(4);
            form.dilation[axis] = 1 + noise.below(3);
            form.padding[axis] = (noise.below(4), noise.below(4));
            form.more[axis] = noise.below(form.stride[axis]);
            let full = form.dilation[axis] * (form.kernel[axis] - 1) + 1 + form.stride[axis];
            if form.padding[axis].0 + form.padding[axis].1 >= full {
                form.padding[axis] = (0, 0);
            }
        }
        let groups = noise.pick(&[1, 1, 2, 4]);
        let input = making.input();
        let made = transposed(&mut making, input, (&form, groups, 4), seed % 3 == 0);
        let kind = making.kind;
        let model = making.end(made);
        check_batches(
            &model,
            &[1, 5, 16],
            bound(kind),
            &format!("{seed}: {form:?} in {groups}"),
        );
    }
}
