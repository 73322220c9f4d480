use std::collections::BTreeMap;

use burn_compress::format::{Container, FormatError, Part, Scheme, entropy_bits};
use burn_compress::graph::integer::{Grid, IntegerModel, IntegerOp, Rescale, Step, Weights};
use burn_compress::graph::{Constant, Dim, GraphError, Op, Unary, Value};
use proptest::prelude::*;

use super::bad::steps;
use super::{Noise, per_image};

const KIND: &str = "integer_model";

/// With a table, constants and a float step.
fn model() -> IntegerModel {
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
    let table = IntegerOp::Table((0..256).map(|i| (low + i).max(0)).collect());
    steps[2].inputs = vec![Value::Node(4)];
    steps.insert(2, step(table, vec![Value::Node(1)], grid, "relu"));
    let add = IntegerOp::AddConstant {
        multiplier: 0.7,
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
        step(IntegerOp::Float(clamp), vec![Value::Node(3)], grid, "clamp"),
    );
    let constant = Constant {
        dims: vec![2, 1, 1],
        values: vec![0.1, -7.5],
    };
    let last = Value::Node(steps.len() - 1);
    IntegerModel::new(per_image(&[2, 3, 3]), vec![constant], steps, last).unwrap()
}

#[test]
fn a_model_comes_back() {
    let model = model();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/model.bcm");
    let bytes = model.to_bytes().unwrap();
    assert_eq!(model.save(&path).unwrap(), bytes.len() as u64);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let restored = IntegerModel::load(&path).unwrap();
    assert_eq!(restored, model);
    assert_eq!(restored.to_bytes().unwrap(), bytes);
    let input: Vec<f32> = (0..36).map(|i| i as f32 - 9.0).collect();
    assert_eq!(
        restored.run(&input, 2).unwrap(),
        model.run(&input, 2).unwrap()
    );
    let missing = IntegerModel::load(folder.path().join("none"));
    assert!(matches!(
        missing,
        Err(GraphError::Format(FormatError::Io { .. }))
    ));
}

/// One linear layer of these weights.
fn linear(dims: [usize; 2], codes: Vec<i32>) -> IntegerModel {
    let step = |op, input, grid, outputs| Step {
        op,
        inputs: vec![input],
        grid,
        dims: per_image(&[outputs]),
        layer: "fc".into(),
    };
    let grid = Grid::new(Scheme::symmetric(8).unwrap(), 1.0, 0).unwrap();
    let product = IntegerOp::Linear {
        weights: Weights {
            dims: dims.to_vec(),
            codes: codes.into(),
        },
        rescale: Rescale::by(0.1),
    };
    let steps = vec![
        step(IntegerOp::Quantize, Value::Input, Some(grid), dims[0]),
        step(product, Value::Node(0), None, dims[1]),
    ];
    IntegerModel::new(per_image(&[dims[0]]), vec![], steps, Value::Node(1)).unwrap()
}

/// What a file takes beside the weights of one layer.
const REST: usize = 900;

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
        let restored = IntegerModel::from_bytes(&bytes).unwrap();
        assert_eq!(restored, linear([200, 200], codes));
        // Weights alone, at the end.
        *bytes.last_mut().unwrap() ^= 1;
        assert!(IntegerModel::from_bytes(&bytes).is_err());
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
            IntegerModel::from_bytes(&model.to_bytes().unwrap()).unwrap(),
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
    let model = IntegerModel::from_bytes(&bytes).unwrap();
    assert_eq!(model, linear([1024, 1024], vec![0; 1 << 20]));

    // One that says it has more is refused before memory is taken.
    let container = Container::from_bytes(KIND, &bytes).unwrap();
    let more = container.description().replace("[[1048576,", "[[1048577,");
    assert_ne!(more, container.description());
    let parts = container.into_parts().into_values().collect();
    let bytes = Container::new(KIND, more, parts).to_bytes().unwrap();
    assert!(matches!(
        IntegerModel::from_bytes(&bytes),
        Err(GraphError::Format(FormatError::Tensor { .. }))
    ));
}

#[test]
fn a_file_that_contradicts_itself_is_refused() {
    let bytes = model().to_bytes().unwrap();
    let change = |from: &str, to: &str| {
        let container = Container::from_bytes(KIND, &bytes).unwrap();
        let description = container.description().to_string();
        assert!(description.contains(from), "{from} in {description}");
        let description = description.replacen(from, to, 1);
        let parts = container.into_parts().into_values().collect();
        let altered = Container::new(KIND, description, parts).to_bytes().unwrap();
        IntegerModel::from_bytes(&altered)
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
            Err(GraphError::Format(_) | GraphError::Step { .. }) => {}
            other => panic!("{from} to {to}: {other:?}"),
        }
    }
    // A part that is missing, or too much.
    let container = || Container::from_bytes(KIND, &bytes).unwrap();
    let refused = |parts: BTreeMap<String, Part>| {
        let parts = parts.into_values().collect();
        let altered = Container::new(KIND, container().description().into(), parts);
        assert!(IntegerModel::from_bytes(&altered.to_bytes().unwrap()).is_err());
    };
    let names = container().into_parts().into_keys();
    for name in names {
        let mut parts = container().into_parts();
        parts.remove(&name);
        refused(parts);
        let mut parts = container().into_parts();
        parts.get_mut(&name).unwrap().bytes.push(0);
        parts.get_mut(&name).unwrap().shape[0] += 1;
        refused(parts);
    }
    let mut parts = container().into_parts();
    parts.insert("more".into(), Part::bytes("more", vec![1]));
    refused(parts);
}

#[test]
fn files_of_version_1_load() {
    let old = include_bytes!("../../data/version1-integers.bcm");
    assert_eq!(IntegerModel::from_bytes(old).unwrap(), model());
    let text = String::from_utf8_lossy(&old[..old.len() / 2]).into_owned();
    assert!(text.contains("\"burn-compress\":\"1\""));
    for place in 0..old.len() {
        let mut altered = old.to_vec();
        altered[place] ^= 1;
        assert!(IntegerModel::from_bytes(&altered).is_err(), "{place}");
    }
}

/// Whether running it takes little.
fn small(model: &IntegerModel) -> bool {
    let size = |dims: &[Dim]| dims.iter().map(|dim| dim.at(1)).product::<usize>();
    let steps = model.steps().iter();
    size(model.input()) < 10_000 && steps.map(|step| size(&step.dims)).sum::<usize>() < 100_000
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_altered_file_is_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let good = model().to_bytes().unwrap();
        let mut bytes = good.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        prop_assert_eq!(IntegerModel::from_bytes(&bytes).is_ok(), bytes == good);
    }

    #[test]
    fn a_cut_file_is_refused(length in any::<prop::sample::Index>()) {
        let good = model().to_bytes().unwrap();
        let length = length.index(good.len());
        prop_assert!(IntegerModel::from_bytes(&good[..length]).is_err());
    }

    // Whoever can alter a file can also set its checksum: what loads then also runs.
    #[test]
    fn a_forged_file_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[0-9a-z\\[\\]{},:.\"-]{0,3}", 0usize..3), 1..4),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..4), 0usize..4), 0..3),
    ) {
        let container = Container::from_bytes(KIND, &model().to_bytes().unwrap()).unwrap();
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

    // Numbers alone: most such files are well-formed, and many load.
    #[test]
    fn a_file_of_other_numbers_never_panics(
        places in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![0u64..9, any::<u64>()]), 1..3),
    ) {
        let container = Container::from_bytes(KIND, &model().to_bytes().unwrap()).unwrap();
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

fn run_if_it_loads(bytes: &[u8]) {
    if let Ok(model) = IntegerModel::from_bytes(bytes)
        && small(&model)
    {
        for batch in [1, 2] {
            let size = |dim: &Dim| dim.at(batch);
            let input = vec![0.5; model.input().iter().map(size).product()];
            model.run(&input, batch).unwrap();
            model.trace(&input, batch).unwrap();
        }
        assert_eq!(
            IntegerModel::from_bytes(&model.to_bytes().unwrap()).unwrap(),
            model
        );
    }
}
