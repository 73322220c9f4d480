//! What training saw, what is deployed and what is in the file are one and the same.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::store::ModuleRecord;
use burn::tensor::TensorData;
use burn_compress::compress::{
    CompressError, Compression, Plan, Pruning, Quantization, Regrowth, Selection, archive, load,
    unpack,
};
use burn_compress::format::{Archive, FormatError, Granularity, Mapping, Scheme};
use burn_compress::quantize::LeastSquares;
use burn_compress::schedule::Curve;
use proptest::prelude::*;

use super::backends::device::{device, is_exact};
use super::backends::models::{
    Mlp, Net, assert_same, outputs, seen, spread, train_step, trained, values,
};

fn granularities() -> [(Granularity, Selection); 4] {
    let all = Selection::default;
    [
        (Granularity::Tensor, all()),
        (Granularity::Channel, all()),
        // What divides the rows of these layers: 9, 18 and 72, 16 and 72.
        (Granularity::Group(9), all().except(["up"])),
        (Granularity::Group(8), Selection::only(["up", "head"])),
    ]
}

// Trains under the plan, and follows the network to its file and back.
fn follow(plan: &Plan, base: &Net, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    let (mut net, mut compression) = plan.attach(Compression::snapshot(base)).unwrap();
    let mut optimizer = burn::optim::AdamConfig::new().init();
    for step in 0..2 {
        net = train_step(net, &mut optimizer, 0.01, step);
        net = compression.step(net).unwrap();
    }
    let attached = outputs(&net);
    let used: Vec<_> = seen(&net).into_iter().map(|layer| layer.used).collect();
    let stripped = compression.strip(Compression::snapshot(&net));
    assert_same(&attached, &outputs(&stripped));
    let compressed = compression.finish(net).unwrap();
    assert_same(&attached, &outputs(&compressed.module));
    let bytes = compressed.save(&path).unwrap();
    assert_eq!(bytes, std::fs::metadata(&path).unwrap().len(), "{what}");
    let loaded = load(&path, Net::new(&device())).unwrap();
    assert_same(&attached, &outputs(&loaded));
    for (layer, used) in seen(&loaded).iter().zip(used) {
        assert_same(&layer.stored, &used);
    }
    // Loaded for training: the same network on the other side.
    let loaded = load(&path, Net::new(&device().autodiff())).unwrap();
    assert_same(&attached, &outputs(&loaded));
}

#[test]
fn training_validation_strip_and_file_agree_under_every_scheme() {
    let base = trained(4, &device());
    // A scheme takes seconds on a GPU in software: not every one of them there.
    let all = [2, 3, 4, 5, 6, 7, 8, 16];
    let bits = if is_exact() { &all[..] } else { &[3, 8] };
    for &bits in bits {
        for mapping in [Mapping::Symmetric, Mapping::Affine] {
            for (granularity, selection) in granularities() {
                let scheme = Scheme::new(bits, mapping, granularity).unwrap();
                let plan = Plan::new()
                    .select(selection)
                    .quantize(Quantization::to(scheme));
                follow(&plan, &base, &format!("{scheme:?}"));
                if bits % 3 == 2 {
                    let masked = plan.prune(Pruning::to(0.7));
                    follow(&masked, &base, &format!("masked {scheme:?}"));
                }
            }
        }
    }
}

#[test]
fn training_validation_strip_and_file_agree_while_masks_move() {
    let base = trained(4, &device());
    let curve = Curve::Cubic {
        from: 0.0,
        to: 0.9,
        start: 0,
        end: 20,
    };
    for regrowth in [Regrowth::UntilFrozen, Regrowth::Never] {
        let pruning = Pruning::along(curve.clone()).regrowth(regrowth);
        follow(&Plan::new().prune(pruning.clone()), &base, "moving masks");
        let scheme = Scheme::new(4, Mapping::Affine, Granularity::Channel).unwrap();
        let quantization = Quantization::to(scheme).by(LeastSquares).every(2);
        follow(
            &Plan::new().prune(pruning).quantize(quantization),
            &base,
            "both",
        );
    }
}

#[test]
fn masks_and_scales_are_in_burns_own_record() {
    let plan = Plan::new()
        .prune(Pruning::along(Curve::Linear {
            from: 0.2,
            to: 0.8,
            start: 0,
            end: 9,
        }))
        .quantize(Quantization::to(
            Scheme::new(4, Mapping::Affine, Granularity::Channel).unwrap(),
        ));
    let (mut net, mut compression) = plan.attach(trained(2, &device())).unwrap();
    let mut optimizer = burn::optim::AdamConfig::new().init();
    for step in 0..4 {
        net = train_step(net, &mut optimizer, 0.02, step);
        net = compression.step(net).unwrap();
    }
    let expected = outputs(&net); // also writes pending batch statistics
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.bpk");
    net.clone().save_file(&path).unwrap();
    let (fresh, _) = plan.attach(Net::new(&device())).unwrap();
    assert_ne!(outputs(&fresh), expected);
    let loaded = fresh.load_record(ModuleRecord::load(&path).unwrap());
    assert_same(&outputs(&loaded), &expected);
    for (one, other) in seen(&loaded).iter().zip(seen(&net)) {
        assert_eq!(one.removed, other.removed);
        assert_same(&one.stored, &other.stored);
    }
    // A plain module does not take it in silence.
    let plain = Net::new(&device()).try_load_record(ModuleRecord::load(&path).unwrap());
    let error = plain.unwrap_err().to_string();
    assert!(error.contains("conv.weight.compress.removed"), "{error}");
}

#[test]
fn a_frozen_record_forced_into_a_plain_module_stays_pruned() {
    let (net, _) = Plan::new()
        .prune(Pruning::to(0.6))
        .attach(trained(2, &device()))
        .unwrap();
    let masks: Vec<_> = seen(&net)
        .into_iter()
        .map(|layer| layer.removed.unwrap())
        .collect();
    let record = net.into_record().allow_unused(true);
    let plain = Net::new(&device()).load_record(record);
    for (layer, mask) in seen(&plain).iter().zip(masks) {
        assert!(
            layer
                .stored
                .iter()
                .zip(mask)
                .all(|(value, gone)| !gone || *value == 0.0)
        );
    }
}

#[test]
fn a_file_holds_the_codes_near_their_entropy() {
    let (inputs, rows) = (64, 32);
    let data: Vec<f32> = (0..inputs * rows).map(super::runs::spread).collect();
    let linear = || Linear {
        weight: Param::from_data(TensorData::new(data.clone(), [inputs, rows]), &device()),
        bias: None,
    };
    let folder = tempfile::tempdir().unwrap();
    let mut sizes = Vec::new();
    for bits in [16, 8, 5, 4, 3, 2] {
        let scheme = Quantization::to(Scheme::symmetric(bits).unwrap());
        let compressed = Plan::new().quantize(scheme).apply(linear()).unwrap();
        let path = folder.path().join(format!("{bits}.bcm"));
        let bytes = compressed.save(&path).unwrap();
        assert_eq!(bytes, std::fs::metadata(&path).unwrap().len());
        let packed = (inputs * rows * bits as usize).div_ceil(8) + rows * 4;
        let least = compressed.archive().entropy_bytes();
        // Beside the codes, a description.
        let range = least..packed as u64 + 700;
        assert!(range.contains(&bytes), "{bits} bits: {bytes} bytes");
        sizes.push(bytes);
    }
    assert!(sizes.is_sorted_by(|a, b| a > b));
    // Pruned: where the codes that are left are, and those.
    let plan = Plan::new()
        .prune(Pruning::to(0.9))
        .quantize(Quantization::to(Scheme::symmetric(8).unwrap()));
    let compressed = plan.apply(linear()).unwrap();
    let bytes = compressed.save(folder.path().join("pruned.bcm")).unwrap() as i64;
    let content = compressed.archive().entropy_bytes() as i64;
    assert!((0..1024).contains(&(bytes - content)), "{bytes} bytes");
}

// A saved network, its bytes, and a network to load into with its outputs before.
fn saved() -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
    let plan = Plan::new()
        .prune(Pruning::to(0.5))
        .quantize(Quantization::to(Scheme::symmetric(3).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    plan.apply(trained(3, &device()))
        .unwrap()
        .save(&path)
        .unwrap();
    let bytes = std::fs::read(&path).unwrap();
    (folder, path, bytes)
}

#[test]
fn a_cut_file_does_not_load() {
    let (_folder, path, bytes) = saved();
    let net = trained(1, &device());
    let before = outputs(&net);
    for length in (0..bytes.len()).step_by(37).chain([bytes.len() - 1]) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = load(&path, net.clone()).unwrap_err();
        assert!(matches!(error, CompressError::File(_)), "{error}");
    }
    assert_same(&outputs(&net), &before);
    std::fs::remove_file(&path).unwrap();
    let error = load(&path, net).unwrap_err();
    assert!(matches!(error, CompressError::File(FormatError::Io { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_altered_file_does_not_load(place in any::<prop::sample::Index>(), flip in 1u8..) {
        use std::sync::LazyLock;
        static SAVED: LazyLock<Vec<u8>> = LazyLock::new(|| saved().2);
        let mut bytes = SAVED.clone();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("altered.bcm");
        std::fs::write(&path, bytes).unwrap();
        prop_assert!(load(&path, Net::new(&device())).is_err());
    }
}

#[test]
fn a_file_of_another_network_does_not_load_and_changes_nothing() {
    let (_folder, path, _) = saved();
    let error = load(&path, Mlp::new(&device())).unwrap_err();
    assert!(
        matches!(&error, CompressError::File(FormatError::Tensor { .. })),
        "{error}"
    );
    // Another shape, in the last layer: the ones before fit.
    let mut net = trained(1, &device());
    net.head = LinearConfig::new(72, 5).init(&device().autodiff());
    let before = outputs(&net);
    let error = load(&path, net.clone()).unwrap_err();
    let CompressError::File(FormatError::Tensor { path: tensor, what }) = &error else {
        panic!("{error}");
    };
    assert_eq!(tensor, "head.weight");
    assert!(
        what.contains("[72, 3]") && what.contains("[72, 5]"),
        "{what}"
    );
    assert_same(&outputs(&net), &before);
    // A tensor that the file lacks, and one that the module lacks.
    let mut without = Net::new(&device());
    without.up.bias = None;
    let error = load(&path, without).unwrap_err().to_string();
    assert!(error.contains("up.bias"), "{error}");
    let mut entries = Archive::load(&path).unwrap();
    entries.entries.retain(|entry| entry.path != "up.bias");
    entries.save(&path).unwrap();
    let error = load(&path, Net::new(&device())).unwrap_err().to_string();
    assert!(error.contains("up.bias"), "{error}");
}

#[test]
fn loading_into_a_clone_leaves_the_original_as_it_was() {
    let (_folder, path, _) = saved();
    let net = trained(1, &device());
    let before = outputs(&net);
    let loaded = load(&path, net.clone()).unwrap();
    assert_ne!(outputs(&loaded), before);
    assert_same(&outputs(&net), &before);
}

#[test]
fn a_plain_module_is_archived_as_it_is() {
    let net = trained(2, &device());
    let archived = archive(&net.valid()).unwrap();
    let loaded = burn_compress::compress::unpack(archived, Net::new(&device())).unwrap();
    assert_same(&outputs(&loaded), &outputs(&net));
    let mlp = Mlp::new(&device());
    let archived = archive(&mlp).unwrap();
    let loaded = burn_compress::compress::unpack(archived, Mlp::new(&device())).unwrap();
    assert_same(
        &values(loaded.embedding.weight.val()),
        &values(mlp.embedding.weight.val()),
    );
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let (folder, path, bytes) = saved();
    let plan = Plan::new().prune(Pruning::to(0.5));
    let compressed = plan.apply(Net::new(&device())).unwrap();
    // A folder in the way: the new file cannot be put there.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("file"), b"x").unwrap();
    let error = compressed.save(&taken).unwrap_err();
    assert!(matches!(error, CompressError::File(FormatError::Io { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "no rest is left"
    );
}

#[test]
fn codes_of_a_large_layer_are_those_of_its_weights() {
    // So many that threads share them out: 300 rows of 1,024.
    let (inputs, outputs) = (1024, 300);
    let values = (0..inputs * outputs).map(|index| spread(index) - 0.5);
    let values = TensorData::new(values.collect::<Vec<f32>>(), [inputs, outputs]);
    let model = || Linear {
        weight: Param::from_data(values.clone(), &device()),
        bias: None,
    };
    for scheme in [
        Scheme::new(8, Mapping::Affine, Granularity::Channel),
        Scheme::new(4, Mapping::Symmetric, Granularity::Group(32)),
    ] {
        let plan = Plan::new().quantize(Quantization::to(scheme.unwrap()));
        let compressed = plan.apply(model()).unwrap();
        let weights = compressed.module.weight.val().into_data();
        let restored = unpack(compressed.into_archive(), model()).unwrap();
        restored.weight.val().into_data().assert_eq(&weights, true);
    }
}
