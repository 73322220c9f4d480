//! Curves and the steered threshold.

use burn_compress::schedule::{Curve, Schedule, ScheduleError, Steered, Verdict};
use proptest::prelude::*;

// Any value that a sparsity or a learning rate may have.
fn values() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        0.0..1.0f64,
        -10.0..10.0f64,
        1e-300..1e-290f64,
        1e290..1e300f64
    ]
}

fn curves() -> impl Strategy<Value = Curve> {
    let range = (values(), values(), 0usize..50, 0usize..50);
    let range = range.prop_map(|(from, to, start, length)| (from, to, start, start + length));
    prop_oneof![
        values().prop_map(|value| Curve::Constant { value }),
        range
            .clone()
            .prop_map(|(from, to, start, end)| Curve::Linear {
                from,
                to,
                start,
                end
            }),
        range
            .clone()
            .prop_map(|(from, to, start, end)| Curve::Cubic {
                from,
                to,
                start,
                end
            }),
        range
            .clone()
            .prop_filter("not zero", |(from, to, ..)| *from != 0.0 && *to != 0.0)
            .prop_map(|(from, to, start, end)| Curve::Exponential {
                from: from.abs(),
                to: to.abs(),
                start,
                end,
            }),
        prop::collection::btree_map(0usize..100, values(), 1..6).prop_map(|values| Curve::Steps {
            values: values.into_iter().collect()
        }),
        (range, values()).prop_map(|((from, peak, peak_at, end), to)| Curve::OneCycle {
            from,
            peak,
            to,
            peak_at,
            end
        }),
    ]
}

// The values given, those at which it starts and ends, and whether it only rises or falls between.
fn facts(curve: &Curve) -> (Vec<f64>, f64, f64, bool) {
    match curve {
        Curve::Constant { value } => (vec![*value], *value, *value, true),
        Curve::Linear { from, to, end, .. }
        | Curve::Cubic { from, to, end, .. }
        | Curve::Exponential { from, to, end, .. } => {
            let first = if *end == 0 { *to } else { *from };
            (vec![*from, *to], first, *to, true)
        }
        Curve::Steps { values } => {
            let first = if values[0].0 == 0 { values[0].1 } else { 0.0 };
            let last = values[values.len() - 1].1;
            let values = values.iter().map(|(_, value)| *value);
            (values.chain([0.0]).collect(), first, last, false)
        }
        Curve::OneCycle {
            from,
            peak,
            to,
            peak_at,
            end,
        } => {
            let first = match (peak_at, end) {
                (1.., _) => *from,
                (0, 1..) => *peak,
                (0, 0) => *to,
            };
            (vec![*from, *peak, *to], first, *to, false)
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_curve_goes_from_end_to_end_within_its_values(curve in curves()) {
        prop_assert_eq!(curve.check(), Ok(()));
        let (given, first, last, one_way) = facts(&curve);
        let end = curve.end().unwrap();
        prop_assert_eq!(curve.at(0), first);
        for step in [end, end + 1, end + 1000, usize::MAX] {
            prop_assert_eq!(curve.at(step), last);
        }
        let low = given.iter().copied().fold(f64::INFINITY, f64::min);
        let high = given.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut before = curve.at(0);
        for step in 0..end + 2 {
            let value = curve.at(step);
            prop_assert!((low..=high).contains(&value), "{} at {}", value, step);
            if one_way {
                // But for the last bit.
                let slack = 4.0 * f64::EPSILON * low.abs().max(high.abs());
                let falls = first > last;
                let ahead = if falls { before - value } else { value - before };
                prop_assert!(ahead >= -slack, "{} after {} at {}", value, before, step);
            }
            before = value;
        }
    }

    #[test]
    fn a_curve_survives_its_text(curve in curves()) {
        let json = serde_json::to_string(&curve).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Curve>(&json).unwrap(), &curve);
        let toml = toml::to_string(&curve).unwrap();
        prop_assert_eq!(toml::from_str::<Curve>(&toml).unwrap(), curve);
    }

    #[test]
    fn steering_finds_the_threshold(
        threshold in 0.0..1.0f64,
        start in 0.0..0.95f64,
        increment in 0.05..0.5f64,
        resolution in 0.001..0.05f64,
    ) {
        let mut steered = Steered::new(start, increment, resolution, 90.0).unwrap();
        let mut held = None;
        let mut observed = 0;
        loop {
            let value = steered.at(observed);
            prop_assert!((0.0..1.0).contains(&value));
            prop_assert_eq!(value, steered.at(0));
            let holds = value <= threshold;
            let increment = steered.increment();
            let verdict = steered.observe(if holds { 90.0 } else { 89.999 });
            if holds {
                prop_assert!(held < Some(value), "only ever higher");
                held = Some(value);
            }
            prop_assert_eq!(steered.best(), held);
            if holds {
                prop_assert!(steered.increment() <= increment);
            } else {
                // Half the last step: where nothing held yet, the one from zero.
                let step = if held.is_some() { increment } else { value };
                prop_assert!(steered.increment() <= step / 2.0);
            }
            observed += 1;
            match verdict {
                Verdict::Converged => break,
                Verdict::Raise => prop_assert!(holds),
                Verdict::RollBack => prop_assert!(!holds),
            }
            // From the last good value, by the increment.
            let expected = held.unwrap_or(0.0) + steered.increment();
            prop_assert_eq!(steered.at(0), expected);
            prop_assert!(observed < 2000);
        }
        prop_assert!(steered.is_converged() && steered.increment() < resolution);
        // A step of twice the last increment at most was found to fall.
        let best = held.unwrap_or(0.0);
        prop_assert_eq!(steered.at(0), best);
        let near = threshold.min(1.0) - best;
        prop_assert!(near <= 2.0 * resolution + 1e-12, "{} below", near);
        // The end is the end.
        let end = steered.clone();
        for score in [100.0, 0.0, f64::NAN] {
            prop_assert_eq!(steered.observe(score), Verdict::Converged);
            prop_assert_eq!(&steered, &end);
        }
    }

    #[test]
    fn a_steered_value_goes_on_from_its_text(
        scores in prop::collection::vec(80.0..100.0f64, 1..30),
        stop in any::<prop::sample::Index>(),
    ) {
        let mut straight = Steered::new(0.3, 0.2, 1e-6, 90.0).unwrap();
        let mut stopped = straight.clone();
        let stop = stop.index(scores.len());
        for (round, &score) in scores.iter().enumerate() {
            if round == stop {
                let text = serde_json::to_string(&stopped).unwrap();
                stopped = serde_json::from_str(&text).unwrap();
            }
            prop_assert_eq!(straight.observe(score), stopped.observe(score));
            prop_assert_eq!(&straight, &stopped);
        }
    }
}

#[test]
fn the_cubic_is_that_of_zhu_and_gupta() {
    // s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3
    let (initial, last, start, steps) = (0.25, 0.875, 10usize, 64usize);
    let curve = Curve::Cubic {
        from: initial,
        to: last,
        start,
        end: start + steps,
    };
    for step in start..=start + steps {
        let left = 1.0 - (step - start) as f64 / steps as f64;
        let expected = last + (initial - last) * left.powi(3);
        assert!((curve.at(step) - expected).abs() < 1e-15, "{step}");
    }
    assert_eq!(curve.at(start + steps / 2), 0.875 - 0.625 / 8.0);
    assert_eq!(curve.at(0), initial);
}

#[test]
fn the_others_at_points_known_by_hand() {
    let linear = Curve::Linear {
        from: 1.0,
        to: 0.0,
        start: 4,
        end: 8,
    };
    assert_eq!(
        [4, 5, 6, 7, 8].map(|step| linear.at(step)),
        [1.0, 0.75, 0.5, 0.25, 0.0]
    );
    let exponential = Curve::Exponential {
        from: 1.0,
        to: 0.0001,
        start: 0,
        end: 4,
    };
    for (step, expected) in [1.0, 0.1, 0.01, 0.001, 0.0001].into_iter().enumerate() {
        assert!((exponential.at(step) / expected - 1.0).abs() < 1e-12);
    }
    let steps = Curve::Steps {
        values: vec![(2, 0.5), (4, 0.8)],
    };
    assert_eq!(
        [0, 1, 2, 3, 4, 9].map(|step| steps.at(step)),
        [0.0, 0.0, 0.5, 0.5, 0.8, 0.8]
    );
    let cycle = Curve::OneCycle {
        from: 0.1,
        peak: 1.0,
        to: 0.0,
        peak_at: 4,
        end: 12,
    };
    // Between, half a cosine: flat at its ends.
    let half = std::f64::consts::FRAC_1_SQRT_2 / 2.0;
    let places = [(0, 0.1), (2, 0.55), (4, 1.0), (8, 0.5), (12, 0.0)];
    let between = [
        (1, 0.1 + 0.9 * (0.5 - half)),
        (6, 0.5 + half),
        (10, 0.5 - half),
    ];
    for (step, expected) in places.into_iter().chain(between) {
        assert!((cycle.at(step) - expected).abs() < 1e-12, "{step}");
    }
}

#[test]
fn curves_without_a_sensible_value_are_refused() {
    let line = |from, to, start, end| Curve::Linear {
        from,
        to,
        start,
        end,
    };
    let power = |from, to| Curve::Exponential {
        from,
        to,
        start: 0,
        end: 5,
    };
    let steps = |values: &[(usize, f64)]| Curve::Steps {
        values: values.to_vec(),
    };
    let not_finite = |curve: Curve| {
        let error = curve.check().unwrap_err();
        assert!(
            matches!(error, ScheduleError::NotFinite { .. }),
            "{curve:?}"
        );
    };
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        not_finite(Curve::Constant { value: bad });
        not_finite(line(bad, 0.0, 0, 1));
        not_finite(line(0.0, bad, 0, 1));
        not_finite(power(1.0, bad));
        not_finite(steps(&[(0, 1.0), (1, bad)]));
        not_finite(Curve::OneCycle {
            from: 0.0,
            peak: bad,
            to: 0.0,
            peak_at: 1,
            end: 2,
        });
    }
    let unsorted = Err(ScheduleError::Unsorted { step: 3, before: 7 });
    assert_eq!(line(0.0, 1.0, 7, 3).check(), unsorted);
    assert_eq!(steps(&[(1, 0.0), (7, 0.1), (3, 0.2)]).check(), unsorted);
    assert_eq!(
        Curve::OneCycle {
            from: 0.0,
            peak: 1.0,
            to: 0.0,
            peak_at: 7,
            end: 3
        }
        .check(),
        unsorted
    );
    let twice = Err(ScheduleError::Unsorted { step: 3, before: 3 });
    assert_eq!(steps(&[(3, 0.0), (3, 0.1)]).check(), twice);
    assert_eq!(steps(&[]).check(), Err(ScheduleError::Empty));
    for (from, to) in [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (1.0, -1e-300)] {
        assert_eq!(
            power(from, to).check(),
            Err(ScheduleError::Exponential { from, to })
        );
    }
    assert_eq!(power(-1.0, -0.5).check(), Ok(()));
    assert_eq!(power(1e-200, 1e-200).check(), Ok(()));
    // None of them panics where it is asked all the same.
    for curve in [
        line(0.0, 1.0, 7, 3),
        power(0.0, 1.0),
        steps(&[]),
        steps(&[(7, 0.1), (3, 0.2)]),
    ] {
        for step in [0, 3, 5, 7, usize::MAX] {
            curve.at(step);
        }
    }
    assert_eq!(steps(&[]).end(), None);
}

#[test]
fn unknown_curves_and_fields_are_refused_by_name() {
    for (text, name) in [
        (r#"{"kind":"spiral","value":1.0}"#, "spiral"),
        (r#"{"kind":"constant","value":1.0,"speed":2}"#, "speed"),
        (r#"{"kind":"linear","from":0.0,"to":1.0,"start":0}"#, "end"),
        (r#"{"value":1.0}"#, "kind"),
    ] {
        let error = serde_json::from_str::<Curve>(text).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn rising_rolling_back_and_halving_in_order() {
    let mut steered = Steered::new(0.5, 0.1, 0.02, 90.0).unwrap();
    let near = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-12, "{value}");
    assert_eq!(steered.best(), None);
    assert_eq!(steered.observe(90.0), Verdict::Raise); // at the floor is not below it
    near(steered.at(0), 0.6);
    assert_eq!(steered.observe(89.9), Verdict::RollBack);
    near(steered.at(0), 0.55);
    near(steered.increment(), 0.05);
    assert_eq!(steered.observe(95.0), Verdict::Raise);
    near(steered.at(0), 0.6);
    assert_eq!(steered.observe(f64::NAN), Verdict::RollBack); // counts as fallen
    near(steered.at(0), 0.575);
    assert_eq!(steered.observe(80.0), Verdict::Converged); // 0.0125 is below 0.02
    near(steered.at(0), 0.55);
    near(steered.best().unwrap(), 0.55);
}

#[test]
fn where_nothing_holds_the_search_ends_at_nothing() {
    let mut steered = Steered::new(0.5, 0.1, 0.02, 90.0).unwrap();
    assert_eq!(steered.observe(0.0), Verdict::RollBack);
    assert_eq!((steered.at(0), steered.best()), (0.25, None));
    for value in [0.125, 0.0625, 0.03125] {
        assert_eq!(steered.observe(0.0), Verdict::RollBack);
        assert_eq!(steered.at(0), value);
    }
    assert_eq!(steered.observe(0.0), Verdict::Converged);
    assert_eq!((steered.at(0), steered.best()), (0.0, None));
}

#[test]
fn a_search_ends_however_fine_or_coarse_it_is() {
    // So fine that the increment no longer changes the value; so coarse that the first step is past 1.
    for (start, increment, resolution) in [
        (0.5, 0.25, f64::MIN_POSITIVE),
        (0.0, 1e300, 1e-10),
        (0.999, 1.0, 0.5),
    ] {
        for threshold in [0.0, 0.73, 1.0] {
            let mut steered = Steered::new(start, increment, resolution, 0.0).unwrap();
            let mut rounds = 0;
            while steered.observe(threshold - steered.at(0)) != Verdict::Converged {
                assert!(steered.at(0) < 1.0);
                rounds += 1;
                assert!(rounds < 5000, "{start} {increment} {resolution}");
            }
        }
    }
}

#[test]
fn a_search_that_makes_no_sense_is_refused() {
    for start in [-0.1, 1.0, 1.5, f64::NAN, f64::INFINITY] {
        let error = Steered::new(start, 0.1, 0.1, 0.0).unwrap_err();
        assert!(error.to_string().contains("start"), "{error}");
    }
    for bad in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        let error = Steered::new(0.5, bad, 0.1, 0.0).unwrap_err();
        assert!(
            matches!(error, ScheduleError::Range { value, .. } if value.to_bits() == bad.to_bits())
        );
        assert!(Steered::new(0.5, 0.1, bad, 0.0).is_err());
    }
    let error = Steered::new(0.5, 0.1, 0.11, 0.0).unwrap_err(); // would end at once
    assert!(error.to_string().contains("increment"), "{error}");
    for floor in [f64::NAN, f64::INFINITY] {
        let error = Steered::new(0.5, 0.1, 0.1, floor);
        assert!(matches!(error, Err(ScheduleError::NotFinite { .. })));
    }
    // Nor is it read.
    let good = serde_json::to_value(Steered::new(0.5, 0.1, 0.1, 0.0).unwrap()).unwrap();
    assert!(serde_json::from_value::<Steered>(good.clone()).is_ok());
    for (field, value) in [
        ("value", 2.0),
        ("increment", 0.0),
        ("best", 1.0),
        ("speed", 1.0),
    ] {
        let mut bad = good.clone();
        bad[field] = value.into();
        assert!(serde_json::from_value::<Steered>(bad).is_err(), "{field}");
    }
}
