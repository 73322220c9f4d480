//! Ranges, and fake quantization on the device against the scalar definition.

use burn::tensor::{Tensor, TensorData};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::quantize::{
    LearnedStep, LeastSquares, MinMax, Parameters, Percentile, Quantizer, fake_quantize,
};
use proptest::prelude::*;

use super::device::{cases, device};

// A GPU divides to within a few units in the last place: a value next to a tie may get the other code.
fn divides_exactly() -> bool {
    std::env::var("BURN_COMPRESS_DEVICE").as_deref() != Ok("wgpu")
}

fn tensor(groups: &[Vec<f32>]) -> Tensor<2> {
    let data = TensorData::new(groups.concat(), [groups.len(), groups[0].len()]);
    Tensor::from_data(data, &device())
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn scheme(bits: u32, mapping: Mapping) -> Scheme {
    Scheme::new(bits, mapping, Granularity::Channel).unwrap()
}

fn mappings() -> impl Strategy<Value = Mapping> {
    prop_oneof![Just(Mapping::Symmetric), Just(Mapping::Affine)]
}

#[derive(Debug, Clone, Copy)]
enum Ranges {
    Whole,
    Percentile,
    LeastSquares,
    LearnedStep,
}

impl Ranges {
    fn parameters(self, values: Tensor<2>, scheme: &Scheme) -> Parameters {
        match self {
            Self::Whole => MinMax.parameters(values, scheme),
            Self::Percentile => Percentile { outside: 0.25 }.parameters(values, scheme),
            Self::LeastSquares => LeastSquares.parameters(values, scheme),
            Self::LearnedStep => LearnedStep.parameters(values, scheme),
        }
    }
}

fn ranges() -> impl Strategy<Value = Ranges> {
    prop::sample::select(vec![
        Ranges::Whole,
        Ranges::Percentile,
        Ranges::LeastSquares,
        Ranges::LearnedStep,
    ])
}

// Equally long groups: usual, all of one sign, with an outlier, pruned, constant, nothing.
fn groups() -> impl Strategy<Value = Vec<Vec<f32>>> {
    prop::sample::select(vec![1usize, 2, 7, 12]).prop_flat_map(|length| {
        let values = |range: std::ops::Range<f32>| prop::collection::vec(range, length);
        let group = prop_oneof![
            4 => values(-1.0..1.0),
            1 => values(0.5..0.6),
            1 => values(-3.0..-1e-3),
            1 => values(-1.0..1.0).prop_map(|mut group| { group[0] *= 1000.0; group }),
            1 => values(-1.0..1.0).prop_map(|mut group| { group[1..].fill(0.0); group }),
            1 => (-2.0f32..2.0).prop_map(move |value| vec![value; length]),
            1 => Just(vec![0.0; length]),
        ];
        prop_oneof![
            prop::collection::vec(group.clone(), 1),
            prop::collection::vec(group, 4),
        ]
    })
}

// Finite floats of any size.
fn extreme_groups() -> impl Strategy<Value = Vec<Vec<f32>>> {
    let value = prop_oneof![
        3 => any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |v| v.is_finite()),
        1 => prop::sample::select(vec![
            f32::MAX, -f32::MAX, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1e-45, -1e-45, 0.0, -0.0,
        ]),
    ];
    prop::collection::vec(prop::collection::vec(value, 6), 1..4)
}

fn error(groups: &[Vec<f32>], seen: &[f32]) -> Vec<f64> {
    let length = groups[0].len();
    let pairs = groups.iter().zip(seen.chunks(length));
    let squared = |(value, seen): (&f32, &f32)| (f64::from(*value) - f64::from(*seen)).powi(2);
    pairs
        .map(|(group, seen)| group.iter().zip(seen).map(squared).sum())
        .collect()
}

// What every quantizer promises, whatever the values.
fn check_parameters(parameters: &Parameters, scheme: &Scheme, groups: usize) {
    let (scales, points) = (
        host(parameters.scale.clone()),
        host(parameters.zero_point.clone()),
    );
    assert_eq!((scales.len(), points.len()), (groups, groups));
    for scale in scales {
        assert!(scale.is_normal() && scale > 0.0, "scale {scale}");
    }
    let (low, high) = scheme.code_range();
    for point in points {
        assert_eq!(point.fract(), 0.0);
        assert!((low..=high).contains(&(point as i32)));
        assert!(scheme.mapping() == Mapping::Affine || point == 0.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64)))]

    #[test]
    fn the_device_computes_what_the_scheme_defines(
        groups in groups(),
        bits in 2u32..=16,
        mapping in mappings(),
        ranges in ranges(),
    ) {
        let scheme = scheme(bits, mapping);
        let parameters = ranges.parameters(tensor(&groups), &scheme);
        check_parameters(&parameters, &scheme, groups.len());
        let seen = host(fake_quantize(tensor(&groups), &parameters, &scheme));
        let (scales, points) = (host(parameters.scale), host(parameters.zero_point));
        let length = groups[0].len();
        for (i, (value, seen)) in groups.concat().into_iter().zip(seen).enumerate() {
            let (scale, point) = (scales[i / length], points[i / length] as i32);
            let expected = scheme.dequantize(scheme.quantize(value, scale, point), scale, point);
            if divides_exactly() {
                prop_assert_eq!(seen.to_bits(), expected.to_bits(), "{} {}", seen, expected);
            } else {
                prop_assert!((seen - expected).abs() <= 1.001 * scale, "{} {}", seen, expected);
            }
            if value == 0.0 {
                prop_assert_eq!(seen, 0.0);
            }
        }
    }

    #[test]
    fn values_of_any_size_stay_finite(
        groups in extreme_groups(),
        bits in 2u32..=16,
        mapping in mappings(),
        ranges in ranges(),
    ) {
        let scheme = scheme(bits, mapping);
        let parameters = ranges.parameters(tensor(&groups), &scheme);
        check_parameters(&parameters, &scheme, groups.len());
        let seen = host(fake_quantize(tensor(&groups), &parameters, &scheme));
        for (value, seen) in groups.concat().into_iter().zip(seen) {
            prop_assert!(seen.is_finite(), "{} of {}", seen, value);
            prop_assert!(value != 0.0 || seen == 0.0);
        }
    }

    #[test]
    fn the_whole_range_is_covered_to_half_a_step(
        groups in groups(),
        bits in 2u32..=16,
        mapping in mappings(),
    ) {
        let scheme = scheme(bits, mapping);
        let parameters = MinMax.parameters(tensor(&groups), &scheme);
        let seen = host(fake_quantize(tensor(&groups), &parameters, &scheme));
        let scales = host(parameters.scale);
        let length = groups[0].len();
        for (i, (value, seen)) in groups.concat().into_iter().zip(seen).enumerate() {
            // Affine zero points are rounded too, which moves the ends by up to half a step.
            let steps = if mapping == Mapping::Affine { 1.0 } else { 0.5 };
            let bound = scales[i / length] * steps + value.abs() * 1e-6;
            prop_assert!((seen - value).abs() <= bound * 1.001, "{} of {}", seen, value);
        }
    }

    #[test]
    fn least_squares_are_never_worse_than_the_whole_range(
        groups in groups(),
        bits in 2u32..=16,
        mapping in mappings(),
    ) {
        let scheme = scheme(bits, mapping);
        let error_of = |quantizer: &dyn Quantizer| {
            let parameters = quantizer.parameters(tensor(&groups), &scheme);
            error(&groups, &host(fake_quantize(tensor(&groups), &parameters, &scheme)))
        };
        let (least, whole) = (error_of(&LeastSquares), error_of(&MinMax));
        for (least, whole) in least.into_iter().zip(whole) {
            prop_assert!(least <= whole * (1.0 + 1e-5), "{} over {}", least, whole);
        }
    }

    #[test]
    fn percentiles_equal_those_of_sorting(
        groups in groups(),
        outside in 0.0..0.5f64,
        bits in 2u32..=16,
        mapping in mappings(),
    ) {
        let scheme = scheme(bits, mapping);
        let parameters = Percentile { outside }.parameters(tensor(&groups), &scheme);
        let ends = |group: &Vec<f32>| {
            let mut sorted = group.clone();
            sorted.sort_by(f32::total_cmp);
            let all = (sorted[0], sorted[sorted.len() - 1]);
            let left_out = (outside * sorted.len() as f64).floor() as usize;
            while sorted.len() > 2 && sorted.len() > group.len() - 2 * left_out {
                sorted.pop();
                sorted.remove(0);
            }
            match (sorted[0], sorted[sorted.len() - 1]) {
                (low, high) if low == 0.0 && high == 0.0 => all, // all but pruned away
                ends => ends,
            }
        };
        let (low, high): (Vec<f32>, Vec<f32>) = groups.iter().map(ends).unzip();
        let column = |ends: Vec<f32>| {
            let count = ends.len();
            Tensor::<2>::from_data(TensorData::new(ends, [count, 1]), &device())
        };
        let expected = Parameters::for_range(column(low), column(high), &scheme);
        prop_assert_eq!(host(parameters.scale), host(expected.scale));
        prop_assert_eq!(host(parameters.zero_point), host(expected.zero_point));
    }

    #[test]
    fn the_gradient_passes_straight_through(
        groups in groups(),
        bits in 2u32..=16,
        mapping in mappings(),
        ranges in ranges(),
    ) {
        let scheme = scheme(bits, mapping);
        let data = tensor(&groups).into_data();
        let autodiff = device().autodiff();
        let values = Tensor::<2>::from_data(data, &autodiff).require_grad();
        let parameters = ranges.parameters(values.clone(), &scheme);
        let parameters = Parameters {
            scale: parameters.scale.detach(),
            zero_point: parameters.zero_point.detach(),
        };
        let seen = fake_quantize(values.clone(), &parameters, &scheme);
        let gradients = seen.clone().sum().backward();
        let gradient = values.grad(&gradients).unwrap();
        prop_assert!(host(gradient).into_iter().all(|gradient| gradient == 1.0));

        // Training sees what is deployed.
        let plain = ranges.parameters(tensor(&groups), &scheme);
        let plain = host(fake_quantize(tensor(&groups), &plain, &scheme));
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        prop_assert_eq!(bits(host(seen.inner())), bits(plain));
    }
}

#[test]
fn groups_that_are_constant_keep_their_value() {
    for value in [0.3f32, -0.3, 5e4, 1e-20] {
        for mapping in [Mapping::Symmetric, Mapping::Affine] {
            for bits in [2, 8, 16] {
                let scheme = scheme(bits, mapping);
                let groups = [vec![value; 5]];
                let parameters = MinMax.parameters(tensor(&groups), &scheme);
                for seen in host(fake_quantize(tensor(&groups), &parameters, &scheme)) {
                    assert!((seen / value - 1.0).abs() < 1e-6, "{seen} of {value}");
                }
            }
        }
    }
}

#[test]
fn groups_of_zeros_get_the_scale_one() {
    let groups = [vec![0.0; 4], vec![-0.0; 4], vec![1e-44; 4]];
    for quantizer in [
        &MinMax as &dyn Quantizer,
        &Percentile::default(),
        &LeastSquares,
        &LearnedStep,
    ] {
        for mapping in [Mapping::Symmetric, Mapping::Affine] {
            let scheme = scheme(4, mapping);
            let parameters = quantizer.parameters(tensor(&groups), &scheme);
            assert_eq!(host(parameters.scale.clone()), [1.0; 3]);
            let seen = host(fake_quantize(tensor(&groups), &parameters, &scheme));
            assert!(seen.into_iter().all(|value| value == 0.0));
        }
    }
}

#[test]
fn ranges_by_hand() {
    let bound = |value: f32| Tensor::<2>::from_data([[value]], &device());
    let range = |low, high, bits, mapping| {
        let found = Parameters::for_range(bound(low), bound(high), &scheme(bits, mapping));
        (host(found.scale)[0], host(found.zero_point)[0])
    };
    use Mapping::{Affine, Symmetric};
    let assert_is = |found: (f32, f32), scale: f32, point: f32| {
        let most = if divides_exactly() {
            0.0
        } else {
            4.0 * f32::EPSILON * scale
        };
        assert!(
            (found.0 - scale).abs() <= most && found.1 == point,
            "{found:?}"
        );
    };
    assert_is(range(-7.0, 3.0, 4, Symmetric), 1.0, 0.0);
    assert_is(range(3.5, 3.5, 4, Symmetric), 0.5, 0.0);
    assert_is(range(-5.0, 10.0, 4, Affine), 1.0, 5.0);
    // Widened to hold zero, so that the zero point is a code.
    assert_is(range(15.0, 30.0, 4, Affine), 2.0, 0.0);
    assert_is(range(-30.0, -15.0, 4, Affine), 2.0, 15.0);
    assert_is(range(0.0, 0.0, 4, Affine), 1.0, 0.0);
    // Ranges wider than floats reach.
    let (scale, point) = range(-f32::MAX, f32::MAX, 2, Affine);
    // The zero point is a tie, 1.5. A device that divides by a reciprocal may have none of such a scale: it
    // is too small to be normal.
    let even = point == 2.0 || (!divides_exactly() && (point == 1.0 || point == 0.0));
    assert!(scale * 3.0 <= f32::MAX && even, "{scale} {point}");
    assert!(range(-f32::MAX, f32::MAX, 16, Symmetric).0 * 32767.0 <= f32::MAX);
}

#[test]
fn percentiles_leave_out_what_they_say() {
    let values: Vec<f32> = (1..=100).map(|i| i as f32).collect();
    let bound = |outside: f64| {
        let quantizer = Percentile { outside };
        let parameters = quantizer.parameters(
            tensor(std::slice::from_ref(&values)),
            &scheme(2, Mapping::Symmetric),
        );
        host(parameters.scale)[0] // the bound itself: codes -1, 0, 1
    };
    for (outside, expected) in [
        (0.0, 100.0),
        (0.009, 100.0),
        (0.01, 99.0),
        (0.25, 75.0),
        (0.5, 51.0),
        (7.0, 51.0),
        (-1.0, 100.0),
        (f64::NAN, 100.0),
    ] {
        assert_eq!(bound(outside), expected, "{outside}");
    }
    // Unless told otherwise, one in a thousand at each end.
    let mut thousands: Vec<f32> = (1..=3000).map(|i| i as f32 / 1000.0).collect();
    let scheme_2 = scheme(2, Mapping::Symmetric);
    let of = |values: &[f32]| {
        let values = tensor(&[values.to_vec()]);
        host(Percentile::default().parameters(values, &scheme_2).scale)[0]
    };
    assert_eq!(of(&thousands), 2.997);
    assert_eq!(of(&thousands[..999]), 0.999);
    thousands[2999] = 1e9;
    assert_eq!(of(&thousands), 2.997);
    // One weight in a thousand is left: it is not lost.
    let mut pruned = vec![0.0; 1000];
    pruned[500] = 0.2;
    let parameters =
        Percentile { outside: 0.01 }.parameters(tensor(&[pruned]), &scheme(2, Mapping::Symmetric));
    assert_eq!(host(parameters.scale), [0.2]);
}

#[test]
fn least_squares_do_not_cover_an_outlier_at_few_bits() {
    let mut values = vec![0.1; 400];
    values[0] = 1.0;
    let of = |quantizer: &dyn Quantizer, bits| {
        let scheme = scheme(bits, Mapping::Symmetric);
        host(
            quantizer
                .parameters(tensor(std::slice::from_ref(&values)), &scheme)
                .scale,
        )[0]
    };
    assert_eq!(of(&MinMax, 2), 1.0);
    assert!(of(&LeastSquares, 2) < 0.2);
}

#[test]
fn names_are_those_of_recipes() {
    assert_eq!(MinMax.name(), "min_max");
    assert_eq!(Percentile::default().name(), "percentile");
    assert_eq!(LeastSquares.name(), "least_squares");
    assert_eq!(LearnedStep.name(), "learned_step");
    assert!(LearnedStep.is_learned() && !LeastSquares.is_learned());
}
