//! Studies as data: what is written is read, and what cannot be followed is refused by name.

use burn_compress::Reconstruction;
use burn_compress::compress::{Regrowth, Selection};
use burn_compress::format::{FormatError, Granularity, Mapping};
use burn_compress::graph::Fallback;
use burn_compress::prune::{AtLeast, Pattern, Scope};
use burn_compress::recipe::{
    ActivationLevels, Criterion, PruneLevels, QuantizeLevels, Ramp, RangeMethod, Recipe,
    RecipeError, Steer,
};
use burn_compress::report::Stage;
use burn_compress::schedule::{Curve, Schedule};
use proptest::prelude::*;

fn recipe() -> Recipe {
    Recipe {
        prune: Some(PruneLevels::from([0.5, 0.9])),
        quantize: Some(QuantizeLevels::from([8, 4])),
        ..Recipe::default()
    }
}

fn rising() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(1e-6..0.999_999f64, 1..6).prop_map(|mut levels| {
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        levels
    })
}

fn falling() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::btree_set(2u32..=16, 1..6).prop_map(|bits| bits.into_iter().rev().collect())
}

fn prunings() -> impl Strategy<Value = PruneLevels> {
    let criterion = prop_oneof![
        Just(Criterion::Magnitude),
        (0..u64::MAX).prop_map(|seed| Criterion::Random { seed }),
        "[a-z \"\\\\]{1,9}".prop_map(Criterion::Custom),
    ];
    let steer = (0.0..0.999f64, 0.02..2.0f64, 1e-4..0.02f64, 1usize..40);
    let steer = steer.prop_map(|(start, increment, resolution, rounds)| Steer {
        start,
        increment,
        resolution,
        rounds,
    });
    let ramp = prop::sample::select(vec![Ramp::AtOnce, Ramp::Linear, Ramp::Cubic]);
    let pattern = prop_oneof![
        Just(Pattern::Unstructured),
        (1usize..20).prop_map(|channels| Pattern::Block { channels }),
    ];
    let patterns = prop::collection::btree_set(pattern, 1..4);
    let criterion = (criterion, patterns);
    let at_least = prop_oneof![
        (0.0..=1.0f64).prop_map(AtLeast::Share),
        (0usize..1000).prop_map(AtLeast::Weights),
    ];
    let spared = (at_least, any::<bool>(), any::<bool>());
    let rest = (
        any::<bool>(),
        any::<bool>(),
        0.0..=1.0f64,
        1usize..100,
        spared,
    );
    (rising(), criterion, prop::option::of(steer), ramp, rest).prop_map(
        |(levels, (criterion, patterns), steer, ramp, rest)| {
            let (layer, never, ramp_share, every, spared) = rest;
            let (at_least, keep_zeros, prune_frozen) = spared;
            PruneLevels {
                levels,
                criterion,
                patterns: patterns.into_iter().collect(),
                scope: if layer { Scope::Layer } else { Scope::Global },
                regrowth: if never {
                    Regrowth::Never
                } else {
                    Regrowth::UntilFrozen
                },
                ramp,
                ramp_share,
                every,
                at_least,
                keep_zeros,
                prune_frozen,
                steer,
            }
        },
    )
}

fn quantizations() -> impl Strategy<Value = QuantizeLevels> {
    let ranges = prop_oneof![
        Just(RangeMethod::MinMax),
        (0.0..0.499f64).prop_map(|outside| RangeMethod::Percentile { outside }),
        Just(RangeMethod::LeastSquares),
        Just(RangeMethod::LearnedStep),
        "[a-zü]{1,9}".prop_map(RangeMethod::Custom),
    ];
    let granularity = prop_oneof![
        Just(Granularity::Tensor),
        Just(Granularity::Channel),
        (1usize..1000).prop_map(Granularity::Group),
    ];
    let fallback = prop_oneof![Just(Fallback::Refuse), Just(Fallback::Float)];
    let levels = (2u32..=16, 2u32..=16, any::<bool>(), 0usize..9, fallback);
    let activations = prop::option::of(levels);
    let activations = activations.prop_map(|levels| {
        levels.map(
            |(bits, input_bits, learned, freeze_after, fallback)| ActivationLevels {
                bits,
                input_bits,
                learned,
                freeze_after,
                fallback,
                ..ActivationLevels::default()
            },
        )
    });
    let rest = (ranges, 1usize..100, activations);
    (falling(), any::<bool>(), granularity, rest).prop_map(
        |(bits, affine, granularity, (ranges, every, activations))| QuantizeLevels {
            bits,
            mapping: if affine {
                Mapping::Affine
            } else {
                Mapping::Symmetric
            },
            granularity,
            ranges,
            every,
            activations,
        },
    )
}

fn recipes() -> impl Strategy<Value = Recipe> {
    let numbers = (
        0.0..10.0f64,
        1e-6..1.0f64,
        0usize..99,
        0usize..99,
        1usize..99,
    );
    let seeds = prop::collection::btree_set(0..u64::MAX, 1..4);
    let patterns = prop::collection::vec("[a-z.*?]{1,8}", 0..3);
    let order = prop::sample::select(vec![
        vec![Stage::Prune, Stage::Quantize, Stage::Combined],
        vec![Stage::Quantize, Stage::Prune, Stage::Combined],
        vec![Stage::Quantize, Stage::Prune],
    ]);
    let halves = (prop::option::of(prunings()), quantizations());
    let reconstruct = prop::sample::select(vec![None, Some((true, true)), Some((false, true))]);
    let reconstruct = reconstruct.prop_map(|parts| {
        parts.map(|(weights, statistics)| Reconstruction {
            weights,
            statistics,
        })
    });
    (
        numbers,
        seeds,
        (patterns.clone(), patterns),
        order,
        halves,
        (any::<bool>(), reconstruct),
    )
        .prop_map(
            |(numbers, seeds, (only, except), order, (prune, quantize), rest)| {
                let (sensitivity, reconstruct) = rest;
                let (max_drop, learning_rate, epochs, refine_epochs, timed_passes) = numbers;
                Recipe {
                    max_drop,
                    learning_rate,
                    epochs,
                    refine_epochs,
                    seeds: seeds.into_iter().collect(),
                    timed_passes,
                    sensitivity,
                    order,
                    selection: Selection::only(only).except(except),
                    reconstruct,
                    prune,
                    quantize: Some(quantize),
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_recipe_survives_both_languages(recipe in recipes()) {
        recipe.check().unwrap();
        prop_assert_eq!(&Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap(), &recipe);
        prop_assert_eq!(&Recipe::from_json(&recipe.to_json().unwrap()).unwrap(), &recipe);
    }

    #[test]
    fn any_text_is_refused_or_checked(text in "\\PC{0,60}") {
        for read in [Recipe::from_toml(&text), Recipe::from_json(&text)] {
            prop_assert!(read.is_err());
        }
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let read = Recipe::from_toml("[prune]\nlevels = [0.5]").unwrap();
    let expected = Recipe {
        prune: Some(PruneLevels::from([0.5])),
        ..Recipe::default()
    };
    assert_eq!(read, expected);
    assert_eq!(
        Recipe::from_json(r#"{"prune":{"levels":[0.5]}}"#).unwrap(),
        expected
    );
    assert_eq!(
        (read.max_drop, read.epochs, read.refine_epochs),
        (0.5, 5, 2)
    );
    assert_eq!(read.seeds, [0]);
    assert_eq!(read.order, [Stage::Prune, Stage::Quantize, Stage::Combined]);
    let prune = read.prune.unwrap();
    assert_eq!(
        (prune.criterion, prune.scope),
        (Criterion::Magnitude, Scope::Global)
    );
    assert_eq!(prune.patterns, [Pattern::Unstructured]);
    assert_eq!(
        (prune.ramp, prune.ramp_share, prune.every),
        (Ramp::Cubic, 0.5, 10)
    );
    let read = Recipe::from_toml("[quantize]\nbits = [4]").unwrap();
    let scheme = read.scheme(4).unwrap();
    assert_eq!((scheme.bits(), scheme.mapping()), (4, Mapping::Symmetric));
    assert_eq!(scheme.granularity(), Granularity::Channel);
    // A search needs no level.
    assert!(Recipe::from_toml("[prune.steer]").is_ok());
}

#[test]
fn unknown_names_are_refused_by_name() {
    for (toml, name) in [
        ("epoch = 3", "epoch"),
        ("order = ['prune', 'distil']", "distil"),
        ("[pruning]\nlevels = [0.5]", "pruning"),
        ("[prune]\nlevel = [0.5]", "level"),
        ("[prune]\nlevels = [0.5]\ncriterion = 'tailor'", "tailor"),
        (
            "[prune]\nlevels = [0.5]\ncriterion = { random = { sed = 1 } }",
            "sed",
        ),
        ("[prune]\nlevels = [0.5]\nscope = 'block'", "block"),
        ("[prune]\nlevels = [0.5]\npatterns = ['row']", "row"),
        ("[prune]\nlevels = [0.5]\npatterns = ['rows4']", "rows4"),
        ("[prune]\nlevels = [0.5]\nramp = 'sine'", "sine"),
        ("[prune]\nlevels = [0.5]\nregrowth = 'always'", "always"),
        ("[prune.steer]\nfloor = 1", "floor"),
        ("[quantize]\nbits = [8]\nmapping = 'log'", "log"),
        ("[quantize]\nbits = [8]\ngranularity = 'row'", "row"),
        ("[quantize]\nbits = [8]\nranges = 'entropy'", "entropy"),
        (
            "[quantize]\nbits = [8]\nranges = { percentile = { inside = 0.1 } }",
            "inside",
        ),
        ("[selection]\nonly = []\nskip = []", "skip"),
        ("[reconstruct]\nlabels = true", "labels"),
    ] {
        let error = Recipe::from_toml(toml).unwrap_err();
        assert!(
            matches!(error, RecipeError::Parse { .. }),
            "{toml}: {error}"
        );
        assert!(error.to_string().contains(name), "{toml}: {error}");
    }
    for text in [
        "levels",
        "[prune",
        "epochs = 'five'",
        "epochs = -1",
        "[quantize]\nbits = [8.5]",
    ] {
        let error = Recipe::from_toml(text).unwrap_err();
        assert!(
            matches!(error, RecipeError::Parse { .. }),
            "{text}: {error}"
        );
    }
}

// Refused when it is read as well.
fn refused(change: impl FnOnce(&mut Recipe)) -> RecipeError {
    let mut recipe = recipe();
    change(&mut recipe);
    let error = recipe.check().unwrap_err();
    let read = Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap_err();
    assert_eq!(read.to_string(), error.to_string());
    error
}

fn prune(change: impl FnOnce(&mut PruneLevels)) -> RecipeError {
    refused(|recipe| change(recipe.prune.as_mut().unwrap()))
}

fn quantize(change: impl FnOnce(&mut QuantizeLevels)) -> RecipeError {
    refused(|recipe| change(recipe.quantize.as_mut().unwrap()))
}

fn steer(change: impl FnOnce(&mut Steer)) -> RecipeError {
    prune(|prune| change(prune.steer.insert(Steer::default())))
}

#[test]
fn levels_out_of_range_or_order_are_refused() {
    for bad in [0.0, 1.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
        let error = prune(|prune| prune.levels = vec![bad]);
        let RecipeError::Level { level } = error else {
            panic!("{error}")
        };
        assert_eq!(level.to_bits(), bad.to_bits());
    }
    for levels in [[0.9, 0.5], [0.5, 0.5]] {
        let error = prune(|prune| prune.levels = levels.to_vec());
        assert!(
            matches!(error, RecipeError::Unsorted { before, next, .. } if [before, next] == levels)
        );
    }
    for bits in [[4, 8], [4, 4]] {
        let error = quantize(|quantize| quantize.bits = bits.to_vec());
        assert!(matches!(error, RecipeError::Unsorted { .. }));
        assert!(error.to_string().contains("bit"), "{error}");
    }
    for bad in [0, 1, 17, u32::MAX] {
        let error = quantize(|quantize| quantize.bits = vec![bad]);
        let RecipeError::Format(FormatError::Bits { bits }) = error else {
            panic!("{error}")
        };
        assert_eq!(bits, bad);
    }
    let error = quantize(|quantize| quantize.granularity = Granularity::Group(0));
    assert!(matches!(
        error,
        RecipeError::Format(FormatError::Group { group: 0, .. }) | RecipeError::Parse { .. }
    ));
}

#[test]
fn numbers_that_make_no_sense_are_refused_by_name() {
    for (name, error) in [
        ("max_drop", refused(|recipe| recipe.max_drop = -0.1)),
        ("max_drop", refused(|recipe| recipe.max_drop = f64::NAN)),
        (
            "max_drop",
            refused(|recipe| recipe.max_drop = f64::INFINITY),
        ),
        (
            "learning_rate",
            refused(|recipe| recipe.learning_rate = 0.0),
        ),
        (
            "learning_rate",
            refused(|recipe| recipe.learning_rate = f64::NAN),
        ),
        ("seeds", refused(|recipe| recipe.seeds.clear())),
        ("seed", refused(|recipe| recipe.seeds = vec![3, 4, 3])),
        ("timed_passes", refused(|recipe| recipe.timed_passes = 0)),
        (
            "reconstruct",
            refused(|recipe| {
                recipe.reconstruct = Some(Reconstruction {
                    weights: false,
                    statistics: false,
                });
            }),
        ),
        ("ramp_share", prune(|prune| prune.ramp_share = 1.1)),
        ("ramp_share", prune(|prune| prune.ramp_share = f64::NAN)),
        ("prune.every", prune(|prune| prune.every = 0)),
        (
            "prune.at_least.share",
            prune(|prune| prune.at_least = AtLeast::Share(1.01)),
        ),
        (
            "prune.at_least.share",
            prune(|prune| prune.at_least = AtLeast::Share(f64::NAN)),
        ),
        (
            "criterion",
            prune(|prune| prune.criterion = Criterion::Custom(String::new())),
        ),
        ("patterns", prune(|prune| prune.patterns.clear())),
        (
            "equal patterns",
            prune(|prune| prune.patterns = vec![Pattern::Unstructured; 2]),
        ),
        ("steer.start", steer(|steer| steer.start = 1.0)),
        ("steer.start", steer(|steer| steer.start = -0.1)),
        ("steer.increment", steer(|steer| steer.increment = 0.0)),
        (
            "steer.resolution",
            steer(|steer| steer.resolution = f64::NAN),
        ),
        ("steer.resolution", steer(|steer| steer.resolution = 0.2)),
        ("steer.rounds", steer(|steer| steer.rounds = 0)),
        ("quantize.every", quantize(|quantize| quantize.every = 0)),
        (
            "quantizer",
            quantize(|quantize| quantize.ranges = RangeMethod::Custom(String::new())),
        ),
        (
            "outside",
            quantize(|quantize| quantize.ranges = RangeMethod::Percentile { outside: 0.5 }),
        ),
        (
            "outside",
            quantize(|quantize| quantize.ranges = RangeMethod::Percentile { outside: -0.1 }),
        ),
    ] {
        assert!(
            matches!(error, RecipeError::Value { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}

#[test]
fn a_pattern_whose_numbers_make_none_is_refused() {
    for (pattern, name) in [
        (Pattern::Block { channels: 0 }, "block0"),
        (Pattern::NOfM { n: 0, m: 4 }, "0:4"),
        (Pattern::NOfM { n: 4, m: 4 }, "4:4"),
        (Pattern::NOfM { n: 5, m: 4 }, "5:4"),
        (Pattern::NOfM { n: 0, m: 0 }, "0:0"),
    ] {
        let error = prune(|prune| prune.patterns = vec![pattern]);
        assert!(matches!(error, RecipeError::Pattern(_)), "{name}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}

#[test]
fn nothing_to_study_is_refused() {
    for error in [
        refused(|recipe| (recipe.prune, recipe.quantize) = (None, None)),
        refused(|recipe| {
            recipe.prune = Some(PruneLevels::default());
            recipe.quantize = Some(QuantizeLevels::default());
        }),
    ] {
        assert!(matches!(error, RecipeError::Empty));
    }
    assert!(matches!(Recipe::from_toml(""), Err(RecipeError::Empty)));
}

#[test]
fn orders_that_cannot_be_followed_are_refused() {
    use Stage::{Baseline, Combined, Prune, Quantize};
    for bad in [
        vec![],
        vec![Prune],
        vec![Quantize],
        vec![Prune, Quantize, Prune],
        vec![Combined, Prune, Quantize],
        vec![Prune, Combined, Quantize],
        vec![Prune, Combined],
        vec![Baseline, Prune, Quantize],
    ] {
        let error = refused(|recipe| recipe.order = bad.clone());
        assert!(
            matches!(error, RecipeError::Order { order, .. } if order == bad),
            "{bad:?}"
        );
    }
    for good in [
        vec![Prune, Quantize],
        vec![Quantize, Prune],
        vec![Quantize, Prune, Combined],
    ] {
        let recipe = Recipe {
            order: good,
            ..recipe()
        };
        assert!(recipe.check().is_ok());
    }
    // A stage without levels needs no place.
    let alone = Recipe {
        quantize: None,
        order: vec![Prune],
        ..recipe()
    };
    assert!(alone.check().is_ok());
}

#[test]
fn a_recipe_is_a_file_of_either_language() {
    let folder = tempfile::tempdir().unwrap();
    for (name, json) in [
        ("a.toml", false),
        ("a.json", true),
        ("a.JSON", true),
        ("a", false),
    ] {
        let path = folder.path().join(name);
        recipe().save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.starts_with('{'), json, "{name}");
        assert_eq!(Recipe::load(&path).unwrap(), recipe());
    }
    // Whole or not at all.
    let below = folder.path().join("a.toml/below.toml");
    let error = recipe().save(&below).unwrap_err();
    assert!(matches!(error, RecipeError::Format(FormatError::Io { .. })));
    assert_eq!(
        Recipe::load(folder.path().join("a.toml")).unwrap(),
        recipe()
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    let missing = Recipe::load(folder.path().join("missing.toml")).unwrap_err();
    assert!(missing.to_string().contains("missing.toml"));
    // The greatest seed there is.
    let large = Recipe {
        seeds: vec![u64::MAX],
        ..recipe()
    };
    assert_eq!(Recipe::from_toml(&large.to_toml().unwrap()).unwrap(), large);
    assert_eq!(Recipe::from_json(&large.to_json().unwrap()).unwrap(), large);
}

#[test]
fn ramps_reach_their_level() {
    for ramp in [Ramp::AtOnce, Ramp::Linear, Ramp::Cubic] {
        for steps in [0, 1, 100] {
            let curve = ramp.curve(0.8, steps);
            assert_eq!(curve.check(), Ok(()));
            assert_eq!(curve.at(steps), 0.8);
            assert!(curve.end() <= Some(steps));
        }
    }
    assert_eq!(Ramp::AtOnce.curve(0.8, 9), Curve::Constant { value: 0.8 });
    assert_eq!(Ramp::Linear.curve(0.8, 8).at(2), 0.2);
}

#[test]
fn the_recipes_of_the_examples_can_be_followed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/recipes");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        Recipe::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
    }
    assert!(count > 0);
}
