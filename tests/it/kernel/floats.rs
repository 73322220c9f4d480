//! Products of floats: near to what f64 gives.

use burn_compress::kernel::{
    Cell, Epilogue, Filter, Kernels, Product, QUAD, Records, Residual, Sink,
};
use proptest::prelude::*;

use super::layer::{FloatForm, Layer, even_layers, layers, sparse};
use super::{ALL, Noise, all, at, marked, real};

#[derive(Debug)]
struct Case {
    layer: Layer,
    weights: Vec<f32>,
    input: Vec<f32>,
    added: Vec<f32>,
    epilogue: Epilogue,
}

impl Case {
    fn new(layer: Layer, residual: bool, bounds: (f32, f32)) -> Self {
        let mut noise = Noise(layer.seed);
        let weights = sparse(&layer, &mut noise, real);
        let input = (0..layer.input.count())
            .map(|_| 4.0 * real(&mut noise))
            .collect();
        let added = (0..layer.output.count())
            .map(|_| real(&mut noise))
            .collect();
        let filter = |offset: f32| Filter {
            start: 0,
            multiplier: 1.0,
            offset,
        };
        let filters = (0..layer.filters)
            .map(|_| filter(real(&mut noise)))
            .collect();
        let factor = real(&mut noise);
        let residual = residual.then_some(Residual {
            factor,
            low: 0,
            plane: layer.residual.cells,
        });
        let epilogue = Epilogue {
            filters,
            residual,
            bounds,
            sink: Sink::Floats,
        };
        Self {
            layer,
            weights,
            input,
            added,
            epilogue,
        }
    }

    // What comes before bounds, and the sum of what its terms are without a sign.
    fn sum(&self, at: usize, [site, filter, y, x]: [usize; 4]) -> (f64, f64) {
        let layer = &self.layer;
        let mut terms = vec![f64::from(self.epilogue.filters[filter].offset)];
        if let Some(of) = &self.epilogue.residual {
            terms.push(f64::from(of.factor) * f64::from(self.added[at]));
        }
        for channel in 0..layer.input.channels {
            for tap in 0..layer.taps() {
                let [row, column] = layer.reads([y, x], tap);
                let x = self.input[layer.input.at(site, channel, row, column)];
                let weight = self.weights[layer.weight(filter, channel, tap)];
                terms.push(f64::from(x) * f64::from(weight));
            }
        }
        (
            terms.iter().sum(),
            terms.iter().map(|term| term.abs()).sum(),
        )
    }

    fn check(
        &self,
        form: FloatForm,
        kernels: Kernels,
        sums: &[(f64, f64)],
    ) -> Result<(), TestCaseError> {
        let layer = &self.layer;
        let input = layer.input.floats(&self.input, &layer.from);
        let added = layer.output.floats(&self.added, &layer.residual);
        let records = layer.float_records(&self.weights, form);
        let plane = layer.to.cells;
        let product = Product::new(
            records,
            self.epilogue.clone(),
            match form {
                FloatForm::Winograd => layer.twos(),
                _ => layer.positions(),
            },
            plane,
            false,
        )
        .unwrap();
        let product = product.in_blocks(layer.block);
        let before = marked(layer.filters * plane);
        // The quads one by one, the last first.
        let mut output = before.clone();
        for quad in (0..layer.filters / QUAD).rev() {
            let to = &mut output[quad * QUAD * plane..][..QUAD * plane];
            product
                .run(kernels, quad..quad + 1, &input, &added, to)
                .unwrap();
        }
        let mut together = before.clone();
        product
            .run(
                kernels,
                0..layer.filters / QUAD,
                &input,
                &added,
                &mut together,
            )
            .unwrap();
        prop_assert!(output == together, "{:?}: quads differ", kernels.isa());

        let (least, most) = self.epilogue.bounds;
        let floats = Cell::floats(&output).to_vec();
        for (at, [site, filter, y, x]) in layer.output.all().enumerate() {
            let (sum, size) = sums[at];
            let expected = sum.max(f64::from(least)).min(f64::from(most));
            let found = floats[(filter * plane + layer.to.cell(y, x)) * Cell::SITES + site];
            let error = (f64::from(found) - expected).abs();
            prop_assert!(
                error <= 1e-5 * size,
                "{:?}: {found}, not {expected}",
                kernels.isa()
            );
        }
        // With the results as they were before, all is.
        let olds = layer.output.all().map(|[site, filter, y, x]| {
            Cell::floats(&before)[(filter * plane + layer.to.cell(y, x)) * Cell::SITES + site]
        });
        let olds: Vec<f32> = olds.collect();
        layer
            .output
            .put_floats(&mut output, &layer.to, |at| olds[at]);
        prop_assert!(output == before, "{:?}: others were written", kernels.isa());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_of_floats_are_close(
        layer in layers(3, 1, 5),
        residual in any::<bool>(),
        bounds in prop::sample::select(vec![
            ALL,
            (0.0, f32::INFINITY),
            (-0.5, 1.5),
        ]),
    ) {
        let case = Case::new(layer, residual, bounds);
        let output = case.layer.output;
        let sums: Vec<_> = output.all().enumerate().map(|(at, place)| case.sum(at, place)).collect();
        for kernels in all() {
            case.check(FloatForm::Filter, kernels, &sums)?;
            case.check(FloatForm::Shared, kernels, &sums)?;
        }
    }

    #[test]
    fn transformed_products_are_close(
        layer in even_layers(),
        residual in any::<bool>(),
        bounds in prop::sample::select(vec![
            ALL,
            (0.0, f32::INFINITY),
            (-0.5, 1.5),
        ]),
    ) {
        let case = Case::new(layer, residual, bounds);
        let output = case.layer.output;
        let sums: Vec<_> = output.all().enumerate().map(|(at, place)| case.sum(at, place)).collect();
        for kernels in all() {
            case.check(FloatForm::Winograd, kernels, &sums)?;
        }
    }
}

#[test]
fn transformed_products_of_few_bits_are_exact() {
    // Taps whose quarters are whole, and small whole inputs: no operation rounds.
    let (mut noise, taps) = (Noise(3), |noise: &mut Noise| {
        4.0 * noise.below(9) as f32 - 16.0
    });
    let weights: Vec<[f32; 9]> = (0..8)
        .map(|_| std::array::from_fn(|_| taps(&mut noise)))
        .collect();
    let records = Records::winograd(4, 2, 16, 4, |filter, channel| weights[filter * 2 + channel]);
    let mut input = vec![Cell::default(); 32];
    let inputs = Cell::floats_mut(&mut input);
    inputs.fill_with(|| noise.below(101) as f32 - 50.0);
    let epilogue = Epilogue {
        filters: vec![
            Filter {
                start: 0,
                multiplier: 1.0,
                offset: 7.0
            };
            4
        ],
        residual: None,
        bounds: ALL,
        sink: Sink::Floats,
    };
    let firsts = [0, 1, 4, 5];
    let positions = firsts
        .iter()
        .zip(0..)
        .map(|(&input, output)| at(input, output, 0));
    let product = Product::new(records, epilogue, positions.collect(), 4, false).unwrap();
    let mut expected = vec![Cell::default(); 16];
    for (filter, (place, first)) in
        (0..4).flat_map(|f| firsts.into_iter().enumerate().map(move |x| (f, x)))
    {
        for site in 0..Cell::SITES {
            let mut sum = 7.0;
            for (channel, tap) in (0..2).flat_map(|c| (0..9).map(move |tap| (c, tap))) {
                let cell = channel * 16 + first as usize + tap / 3 * 4 + tap % 3;
                let x = Cell::floats(&input)[cell * Cell::SITES + site];
                sum += x * weights[filter * 2 + channel][tap];
            }
            Cell::floats_mut(&mut expected)[(filter * 4 + place) * Cell::SITES + site] = sum;
        }
    }
    for kernels in all() {
        let mut output = marked(16);
        product
            .run(kernels, 0..1, &input, &[], &mut output)
            .unwrap();
        assert_eq!(output, expected, "{:?}", kernels.isa());
    }
}
