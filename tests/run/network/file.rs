use std::collections::BTreeMap;
use std::sync::LazyLock;

use burn_compress::format::{Container, FormatError, Part, Scheme, entropy_bits};
use burn_compress::network::NetworkError;
use burn_compress::network::{Arithmetic, Grid, Network, Rescale, Step, StepOp, Weights};
use burn_compress::network::{Constant, Dim, Op, Unary, Value, Window};
use proptest::prelude::*;

use super::bad::steps;
use crate::noise::{Noise, per_image};

const KIND: &str = "network";

/// With a table, constants and a float step.
fn model() -> Network {
    let mut steps = steps();
    let grid = steps[1].grid;
    let low = grid.unwrap().low();
    let step = |op, inputs, grid, layer: &str| Step {
        op,
        inputs,
        grid,
        dims: per_image(&[2, 2, 2]),
        layer: layer.into(),
    };
    let table = StepOp::Table((0..256).map(|i| (low + i).max(0)).collect());
    steps[2].inputs = vec![Value::Node(4)];
    steps.insert(2, step(table, vec![Value::Node(1)], grid, "relu"));
    let add = StepOp::Arithmetic {
        how: Arithmetic::AddConstant { multiplier: 0.7 },
        activation: None,
    };
    let inputs = vec![Value::Node(2), Value::Constant(0)];
    steps.insert(3, step(add, inputs, grid, "add"));
    let clamp = Op::Unary(Unary::Clamp {
        min: f32::NEG_INFINITY,
        max: 0.1,
    });
    steps.insert(
        4,
        step(StepOp::Float(clamp), vec![Value::Node(3)], grid, "clamp"),
    );
    let constant = Constant {
        dims: vec![2, 1, 1],
        values: vec![0.1, -7.5],
    };
    let last = Value::Node(steps.len() - 1);
    Network::new(per_image(&[2, 3, 3]), vec![constant], steps, last).unwrap()
}

#[test]
fn a_model_comes_back() {
    let model = model();
    let folder = crate::folder();
    let path = folder.path().join("deep/model.bcm");
    let bytes = model.to_bytes().unwrap();
    assert_eq!(model.save(&path).unwrap(), bytes.len() as u64);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let restored = Network::load(&path).unwrap();
    assert_eq!(restored, model);
    assert_eq!(restored.to_bytes().unwrap(), bytes);
    let input: Vec<f32> = (0..36).map(|i| i as f32 - 9.0).collect();
    assert_eq!(
        restored.run(&input, 2).unwrap(),
        model.run(&input, 2).unwrap()
    );
    let missing = Network::load(folder.path().join("none"));
    assert!(matches!(
        missing,
        Err(NetworkError::Format(FormatError::Io { .. }))
    ));
}

/// One linear layer of these weights.
fn linear(dims: [usize; 2], codes: Vec<i32>) -> Network {
    let step = |op, input, grid, outputs| Step {
        op,
        inputs: vec![input],
        grid,
        dims: per_image(&[outputs]),
        layer: "fc".into(),
    };
    let grid = Grid::new(Scheme::symmetric(8).unwrap(), 1.0, 0).unwrap();
    let product = StepOp::Product {
        op: Op::Linear,
        weights: Some(Weights {
            dims: dims.to_vec(),
            codes: codes.into(),
        }),
        rescale: Rescale::by(0.1),
    };
    let steps = vec![
        step(StepOp::Quantize, Value::Input, Some(grid), dims[0]),
        step(product, Value::Node(0), None, dims[1]),
    ];
    Network::new(per_image(&[dims[0]]), vec![], steps, Value::Node(1)).unwrap()
}

/// What a file takes beside the weights of one layer.
const REST: usize = 900;

/// The file of [`model`] in the form that large models have: its description can be altered as text.
fn apart() -> Container {
    let bytes = include_bytes!("../../data/large-form.bcm");
    Container::from_bytes(KIND, bytes).unwrap()
}

#[test]
fn weights_take_their_entropy() {
    for (bits, density) in [(2, 10), (4, 10), (8, 10), (2, 1), (4, 1), (8, 1)] {
        let high = (1 << (bits - 1)) - 1;
        let mut noise = Noise(3);
        let mut code = || match noise.below(10) < density {
            false => 0,
            // The sum of two: not as probable at the ends.
            true => (noise.within(-high, high) + noise.within(-high, high)) / 2,
        };
        let codes: Vec<i32> = (0..40_000).map(|_| code()).collect();
        let entropy = entropy_bits(codes.iter()).ceil() as usize / 8;
        let mut bytes = linear([200, 200], codes.clone()).to_bytes().unwrap();
        let most = entropy + entropy / 50 + REST;
        assert!(
            bytes.len() < most,
            "{bits}, {density}: {} of {entropy}",
            bytes.len()
        );
        let restored = Network::from_bytes(&bytes).unwrap();
        assert_eq!(restored, linear([200, 200], codes));
        // Weights alone, at the end.
        *bytes.last_mut().unwrap() ^= 1;
        assert!(Network::from_bytes(&bytes).is_err());
    }
}

#[test]
fn noise_takes_its_true_bits() {
    let mut noise = Noise(4);
    let codes: Vec<i32> = (0..40_000).map(|_| noise.within(-127, 128)).collect();
    let bytes = linear([200, 200], codes).to_bytes().unwrap();
    assert!((40_000..40_000 + REST).contains(&bytes.len()));
}

#[test]
fn weights_of_any_width_come_back() {
    for codes in [
        vec![0; 6],
        vec![1, 0, -1, 0, 0, 0],
        vec![-128, 127, 0, 0, 0, 5],
        vec![-129, 0, 0, 0, 0, 0],
        vec![32_767, -32_768, 0, 0, 1, 2],
        vec![65_535, -65_535, 0, 1, 0, 0],
    ] {
        let model = linear([2, 3], codes);
        assert_eq!(
            Network::from_bytes(&model.to_bytes().unwrap()).unwrap(),
            model
        );
    }
}

#[test]
fn zeros_alone_take_a_byte_for_1024() {
    let bytes = linear([1024, 1024], vec![0; 1 << 20]).to_bytes().unwrap();
    assert!(
        (1024..1024 + REST).contains(&bytes.len()),
        "{}",
        bytes.len()
    );
    let model = Network::from_bytes(&bytes).unwrap();
    assert_eq!(model, linear([1024, 1024], vec![0; 1 << 20]));

    // One that says it has more is refused before memory is taken.
    let container = Container::from_bytes(KIND, &bytes).unwrap();
    let more = container.description().replace("[[1048576,", "[[1048577,");
    assert_ne!(more, container.description());
    let parts = container.into_parts().into_values().collect();
    let bytes = Container::new(KIND, more, parts).to_bytes().unwrap();
    assert!(matches!(
        Network::from_bytes(&bytes),
        Err(NetworkError::Format(FormatError::Tensor { .. }))
    ));
}

#[test]
fn a_file_that_contradicts_itself_is_refused() {
    let change = |from: &str, to: &str| {
        let container = apart();
        let description = container.description().to_string();
        assert!(description.contains(from), "{from} in {description}");
        let description = description.replacen(from, to, 1);
        let parts = container.into_parts().into_values().collect();
        let altered = Container::new(KIND, description, parts).to_bytes().unwrap();
        Network::from_bytes(&altered)
    };
    for (from, to) in [
        ("{\"node\":0}", "{\"node\":1}"),
        ("{\"node\":0}", "{\"parameter\":0}"),
        ("\"scale\":0.5", "\"scale\":-0.5"),
        ("\"zero_point\":100", "\"zero_point\":300"),
        ("\"kernel\":[2,2]", "\"kernel\":[0,2]"),
        ("\"kernel\":[2,2]", "\"kernel\":[2,18446744073709551615]"),
        ("{\"fixed\":3}", "{\"fixed\":4}"),
        ("{\"batch\":1}", "{\"batch\":18446744073709551615}"),
        ("\"integers\":[[16,", "\"integers\":[[17,"),
        ("\"integers\":[[", "\"integers\":[[0,0],["),
        ("\"floats\":[2,", "\"floats\":[3,"),
        ("\"floats\":[2,", "\"floats\":[18446744073709551615,"),
        ("\"floats\":[", "\"floats\":[0,"),
        ("\"input\"", "\"output\""),
        ("\"axes\":[2,3]", "\"axes\":[3,2]"),
    ] {
        match change(from, to) {
            Err(NetworkError::Format(_) | NetworkError::Step { .. }) => {}
            other => panic!("{from} to {to}: {other:?}"),
        }
    }
    // A part that is missing, or too much.
    let small = || Container::from_bytes(KIND, &model().to_bytes().unwrap()).unwrap();
    for container in [&apart as &dyn Fn() -> Container, &small] {
        let refused = |description: &str, parts: BTreeMap<String, Part>| {
            let parts = parts.into_values().collect();
            let altered = Container::new(KIND, description.into(), parts);
            assert!(Network::from_bytes(&altered.to_bytes().unwrap()).is_err());
        };
        let description = container().description().to_string();
        for name in container().into_parts().into_keys() {
            let mut parts = container().into_parts();
            parts.remove(&name);
            refused(&description, parts);
            for more in [1, 4] {
                let mut parts = container().into_parts();
                let part = parts.get_mut(&name).unwrap();
                part.bytes.extend(vec![0; more]);
                part.shape[0] += more;
                refused(&description, parts);
            }
        }
        let mut parts = container().into_parts();
        parts.insert("more".into(), Part::bytes("more", vec![1]));
        refused(&description, parts);
        refused("{}", container().into_parts());
    }
}

#[test]
fn the_form_of_large_models_loads() {
    let bytes = include_bytes!("../../data/large-form.bcm");
    assert_eq!(Network::from_bytes(bytes).unwrap(), model());
    let parts = apart().into_parts().into_values().collect();
    let again = Container::new(KIND, apart().description().into(), parts);
    assert_eq!(again.to_bytes().unwrap(), bytes);
}

#[test]
fn what_is_alike_in_a_network_takes_less() {
    // Kernels of one sign, and as many weights in each row as its number says.
    let mut noise = Noise(7);
    let mut codes = Vec::new();
    for row in 0..40 {
        for _ in 0..40 {
            let sign = noise.within(0, 1) * 2 - 1;
            let kernel = (0..9).map(|_| match noise.below(40) < row {
                true => sign * noise.within(1, 127),
                false => 0,
            });
            codes.extend(kernel);
        }
    }
    let entropy = entropy_bits(codes.iter()) / 8.0;
    let model = convolution(codes);
    let bytes = model.to_bytes().unwrap();
    assert!(
        (bytes.len() as f64) < 0.93 * entropy,
        "{} of {entropy}",
        bytes.len()
    );
    assert_eq!(Network::from_bytes(&bytes).unwrap(), model);
}

#[test]
fn blocks_take_one_mask() {
    // One of ten weights, alone or with those beside it.
    let rest = convolution(vec![0; 40 * 40 * 9]).to_bytes().unwrap().len();
    let sizes = [1, 2, 4].map(|block| {
        let mut noise = Noise(8);
        let mut codes = vec![0; 40 * 40 * 9];
        for place in 0..codes.len() {
            let (channel, tap) = (place / 9 % 40, place % 9);
            if channel % block == 0 && noise.below(10) == 0 {
                for channel in 0..block {
                    codes[place / 9 * 9 + channel * 9 + tap] = noise.pick(&[-1, 1]);
                }
            }
        }
        let kept = codes.iter().filter(|code| **code != 0).count();
        let model = convolution(codes);
        let bytes = model.to_bytes().unwrap();
        assert_eq!(Network::from_bytes(&bytes).unwrap(), model);
        // But for signs, which are noise here.
        8.0 * (bytes.len() - rest) as f64 - kept as f64
    });
    assert!(sizes[1] < 0.6 * sizes[0], "{sizes:?}");
    assert!(sizes[2] < 0.6 * sizes[1], "{sizes:?}");
}

/// A convolution of 40 channels, three by three.
fn convolution(codes: Vec<i32>) -> Network {
    let grid = Grid::new(Scheme::symmetric(8).unwrap(), 1.0, 0).unwrap();
    let step = |op, input, channels: usize| Step {
        op,
        inputs: vec![input],
        grid: Some(grid),
        dims: per_image(&[channels, 5, 5]),
        layer: "conv".into(),
    };
    let convolution = StepOp::Product {
        op: Op::Convolution {
            rank: 2,
            window: Window {
                kernel: [3, 3],
                padding: [(1, 1); 2],
                ..Window::default()
            },
            groups: 1,
        },
        weights: Some(Weights {
            dims: vec![40, 40, 3, 3],
            codes: codes.into(),
        }),
        rescale: Rescale::by(0.1),
    };
    let steps = vec![
        step(StepOp::Quantize, Value::Input, 40),
        step(convolution, Value::Node(0), 40),
    ];
    Network::new(per_image(&[40, 5, 5]), vec![], steps, Value::Node(1)).unwrap()
}

#[test]
fn factors_of_fewer_bits() {
    let factors = |model: &Network| -> Vec<f32> {
        let of = |step: &Step| match &step.op {
            StepOp::Product { rescale, .. } => rescale.multiplier.clone(),
            _ => vec![],
        };
        model.steps().iter().flat_map(of).collect()
    };
    let with = |multiplier: Vec<f32>| {
        let model = linear([2, multiplier.len()], vec![1; 2 * multiplier.len()]);
        let mut steps = model.steps().to_vec();
        if let StepOp::Product { rescale, .. } = &mut steps[1].op {
            rescale.offset = Some(multiplier.iter().map(|m| -m).collect());
            rescale.multiplier = multiplier;
        }
        Network::new(per_image(&[2]), vec![], steps, Value::Node(1)).unwrap()
    };
    let mut noise = Noise(5);
    let numbers: Vec<f32> = (0..500)
        .map(|_| noise.within(1, 1 << 24) as f32 * 2.0f32.powi(noise.within(-60, 20)))
        .collect();
    let model = with(numbers.clone());
    let mut least = model.to_bytes().unwrap().len();
    for bits in (1..=24).rev() {
        let shorter = model.with_factor_bits(bits).unwrap();
        for (found, number) in factors(&shorter).into_iter().zip(&numbers) {
            // By double precision: half to even at the last bit that stays.
            let number = f64::from(*number);
            let unit = 2.0f64.powi(number.log2().floor() as i32 + 1 - bits as i32);
            let expected = (number / unit).round_ties_even() * unit;
            assert_eq!(f64::from(found), expected, "{number} in {bits} bits");
        }
        assert_eq!(shorter.with_factor_bits(bits).unwrap(), shorter);
        let bytes = shorter.to_bytes().unwrap();
        assert_eq!(Network::from_bytes(&bytes).unwrap(), shorter);
        // A bit less for each of a thousand, but for what sign and exponent are predicted from.
        assert!(
            bytes.len() <= least,
            "{bits}: {} after {least}",
            bytes.len()
        );
        least = bytes.len();
    }
    assert_eq!(model.with_factor_bits(24).unwrap(), model);
    let twelve = model.with_factor_bits(12).unwrap().to_bytes().unwrap();
    let saved = model.to_bytes().unwrap().len() - twelve.len();
    assert!((1400..1600).contains(&saved), "{saved}");
    let odd = with(vec![0.0, -0.0, f32::MAX, -3.0, 1.0e-45]);
    let three = odd.with_factor_bits(3).unwrap();
    assert_eq!(factors(&three)[..2], [0.0, -0.0]);
    assert_eq!(factors(&three)[2], f32::MAX);
    for bits in [0, 25, u32::MAX] {
        let error = model.with_factor_bits(bits).unwrap_err();
        assert!(matches!(error, NetworkError::FactorBits { bits: found } if found == bits));
    }
}

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| model().to_bytes().unwrap());

/// Whether running it takes little.
fn small(model: &Network) -> bool {
    let size = |dims: &[Dim]| dims.iter().map(|dim| dim.at(1)).product::<usize>();
    let steps = model.steps().iter();
    size(model.input()) < 10_000 && steps.map(|step| size(&step.dims)).sum::<usize>() < 100_000
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_altered_file_is_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let good = &*GOOD;
        let mut bytes = good.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        prop_assert_eq!(Network::from_bytes(&bytes).is_ok(), bytes == *good);
    }

    #[test]
    fn a_cut_file_is_refused(length in any::<prop::sample::Index>()) {
        let length = length.index(GOOD.len());
        prop_assert!(Network::from_bytes(&GOOD[..length]).is_err());
    }

    // Whoever can alter a file can also set its checksum: what loads then also runs.
    #[test]
    fn a_forged_file_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[0-9a-z\\[\\]{},:.\"-]{0,3}", 0usize..3), 1..4),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..4), 0usize..4), 0..3),
    ) {
        let container = apart();
        let mut description = container.description().to_string();
        for (place, text, removed) in changes {
            let place = place.index(description.len());
            let end = (place + removed).min(description.len());
            description.replace_range(place..end, &text);
        }
        let mut parts: Vec<_> = container.into_parts().into_values().collect();
        for (part, place, inserted, removed) in edits {
            let part = part.index(parts.len());
            let bytes = &mut parts[part].bytes;
            let place = place.index(bytes.len() + 1);
            let end = (place + removed).min(bytes.len());
            bytes.splice(place..end, inserted);
            parts[part].shape = vec![parts[part].bytes.len()];
        }
        run_if_it_loads(&Container::new(KIND, description, parts).to_bytes().unwrap());
    }

    // One stream of all: what is altered at its front comes last, in tensors, and what is at its end in the
    // description.
    #[test]
    fn a_forged_stream_never_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..6), 0usize..6), 1..4),
    ) {
        let container = Container::from_bytes(KIND, &GOOD).unwrap();
        let mut parts: Vec<_> = container.into_parts().into_values().collect();
        let bytes = &mut parts[0].bytes;
        for (place, inserted, removed) in edits {
            let place = place.index(bytes.len() + 1);
            let end = (place + removed).min(bytes.len());
            bytes.splice(place..end, inserted);
        }
        let length = bytes.len();
        parts[0].shape = vec![length];
        run_if_it_loads(&Container::new(KIND, String::new(), parts).to_bytes().unwrap());
    }

    // Numbers alone: most such files are well-formed, and many load.
    #[test]
    fn a_file_of_other_numbers_never_panics(
        places in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![0u64..9, any::<u64>()]), 1..3),
    ) {
        let container = apart();
        let mut description = container.description().to_string();
        for (place, number) in places {
            let digits: Vec<(usize, char)> = description.char_indices().filter(|(_, c)| c.is_ascii_digit()).collect();
            let (at, _) = digits[place.index(digits.len())];
            description.replace_range(at..=at, &number.to_string());
        }
        let parts = container.into_parts().into_values().collect();
        run_if_it_loads(&Container::new(KIND, description, parts).to_bytes().unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tensors_of_any_shape_come_back(
        dims in prop::collection::vec(1usize..7, 2),
        width in prop::sample::select(vec![1, 2, 7, 127, 128, 300, 32_767, 65_535]),
        density in 0i32..=10,
        seed in any::<u64>(),
    ) {
        let mut noise = Noise(seed);
        let codes = (0..dims[0] * dims[1]).map(|_| match noise.within(0, 9) < density {
            true => noise.within(-width, width),
            false => 0,
        });
        let model = linear([dims[0], dims[1]], codes.collect());
        let bytes = model.to_bytes().unwrap();
        prop_assert_eq!(Network::from_bytes(&bytes).unwrap(), model);
    }
}

fn run_if_it_loads(bytes: &[u8]) {
    if let Ok(model) = Network::from_bytes(bytes)
        && small(&model)
    {
        for batch in [1, 2] {
            let size = |dim: &Dim| dim.at(batch);
            let input = vec![0.5; model.input().iter().map(size).product()];
            model.run(&input, batch).unwrap();
            model.trace(&input, batch).unwrap();
        }
        assert_eq!(
            Network::from_bytes(&model.to_bytes().unwrap()).unwrap(),
            model
        );
    }
}
