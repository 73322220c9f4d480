use burn_compress::network::{Binary, Op, Unary, Value};

use super::assert_on_blocks;
use crate::noise::Noise;
use crate::tokens_support::{Block, Tokens};

const BATCHES: [usize; 5] = [1, 2, 5, 16, 17];

fn random(noise: &mut Noise, tokens: usize) -> Block {
    let heads = noise.pick(&[1, 2, 3]);
    Block {
        tokens,
        channels: heads * noise.pick(&[1, 3, 4, 7]),
        heads,
        hidden: 1 + noise.below(20),
        rms: noise.pick(&[true, false]),
        activation: noise.pick(&[Unary::Gelu, Unary::Relu, Unary::Silu, Unary::GeluTanh]),
        first: noise.pick(&[true, false]),
    }
}

#[test]
fn transformer_blocks_of_any_size() {
    for (seed, tokens) in [1, 2, 3, 5, 15, 16, 17, 33, 50].into_iter().enumerate() {
        for round in 0..2 {
            let block = random(&mut Noise(97 * seed as u64 + round), tokens);
            let model = block.network(seed);
            assert_on_blocks(&model, &BATCHES, false, &format!("{block:?}"));
        }
    }
}

#[test]
fn a_transformer_block_of_197_tokens() {
    let block = Block {
        tokens: 197,
        channels: 20,
        heads: 2,
        hidden: 30,
        rms: false,
        activation: Unary::Gelu,
        first: true,
    };
    assert_on_blocks(&block.network(5), &[1, 3], false, "197 tokens");
}

// Blocks one after the other, a class from the first token or the mean of all.
#[test]
fn classifiers_of_tokens() {
    for mean in [true, false] {
        let mut net = Tokens::new(&[18, 12], 3);
        let place = net.constant(&[1, 18, 12], 0.0, 1.0);
        let mut value = net.binary(Binary::Add, Value::Input, place);
        for round in 0..2 {
            let block = Block {
                tokens: 18,
                channels: 12,
                heads: 3,
                hidden: 24,
                rms: round == 1,
                activation: Unary::Gelu,
                first: true,
            };
            value = net.block(value, block);
        }
        value = net.layer_norm(value);
        value = match mean {
            true => {
                let mean = net.float(Op::Mean { axes: vec![1] }, &[value], &[1, 12]);
                net.moved(Op::Reshape, mean, &[12])
            }
            false => {
                let ranges = vec![(0, None, 1), (0, Some(1), 1), (0, Some(12), 1)];
                let first = net.moved(Op::Slice { ranges }, value, &[1, 12]);
                net.moved(Op::Reshape, first, &[12])
            }
        };
        let output = net.linear(value, 7);
        let model = net.finish(output);
        assert_on_blocks(&model, &BATCHES, false, &format!("mean: {mean}"));
    }
}

// Scores get a mask, which is a constant of all positions.
#[test]
fn causal_attention() {
    let mut net = Tokens::new(&[9, 8], 4);
    let [query, key, of] = [(); 3].map(|()| net.linear(Value::Input, 8));
    let [query, key, of] = [query, key, of].map(|value| net.split(value, 2));
    let axes = vec![0, 1, 3, 2];
    let key = net.moved(Op::Permute { axes }, key, &[2, 4, 9]);
    let scores = net.float(Op::MatMul, &[query, key], &[2, 9, 9]);
    let scaled = net.unary(scores, Unary::MulScalar(0.5));
    let mask = net.constant(&[1, 1, 9, 9], 0.0, 1.0);
    let Value::Constant(index) = mask else {
        unreachable!()
    };
    for (place, value) in net.constants[index].values.iter_mut().enumerate() {
        *value = if place % 9 > place / 9 { -1e9 } else { 0.0 };
    }
    let masked = net.binary(Binary::Add, scaled, mask);
    let shares = net.softmax(masked);
    let mixed = net.float(Op::MatMul, &[shares, of], &[2, 9, 4]);
    let merged = net.merge(mixed);
    let output = net.linear(merged, 8);
    assert_on_blocks(&net.finish(output), &BATCHES, false, "causal");
}
