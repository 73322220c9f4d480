//! Products that do not fit are refused, and nothing is written.

use burn_compress::kernel::{
    Epilogue, FILTER_BLOCK, Filter, KernelError, PackedWeights, Position, Product, Residual,
    SharedEntry, Sink, SparseEntry, VectorBlock,
};

use super::{ALL, HUGE, all, at, marked};

fn epilogue(filter_blocks: usize, sink: Sink, bounds: (f32, f32)) -> Epilogue {
    let filter = Filter {
        start: 0,
        multiplier: 1.0,
        offset: 0.0,
    };
    Epilogue {
        filters: vec![filter; filter_blocks * FILTER_BLOCK],
        residual: None,
        bounds,
        sink,
    }
}

// One block's sparse entries, of the first and some other vector block.
fn shared(block: u32) -> PackedWeights {
    let entry = |block| SharedEntry::of_bytes(block, [[1; 4]; FILTER_BLOCK]);
    PackedWeights::Shared {
        entries: vec![entry(0), entry(block)],
        starts: vec![0, 2],
    }
}

#[test]
fn starts_rise_from_the_first_entry_to_their_number() {
    let starts = [
        vec![],
        vec![1],
        vec![0],
        vec![0, 2, 2, 2],
        vec![0, 0, 0, 0, 1],
        vec![0, 0, 0, 0, 3],
        vec![0, 2, 1, 2, 2],
        vec![1, 1, 1, 1, 2],
        vec![0, 3, 2, 2, 2],
        vec![0, u32::MAX, 2, 2, 2],
        vec![0, 1, 1, 1, 1, 2],
    ];
    for starts in starts {
        let entries = PackedWeights::Filter {
            entries: vec![SparseEntry::of_float(0, 1.0); 2],
            starts,
        };
        let epilogue = epilogue(entries.filter_blocks(), Sink::Floats, ALL);
        let product = Product::new(entries.clone(), epilogue, vec![at(0, 0, 0)], 1, false);
        assert_eq!(product.err(), Some(KernelError::Weights), "{entries:?}");
    }
    for starts in [
        vec![],
        vec![2],
        vec![0, 1],
        vec![0, 3],
        vec![0, 2, 1, 2],
        vec![1, 2],
    ] {
        let entry = SharedEntry::of_floats(0, [1.0; 4]);
        let entries = PackedWeights::Shared {
            entries: vec![entry; 2],
            starts,
        };
        let epilogue = epilogue(entries.filter_blocks(), Sink::Floats, ALL);
        let product = Product::new(entries.clone(), epilogue, vec![at(0, 0, 0)], 1, false);
        assert_eq!(product.err(), Some(KernelError::Weights), "{entries:?}");
    }
}

#[test]
fn a_entry_of_a_block_beyond_32_bits_is_refused() {
    let product = |entries: PackedWeights| {
        let epilogue = epilogue(1, Sink::Floats, ALL);
        Product::new(entries, epilogue, vec![at(0, 0, 0)], 1, true)
    };
    for block in [1 << 26, (1 << 26) + 1, 1 << 31, u32::MAX] {
        let starts = vec![0, 1, 1, 1, 1];
        let one = |entry: SparseEntry| PackedWeights::Filter {
            entries: vec![entry],
            starts: starts.clone(),
        };
        let four = |entry: SharedEntry| PackedWeights::Shared {
            entries: vec![entry],
            starts: vec![0, 1],
        };
        for entries in [
            one(SparseEntry::of_bytes(block, [1; 4])),
            one(SparseEntry::of_float(block, 1.0)),
            four(SharedEntry::of_bytes(block, [[1; 4]; 4])),
            four(SharedEntry::of_floats(block, [1.0; 4])),
            shared(block),
        ] {
            assert_eq!(
                product(entries).err(),
                Some(KernelError::Weights),
                "{block}"
            );
        }
    }
    // The last that fits needs all vector blocks up to it.
    let product = product(shared((1 << 26) - 1)).unwrap();
    for kernels in all() {
        let run = product.run(kernels, 0..1, &marked(1000), &[], &mut marked(4));
        assert_eq!(run, Err(KernelError::Memory));
    }
}

// Two blocks of filters that read one vector block and the next.
fn tiles(
    filter_blocks: usize,
    depth: usize,
    apart: u32,
    blocks: &[u32],
    weights: usize,
) -> PackedWeights {
    PackedWeights::Tiles {
        filter_blocks,
        depth,
        apart,
        blocks: blocks.to_vec(),
        weights: vec![VectorBlock::of_bytes(1); weights].into(),
    }
}

#[test]
fn tiles_fit_their_weights() {
    let new = |entries: &PackedWeights, codes| {
        let epilogue = epilogue(2, Sink::Floats, ALL);
        Product::new(entries.clone(), epilogue, vec![at(0, 0, 0)], 1, codes)
    };
    let good = tiles(2, 2, 1, &[0, 5], 2 * 2);
    assert!(new(&good, true).is_ok());
    let none = tiles(2, 2, 1, &[], 0);
    assert!(new(&none, true).is_ok());
    assert_eq!(new(&good, false).err(), Some(KernelError::Weights));
    for entries in [
        tiles(2, 2, 1, &[0, 5], 2 * 2 - 1),
        tiles(2, 2, 1, &[0, 5], 2 * 2 + 1),
        tiles(5, 2, 1, &[0, 5], 2 * 2),
        tiles(2, 0, 1, &[0, 5], 0),
        tiles(2, 17, 1, &[0], 17),
        tiles(2, HUGE, 1, &[0], 1),
        tiles(HUGE, 2, 1, &[0], 2),
        tiles(HUGE, 2, 1, &[], 0),
        tiles(2, 2, 1, &[0, 1 << 26], 2 * 2),
        tiles(2, 2, 1, &[0, (1 << 26) - 1], 2 * 2),
        tiles(2, 2, u32::MAX, &[0, 5], 2 * 2),
        tiles(2, 16, 1 << 23, &[0], 16),
    ] {
        assert_eq!(new(&entries, true).err(), Some(KernelError::Weights));
    }
    // All vector blocks of the last tile are needed.
    let product = new(&good, true).unwrap();
    for kernels in all() {
        let run = |blocks: usize| product.run(kernels, 0..2, &marked(blocks), &[], &mut marked(8));
        assert_eq!(run(6), Err(KernelError::Memory));
        assert_eq!(run(7), Ok(()));
        // No sparse entries, no sums.
        let none = new(&none, true).unwrap();
        let mut output = marked(8);
        assert_eq!(
            none.run(kernels, 0..2, &marked(1), &[], &mut output),
            Ok(())
        );
        assert!(
            output
                .iter()
                .all(|block| *block == VectorBlock::of_floats(0.0))
        );
    }
}

fn winograd(
    filter_blocks: usize,
    side: usize,
    channels: usize,
    steps: [u32; 3],
    weights: usize,
) -> PackedWeights {
    PackedWeights::Winograd {
        filter_blocks,
        side,
        channels,
        apart: steps[0],
        below: steps[1],
        beside: steps[2],
        weights: vec![1.0; weights].into(),
    }
}

#[test]
fn transformed_taps_fit_their_weights_and_positions() {
    for side in [2, 4] {
        // One window, whose channels lie one after the other.
        let (pitch, apart) = (side + 2, (side + 2) * (side + 2));
        let steps = [apart as u32, pitch as u32, 1];
        let place = |of: usize| at((of / side * pitch + of % side) as u32, of as u32, 0);
        let window: Vec<Position> = (0..side * side).map(place).collect();
        let new = |entries: &PackedWeights, positions: &[Position], codes| {
            let epilogue = epilogue(1, Sink::Floats, ALL);
            Product::new(
                entries.clone(),
                epilogue,
                positions.to_vec(),
                window.len(),
                codes,
            )
        };
        let refused = |entries: &PackedWeights, positions: &[Position], codes| {
            let found = new(entries, positions, codes).err();
            assert_eq!(found, Some(KernelError::Weights));
        };
        let each = 4 * apart;
        let most = PackedWeights::winograd_channels(side);
        let good = winograd(1, side, 2, steps, 2 * each);
        refused(&good, &window, true);
        refused(&good, &window[1..], false);
        refused(&good, &[&window[..], &window[..1]].concat(), false);
        assert!(new(&good, &[], false).is_ok());
        assert!(new(&winograd(1, side, most, steps, most * each), &window, false).is_ok());
        for entries in [
            winograd(1, side, 2, steps, 2 * each - 1),
            winograd(1, side, 2, steps, 2 * each + 1),
            winograd(1, 6 - side, 2, steps, 2 * each),
            winograd(1, side, 0, steps, 0),
            winograd(1, side, most + 1, steps, (most + 1) * each),
            winograd(HUGE, side, 2, steps, 2 * each),
            winograd(1, side, 2, [1 << 26, steps[1], 1], 2 * each),
            winograd(1, side, 2, [u32::MAX, steps[1], 1], 2 * each),
            winograd(1, side, 2, [steps[0], u32::MAX, 1], 2 * each),
            winograd(1, side, 2, [steps[0], steps[1], 1 << 26], 2 * each),
            winograd(1, side, 2, [steps[0], steps[1], u32::MAX], 2 * each),
        ] {
            refused(&entries, &window, false);
        }
        // All of the window is needed, and nothing behind; its results are made together.
        let product = new(&good, &window, false).unwrap();
        for kernels in all() {
            let outputs = || marked(4 * window.len());
            let run =
                |blocks: usize| product.run(kernels, 0..1, &marked(blocks), &[], &mut outputs());
            assert_eq!(run(2 * apart - 1), Err(KernelError::Memory));
            assert_eq!(run(2 * apart), Ok(()));
            for part in [0..3, 1..4, 1..3, 3..4] {
                let (input, mut output) = (marked(2 * apart), outputs());
                let run =
                    product.run_part(kernels, (0..1, part), (&input, 0), &[], (&mut output, 0));
                assert_eq!(run, Err(KernelError::Memory));
                assert_eq!(output, outputs());
            }
        }
    }
    for side in [0, 1, 3, 5, HUGE] {
        assert_eq!(PackedWeights::winograd_channels(side), 0);
        let entries = winograd(1, side, HUGE, [16, 4, 1], 64);
        assert_eq!(entries.cost(0), 0);
        let entries = winograd(1, side, 1, [16, 4, 1], 64);
        let product = Product::new(entries, epilogue(1, Sink::Floats, ALL), vec![], 4, false);
        assert_eq!(product.err(), Some(KernelError::Weights));
        let entries = PackedWeights::winograd(side, [4, 1], [16, 4, 1], |_, _| [1.0; 9]);
        let product = Product::new(entries, epilogue(1, Sink::Floats, ALL), vec![], 4, false);
        assert_eq!(product.err(), Some(KernelError::Weights));
    }
}

#[test]
fn an_epilogue_fits_its_layer() {
    let new = |epilogue, positions: Vec<Position>, plane, codes| {
        Product::new(shared(0), epilogue, positions, plane, codes).err()
    };
    let refusal = Some(KernelError::Epilogue);
    let here = || vec![at(0, 0, 0)];
    let floats = |filter_blocks| epilogue(filter_blocks, Sink::Floats, ALL);
    // Filters.
    assert_eq!(new(floats(1), here(), 1, true), None);
    assert_eq!(new(floats(0), here(), 1, true), refusal);
    assert_eq!(new(floats(2), here(), 1, true), refusal);
    // Bounds.
    let codes = |low, least: f32, most: f32| epilogue(1, Sink::Codes { low }, (least, most));
    assert_eq!(new(codes(-10, -10.0, 245.0), here(), 1, true), None);
    for (low, least, most) in [
        (-10, -11.0, 0.0),
        (-10, 0.0, 246.0),
        (-10, 0.5, 3.0),
        (-10, 0.0, 3.5),
        (0, f32::NAN, 3.0),
        (0, 0.0, f32::NAN),
        (0, 0.0, f32::INFINITY),
        (0, f32::NEG_INFINITY, 0.0),
        (i32::MIN, i32::MIN as f32, 0.0),
        (i32::MAX, i32::MAX as f32, i32::MAX as f32),
    ] {
        assert_eq!(
            new(codes(low, least, most), here(), 1, true),
            refusal,
            "{low} {least} {most}"
        );
    }
    let no_number = epilogue(1, Sink::Floats, (f32::NAN, 0.0));
    assert_eq!(new(no_number, here(), 1, true), refusal);
    // Codes of sums of floats.
    assert_eq!(new(codes(0, 0.0, 255.0), here(), 1, false), refusal);
}

// Runs with what is just enough, then with one vector block less of each; what fails writes nothing.
fn needs(
    product: &Product,
    filter_blocks: std::ops::Range<usize>,
    [input, residual, output]: [usize; 3],
) {
    for kernels in all() {
        let run = |input: usize, residual: usize, output: usize| {
            let mut blocks = marked(output);
            let ran = product.run(
                kernels,
                filter_blocks.clone(),
                &marked(input),
                &marked(residual),
                &mut blocks,
            );
            assert!(ran.is_ok() || blocks == marked(output));
            ran
        };
        let refusal = Err(KernelError::Memory);
        assert_eq!(run(input, residual, output), Ok(()));
        assert_eq!(run(input - 1, residual, output), refusal);
        assert_eq!(run(input, residual, output - 1), refusal);
        if residual > 0 {
            assert_eq!(run(input, residual - 1, output), refusal);
        }
        assert_eq!(run(0, 0, 0), refusal);
    }
}

#[test]
fn a_product_needs_all_blocks_that_it_touches() {
    let entries = |block: u32| {
        let entry = SharedEntry::of_bytes(block, [[1; 4]; FILTER_BLOCK]);
        PackedWeights::Shared {
            entries: vec![entry],
            starts: vec![0, 0, 0, 1],
        }
    };
    let positions = vec![at(4, 2, 1), at(1, 0, 3), at(0, 1, 0)];
    let added = Some(Residual {
        factor: 1.0,
        low: 0,
        plane: 5,
    });
    let product = |epilogue: Epilogue, codes: bool| {
        Product::new(entries(7), epilogue, positions.clone(), 6, codes).unwrap()
    };
    let codes = || epilogue(3, Sink::Codes { low: 0 }, (0.0, 255.0));
    let floats = || epilogue(3, Sink::Floats, ALL);
    let with = |epilogue: Epilogue| Epilogue {
        residual: added,
        ..epilogue
    };
    let input = 4 + 7 + 1;
    needs(&product(codes(), true), 0..3, [input, 0, 2 * 6 + 3]);
    needs(&product(codes(), true), 1..2, [input, 0, 3]);
    needs(&product(floats(), true), 1..3, [input, 0, 7 * 6 + 3]);
    needs(&product(with(codes()), true), 1..2, [input, 5 + 4, 3]);
    needs(
        &product(with(floats()), true),
        0..2,
        [input, 5 + 4, 7 * 6 + 3],
    );
    needs(
        &product(with(floats()), false),
        1..3,
        [input, 11 * 5 + 4, 7 * 6 + 3],
    );

    // Places that no memory has.
    for far in [at(0, u32::MAX, 0), at(0, 0, u32::MAX), at(u32::MAX, 0, 0)] {
        let far = Product::new(entries(0), with(codes()), vec![far], 6, true).unwrap();
        for kernels in all() {
            let mut output = marked(100);
            let run = far.run(kernels, 0..3, &marked(100), &marked(100), &mut output);
            assert_eq!(run, Err(KernelError::Memory));
            assert!(output == marked(100));
        }
    }

    let product = product(codes(), true);
    for kernels in all() {
        let mut output = marked(100);
        let mut run =
            |filter_blocks| product.run(kernels, filter_blocks, &marked(input), &[], &mut output);
        for filter_blocks in [0..4, 2..4, 3..4, 0..HUGE, HUGE - 1..HUGE] {
            assert_eq!(run(filter_blocks), Err(KernelError::Memory));
        }
        #[expect(clippy::reversed_empty_ranges)]
        for filter_blocks in [0..0, 9..9, 3..1] {
            assert_eq!(run(filter_blocks), Ok(()));
        }
        assert!(output == marked(100));
    }
}

#[test]
fn a_part_needs_the_blocks_of_its_own_positions() {
    let entries = PackedWeights::Shared {
        entries: vec![],
        starts: vec![0; 3],
    };
    let positions = vec![at(0, 5, 0), at(0, 2, 0), at(0, 9, 0)];
    let epilogue = epilogue(2, Sink::Codes { low: 0 }, (0.0, 255.0));
    let product = Product::new(entries.clone(), epilogue.clone(), positions, 4, true).unwrap();
    let positions = vec![at(5, 5, 0), at(3, 2, 0), at(7, 9, 0)];
    let windows = Product::new(entries, epilogue, positions, 4, true).unwrap();
    for kernels in all() {
        let run = |filter_blocks, positions, blocks: usize, first: usize| {
            let mut output = marked(blocks);
            let ran = product.run_part(
                kernels,
                (filter_blocks, positions),
                (&marked(1), 0),
                &[],
                (&mut output, first),
            );
            assert!(ran.is_ok() || output == marked(blocks));
            ran
        };
        let refusal = Err(KernelError::Memory);
        // The last vector block is that of the last plane, from the first one's of those before.
        assert_eq!(run(0..2, 0..2, 4 + 5 + 1, 0), Ok(()));
        assert_eq!(run(0..2, 0..2, 4 + 5, 0), refusal);
        assert_eq!(run(1..2, 0..2, 5 + 1 - 2, 2), Ok(()));
        assert_eq!(run(1..2, 0..2, 5 - 2, 2), refusal);
        assert_eq!(run(1..2, 0..2, 100, 3), refusal);
        assert_eq!(run(1..2, 2..3, 1, 9), Ok(()));
        assert_eq!(run(1..2, 2..3, 100, HUGE), refusal);
        for (filter_blocks, positions) in
            [(0..3, 0..1), (2..3, 0..1), (0..1, 2..4), (0..1, 3..HUGE)]
        {
            assert_eq!(run(filter_blocks, positions, 100, 0), refusal);
        }
        // From the first vector block that is read on.
        let last = |blocks: usize, skipped: usize| {
            let (input, mut output) = (marked(blocks), marked(1));
            let part = (0..1, 2..3);
            windows.run_part(kernels, part, (&input, skipped), &[], (&mut output, 9))
        };
        assert_eq!(windows.reads(2..3), 7..8);
        assert_eq!(windows.reads(0..3), 3..8);
        for none in [2..2, 1..4, 3..HUGE] {
            assert_eq!(windows.reads(none), 0..0);
        }
        assert_eq!(
            (last(1, 7), last(2, 6), last(8, 0)),
            (Ok(()), Ok(()), Ok(()))
        );
        for (blocks, skipped) in [(0, 7), (1, 6), (8, 8), (8, HUGE)] {
            assert_eq!(last(blocks, skipped), refusal);
        }
        assert_eq!(run(0..1, 3..3, 0, 0), Ok(()));
        assert_eq!(run(0..0, 0..3, 0, 0), Ok(()));
    }
}

#[test]
fn planes_of_any_size_are_counted_without_overflow() {
    let entries = || PackedWeights::Shared {
        entries: vec![],
        starts: vec![0; 6],
    };
    // So many planes before the last one are a few vector blocks in 64 bits.
    for planes in [1, 3, 4, 7, 15, 19] {
        let plane = (HUGE / planes).saturating_add(1);
        for codes in [false, true] {
            let residual = Some(Residual {
                factor: 1.0,
                low: 0,
                plane,
            });
            let floats = epilogue(5, Sink::Floats, ALL);
            let positions = vec![at(0, 0, 0)];
            let wide = Epilogue {
                residual,
                ..floats.clone()
            };
            let reads = Product::new(entries(), wide, positions.clone(), 1, codes).unwrap();
            let writes = Product::new(entries(), floats, positions, plane, codes).unwrap();
            for kernels in all() {
                for product in [&reads, &writes] {
                    for filter_blocks in [0..5, 1..5, 4..5, 3..5] {
                        let part = filter_blocks.len() * FILTER_BLOCK;
                        let run = product.run(
                            kernels,
                            filter_blocks,
                            &marked(1),
                            &marked(20),
                            &mut marked(part),
                        );
                        assert_eq!(run, Err(KernelError::Memory), "{plane}");
                    }
                }
            }
        }
    }
}
