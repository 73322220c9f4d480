//! Sums, changes of grid and tables, element by element.

use burn_compress::kernel::{Elementwise, Sink, VectorBlock};
use proptest::prelude::*;

use super::{ALL, all, byte, cases, marked, real, within};
use crate::noise::Noise;

// Runs a step on every set, where operands are longer than the output.
fn check(
    step: &Elementwise,
    operands: &[&[VectorBlock]],
    expected: &[VectorBlock],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(step.operands(), operands.len());
    for kernels in all() {
        let mut output = marked(expected.len());
        step.run(kernels, operands, &mut output).unwrap();
        prop_assert!(output == expected, "{:?}: {step:?}", kernels.isa());
    }
    Ok(())
}

fn random(noise: &mut Noise, count: usize) -> Vec<VectorBlock> {
    let mut blocks = vec![VectorBlock::default(); count];
    let bytes = VectorBlock::bytes_mut(&mut blocks).iter_mut();
    bytes.for_each(|byte| *byte = noise.within(0, 255) as u8);
    blocks
}

fn floats(noise: &mut Noise, count: usize) -> Vec<VectorBlock> {
    let mut blocks = vec![VectorBlock::default(); count];
    VectorBlock::floats_mut(&mut blocks)
        .iter_mut()
        .for_each(|x| *x = 4.0 * real(noise));
    blocks
}

fn blocks_of(bytes: &[u8]) -> Vec<VectorBlock> {
    let mut blocks = vec![VectorBlock::default(); bytes.len() / VectorBlock::BYTES];
    VectorBlock::bytes_mut(&mut blocks).copy_from_slice(bytes);
    blocks
}

fn blocks_of_floats(floats: &[f32]) -> Vec<VectorBlock> {
    let mut blocks = vec![VectorBlock::default(); floats.len() / VectorBlock::LANES];
    VectorBlock::floats_mut(&mut blocks).copy_from_slice(floats);
    blocks
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn steps_on_codes_are_exact(seed in any::<u64>(), count in 0..6usize) {
        let mut noise = Noise(seed);
        let (a, b) = (random(&mut noise, count + 1), random(&mut noise, count + 2));
        let (from, other) = (VectorBlock::bytes(&a), VectorBlock::bytes(&b));
        let low = noise.within(-255, 0);
        let bounds = (low as f32, (low + noise.within(0, 255)) as f32);
        let sink = Sink::Codes { low };
        let free = real(&mut noise);
        let mut factor = || noise.pick(&[0.5, 0.25, -0.125, 1.0, 300.0, free]);
        let factors = (factor(), factor());
        let lows = (noise.within(-255, 0), noise.within(-255, 0));

        let t = |x: u8, low: i32, factor: f32| (i32::from(x) + low) as f32 * factor;
        let sums = from.iter().zip(other).take(count * 64);
        let sums = sums.map(|(&x, &y)| t(x, lows.0, factors.0) + t(y, lows.1, factors.1));
        let sums: Vec<u8> = sums.map(|t| byte(t, bounds, low)).collect();
        check(&Elementwise::Add { factors, lows, bounds, sink }, &[&a, &b], &blocks_of(&sums))?;

        // Their products; and by one block that stands for all.
        let whole = |x: u8, low: i32| i32::from(x) + low;
        let one = &b[..1];
        for b in [&b[..], one] {
            let other = VectorBlock::bytes(b).iter().cycle();
            let products = from.iter().zip(other).take(count * 64);
            let products = products.map(|(&x, &y)| {
                let product = (whole(x, lows.0) * whole(y, lows.1)) as f32;
                byte(product * factors.0, bounds, low)
            });
            let products: Vec<u8> = products.collect();
            let multiply = Elementwise::Multiply { factor: factors.0, lows, bounds, sink };
            check(&multiply, &[&a, b], &blocks_of(&products))?;
        }
        let other = VectorBlock::bytes(one).iter().cycle();
        let sums = from.iter().zip(other).take(count * 64);
        let sums = sums.map(|(&x, &y)| t(x, lows.0, factors.0) + t(y, lows.1, factors.1));
        let sums: Vec<u8> = sums.map(|t| byte(t, bounds, low)).collect();
        check(&Elementwise::Add { factors, lows, bounds, sink }, &[&a, one], &blocks_of(&sums))?;

        let scaled = from.iter().take(count * 64).map(|&x| t(x, lows.0, factors.0));
        let scaled: Vec<u8> = scaled.map(|t| byte(t, bounds, low)).collect();
        let scale = Elementwise::Scale { factor: factors.0, low: lows.0, bounds, sink };
        check(&scale, &[&a], &blocks_of(&scaled))?;

        let table: [u8; 256] = std::array::from_fn(|_| noise.within(0, 255) as u8);
        let looked: Vec<u8> = from.iter().take(count * 64).map(|&x| table[usize::from(x)]).collect();
        check(&Elementwise::Table(Box::new(table)), &[&a], &blocks_of(&looked))?;
    }

    #[test]
    fn steps_on_floats_round_each_operation(seed in any::<u64>(), count in 0..6usize) {
        let mut noise = Noise(seed);
        let (a, b) = (floats(&mut noise, count + 1), floats(&mut noise, count + 2));
        let (from, other) = (VectorBlock::floats(&a), VectorBlock::floats(&b));
        let sink = Sink::Floats;
        let bounds = noise.pick(&[ALL, (-1.5, 6.0)]);
        let factors = (real(&mut noise), real(&mut noise));

        let sums = from.iter().zip(other).take(count * 16);
        let sums = sums.map(|(&x, &y)| within(x * factors.0 + y * factors.1, bounds));
        let sums = blocks_of_floats(&sums.collect::<Vec<f32>>());
        check(&Elementwise::Add { factors, lows: (7, 7), bounds, sink }, &[&a, &b], &sums)?;

        for b in [&b[..], &b[..1]] {
            let other = VectorBlock::floats(b).iter().cycle();
            let products = from.iter().zip(other).take(count * 16);
            let products = products.map(|(&x, &y)| within(x * y * factors.0, bounds));
            let products = blocks_of_floats(&products.collect::<Vec<f32>>());
            let multiply = Elementwise::Multiply { factor: factors.0, lows: (7, 7), bounds, sink };
            check(&multiply, &[&a, b], &products)?;
        }

        let scaled = from.iter().take(count * 16).map(|&x| within(x * factors.1, bounds));
        let scaled = blocks_of_floats(&scaled.collect::<Vec<f32>>());
        check(&Elementwise::Scale { factor: factors.1, low: 7, bounds, sink }, &[&a], &scaled)?;
    }
}

#[test]
fn sums_of_floats_are_not_fused() {
    let third = 1.0f32 / 3.0;
    let add = Elementwise::Add {
        factors: (1.0, third),
        lows: (0, 0),
        bounds: ALL,
        sink: Sink::Floats,
    };
    let (a, b) = (
        [VectorBlock::of_floats(-1.0)],
        [VectorBlock::of_floats(3.0)],
    );
    for kernels in all() {
        let mut output = marked(1);
        add.run(kernels, &[&a, &b], &mut output).unwrap();
        assert_eq!(output, [VectorBlock::of_floats(0.0)], "{:?}", kernels.isa());
    }
}
