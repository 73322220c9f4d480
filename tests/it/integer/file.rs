use burn_compress::format::{Container, FormatError, Scheme};
use burn_compress::graph::integer::{Grid, IntegerModel, IntegerOp, Rescale, Step, Weights};
use burn_compress::graph::{Constant, Dim, GraphError, Op, Unary, Value};
use proptest::prelude::*;

use super::bad::{build, steps};
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

#[test]
fn weights_take_their_true_bits() {
    let size = |bits: u32, sparse: bool| {
        let high = (1 << (bits - 1)) - 1;
        let mut noise = Noise(3);
        let mut code = || match sparse && noise.below(10) > 0 {
            true => 0,
            false => noise.within(-high, high),
        };
        let weights = Weights {
            dims: vec![100, 100],
            codes: (0..10_000).map(|_| code()).collect(),
        };
        let step = |op, input, grid| Step {
            op,
            inputs: vec![input],
            grid,
            dims: vec![Dim::Batch(1), Dim::Fixed(100)],
            layer: "fc".into(),
        };
        let grid = Grid::new(Scheme::symmetric(8).unwrap(), 1.0, 0).unwrap();
        let linear = IntegerOp::Linear {
            weights,
            rescale: Rescale::by(0.1),
        };
        let steps = vec![
            step(IntegerOp::Quantize, Value::Input, Some(grid)),
            step(linear, Value::Node(0), None),
        ];
        let model = IntegerModel::new(per_image(&[100]), vec![], steps, Value::Node(1)).unwrap();
        model.to_bytes().unwrap().len()
    };
    for bits in [2, 4, 8] {
        let packed = 10_000 * bits as usize / 8;
        assert!(
            (packed..packed + 2000).contains(&size(bits, false)),
            "{bits}"
        );
    }
    assert!(size(8, true) < 1250 + 1250 + 2000); // a bit for each, a byte for a tenth
}

#[test]
fn channels_with_their_own_zero_take_their_true_bits() {
    // Four bits from -15 on and from 0 on: each channel by itself has 16 codes.
    let mut steps = steps();
    if let IntegerOp::Convolution { weights, .. } = &mut steps[1].op {
        weights.codes = (-15..=0).step_by(2).chain((0..=15).step_by(2)).collect();
    }
    let model = build(steps).unwrap();
    let bytes = model.to_bytes().unwrap();
    let parts = Container::from_bytes(KIND, &bytes).unwrap().into_parts();
    assert_eq!(parts["1.conv.weight.codes"].bytes.len(), 16 * 4 / 8);
    assert_eq!(IntegerModel::from_bytes(&bytes).unwrap(), model);
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
        ("\"bits\":3", "\"bits\":4"),
        ("\"path\":\"1.conv.weight\"", "\"path\":\"2.conv.weight\""),
        ("\"input\"", "\"output\""),
        ("\"axes\":[2,3]", "\"axes\":[3,2]"),
    ] {
        match change(from, to) {
            Err(GraphError::Format(_) | GraphError::Step { .. }) => {}
            other => panic!("{from} to {to}: {other:?}"),
        }
    }
    // A part that is missing (without zero points, they are zero).
    let container = || Container::from_bytes(KIND, &bytes).unwrap();
    let description = container().description().to_string();
    let names = container().into_parts().into_keys();
    for name in names.filter(|name| !name.ends_with("zero_point")) {
        let mut parts = container().into_parts();
        parts.remove(&name);
        let parts = parts.into_values().collect();
        let altered = Container::new(KIND, description.clone(), parts)
            .to_bytes()
            .unwrap();
        assert!(IntegerModel::from_bytes(&altered).is_err(), "{name}");
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
        flip in any::<Option<(prop::sample::Index, u8)>>(),
    ) {
        let container = Container::from_bytes(KIND, &model().to_bytes().unwrap()).unwrap();
        let mut description = container.description().to_string();
        for (place, text, removed) in changes {
            let place = place.index(description.len());
            let end = (place + removed).min(description.len());
            description.replace_range(place..end, &text);
        }
        let mut parts: Vec<_> = container.into_parts().into_values().collect();
        if let Some((place, byte)) = flip {
            let part = place.index(parts.len());
            let bytes = &mut parts[part].bytes;
            let place = place.index(bytes.len());
            bytes[place] = byte;
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
