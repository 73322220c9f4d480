//! Codes: their packing, the one definition of rounding, the matrix view, entropy, and whole files.

use std::collections::HashMap;

use burn_compress::format::{
    FormatError, Granularity, Mapping, QuantizedWeight, Scheme, WeightView, entropy_bits,
    pack_bits, packed_bytes, unpack_bits, write_atomically,
};
use proptest::prelude::*;

/// Elements that nobody has the memory for.
const MUCH: usize = match 1_usize.checked_shl(40) {
    Some(much) => much,
    None => usize::MAX / 2,
};

pub fn schemes() -> impl Strategy<Value = Scheme> {
    let mapping = prop_oneof![Just(Mapping::Symmetric), Just(Mapping::Affine)];
    let granularity = prop_oneof![
        Just(Granularity::Tensor),
        Just(Granularity::Channel),
        (1usize..5).prop_map(Granularity::Group),
    ];
    (2u32..=16, mapping, granularity)
        .prop_map(|(bits, mapping, granularity)| Scheme::new(bits, mapping, granularity).unwrap())
}

// A scheme with a zero point that it allows.
fn schemes_with_zero() -> impl Strategy<Value = (Scheme, i32)> {
    schemes().prop_flat_map(|scheme| {
        let points = match scheme.mapping() {
            Mapping::Symmetric => 0..=0,
            Mapping::Affine => 0..=scheme.code_range().1,
        };
        (Just(scheme), points)
    })
}

fn scales() -> impl Strategy<Value = f32> {
    // Positive, normal, of every magnitude.
    prop_oneof![
        1e-3f32..10.0,
        (0x0080_0000u32..0x7f00_0000).prop_map(f32::from_bits),
    ]
}

fn finite() -> impl Strategy<Value = f32> {
    let bits = any::<u32>().prop_map(f32::from_bits);
    prop_oneof![
        -100f32..100.0,
        bits.prop_filter("finite", |v| v.is_finite())
    ]
}

// The nearest whole number, the even one of two; written without the rounding of the library.
fn nearest(value: f64) -> f64 {
    let below = value.floor();
    match value - below {
        fraction if fraction < 0.5 => below,
        fraction if fraction > 0.5 => below + 1.0,
        _ if (below / 2.0).fract() == 0.0 => below,
        _ => below + 1.0,
    }
}

fn reference(scheme: &Scheme, value: f32, scale: f32, zero_point: i32) -> i32 {
    let (low, high) = match scheme.mapping() {
        Mapping::Symmetric => (
            1.0 - 2f64.powi(scheme.bits() as i32 - 1),
            2f64.powi(scheme.bits() as i32 - 1) - 1.0,
        ),
        Mapping::Affine => (0.0, 2f64.powi(scheme.bits() as i32) - 1.0),
    };
    // A quotient of floats is the rounded one of doubles.
    let quotient = (f64::from(value) / f64::from(scale)) as f32;
    let code = match quotient.is_infinite() {
        true => f64::from(quotient),
        false => nearest(f64::from(quotient)) + f64::from(zero_point),
    };
    code.max(low).min(high) as i32
}

proptest! {
    #[test]
    fn codes_packed_come_back(
        bits in 1u32..=16,
        codes in prop::collection::vec(any::<u32>(), 0..70),
    ) {
        let codes: Vec<u32> = codes.into_iter().map(|code| code & ((1 << bits) - 1)).collect();
        let bytes = pack_bits(&codes, bits).unwrap();
        prop_assert_eq!(bytes.len(), (codes.len() * bits as usize).div_ceil(8));
        prop_assert_eq!(bytes.len(), packed_bytes(codes.len(), bits));
        prop_assert_eq!(unpack_bits(&bytes, bits, codes.len()).unwrap(), codes.clone());
        // Bit by bit, least significant first.
        for (i, code) in codes.iter().enumerate() {
            for bit in 0..bits as usize {
                let at = i * bits as usize + bit;
                prop_assert_eq!(u32::from(bytes[at / 8] >> (at % 8) & 1), code >> bit & 1);
            }
        }
        // One byte more or less is no packing of as many codes.
        let longer = [&bytes[..], &[0]].concat();
        prop_assert!(unpack_bits(&longer, bits, codes.len()).is_err());
        if let Some((_, shorter)) = bytes.split_last() {
            prop_assert!(unpack_bits(shorter, bits, codes.len()).is_err());
        }
    }

    #[test]
    fn quantizing_equals_the_reference(
        (scheme, zero_point) in schemes_with_zero(),
        value in finite(),
        scale in scales(),
    ) {
        let code = scheme.quantize(value, scale, zero_point);
        prop_assert_eq!(code, reference(&scheme, value, scale, zero_point));
        let (low, high) = scheme.code_range();
        prop_assert!((low..=high).contains(&code));
        let product = (f64::from(code - zero_point) * f64::from(scale)) as f32;
        prop_assert_eq!(scheme.dequantize(code, scale, zero_point), product);
    }

    #[test]
    fn ties_go_to_the_even_code((scheme, zero_point) in schemes_with_zero(), half in -40i32..40) {
        let value = half as f32 + 0.5;
        let code = scheme.quantize(value, 1.0, zero_point);
        let (low, high) = scheme.code_range();
        if code != low && code != high {
            prop_assert_eq!((code - zero_point) % 2, 0);
            prop_assert_eq!((scheme.dequantize(code, 1.0, zero_point) - value).abs(), 0.5);
        }
    }

    #[test]
    fn inside_the_range_the_error_is_half_a_step(
        (scheme, zero_point) in schemes_with_zero(),
        share in 0.0..=1.0f64,
        scale in 1e-3f32..10.0,
    ) {
        let (low, high) = scheme.code_range();
        let (low, high) = (f64::from(low - zero_point), f64::from(high - zero_point));
        let value = ((low + (high - low) * share) * f64::from(scale)) as f32;
        let back = scheme.dequantize(scheme.quantize(value, scale, zero_point), scale, zero_point);
        let error = (f64::from(back) - f64::from(value)).abs() / f64::from(scale);
        // Value, quotient and product are rounded once each.
        let rounding = low.abs().max(high) * f64::from(f32::EPSILON) * 2.0;
        prop_assert!(error <= 0.5 + rounding, "{} steps", error);
    }

    #[test]
    fn quantizing_is_monotonic_and_a_projection(
        (scheme, zero_point) in schemes_with_zero(),
        mut values in prop::collection::vec(finite(), 2..20),
        scale in scales(),
    ) {
        values.sort_by(f32::total_cmp);
        let codes: Vec<i32> =
            values.iter().map(|&value| scheme.quantize(value, scale, zero_point)).collect();
        prop_assert!(codes.is_sorted(), "{:?}", codes);
        for code in codes {
            let value = scheme.dequantize(code, scale, zero_point);
            if value.is_finite() {
                prop_assert_eq!(scheme.quantize(value, scale, zero_point), code);
            }
        }
    }

    #[test]
    fn zero_is_exactly_zero((scheme, zero_point) in schemes_with_zero(), scale in scales()) {
        for zero in [0.0, -0.0] {
            let code = scheme.quantize(zero, scale, zero_point);
            prop_assert_eq!(code, zero_point);
            let back = scheme.dequantize(code, scale, zero_point);
            prop_assert_eq!(back.to_bits(), 0f32.to_bits());
        }
    }

    #[test]
    fn a_view_moves_every_weight_there_and_back(
        dims in prop::collection::vec(0usize..5, 1..=5),
        axis in 0usize..2,
    ) {
        let axis = axis.min(dims.len() - 1);
        let view = WeightView::new(dims.clone(), axis).unwrap();
        prop_assert_eq!(view.len(), dims.iter().product::<usize>());
        prop_assert_eq!(view.is_empty(), dims.contains(&0));
        if !view.is_empty() {
            prop_assert_eq!(view.rows() * view.columns(), view.len());
            prop_assert_eq!(view.rows(), if dims.len() == 1 { 1 } else { dims[axis] });
        }
        let values: Vec<usize> = (0..view.len()).collect();
        let rows = view.to_rows(&values);
        prop_assert_eq!(view.from_rows(&rows), values);
        // Each row holds one index of the output axis, in the weight's order.
        let after: usize = dims[axis + 1..].iter().product();
        for (place, value) in rows.iter().enumerate().filter(|_| dims.len() > 1) {
            prop_assert_eq!(place / view.columns(), value / after % dims[axis]);
        }
        for row in rows.chunks(view.columns().max(1)) {
            prop_assert!(row.is_sorted());
        }
    }

    #[test]
    fn entropy_is_that_of_the_counts(symbols in prop::collection::vec(0u8..6, 0..200)) {
        let mut counts = HashMap::new();
        symbols.iter().for_each(|symbol| *counts.entry(symbol).or_insert(0.0f64) += 1.0);
        let total = symbols.len() as f64;
        let expected: f64 = counts.values().map(|count| count * (total / count).log2()).sum();
        let bits = entropy_bits(&symbols);
        prop_assert!((bits - expected).abs() < 1e-9);
        prop_assert!(bits <= total * 6f64.log2() + 1e-9);
    }
}

#[test]
fn what_cannot_be_packed_is_refused() {
    for bits in [0, 17, 32, 33, 64, u32::MAX] {
        assert!(
            matches!(pack_bits(&[0], bits), Err(FormatError::Packing { bits: found }) if found == bits)
        );
        assert!(
            matches!(unpack_bits(&[], bits, 0), Err(FormatError::Packing { bits: found }) if found == bits)
        );
    }
    assert!(matches!(
        pack_bits(&[1, 8], 3),
        Err(FormatError::Code { code: 8, bits: 3 })
    ));
    // A count that overflows, and one whose memory nobody has.
    for count in [usize::MAX, usize::MAX / 16, MUCH] {
        assert!(unpack_bits(&[0; 4], 16, count).is_err());
    }
    assert_eq!(packed_bytes(usize::MAX, 16), usize::MAX);
    // Bits that belong to no code.
    assert!(unpack_bits(&[0b1000_0001], 3, 2).is_err());
    assert!(unpack_bits(&[0b0010_0001], 3, 2).is_ok());
}

#[test]
fn two_to_sixteen_bits_have_a_code() {
    for mapping in [Mapping::Symmetric, Mapping::Affine] {
        for bits in 2..=16 {
            let scheme = Scheme::new(bits, mapping, Granularity::Tensor).unwrap();
            let (low, high) = scheme.code_range();
            let codes = (high - low + 1) as u32;
            match mapping {
                Mapping::Symmetric => assert_eq!((low, codes), (-high, (1 << bits) - 1)),
                Mapping::Affine => assert_eq!((low, codes), (0, 1 << bits)),
            }
            assert_eq!(scheme.with_bits(18 - bits).unwrap().bits(), 18 - bits);
        }
        for bits in [0, 1, 17, u32::MAX] {
            let error = Scheme::new(bits, mapping, Granularity::Tensor).unwrap_err();
            assert!(matches!(error, FormatError::Bits { bits: found } if found == bits));
            assert!(error.to_string().contains(&bits.to_string()));
            assert!(
                Scheme::symmetric(4).unwrap().with_bits(bits).is_err(),
                "{bits}"
            );
        }
    }
}

#[test]
fn extreme_values_saturate_and_nan_is_zero() {
    let affine = Scheme::new(8, Mapping::Affine, Granularity::Tensor).unwrap();
    for scale in [f32::MIN_POSITIVE, 1e-40, 1.0, f32::MAX] {
        assert_eq!(affine.quantize(f32::INFINITY, scale, 3), 255);
        assert_eq!(affine.quantize(f32::NEG_INFINITY, scale, 3), 0);
        assert_eq!(affine.quantize(f32::NAN, scale, 3), 3);
    }
    assert_eq!(affine.quantize(f32::MAX, f32::MIN_POSITIVE, 3), 255);
    assert_eq!(affine.quantize(-f32::MAX, 1e-45, 3), 0);
    let wide = Scheme::symmetric(16).unwrap();
    assert_eq!(wide.quantize(f32::MAX, 1.0, 0), 32767);
    assert_eq!(wide.quantize(-f32::MAX, 1.0, 0), -32767);
    // Total: also where the arguments are no codes.
    assert!(wide.dequantize(i32::MIN, 1.0, i32::MAX) < 0.0);
}

#[test]
fn groups_divide_a_row_or_are_refused() {
    let view = WeightView::new(vec![4, 3, 2], 0).unwrap();
    let groups = |granularity| {
        Scheme::new(4, Mapping::Affine, granularity)
            .unwrap()
            .groups(&view)
    };
    assert_eq!(groups(Granularity::Tensor).unwrap(), (1, 24));
    assert_eq!(groups(Granularity::Channel).unwrap(), (4, 6));
    assert_eq!(groups(Granularity::Group(3)).unwrap(), (8, 3));
    for group in [4, 5, 7, usize::MAX] {
        let error = groups(Granularity::Group(group)).unwrap_err();
        assert!(matches!(error, FormatError::Group { columns: 6, .. }));
        assert!(error.to_string().contains(&group.to_string()));
    }
    let error = Scheme::new(4, Mapping::Affine, Granularity::Group(0));
    assert!(matches!(error, Err(FormatError::Group { group: 0, .. })));
}

#[test]
fn a_scheme_read_from_text_is_checked() {
    let scheme = Scheme::new(3, Mapping::Affine, Granularity::Group(4)).unwrap();
    let text = serde_json::to_string(&scheme).unwrap();
    assert_eq!(serde_json::from_str::<Scheme>(&text).unwrap(), scheme);
    for text in [
        r#"{"bits":1,"mapping":"affine","granularity":"tensor"}"#,
        r#"{"bits":4,"mapping":"affine","granularity":{"group":0}}"#,
        r#"{"bits":4,"mapping":"logarithmic","granularity":"tensor"}"#,
        r#"{"bits":4,"mapping":"affine","granularity":"tensor","rounding":"up"}"#,
    ] {
        assert!(serde_json::from_str::<Scheme>(text).is_err(), "{text}");
    }
}

#[test]
fn dimensions_without_output_channels_are_refused() {
    for (dims, axis) in [
        (vec![], 0),
        (vec![3], 1),
        (vec![3, 3], 2),
        (vec![3, 3], usize::MAX),
        (vec![usize::MAX, 2], 0),
        (vec![0, usize::MAX, 2], 0), // no weight, but a row could not be counted
    ] {
        let error = WeightView::new(dims.clone(), axis).unwrap_err();
        assert!(matches!(&error, FormatError::View { dims: found, .. } if *found == dims));
        let text = serde_json::json!({ "dims": dims, "output_axis": axis }).to_string();
        assert!(serde_json::from_str::<WeightView>(&text).is_err());
    }
    // Nothing, however it is spread: an answer at once.
    for dims in [vec![0, MUCH], vec![MUCH, 0], vec![1 << 31, 1 << 31, 0]] {
        for axis in [0, 1] {
            let view = WeightView::new(dims.clone(), axis).unwrap();
            assert!(view.to_rows::<f32>(&[]).is_empty());
            assert!(view.from_rows::<f32>(&[]).is_empty());
        }
    }
}

#[test]
fn codes_that_contradict_their_scheme_are_refused() {
    let view = WeightView::new(vec![2, 2], 0).unwrap();
    let symmetric = Scheme::symmetric(3).unwrap(); // -3 to 3
    let affine = Scheme::new(3, Mapping::Affine, Granularity::Channel).unwrap(); // 0 to 7
    let make = |scheme, scales: &[f32], points: &[i32], codes: &[i32]| {
        QuantizedWeight::new(
            scheme,
            &view,
            scales.to_vec(),
            points.to_vec(),
            codes.to_vec(),
        )
    };
    assert!(make(symmetric, &[1.0, 2.0], &[0, 0], &[-3, 3, 0, 1]).is_ok());
    assert!(make(affine, &[1.0, 2.0], &[0, 7], &[0, 7, 0, 1]).is_ok());
    for wrong in [
        make(symmetric, &[1.0], &[0, 0], &[0; 4]),
        make(symmetric, &[1.0, 1.0], &[0], &[0; 4]),
        make(symmetric, &[1.0, 1.0], &[0, 0], &[0; 3]),
        make(symmetric, &[1.0, 0.0], &[0, 0], &[0; 4]),
        make(symmetric, &[1.0, -1.0], &[0, 0], &[0; 4]),
        make(symmetric, &[f32::NAN, 1.0], &[0, 0], &[0; 4]),
        make(symmetric, &[f32::INFINITY, 1.0], &[0, 0], &[0; 4]),
        make(symmetric, &[1.0, 1.0], &[0, 0], &[0, 4, 0, 0]),
        make(symmetric, &[1.0, 1.0], &[0, 0], &[0, -4, 0, 0]),
        make(symmetric, &[1.0, 1.0], &[0, -2], &[0; 4]),
        make(affine, &[1.0, 1.0], &[0, 8], &[0; 4]),
        make(affine, &[1.0, 1.0], &[-1, 0], &[0; 4]),
    ] {
        assert!(matches!(wrong, Err(FormatError::Quantized { .. })));
    }
    let weight = make(affine, &[0.5, 2.0], &[1, 7], &[0, 1, 7, 6]).unwrap();
    assert_eq!(weight.values(&view).unwrap(), [-0.5, 0.0, 0.0, -2.0]);
    for dims in [vec![4, 1], vec![1, 4], vec![2, 3], vec![0, 0]] {
        let other = WeightView::new(dims, 0).unwrap();
        assert!(matches!(
            weight.values(&other),
            Err(FormatError::Quantized { .. })
        ));
    }
}

#[test]
fn entropy_by_hand() {
    assert_eq!(entropy_bits::<u8>([]), 0.0);
    assert_eq!(entropy_bits([7; 1000]), 0.0);
    assert_eq!(entropy_bits([0, 1]), 2.0);
    assert_eq!(entropy_bits([0, 1, 2, 3, 0, 1, 2, 3]), 16.0);
    // Half, a quarter, two eighths: 1.75 bits each.
    assert!((entropy_bits([0, 0, 0, 0, 1, 1, 2, 3]) - 14.0).abs() < 1e-12);
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let folder = crate::folder();
    let names = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let path = folder.path().join("model");
    write_atomically(&path, b"old").unwrap();
    write_atomically(&path, b"new").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    let deep = folder.path().join("a/b/model");
    write_atomically(&deep, b"").unwrap();
    assert_eq!(std::fs::read(&deep).unwrap(), b"");
    assert_eq!(names(), ["a", "model"]);

    // A folder cannot be replaced, nor a file hold one.
    for target in [folder.path().join("a"), path.join("below")] {
        let error = write_atomically(&target, b"bytes").unwrap_err();
        assert!(matches!(&error, FormatError::Io { path, .. } if *path == target));
        assert!(error.to_string().contains(&target.display().to_string()));
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::read(&deep).unwrap(), b"");
    assert_eq!(names(), ["a", "model"]);
}

#[cfg(unix)]
#[test]
fn a_file_may_be_read_by_whom_any_new_file_may() {
    use std::os::unix::fs::PermissionsExt;
    let folder = crate::folder();
    let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
    write_atomically(&ours, b"bytes").unwrap();
    std::fs::write(&plain, b"bytes").unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(ours), mode(plain));
}
