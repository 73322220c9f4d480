//! Compressed models as files: what goes in comes out, near its entropy; nothing else comes out.

use burn_compress::format::{
    Archive, Container, Dense, ElementType, Entry, FormatError, Granularity, Mapping, Part,
    Payload, QuantizedWeight, Scheme, WeightView,
};
use proptest::prelude::*;
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

pub fn entry(path: &str, dims: &[usize], payload: Payload) -> Entry {
    Entry {
        path: path.into(),
        dims: dims.to_vec(),
        output_axis: 0,
        groups: 1,
        payload,
    }
}

pub fn quantized(view: &WeightView, scheme: Scheme, points: Vec<i32>, codes: Vec<i32>) -> Payload {
    let scales = (1..=points.len()).map(|i| i as f32 * 0.25).collect();
    Payload::Quantized(QuantizedWeight::new(scheme, view, scales, points, codes).unwrap())
}

// A little of everything, in some 900 bytes.
pub fn small() -> Archive {
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
    let layout = (0usize..2, 1usize..4);
    (dims, layout, 0u8..4, schemes(), noise).prop_map(|(mut dims, layout, kind, scheme, noise)| {
        let output_axis = layout.0.min(dims.len() - 1);
        if let Granularity::Group(group) = scheme.granularity() {
            let within = if dims.len() > 1 { 1 - output_axis } else { 0 };
            dims[within] *= group;
        }
        let groups = if output_axis == 1 { layout.1 } else { 1 };
        dims[0] *= groups;
        let view = WeightView::grouped(dims.clone(), output_axis, groups).unwrap();
        Entry {
            path: String::new(),
            dims,
            output_axis,
            groups,
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
fn a_file_with_one_byte_altered_is_refused() {
    let altered = |good: &[u8], place: usize, by: u8| {
        let mut bytes = good.to_vec();
        bytes[place] ^= by;
        bytes
    };
    let good = small().to_bytes().unwrap();
    for place in 0..good.len() {
        for by in (0..8).map(|bit| 1 << bit) {
            let bytes = altered(&good, place, by);
            assert!(Archive::from_bytes(&bytes).is_err(), "{place} by {by}");
        }
    }

    // Each byte by each other, where its header ends in white space.
    let parts = vec![Part::bytes("part", vec![1, 2])];
    let good = Container::new("not", "{}".into(), parts)
        .to_bytes()
        .unwrap();
    let length = u64::from_le_bytes(*good.first_chunk().unwrap()) as usize;
    assert!(good[8..][..length].ends_with(b"}  "));
    for place in 0..good.len() {
        for by in 1..=255 {
            let bytes = altered(&good, place, by);
            let read = Container::from_bytes("not", &bytes);
            assert!(read.is_err(), "{place} by {by}");
        }
    }
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
        let folder = crate::folder();
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

#[test]
fn a_container_knows_its_kind_and_version() {
    let container = Container::new("notes", "{}".into(), vec![Part::bytes("a", vec![1])]);
    let bytes = container.to_bytes().unwrap();
    assert_eq!(Container::from_bytes("notes", &bytes).unwrap(), container);
    let silent = Container::new(
        "notes",
        String::new(),
        container.clone().into_parts().into_values().collect(),
    );
    assert_eq!(
        Container::from_bytes("notes", &silent.to_bytes().unwrap()).unwrap(),
        silent
    );
    let error = Container::from_bytes("model", &bytes).unwrap_err();
    assert!(error.to_string().contains("`notes`"), "{error}");
    assert!(Archive::from_bytes(&bytes).is_err());

    // What safetensors files of others lack, and what a later version of this library says.
    let metadata = |fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        let view = safetensors::tensor::TensorView::new(Dtype::U8, vec![1], &[1]).unwrap();
        safetensors::serialize([("a", view)], Some(fields.collect())).unwrap()
    };
    for version in ["2", "4294967295"] {
        let bytes = metadata(&[("burn-compress", version)]);
        match Container::from_bytes("notes", &bytes) {
            Err(FormatError::Version {
                found,
                supported: 1,
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
        metadata(&[
            ("burn-compress", "1"),
            ("kind", "notes"),
            ("checksum", "00000000"),
        ]),
    ] {
        let error = Container::from_bytes("notes", &bytes).unwrap_err();
        assert!(matches!(error, FormatError::Corrupt { .. }));
    }
    let mut misfit = Part::bytes("a", vec![1]);
    misfit.dtype = Dtype::F32;
    let misfit = Container::new("notes", "".into(), vec![misfit]);
    let error = misfit.to_bytes().unwrap_err();
    assert!(matches!(error, FormatError::Tensor { path, .. } if path == "a"));
}

#[test]
fn saving_where_it_cannot_leaves_the_old_file() {
    let folder = crate::folder();
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
