//! Which weights go: exactly as many as asked for, the lowest first, on the host and on the device.

use burn::tensor::{Tensor, TensorData};
use burn_compress::prune::{
    Magnitude, Pruner, Random, Scope, Weight, lowest, lowest_on_device, share_of,
};
use proptest::prelude::*;

use super::device::device;

// By sorting: equal scores in their order.
fn oracle(scores: &[f32], count: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].partial_cmp(&scores[b]).unwrap().then(a.cmp(&b)));
    let mut marked = vec![false; scores.len()];
    order.iter().take(count).for_each(|&i| marked[i] = true);
    marked
}

fn on_device(scores: &[f32], count: usize) -> Vec<bool> {
    let data = TensorData::new(scores.to_vec(), [scores.len()]);
    let marked = lowest_on_device(Tensor::from_data(data, &device()), count);
    assert_eq!(marked.dims(), [scores.len()]);
    marked.into_data().iter::<bool>().collect()
}

// A GPU may take subnormal numbers for zero, also where they are the difference of two of the least normal
// ones; then they are ties.
fn flushed(score: f32) -> f32 {
    if score.abs() < 2.0 * f32::MIN_POSITIVE {
        0.0
    } else {
        score
    }
}

fn check_on_device(scores: &[f32], count: usize) {
    let marked = on_device(scores, count);
    let count = count.min(scores.len());
    assert_eq!(marked.iter().filter(|marked| **marked).count(), count);
    if marked == oracle(scores, count) {
        return;
    }
    assert!(
        scores
            .iter()
            .any(|score| *score != 0.0 && flushed(*score) == 0.0),
        "{scores:?}"
    );
    assert_eq!(std::env::var("BURN_COMPRESS_DEVICE").as_deref(), Ok("wgpu"));
    let of = |wanted| {
        let pairs = scores
            .iter()
            .zip(&marked)
            .filter(move |(_, m)| **m == wanted);
        pairs.map(|(score, _)| flushed(*score))
    };
    let greatest = of(true).fold(f32::NEG_INFINITY, f32::max);
    assert!(of(false).all(|score| score >= greatest), "{scores:?}");
}

fn scores() -> impl Strategy<Value = Vec<f32>> {
    let finite = any::<u32>()
        .prop_map(f32::from_bits)
        .prop_filter("finite", |score| score.is_finite());
    let mixed = prop_oneof![
        4 => -1.0f32..1.0,
        2 => (-3i32..3).prop_map(|tie| tie as f32),
        1 => prop_oneof![Just(0.0f32), Just(-0.0)],
        2 => finite.clone(),
        1 => (0u32..0x0080_0000).prop_map(f32::from_bits), // subnormal
        1 => (0x7f00_0000u32..0x7f80_0000).prop_map(f32::from_bits), // next to the greatest
    ];
    prop_oneof![
        3 => prop::collection::vec(mixed, 1..60),
        1 => prop::collection::vec(finite, 1..60),
        1 => prop::collection::vec((0u8..3).prop_map(f32::from), 1..60), // hardly anything but ties
        1 => prop::collection::vec((0u32..3).prop_map(|ulp| f32::from_bits(0x3f7f_ffff + ulp)), 1..60),
        1 => prop::collection::vec((0u32..9).prop_map(f32::from_bits), 1..60),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_lowest_equal_those_of_sorting(scores in scores(), count in any::<prop::sample::Index>()) {
        let count = count.index(scores.len() + 1);
        prop_assert_eq!(lowest(&scores, count), oracle(&scores, count));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_device_finds_the_same(scores in scores(), count in any::<prop::sample::Index>()) {
        check_on_device(&scores, count.index(scores.len() + 1));
    }

    #[test]
    fn a_higher_level_takes_what_a_lower_one_took(
        low in 0.0..1.0f64,
        high in 0.0..1.0f64,
        seed in any::<u64>(),
    ) {
        let (low, high) = (low.min(high), low.max(high));
        let scores = random(seed, "layer.weight");
        let mask = |level| lowest(&scores, share_of(level, scores.len()));
        let pairs = mask(low).into_iter().zip(mask(high));
        prop_assert!(pairs.into_iter().all(|(low, high)| high || !low));
    }

    #[test]
    fn a_share_is_the_nearest_whole_number(level in 0.0..=1.0f64, count in 0usize..100_000) {
        let share = share_of(level, count);
        prop_assert!((share as f64 - level * count as f64).abs() <= 0.5);
        prop_assert!(share <= count);
    }
}

#[test]
fn none_and_all_and_more() {
    for scores in [vec![], vec![1.0], vec![0.0; 7], vec![3.0, -1.0, 2.0]] {
        for count in [0, 1, scores.len(), scores.len() + 5, usize::MAX] {
            assert_eq!(lowest(&scores, count), oracle(&scores, count));
            if !scores.is_empty() {
                check_on_device(&scores, count);
            }
        }
    }
}

#[test]
fn scores_of_very_different_size_are_told_apart() {
    // The lowest that are left lie 2^-125 below the greatest.
    let scores = [1e30, 3e-8, 2e-8, 1e-8, 1e30, 1e-30, 2e-30];
    for count in 0..=scores.len() {
        check_on_device(&scores, count);
    }
    let negative: Vec<f32> = scores.iter().map(|score| -score).collect();
    for count in 0..=scores.len() {
        check_on_device(&negative, count);
    }
    // Around the least normal number, the greater first.
    let least = [0x0080_0001, 0x0080_0000, 0x007f_ffff, 0x007f_fffe, 1, 0].map(f32::from_bits);
    for count in 0..=least.len() {
        check_on_device(&least, count);
        check_on_device(&least.map(|score| -score), count);
    }
    let extremes = [
        f32::MAX,
        -f32::MAX,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        0.0,
        1.0,
    ];
    for count in 0..=extremes.len() {
        check_on_device(&extremes, count);
    }
}

#[test]
fn weights_may_be_protected_by_an_infinite_score() {
    let scores = [
        1.0,
        f32::INFINITY,
        0.5,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -2.0,
    ];
    for count in 0..=scores.len() {
        assert_eq!(lowest(&scores, count), oracle(&scores, count));
    }
    // The threshold itself finite: shaders may assume that all numbers are.
    for count in 2..=4 {
        assert_eq!(on_device(&scores, count), oracle(&scores, count), "{count}");
    }
}

#[test]
fn equal_scores_go_in_their_order() {
    assert_eq!(
        lowest(&[0.0, -0.0, 0.0, -0.0], 2),
        [true, true, false, false]
    );
    assert_eq!(on_device(&[5.0; 5], 3), [true, true, true, false, false]);
    assert_eq!(
        on_device(&[0.0, -0.0, 0.0, -0.0], 3),
        [true, true, true, false]
    );
}

#[test]
fn shares_outside_their_range_are_none_or_all() {
    for (level, expected) in [(-0.5, 0), (f64::NAN, 0), (1.5, 10), (f64::INFINITY, 10)] {
        assert_eq!(share_of(level, 10), expected);
    }
    assert_eq!(share_of(0.5, 0), 0);
    assert_eq!(share_of(0.25, 10), 3); // 2.5 away from zero
}

fn weight(values: &[f32], columns: usize) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), [values.len() / columns, columns]);
    Tensor::from_data(data, &device())
}

fn scored(pruner: &dyn Pruner, path: &str, values: Tensor<2>) -> Vec<f32> {
    let dims = values.dims();
    let scores = pruner.score(Weight::new(path, values)).unwrap();
    assert_eq!(scores.dims(), dims);
    scores.into_data().iter::<f32>().collect()
}

fn random(seed: u64, path: &str) -> Vec<f32> {
    scored(&Random { seed }, path, weight(&[0.0; 200], 20))
}

#[test]
fn magnitude_is_the_absolute_value() {
    let values = [1.0, -2.5, 0.0, -0.0, f32::MAX, -f32::MAX];
    let scores = scored(&Magnitude, "w", weight(&values, 2));
    assert_eq!(scores, values.map(f32::abs));
    assert_eq!(Magnitude.name(), "magnitude");
}

#[test]
fn random_depends_on_seed_path_and_place_alone() {
    let scores = random(7, "conv.weight");
    assert_eq!(scores, random(7, "conv.weight"));
    assert_ne!(scores, random(8, "conv.weight"));
    assert_ne!(scores, random(7, "fc.weight"));
    assert!(scores.iter().all(|score| (0.0..1.0).contains(score)));
    let other_values = scored(&Random { seed: 7 }, "conv.weight", weight(&[3.0; 200], 20));
    assert_eq!(scores, other_values);
    // Evenly spread: a tenth of the weights in each tenth, roughly.
    let mean = scores.iter().sum::<f32>() / scores.len() as f32;
    assert!((mean - 0.5).abs() < 0.1);
    assert_eq!(Random::default().name(), "random");
}

#[test]
fn scopes_have_names() {
    for (scope, name) in [(Scope::Layer, "\"layer\""), (Scope::Global, "\"global\"")] {
        assert_eq!(serde_json::to_string(&scope).unwrap(), name);
        assert_eq!(serde_json::from_str::<Scope>(name).unwrap(), scope);
    }
    assert!(serde_json::from_str::<Scope>("\"block\"").is_err());
}
