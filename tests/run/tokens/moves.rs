use burn_compress::network::{Binary, Op, StepOp, Unary, Value, Window};

use super::assert_on_blocks;
use crate::tokens_support::Tokens;

const BATCHES: [usize; 4] = [1, 2, 16, 17];

// A convolution to patches, which become tokens.
#[test]
fn patches_become_tokens() {
    let mut net = Tokens::new(&[3, 12, 8], 1);
    let window = Window {
        kernel: [4, 4],
        stride: [4, 4],
        ..Window::default()
    };
    let op = Op::Convolution {
        rank: 2,
        window,
        groups: 1,
    };
    let weights = net.constant(&[10, 3, 4, 4], 0.0, 0.3);
    let patches = net.float(op, &[Value::Input, weights], &[10, 3, 2]);
    let flat = net.moved(Op::Reshape, patches, &[10, 6]);
    let axes = vec![0, 2, 1];
    let tokens = net.moved(Op::Permute { axes }, flat, &[6, 10]);
    let normal = net.layer_norm(tokens);
    let output = net.linear(normal, 5);
    assert_on_blocks(&net.finish(output), &BATCHES, false, "patches");
}

// Channels behind for a norm and two linear layers, and in front again.
#[test]
fn images_are_tokens_for_a_while() {
    let mut net = Tokens::new(&[6, 5, 7], 2);
    let window = Window {
        kernel: [3, 3],
        padding: [(1, 1), (1, 1)],
        ..Window::default()
    };
    let op = Op::Convolution {
        rank: 2,
        window,
        groups: 6,
    };
    let weights = net.constant(&[6, 1, 3, 3], 0.0, 0.5);
    let made = net.float(op, &[Value::Input, weights], &[6, 5, 7]);
    let axes = vec![0, 2, 3, 1];
    let behind = net.moved(Op::Permute { axes }, made, &[5, 7, 6]);
    let normal = net.layer_norm(behind);
    let hidden = net.linear(normal, 13);
    let hidden = net.unary(hidden, Unary::Gelu);
    let made = net.linear(hidden, 6);
    let axes = vec![0, 3, 1, 2];
    let front = net.moved(Op::Permute { axes }, made, &[6, 5, 7]);
    let output = net.binary(Binary::Add, front, Value::Input);
    assert_on_blocks(&net.finish(output), &BATCHES, false, "channels behind");
}

// Queries, keys and values by one layer, of which they are parts.
#[test]
fn one_layer_makes_queries_keys_and_values() {
    let mut net = Tokens::new(&[11, 8], 3);
    let all = net.linear(Value::Input, 24);
    let all = net.moved(Op::Reshape, all, &[11, 3, 2, 4]);
    let [query, key, of] = [0, 1, 2].map(|part| {
        let whole = |length: usize| (0, Some(length), 1);
        let parts = (part, Some(part + 1), 1);
        let ranges = vec![(0, None, 1), whole(11), parts, whole(2), whole(4)];
        let part = net.moved(Op::Slice { ranges }, all, &[11, 1, 2, 4]);
        let part = net.moved(Op::Reshape, part, &[11, 2, 4]);
        let axes = vec![0, 2, 1, 3];
        net.moved(Op::Permute { axes }, part, &[2, 11, 4])
    });
    let axes = vec![0, 1, 3, 2];
    let key = net.moved(Op::Permute { axes }, key, &[2, 4, 11]);
    let scores = net.float(Op::MatMul, &[query, key], &[2, 11, 11]);
    let shares = net.softmax(scores);
    let mixed = net.float(Op::MatMul, &[shares, of], &[2, 11, 4]);
    let merged = net.merge(mixed);
    let output = net.linear(merged, 8);
    assert_on_blocks(&net.finish(output), &BATCHES, false, "one layer");
}

// One head, without an axis for it.
#[test]
fn attention_of_one_head() {
    let mut net = Tokens::new(&[20, 6], 4);
    let [query, key, of] = [(); 3].map(|()| net.linear(Value::Input, 6));
    let axes = vec![0, 2, 1];
    let key = net.moved(Op::Permute { axes }, key, &[6, 20]);
    let scores = net.float(Op::MatMul, &[query, key], &[20, 20]);
    let shares = net.softmax(scores);
    let output = net.float(Op::MatMul, &[shares, of], &[20, 6]);
    assert_on_blocks(&net.finish(output), &BATCHES, false, "one head");
}

// All tokens are flattened for a linear layer: its weights are in another order.
#[test]
fn a_linear_layer_over_all_tokens() {
    let mut net = Tokens::new(&[5, 6], 5);
    let tokens = net.linear(Value::Input, 4);
    let flat = net.moved(Op::Reshape, tokens, &[20]);
    let output = net.linear(flat, 3);
    assert_on_blocks(&net.finish(output), &BATCHES, false, "flattened");
}

// The output, or what a plain step reads, may have any order of axes.
#[test]
fn outputs_of_any_order() {
    let mut net = Tokens::new(&[7, 12], 6);
    let made = net.linear(Value::Input, 12);
    let heads = net.split(made, 3);
    assert_on_blocks(&net.finish(heads), &BATCHES, false, "heads");
}

// A class token before the others, which are followed by some that are zero.
#[test]
fn tokens_beside_each_other() {
    for tokens in [1, 2, 16, 31] {
        let mut net = Tokens::new(&[tokens, 6], 7);
        let class = net.constant(&[1, 1, 6], 0.0, 1.0);
        let class = net.moved(Op::Expand, class, &[1, 6]);
        let made = net.linear(Value::Input, 6);
        let op = StepOp::Move(Op::Concatenate { axis: 1 });
        let all = net.step(op, &[class, made, made], &[2 * tokens + 1, 6]);
        let normal = net.layer_norm(all);
        let padding = vec![(0, 0), (1, 2), (0, 0)];
        let op = Op::Pad {
            padding,
            value: 0.0,
        };
        let padded = net.moved(op, normal, &[2 * tokens + 4, 6]);
        let output = net.linear(padded, 5);
        let what = format!("{tokens} tokens");
        assert_on_blocks(&net.finish(output), &BATCHES, false, &what);
    }
}
