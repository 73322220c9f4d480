//! Compressed models as files: what goes in comes out, near its entropy; nothing else comes out.

use std::collections::BTreeMap;

use burn_compress::format::{
    Archive, Container, Dense, ElementType, Entry, FormatError, Granularity, Mapping, Part,
    Payload, Quantized, Scheme, WeightView, packed_len,
};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::format::schemes;

const ELEMENTS: [ElementType; 13] = [
    ElementType::F64,
    ElementType::F32,
    ElementType::F16,
    ElementType::Bf16,
    ElementType::I64,
    ElementType::I32,
    ElementType::I16,
    ElementType::I8,
    ElementType::U64,
    ElementType::U32,
    ElementType::U16,
    ElementType::U8,
    ElementType::Bool,
];

fn entry(path: &str, dims: &[usize], payload: Payload) -> Entry {
    Entry {
        path: path.into(),
        dims: dims.to_vec(),
        output_axis: 0,
        payload,
    }
}

fn quantized(view: &WeightView, scheme: Scheme, points: Vec<i32>, codes: Vec<i32>) -> Payload {
    let scales = (1..=points.len()).map(|i| i as f32 * 0.25).collect();
    Payload::Quantized(Quantized::new(scheme, view, scales, points, codes).unwrap())
}

// A little of everything, in some 900 bytes.
fn small() -> Archive {
    let view = WeightView::new(vec![2, 4], 0).unwrap();
    let affine = Scheme::new(3, Mapping::Affine, Granularity::Channel).unwrap();
    let codes = vec![1, 1, 1, 1, 1, 1, 7, 6];
    Archive {
        entries: vec![
            entry("s", &[1, 4], Payload::Sparse(vec![0.0, 1.5, 0.0, -2.0])),
            entry("q", &[2, 4], quantized(&view, affine, vec![1, 6], codes)),
            entry(
                "d",
                &[],
                Payload::Dense(Dense {
                    element: ElementType::F32,
                    bytes: 2.5f32.to_le_bytes().to_vec(),
                }),
            ),
        ],
    }
}

fn payload(kind: u8, view: WeightView, scheme: Scheme, noise: Vec<u32>) -> Payload {
    let draw = |i: usize| noise[i % noise.len()].wrapping_mul(2 * i as u32 + 1);
    match kind {
        0 => {
            let element = ELEMENTS[draw(0) as usize % ELEMENTS.len()];
            let bytes = (0..view.len() * element.size()).map(|i| draw(i) as u8);
            let bool_or = |byte: u8| match element {
                ElementType::Bool => byte & 1,
                _ => byte,
            };
            Payload::Dense(Dense {
                element,
                bytes: bytes.map(bool_or).collect(),
            })
        }
        1 => {
            let value = |i| match draw(i) % 3 {
                0 => draw(i + 1) as f32 / 7.0,
                _ => 0.0,
            };
            Payload::Sparse((0..view.len()).map(value).collect())
        }
        _ => {
            let (groups, length) = scheme.groups(&view).unwrap();
            let (low, high) = scheme.code_range();
            let code = |i| low + (draw(i) % (high - low + 1) as u32) as i32;
            let points: Vec<i32> = match scheme.mapping() {
                Mapping::Symmetric => vec![0; groups],
                Mapping::Affine => (0..groups).map(|i| code(i + 3)).collect(),
            };
            // Of kind 3, most are zero: the form with a bitmap.
            let pruned = |i: usize| kind == 3 && !draw(i + 5).is_multiple_of(8);
            let codes = (0..view.len()).map(|i| match pruned(i) {
                true => points[i / length],
                false => code(i),
            });
            let codes = codes.collect();
            quantized(&view, scheme, points, codes)
        }
    }
}

fn entries() -> impl Strategy<Value = Entry> {
    let dims = prop::collection::vec(0usize..7, 1..=4);
    let noise = prop::collection::vec(any::<u32>(), 1..40);
    (dims, 0usize..2, 0u8..4, schemes(), noise).prop_map(|(mut dims, axis, kind, scheme, noise)| {
        let output_axis = axis.min(dims.len() - 1);
        if let Granularity::Group(group) = scheme.granularity() {
            let within = if dims.len() > 1 { 1 - output_axis } else { 0 };
            dims[within] *= group;
        }
        let view = WeightView::new(dims.clone(), output_axis).unwrap();
        Entry {
            path: String::new(),
            dims,
            output_axis,
            payload: payload(kind, view, scheme, noise),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_archive_comes_back(mut entries in prop::collection::vec(entries(), 0..5)) {
        for (i, entry) in entries.iter_mut().enumerate() {
            entry.path = format!("layer\"{i}\".ü");
        }
        let archive = Archive { entries };
        let bytes = archive.to_bytes().unwrap();
        prop_assert_eq!(&Archive::from_bytes(&bytes).unwrap(), &archive);
        // The same archive is the same file.
        prop_assert_eq!(&archive.to_bytes().unwrap(), &bytes);
        // And one that any other tool opens.
        prop_assert!(SafeTensors::deserialize(&bytes).is_ok());
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Archive::from_bytes(&bytes).is_err());
    }

    // Changes that a checksum of 32 bits may miss by chance are too rare to be met.
    #[test]
    fn an_altered_file_is_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let good = small().to_bytes().unwrap();
        let mut bytes = good.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        match Archive::from_bytes(&bytes) {
            Ok(_) => prop_assert_eq!(bytes, good),
            Err(_) => prop_assert_ne!(bytes, good),
        }
    }
}

#[test]
fn each_element_type_comes_back() {
    for element in ELEMENTS {
        let bytes: Vec<u8> = (0..6 * element.size()).map(|i| i as u8 & 1).collect();
        let archive = Archive {
            entries: vec![entry(
                "x",
                &[2, 3],
                Payload::Dense(Dense { element, bytes }),
            )],
        };
        let bytes = archive.to_bytes().unwrap();
        assert_eq!(Archive::from_bytes(&bytes).unwrap(), archive, "{element:?}");
    }
}

#[test]
fn a_cut_file_is_refused() {
    let bytes = small().to_bytes().unwrap();
    assert!(bytes.len() < 2000);
    for length in 0..bytes.len() {
        assert!(Archive::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
    for extra in 1..20 {
        let longer = [&bytes[..], &vec![b' '; extra]].concat();
        assert!(Archive::from_bytes(&longer).is_err());
    }
}

#[test]
fn a_file_with_one_bit_altered_is_refused() {
    let bytes = small().to_bytes().unwrap();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[place] ^= 1 << bit;
            assert!(Archive::from_bytes(&altered).is_err(), "{place}.{bit}");
        }
    }
}

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
            assert!(dense <= packed_len(20_000, bits) as f64 + 16.0);
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

#[test]
fn entries_that_contradict_themselves_are_not_written() {
    let view = WeightView::new(vec![2, 2], 0).unwrap();
    let scheme = Scheme::symmetric(4).unwrap();
    let codes = || quantized(&view, scheme, vec![0, 0], vec![1; 4]);
    let dense = |element, bytes| Payload::Dense(Dense { element, bytes });
    let mut no_axis = entry("w", &[2, 2], codes());
    no_axis.output_axis = 2;
    for wrong in [
        vec![entry("w", &[4, 1], codes())],
        vec![entry("w", &[1, 4], codes())],
        vec![entry("w", &[2, 3], codes())],
        vec![entry("w", &[], codes())],
        vec![no_axis],
        vec![entry("w", &[2, 2], Payload::Sparse(vec![1.0; 3]))],
        vec![entry("w", &[2, 2], Payload::Sparse(vec![1.0; 5]))],
        vec![entry("w", &[2], dense(ElementType::F32, vec![0; 7]))],
        vec![entry(
            "w",
            &[usize::MAX, 2],
            dense(ElementType::F32, vec![]),
        )],
        vec![entry("w", &[2], dense(ElementType::Bool, vec![1, 2]))],
        // One path twice, or two that share a name in the file.
        vec![entry("w", &[2, 2], codes()), entry("w", &[2, 2], codes())],
        vec![
            entry("w", &[2, 2], codes()),
            entry("w.codes", &[1], dense(ElementType::U8, vec![0])),
        ],
        vec![entry("__metadata__", &[1], dense(ElementType::U8, vec![0]))],
        vec![entry(
            "__description__",
            &[1],
            dense(ElementType::U8, vec![0]),
        )],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive { entries: wrong };
        let error = archive.to_bytes().unwrap_err();
        assert!(
            matches!(error, FormatError::Tensor { .. }),
            "{archive:?}: {error}"
        );
        assert!(archive.save(folder.path().join("model.bcm")).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

fn part(name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Part {
    Part {
        name: name.into(),
        dtype,
        shape: shape.to_vec(),
        bytes: bytes.to_vec(),
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

// A file with a right checksum.
fn crafted(description: &str, parts: Vec<Part>) -> Result<Archive, FormatError> {
    let container = Container::new("model", description.into(), parts);
    Archive::from_bytes(&container.to_bytes().unwrap())
}

fn described(dims: &str, encoding: &str) -> String {
    format!(r#"{{"path":"w","dims":{dims},"output_axis":0,"encoding":{encoding}}}"#)
}

// The forms of version 1, whose parts are easily written by hand.
fn codes(mapping: &str, bitmap: bool) -> String {
    format!(
        r#"{{"kind":"quantized","scheme":{{"bits":4,"mapping":"{mapping}","granularity":"channel"}},"bitmap":{bitmap}}}"#
    )
}

#[test]
fn descriptions_that_contradict_the_content_are_refused() {
    let dense = r#"{"kind":"dense"}"#;
    let sparse = r#"{"kind":"sparse"}"#;
    let one = |bytes: &[u8]| vec![Part::bytes("w", bytes.to_vec())];
    let list = |description: String| format!("[{description}]");
    assert!(crafted(&list(described("[2]", dense)), one(&[1, 2])).is_ok());

    let sparse_parts = |map: &[u8], values: &[f32]| {
        vec![
            Part::bytes("w.bitmap", map.to_vec()),
            part("w.values", Dtype::F32, &[values.len()], &floats(values)),
        ]
    };
    let sparse_of = |dims, map: &[u8], values: &[f32]| {
        crafted(&list(described(dims, sparse)), sparse_parts(map, values))
    };
    assert!(sparse_of("[4]", &[0b0101], &[1.0, 2.0]).is_ok());
    assert!(sparse_of("[0]", &[], &[]).is_ok());

    let q_parts = |packed: &[u8], scales: &[f32]| {
        vec![
            Part::bytes("w.codes", packed.to_vec()),
            part("w.scale", Dtype::F32, &[scales.len()], &floats(scales)),
        ]
    };
    let with = |mut parts: Vec<Part>, more: Part| {
        parts.push(more);
        parts
    };
    let point = |points: &[u16]| {
        let bytes: Vec<u8> = points
            .iter()
            .flat_map(|point| point.to_le_bytes())
            .collect();
        part("w.zero_point", Dtype::U16, &[points.len()], &bytes)
    };
    let map = |byte: u8| Part::bytes("w.bitmap", vec![byte]);
    let q = |mapping: &str, bitmap: bool, parts| {
        crafted(&list(described("[1,4]", &codes(mapping, bitmap))), parts)
    };
    let good = || q_parts(&[0x79, 0x77], &[0.5]); // 2, 0, 0, 0 above -7
    assert!(q("symmetric", false, good()).is_ok());
    assert!(q("affine", false, with(good(), point(&[15]))).is_ok());
    assert!(
        q(
            "symmetric",
            true,
            with(q_parts(&[0x09], &[0.5]), map(0b0001))
        )
        .is_ok()
    );

    let huge = usize::MAX / 2;
    let dense_of = |description: String, bytes: &[u8]| crafted(&list(description), one(bytes));
    let twice = [described("[2]", dense), described("[2]", dense)].join(",");
    let wrong = [
        // Descriptions.
        crafted("", one(&[1])),
        crafted("{}", one(&[1])),
        crafted(&"[".repeat(100_000), one(&[1])),
        crafted("[{}]", one(&[1])),
        dense_of(described("[2]", r#"{"kind":"entropy"}"#), &[1, 2]),
        dense_of(described("[-2]", dense), &[1, 2]),
        dense_of(described("[1e3]", dense), &[1, 2]),
        dense_of(described("[99999999999999999999]", dense), &[1, 2]),
        dense_of(described("[2]", dense).replace("\"w\"", "7"), &[1, 2]),
        dense_of(
            described("[2]", dense).replace(":0", ":0,\"more\":1"),
            &[1, 2],
        ),
        // Missing, extra, described twice.
        crafted(&list(described("[2]", dense)), vec![]),
        crafted("[]", one(&[1, 2])),
        crafted(&list(twice), one(&[1, 2])),
        crafted(&list(described("[4]", sparse)), one(&[1, 2])),
        // Dense.
        dense_of(described("[3]", dense), &[1, 2]),
        dense_of(described("[1,2]", dense), &[1, 2]),
        dense_of(described(&format!("[{huge},4]"), dense), &[1, 2]),
        crafted(
            &list(described("[2]", dense)),
            vec![part("w", Dtype::BOOL, &[2], &[1, 2])],
        ),
        crafted(
            &list(described("[2]", dense)),
            vec![part("w", Dtype::F8_E4M3, &[2], &[1, 2])],
        ),
        // Sparse.
        sparse_of("[4]", &[0b0101], &[1.0]),
        sparse_of("[4]", &[0b0101], &[1.0, 2.0, 3.0]),
        sparse_of("[4]", &[0b0101], &[1.0, 0.0]),
        sparse_of("[4]", &[0b0101], &[1.0, -0.0]),
        sparse_of("[4]", &[0b1_0101], &[1.0, 2.0]),
        sparse_of("[4]", &[0b0101, 0], &[1.0, 2.0]),
        sparse_of("[9]", &[0b0101], &[1.0, 2.0]),
        sparse_of("[]", &[1], &[1.0]),
        sparse_of(&format!("[{huge}]"), &[0b0101], &[1.0, 2.0]),
        sparse_of(&format!("[{huge},{huge}]"), &[0b0101], &[1.0, 2.0]),
        sparse_of(&format!("[{huge},{huge},0]"), &[], &[]),
        sparse_of("[1099511627776]", &[0b0101], &[1.0, 2.0]),
        crafted(
            &list(described("[4]", sparse)),
            vec![
                Part::bytes("w.bitmap", vec![0b0101]),
                part("w.values", Dtype::I32, &[2], &floats(&[1.0, 2.0])),
            ],
        ),
        // Codes.
        q("symmetric", false, q_parts(&[0x79, 0xf7], &[0.5])), // 15 - 7 is no code
        q("symmetric", false, q_parts(&[0x79], &[0.5])),
        q("symmetric", false, q_parts(&[0x79, 0x77, 0], &[0.5])),
        q("symmetric", false, q_parts(&[0x79, 0x77], &[])),
        q("symmetric", false, q_parts(&[0x79, 0x77], &[0.5, 0.5])),
        q("symmetric", false, q_parts(&[0x79, 0x77], &[0.0])),
        q("symmetric", false, q_parts(&[0x79, 0x77], &[-0.5])),
        q("symmetric", false, q_parts(&[0x79, 0x77], &[f32::NAN])),
        q("symmetric", false, q_parts(&[0x79, 0x77], &[f32::INFINITY])),
        q("symmetric", false, with(good(), point(&[3]))),
        q("symmetric", false, with(good(), point(&[0]))), // left out where all are zero
        q("affine", false, with(good(), point(&[16]))),
        q("affine", false, with(good(), point(&[1, 1]))),
        q(
            "affine",
            false,
            with(good(), part("w.zero_point", Dtype::U8, &[1], &[1])),
        ),
        q("symmetric", false, with(good(), map(0b0001))), // not described
        q("symmetric", true, good()),
        q(
            "symmetric",
            true,
            with(q_parts(&[0x79], &[0.5]), map(0b0001)),
        ),
        q(
            "symmetric",
            true,
            with(q_parts(&[0x09], &[0.5]), map(0b1_0001)),
        ),
        q(
            "symmetric",
            true,
            with(q_parts(&[0x07], &[0.5]), map(0b0001)),
        ), // zero, said not to be
        // Schemes.
        crafted(
            &list(described(
                "[1,4]",
                &codes("symmetric", false).replace(":4", ":17"),
            )),
            good(),
        ),
        crafted(
            &list(described(
                "[1,4]",
                &codes("symmetric", false).replace("\"channel\"", r#"{"group":3}"#),
            )),
            good(),
        ),
        crafted(
            &list(described(
                "[1,4]",
                &codes("symmetric", false).replace("\"channel\"", r#"{"group":0}"#),
            )),
            good(),
        ),
        crafted(
            &list(described("[4,1099511627776]", &codes("symmetric", false))),
            good(),
        ),
        // A scale for each of no rows' weights.
        crafted(
            &list(described("[1099511627776,0]", &codes("symmetric", false))),
            q_parts(&[], &[0.5]),
        ),
    ];
    for (i, result) in wrong.into_iter().enumerate() {
        match result {
            Err(FormatError::Tensor { .. } | FormatError::Corrupt { .. }) => {}
            other => panic!("{i}: {other:?}"),
        }
    }
}

#[test]
fn coded_parts_that_contradict_themselves_are_refused() {
    let mut archive = small();
    archive.entries.truncate(2);
    let container = Container::from_bytes("model", &archive.to_bytes().unwrap()).unwrap();
    let description = container.description().to_string();
    let parts: Vec<Part> = container.into_parts().into_values().collect();
    assert_eq!(crafted(&description, parts.clone()).unwrap(), archive);
    for place in 0..parts.len() {
        let refused = |bytes: Vec<u8>| {
            let mut parts = parts.clone();
            let size = parts[place].dtype.bitsize() / 8;
            parts[place].shape = vec![bytes.len() / size];
            parts[place].bytes = bytes;
            // Whole elements: a container refuses anything else.
            if parts[place].bytes.len().is_multiple_of(size) {
                let name = &parts[place].name.clone();
                assert!(crafted(&description, parts).is_err(), "{name}");
            }
        };
        let bytes = &parts[place].bytes;
        refused(vec![]);
        (0..bytes.len()).for_each(|length| refused(bytes[..length].to_vec()));
        (1..9).for_each(|more| refused([&bytes[..], &vec![0; more]].concat()));
    }
    // More weights than such few bytes can stand for, and than memory holds.
    for dims in ["[1,4096]", "[1,1099511627776]", "[1,9223372036854775807]"] {
        let description = description.replace("[1,4]", dims);
        assert!(crafted(&description, parts.clone()).is_err(), "{dims}");
    }
}

#[test]
fn a_container_knows_its_kind_and_version() {
    let container = Container::new("notes", "{}".into(), vec![Part::bytes("a", vec![1])]);
    let bytes = container.to_bytes().unwrap();
    assert_eq!(Container::from_bytes("notes", &bytes).unwrap(), container);
    let error = Container::from_bytes("model", &bytes).unwrap_err();
    assert!(error.to_string().contains("`notes`"), "{error}");
    assert!(Archive::from_bytes(&bytes).is_err());

    // What safetensors files of others lack, and what a later version of this library says.
    let metadata = |fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        let view = safetensors::tensor::TensorView::new(Dtype::U8, vec![1], &[1]).unwrap();
        safetensors::serialize([("a", view)], Some(fields.collect())).unwrap()
    };
    for version in ["3", "4294967295"] {
        let bytes = metadata(&[("burn-compress", version)]);
        match Container::from_bytes("notes", &bytes) {
            Err(FormatError::Version {
                found,
                supported: 2,
            }) => {
                assert_eq!(found.to_string(), version);
            }
            other => panic!("{other:?}"),
        }
    }
    let other = safetensors::serialize(Vec::<(&str, safetensors::tensor::TensorView)>::new(), None);
    for bytes in [
        other.unwrap(),
        metadata(&[]),
        metadata(&[("burn-compress", "0")]),
        metadata(&[("burn-compress", "-1")]),
        metadata(&[("burn-compress", "one")]),
        metadata(&[("burn-compress", "1")]),
        metadata(&[("burn-compress", "1"), ("kind", "notes")]),
        metadata(&[("burn-compress", "2"), ("kind", "notes")]),
        metadata(&[
            ("burn-compress", "2"),
            ("kind", "notes"),
            ("checksum", "00000000"),
        ]),
        metadata(&[
            ("burn-compress", "1"),
            ("kind", "notes"),
            ("description", "{}"),
        ]),
        metadata(&[
            ("burn-compress", "1"),
            ("kind", "notes"),
            ("description", "{}"),
            ("checksum", "00000000"),
        ]),
    ] {
        let error = Container::from_bytes("notes", &bytes).unwrap_err();
        assert!(matches!(error, FormatError::Corrupt { .. }));
    }
    let misfit = Container::new("notes", "".into(), vec![part("a", Dtype::F32, &[1], &[1])]);
    let error = misfit.to_bytes().unwrap_err();
    assert!(matches!(error, FormatError::Tensor { path, .. } if path == "a"));
}

#[test]
fn saving_where_it_cannot_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    let size = small().save(&path).unwrap();
    assert_eq!(size, std::fs::metadata(&path).unwrap().len());
    assert_eq!(Archive::load(&path).unwrap(), small());
    let error = small().save(path.join("below")).unwrap_err();
    assert!(matches!(error, FormatError::Io { .. }));
    let mut broken = small();
    broken.entries[0].dims = vec![7];
    assert!(broken.save(&path).is_err());
    assert_eq!(Archive::load(&path).unwrap(), small());
    let missing = folder.path().join("missing.bcm");
    let error = Archive::load(&missing).unwrap_err();
    assert!(error.to_string().contains("missing.bcm"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn files_of_version_1_load() {
    let old = include_bytes!("../data/version1-model.bcm");
    assert_eq!(Archive::from_bytes(old).unwrap(), small());
    let (length, _) = old.split_first_chunk().unwrap();
    let header = u64::from_le_bytes(*length) as usize + 8;
    for place in header..old.len() {
        let mut altered = old.to_vec();
        altered[place] ^= 1;
        assert!(Archive::from_bytes(&altered).is_err(), "{place}");
    }
}

#[test]
fn a_header_whose_offsets_overflow_is_refused() {
    let size = u64::MAX - 3;
    let header = format!(
        r#"{{"__metadata__":{{"burn-compress":"2","kind":"model","checksum":"00000000"}},"a":{{"dtype":"U8","shape":[{size}],"data_offsets":[0,{size}]}}}}"#
    );
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let error = Archive::from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, FormatError::Corrupt { .. }));
}

#[test]
fn a_description_that_expands_without_end_is_refused() {
    let deflated = miniz_oxide::deflate::compress_to_vec_zlib(&vec![b' '; 1 << 22], 9);
    assert!(deflated.len() < 5000); // of which 1024 times as much would be read
    let with = |description: &[u8]| {
        let mut bytes = small().to_bytes().unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let view = |name: &str| tensors.tensor(name).unwrap();
        let others = tensors
            .names()
            .into_iter()
            .filter(|name| *name != "__description__");
        let mut views: Vec<_> = others.map(|name| (name.to_string(), view(name))).collect();
        let part = TensorView::new(Dtype::U8, vec![description.len()], description).unwrap();
        views.push(("__description__".into(), part));
        let checksum = checksum("model", &views);
        let metadata = [
            ("burn-compress", "2"),
            ("kind", "model"),
            ("checksum", &checksum),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_string(), value.to_string()));
        bytes = safetensors::serialize(views, Some(metadata.into())).unwrap();
        Archive::from_bytes(&bytes)
    };
    let whole = small().to_bytes().unwrap();
    let whole = SafeTensors::deserialize(&whole).unwrap();
    let description = whole.tensor("__description__").unwrap().data();
    assert_eq!(with(description).unwrap(), small());
    for wrong in [
        &deflated[..],
        b"",
        b"{}",
        &description[1..],
        &description[..20],
    ] {
        let error = with(wrong).unwrap_err();
        assert!(matches!(error, FormatError::Corrupt { .. }), "{error}");
    }
}

/// Over the kind and each part's name, type, shape and bytes.
fn checksum(kind: &str, views: &[(String, TensorView)]) -> String {
    let mut views: Vec<_> = views.iter().collect();
    views.sort_by_key(|(name, _)| name);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(kind.as_bytes());
    for (name, view) in views {
        hasher.update(format!("{name} {} {:?}", view.dtype(), view.shape()).as_bytes());
        hasher.update(view.data());
    }
    format!("{:08x}", hasher.finalize())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // Whoever can alter a file can also set its checksum.
    #[test]
    fn a_forged_file_never_panics(
        text in prop::collection::vec((any::<prop::sample::Index>(), "[0-9a-z\\[\\]{},:.\"-]{0,3}", 0usize..3), 0..3),
        parts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..4), 0usize..4), 1..4),
    ) {
        let container = Container::from_bytes("model", &small().to_bytes().unwrap()).unwrap();
        let mut description = container.description().to_string();
        for (place, text, removed) in text {
            let place = place.index(description.len());
            let end = (place + removed).min(description.len());
            description.replace_range(place..end, &text);
        }
        let mut all: Vec<Part> = container.into_parts().into_values().collect();
        for (part, place, bytes, removed) in parts {
            let count = all.len();
            let part = &mut all[part.index(count)];
            let place = place.index(part.bytes.len() + 1);
            let end = (place + removed).min(part.bytes.len());
            part.bytes.splice(place..end, bytes);
            // Whole elements: a container refuses anything else.
            part.dtype = if part.bytes.len().is_multiple_of(4) { part.dtype } else { Dtype::U8 };
            let size = part.dtype.bitsize() / 8;
            part.shape = vec![part.bytes.len() / size];
        }
        if let Ok(archive) = crafted(&description, all) {
            let again = Archive::from_bytes(&archive.to_bytes().unwrap()).unwrap();
            prop_assert_eq!(again, archive);
        }
    }
}
