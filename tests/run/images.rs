//! Networks on images and sequences of any size, by chance: programs give what the reference does.

use burn_compress::engine::Program;
use burn_compress::kernel::Kernels;
use burn_compress::network::{Binary, Network, Op, StepOp, Unary, Value, Window};

use super::noise::Noise;
use super::runs::{assert_runs, options};
use super::tokens_support::Tokens;

/// A network that grows by layers drawn by chance.
struct Drawn {
    net: Tokens,
    noise: Noise,
    value: Value,
}

impl Drawn {
    fn dims(&self) -> Vec<usize> {
        self.net.dims(self.value)
    }

    // Of the last axes alone in one dimension.
    fn window(&mut self, size: &[usize], most: usize) -> (Window, Vec<usize>) {
        let mut window = Window::default();
        let mut output = Vec::new();
        for (axis, &length) in (2 - size.len()..2).zip(size) {
            let kernel = 1 + self.noise.below(most.min(length));
            let stride = 1 + self.noise.below(2);
            let padding = (self.noise.below(kernel), self.noise.below(kernel));
            (window.kernel[axis], window.stride[axis]) = (kernel, stride);
            window.padding[axis] = padding;
            output.push((length + padding.0 + padding.1 - kernel) / stride + 1);
        }
        (window, output)
    }

    fn convolution(&mut self) {
        let dims = self.dims();
        let (window, size) = self.window(&dims[1..], 3);
        let groups = self.noise.pick(&[1, 1, dims[0]]);
        let filters = groups * (1 + self.noise.below(9 / groups.min(9)));
        let op = Op::Convolution {
            rank: size.len(),
            window,
            groups,
        };
        let kernel = &window.kernel[2 - size.len()..];
        let weights = [&[filters, dims[0] / groups], kernel].concat();
        let weights = self.net.constant(&weights, 0.0, 0.6);
        let dims = [&[filters], &size[..]].concat();
        self.value = self.net.float(op, &[self.value, weights], &dims);
    }

    fn pool(&mut self) {
        let dims = self.dims();
        let (window, size) = self.window(&dims[1..], 3);
        let rank = size.len();
        let dims = [&dims[..1], &size[..]].concat();
        let max = Op::MaxPool {
            rank,
            window,
            ceil: false,
        };
        let mean = Op::AveragePool {
            rank,
            window,
            include_padding: true,
            ceil: false,
        };
        self.value = match self.noise.pick(&[true, false]) {
            true => self.net.moved(max, self.value, &dims),
            false => self.net.float(mean, &[self.value], &dims),
        };
    }

    // With all rows and columns as one number for each channel.
    fn gate(&mut self) {
        let dims = self.dims();
        let axes = (2..dims.len() + 1).collect();
        let one = [&dims[..1], &vec![1; dims.len() - 1][..]].concat();
        let mean = self.net.float(Op::Mean { axes }, &[self.value], &one);
        let gate = self.net.unary(mean, Unary::Sigmoid);
        self.value = self.net.binary(Binary::Multiply, self.value, gate);
    }

    // Rows become columns.
    fn turn(&mut self) {
        let dims = self.dims();
        if let [channels, rows, columns] = dims[..] {
            let axes = vec![0, 1, 3, 2];
            let turned = [channels, columns, rows];
            self.value = self.net.moved(Op::Permute { axes }, self.value, &turned);
        }
    }

    fn residual(&mut self) {
        let before = self.value;
        self.value = self.net.unary(before, Unary::Silu);
        self.value = self.net.binary(Binary::Add, self.value, before);
    }

    fn parts(&mut self) {
        let dims = self.dims();
        let other = self.net.unary(self.value, Unary::Abs);
        let joined = [&[2 * dims[0]], &dims[1..]].concat();
        let op = StepOp::Move(Op::Concatenate { axis: 1 });
        let all = self.net.step(op, &[self.value, other], &joined);
        let mut ranges = vec![(0, None, 1)];
        ranges.extend(joined.iter().map(|&length| (length / 3, Some(length), 1)));
        let kept: Vec<usize> = joined.iter().map(|length| length - length / 3).collect();
        self.value = self.net.moved(Op::Slice { ranges }, all, &kept);
        let padding = [vec![(0, 0), (0, 0)], vec![(1, 0); kept.len() - 1]].concat();
        let padded = kept.iter().enumerate();
        let padded: Vec<usize> = padded.map(|(axis, n)| n + usize::from(axis > 0)).collect();
        let op = Op::Pad {
            padding,
            value: 0.0,
        };
        self.value = self.net.moved(op, self.value, &padded);
    }

    fn end(mut self) -> Network {
        let dims = self.dims();
        let flat = match self.noise.pick(&[true, false]) {
            true => {
                let axes = (2..dims.len() + 1).collect();
                let one = [&dims[..1], &vec![1; dims.len() - 1][..]].concat();
                let mean = self.net.float(Op::Mean { axes }, &[self.value], &one);
                self.net.moved(Op::Reshape, mean, &dims[..1])
            }
            false => {
                let all = dims.iter().product();
                self.net.moved(Op::Reshape, self.value, &[all])
            }
        };
        let output = self.net.linear(flat, 5);
        self.net.finish(output)
    }
}

#[test]
fn networks_drawn_by_chance() {
    for seed in 0..60u64 {
        let mut noise = Noise(seed * 7_919 + 11);
        let channels = 1 + noise.below(6);
        let size: Vec<usize> = match noise.below(3) {
            0 => vec![1 + noise.below(40)],
            1 => vec![1 + noise.below(20), 1 + noise.below(3)],
            _ => vec![1 + noise.below(12), 1 + noise.below(12)],
        };
        let input = [&[channels], &size[..]].concat();
        let mut drawn = Drawn {
            net: Tokens::new(&input, seed as usize),
            noise,
            value: Value::Input,
        };
        for _ in 0..1 + drawn.noise.below(5) {
            match drawn.noise.below(9) {
                0..4 => drawn.convolution(),
                4 => drawn.pool(),
                5 => drawn.gate(),
                6 => drawn.residual(),
                7 => drawn.turn(),
                _ => drawn.parts(),
            }
        }
        let model = match drawn.noise.below(4) {
            0 => drawn.net.finish(drawn.value),
            _ => drawn.end(),
        };
        assert_runs(&model, &[1, 4, 17], &format!("seed {seed}, {input:?}"));
    }
}

// Axes in an order that no convolution takes: that movement alone runs plainly.
#[test]
fn convolutions_behind_turned_images_run_on_blocks() {
    let mut drawn = Drawn {
        net: Tokens::new(&[3, 9, 6], 1),
        noise: Noise(3),
        value: Value::Input,
    };
    drawn.convolution();
    drawn.turn();
    drawn.residual();
    drawn.convolution();
    let model = drawn.net.finish(drawn.value);
    let program = Program::compile(&model, options(Kernels::detect().isa(), 1)).unwrap();
    let rows = program.layers(1).iter().map(|row| row.kernel.as_str());
    let plain: Vec<&str> = rows.filter(|name| name.starts_with("plain")).collect();
    assert!(plain.is_empty(), "{plain:?}");
    assert_runs(&model, &[1, 4, 17], "turned");
}
