//! What models take as files, next to their entropy.

use std::collections::BTreeMap;

use burn_compress::format::{
    Archive, Container, Dense, ElementType, Granularity, Mapping, Payload, Scheme, WeightView,
    packed_bytes,
};

use super::archive::{entry, quantized};

fn part_sizes(archive: &Archive) -> BTreeMap<String, usize> {
    let bytes = archive.to_bytes().unwrap();
    assert_eq!(Archive::from_bytes(&bytes).unwrap(), *archive);
    let parts = Container::from_bytes("model", &bytes).unwrap().into_parts();
    let sizes = parts
        .into_iter()
        .map(|(name, part)| (name, part.bytes.len()));
    sizes.collect()
}

/// A part's size, where the file's other parts have these.
fn size_of(archive: &Archive, name: &str, others: &[(&str, usize)]) -> usize {
    let mut sizes = part_sizes(archive);
    let size = sizes.remove(name).unwrap();
    let others = others.iter().map(|(name, size)| (name.to_string(), *size));
    assert_eq!(sizes, others.collect());
    size
}

/// Numbers that look random, 0 to below 1.
fn noise() -> impl FnMut() -> f64 {
    let mut state = 5u64;
    move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[test]
fn codes_take_their_entropy_or_their_true_bits() {
    let view = WeightView::new(vec![40, 500], 0).unwrap();
    for bits in 2..=16 {
        for mapping in [Mapping::Symmetric, Mapping::Affine] {
            let scheme = Scheme::new(bits, mapping, Granularity::Channel).unwrap();
            let (low, high) = scheme.code_range();
            let (point, others) = match mapping {
                Mapping::Symmetric => (0, vec![("w.scale", 160)]),
                Mapping::Affine => (1, vec![("w.scale", 160), ("w.zero_point", 80)]),
            };
            let mut noise = noise();
            let mut size = |density: f64| {
                let mut code = || {
                    // Any code but zero.
                    let code = low + (noise() * f64::from(high - low)) as i32;
                    match noise() < density {
                        true => code + i32::from(code >= point),
                        false => point,
                    }
                };
                let codes = (0..20_000).map(|_| code()).collect();
                let payload = quantized(&view, scheme, vec![point; 40], codes);
                let entries = vec![entry("w", &[40, 500], payload)];
                size_of(&Archive { entries }, "w.codes", &others) as f64
            };
            let bits_of_code = f64::from(high - low).log2();
            let near = |bits: f64| {
                let bytes = 20_000.0 * bits / 8.0;
                bytes * 0.98..bytes * 1.02 + 100.0
            };
            let dense = size(1.0);
            assert!(near(bits_of_code).contains(&dense), "{bits}: {dense}");
            assert!(dense <= packed_bytes(20_000, bits) as f64 + 16.0);
            // Nine tenths pruned: 0.469 bits for where, and the codes of a tenth.
            let sparse = size(0.1);
            let range = near(0.469 + 0.1 * bits_of_code);
            assert!(range.contains(&sparse), "{bits}: {sparse}, not {range:?}");
        }
    }
}

#[test]
fn weights_at_any_sparsity_take_little_more_than_their_entropy() {
    let view = WeightView::new(vec![1, 20_000], 0).unwrap();
    for bits in [2, 3, 4, 8] {
        let scheme = Scheme::new(bits, Mapping::Symmetric, Granularity::Tensor).unwrap();
        let high = f64::from(scheme.code_range().1);
        for zeros in [0.0, 0.3, 0.7, 0.9, 0.97, 0.995, 0.9999] {
            let mut noise = noise();
            // The sum of three: about normal.
            let mut code = || match noise() < zeros {
                true => 0,
                false => ((2.0 / 3.0 * (noise() + noise() + noise()) - 1.0) * high).round() as i32,
            };
            let codes = (0..20_000).map(|_| code()).collect();
            let payload = quantized(&view, scheme, vec![0], codes);
            let bound = payload.entropy_bits() / 8.0 - 4.0;
            let entries = vec![entry("w", &[1, 20_000], payload)];
            let size = size_of(&Archive { entries }, "w.codes", &[("w.scale", 4)]) as f64;
            let range = bound * 0.98..bound * 1.01 + 130.0;
            assert!(
                range.contains(&size),
                "{bits} bits, {zeros} zero: {size}, not {bound}"
            );
        }
    }
}

#[test]
fn sparse_weights_take_a_coded_mask_and_a_float_each_that_is_left() {
    let mut noise = noise();
    for zeros in [0.5, 0.9, 0.99] {
        let values: Vec<f32> = (0..20_000)
            .map(|_| {
                if noise() < zeros {
                    0.0
                } else {
                    noise() as f32 + 0.1
                }
            })
            .collect();
        let kept = values.iter().filter(|value| **value != 0.0).count();
        let payload = Payload::Sparse(values);
        let bound = payload.entropy_bits() / 8.0 - 4.0 * kept as f64;
        let entries = vec![entry("w", &[20_000], payload)];
        let mask = size_of(&Archive { entries }, "w.mask", &[("w.values", kept * 4)]) as f64;
        assert!(
            (bound * 0.98..bound * 1.02 + 40.0).contains(&mask),
            "{mask}, not {bound}"
        );
    }
    let archive = Archive {
        entries: vec![entry("w", &[3], Payload::Sparse(vec![1.0, -0.0, 0.0]))],
    };
    let loaded = Archive::from_bytes(&archive.to_bytes().unwrap()).unwrap();
    let Payload::Sparse(values) = &loaded.entries[0].payload else {
        panic!()
    };
    assert_eq!(values[1].to_bits(), 0); // a negative zero is stored as zero
}

#[test]
fn the_entropy_bound_by_hand() {
    let sparse = Payload::Sparse(vec![0.0, 0.0, 3.0, 0.0]);
    let place = 4.0 * (0.25 * 4f64.log2() + 0.75 * (4.0f64 / 3.0).log2());
    assert!((sparse.entropy_bits() - place - 32.0).abs() < 1e-9);

    let view = WeightView::new(vec![1, 4], 0).unwrap();
    let scheme = Scheme::symmetric(8).unwrap();
    let codes = quantized(&view, scheme, vec![0], vec![5, 5, -5, -5]);
    assert!((codes.entropy_bits() - 4.0 - 32.0).abs() < 1e-9);

    // Zero is another code in each group, yet always zero.
    let view = WeightView::new(vec![64, 4], 0).unwrap();
    let scheme = Scheme::new(8, Mapping::Affine, Granularity::Channel).unwrap();
    let points: Vec<i32> = (0..64).map(|i| i + 1).collect();
    let zeros = points.iter().flat_map(|&point| [point; 4]).collect();
    let zeros = quantized(&view, scheme, points, zeros);
    assert_eq!(zeros.entropy_bits(), 64.0 * 48.0);

    let dense = Payload::Dense(Dense {
        element: ElementType::I16,
        bytes: vec![0; 6],
    });
    assert_eq!(dense.entropy_bits(), 48.0);
    let archive = Archive {
        entries: vec![entry("a", &[3], dense), entry("b", &[1, 4], sparse)],
    };
    let bits: f64 = 48.0 + 32.0 + place;
    assert_eq!(archive.entropy_bytes(), (bits / 8.0).ceil() as u64);
}
