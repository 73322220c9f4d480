//! Files that someone made to look right.

use burn_compress::format::{Archive, Container, FormatError, Part, Payload, Scheme, WeightView};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::archive::{entry, quantized, small};

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

fn scheme(mapping: &str) -> String {
    format!(
        r#"{{"kind":"coded","scheme":{{"bits":4,"mapping":"{mapping}","granularity":"channel"}}}}"#
    )
}

// A part of the file of one tensor.
fn part_of(payload: Payload, dims: &[usize], name: &str) -> Part {
    let archive = Archive {
        entries: vec![entry("w", dims, payload)],
    };
    let container = Container::from_bytes("model", &archive.to_bytes().unwrap()).unwrap();
    container.into_parts().remove(name).unwrap()
}

// Where weights are zero, coded.
fn mask(kept: &[usize]) -> Part {
    let values = kept.iter().map(|&kept| kept as f32).collect();
    part_of(Payload::Sparse(values), &[kept.len()], "w.mask")
}

// Codes less their zero points, coded, of more bits than the descriptions here say.
fn codes(codes: &[i32]) -> Part {
    let view = WeightView::new(vec![1, codes.len()], 0).unwrap();
    let scheme = Scheme::symmetric(8).unwrap();
    let weight = quantized(&view, scheme, vec![0], codes.to_vec());
    part_of(weight, view.dims(), "w.codes")
}

fn altered(mut part: Part, change: impl FnOnce(&mut Vec<u8>)) -> Part {
    change(&mut part.bytes);
    part.shape = vec![part.bytes.len()];
    part
}

#[test]
fn descriptions_that_contradict_the_content_are_refused() {
    let dense = r#"{"kind":"dense"}"#;
    let masked = r#"{"kind":"masked"}"#;
    let one = |bytes: &[u8]| vec![Part::bytes("w", bytes.to_vec())];
    let list = |description: String| format!("[{description}]");
    assert!(crafted(&list(described("[2]", dense)), one(&[1, 2])).is_ok());

    let values = |values: &[f32]| part("w.values", Dtype::F32, &[values.len()], &floats(values));
    let masked_of = |dims, mask: Part, kept: &[f32]| {
        crafted(&list(described(dims, masked)), vec![mask, values(kept)])
    };
    let two = || mask(&[1, 0, 1, 0]);
    assert!(masked_of("[4]", two(), &[1.0, 2.0]).is_ok());
    assert!(masked_of("[0]", mask(&[]), &[]).is_ok());

    let q_parts = |codes: Part, scales: &[f32]| {
        vec![
            codes,
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
    let q = |mapping: &str, parts| crafted(&list(described("[1,4]", &scheme(mapping))), parts);
    let few = || codes(&[2, 0, 0, 0]);
    let good = || q_parts(few(), &[0.5]);
    assert!(q("symmetric", good()).is_ok());
    assert!(q("affine", with(good(), point(&[13]))).is_ok());

    let huge = usize::MAX / 2;
    let dense_of = |description: String, bytes: &[u8]| crafted(&list(description), one(bytes));
    let twice = [described("[2]", dense), described("[2]", dense)].join(",");
    let symmetric_of = |from: &str, to: &str| {
        let scheme = scheme("symmetric");
        assert!(scheme.contains(from));
        crafted(&list(described("[1,4]", &scheme.replace(from, to))), good())
    };
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
        crafted(&list(described("[4]", masked)), one(&[1, 2])),
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
        // Masked.
        masked_of("[4]", two(), &[1.0]),
        masked_of("[4]", two(), &[1.0, 2.0, 3.0]),
        masked_of("[4]", two(), &[1.0, 0.0]),
        masked_of("[4]", two(), &[1.0, -0.0]),
        masked_of("[4]", mask(&[1, 0, 1, 0, 1]), &[1.0, 2.0]),
        masked_of("[4]", altered(two(), |bytes| bytes.clear()), &[1.0, 2.0]),
        masked_of("[4]", altered(two(), |bytes| bytes.push(0)), &[1.0, 2.0]),
        masked_of("[9]", two(), &[1.0, 2.0]),
        masked_of("[]", mask(&[1]), &[1.0]),
        masked_of(&format!("[{huge}]"), two(), &[1.0, 2.0]),
        masked_of(&format!("[{huge},{huge}]"), two(), &[1.0, 2.0]),
        masked_of(&format!("[{huge},{huge},0]"), mask(&[]), &[]),
        masked_of("[1099511627776]", two(), &[1.0, 2.0]),
        crafted(
            &list(described("[4]", masked)),
            vec![
                two(),
                part("w.values", Dtype::I32, &[2], &floats(&[1.0, 2.0])),
            ],
        ),
        // Codes.
        q("symmetric", q_parts(codes(&[2, 0, 0, 8]), &[0.5])), // 8 is no code of 4 bits
        q("symmetric", q_parts(codes(&[2, 0, 0, 0, 3]), &[0.5])),
        q("symmetric", q_parts(altered(few(), |b| b.clear()), &[0.5])),
        q("symmetric", q_parts(altered(few(), |b| b.push(0)), &[0.5])),
        q("symmetric", q_parts(few(), &[])),
        q("symmetric", q_parts(few(), &[0.5, 0.5])),
        q("symmetric", q_parts(few(), &[0.0])),
        q("symmetric", q_parts(few(), &[-0.5])),
        q("symmetric", q_parts(few(), &[f32::NAN])),
        q("symmetric", q_parts(few(), &[f32::INFINITY])),
        q("symmetric", with(good(), point(&[3]))),
        q("symmetric", with(good(), point(&[0]))), // left out where all are zero
        q("affine", with(good(), point(&[16]))),
        q("affine", with(good(), point(&[14]))), // and 2 more is no code
        q("affine", with(good(), point(&[1, 1]))),
        q(
            "affine",
            with(good(), part("w.zero_point", Dtype::U8, &[1], &[1])),
        ),
        q("symmetric", with(good(), two())), // not described
        q("symmetric", vec![few()]),
        // Schemes.
        symmetric_of(":4", ":17"),
        symmetric_of("\"channel\"", r#"{"group":3}"#),
        symmetric_of("\"channel\"", r#"{"group":0}"#),
        crafted(
            &list(described("[4,1099511627776]", &scheme("symmetric"))),
            good(),
        ),
        // A scale for each of no rows' weights.
        crafted(
            &list(described("[1099511627776,0]", &scheme("symmetric"))),
            q_parts(codes(&[]), &[0.5]),
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
fn a_tensor_that_is_the_same_as_none_is_refused() {
    let dense = r#"{"kind":"dense"}"#;
    let tensor = |path: &str, dims: &str, encoding: &str| {
        described(dims, encoding).replacen("\"w\"", &format!("\"{path}\""), 1)
    };
    let same = |path: &str| format!(r#"{{"kind":"same_as","path":"{path}"}}"#);
    let of = |tensors: &[String]| {
        let parts = vec![Part::bytes("w", vec![1, 2])];
        crafted(&format!("[{}]", tensors.join(",")), parts)
    };
    let w = || tensor("w", "[2]", dense);
    let good = of(&[
        w(),
        tensor("a", "[2]", &same("w")),
        tensor("b", "[2]", &same("w")),
    ]);
    let good = good.unwrap();
    assert_eq!(good.content("b"), good.content("w"));
    assert_eq!(good.content("c"), None);
    assert_eq!(
        Archive::from_bytes(&good.to_bytes().unwrap()).unwrap(),
        good
    );
    let turned = |output_axis| {
        let w = tensor("w", "[1,2]", dense);
        let a = tensor("a", "[1,2]", &same("w")).replace(
            "\"output_axis\":0",
            &format!("\"output_axis\":{output_axis}"),
        );
        let part = part("w", Dtype::U8, &[1, 2], &[1, 2]);
        crafted(&format!("[{w},{a}]"), vec![part])
    };
    assert!(turned(0).is_ok());
    for (place, wrong) in [
        of(&[w(), tensor("a", "[2]", &same("c"))]),
        of(&[w(), tensor("a", "[2]", &same("a"))]),
        of(&[
            w(),
            tensor("a", "[2]", &same("b")),
            tensor("b", "[2]", &same("a")),
        ]),
        of(&[tensor("a", "[2]", &same("w")), w()]),
        of(&[
            w(),
            tensor("a", "[2]", &same("w")),
            tensor("b", "[2]", &same("a")),
        ]),
        of(&[w(), tensor("a", "[1]", &same("w"))]),
        of(&[w(), tensor("a", "[1,2]", &same("w"))]),
        of(&[w(), tensor("a", "[1099511627776]", &same("w"))]),
        of(&[w(), tensor("w", "[2]", &same("w"))]),
        of(&[
            w(),
            tensor("a", "[2]", &same("w")),
            tensor("a", "[2]", &same("w")),
        ]),
        turned(1),
    ]
    .into_iter()
    .enumerate()
    {
        match wrong {
            Err(FormatError::Tensor { path, .. }) => {
                assert!(["a", "b", "w"].contains(&&*path), "{place}: {path}");
            }
            other => panic!("{place}: {other:?}"),
        }
    }
    // Nor is such an archive written.
    for (place, path) in ["c", "a", "b"].into_iter().enumerate() {
        let mut archive = good.clone();
        archive.entries[1].payload = Payload::SameAs(path.into());
        assert!(archive.to_bytes().is_err(), "{place}");
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
fn a_header_whose_offsets_overflow_is_refused() {
    let size = u64::MAX - 3;
    let header = format!(
        r#"{{"__metadata__":{{"burn-compress":"1","kind":"model","checksum":"00000000"}},"a":{{"dtype":"U8","shape":[{size}],"data_offsets":[0,{size}]}}}}"#
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
            ("burn-compress", "1"),
            ("kind", "model"),
            ("checksum", &checksum),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_string(), value.to_string()));
        bytes = safetensors::serialize(views, Some(metadata.into_iter().collect())).unwrap();
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

/// Over the version, the kind and each part's name, type, shape and bytes.
fn checksum(kind: &str, views: &[(String, TensorView)]) -> String {
    let mut views: Vec<_> = views.iter().collect();
    views.sort_by_key(|(name, _)| name);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&1u32.to_le_bytes());
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
