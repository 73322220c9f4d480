//! Weights of three by three taps, transformed.

use std::sync::Arc;

use super::{FILTER_BLOCK, PackedWeights, winograd};

impl PackedWeights {
    /// The most channels of filters that are transformed for two or four results in a line; of others, 0.
    ///
    /// ```
    /// use burn_compress_kernel::PackedWeights;
    /// assert_eq!(PackedWeights::winograd_channels(4), 64);
    /// ```
    pub const fn winograd_channels(side: usize) -> usize {
        winograd::channels(side)
    }

    /// Transforms filters for two or four results in a line: `taps` gives, for a filter and a channel, three
    /// rows of three. Vector blocks from a channel to the next are `apart`, from a tap to the one below it
    /// `below`, and to the one beside it `beside`.
    ///
    /// ```
    /// use burn_compress_kernel::{
    ///     VectorBlock, Epilogue, Filter, Kernels, Position, Product, PackedWeights, Sink,
    /// };
    /// // The sums of nine places; of the block's other filters nothing.
    /// let entries = PackedWeights::winograd(2, [4, 1], [16, 4, 1], |filter, _| [[1.0, 0.0][filter.min(1)]; 9]);
    /// let epilogue = Epilogue {
    ///     filters: vec![Filter { start: 0, multiplier: 1.0, offset: 0.5 }; 4],
    ///     residual: None,
    ///     bounds: (f32::NEG_INFINITY, f32::INFINITY),
    ///     sink: Sink::Floats,
    /// };
    /// let positions = [[0, 0], [1, 1], [4, 2], [5, 3]].map(|[input, output]| Position {
    ///     input,
    ///     output,
    ///     residual: 0,
    /// });
    /// let product = Product::new(entries, epilogue, positions.to_vec(), 4, false)?;
    /// let input = [VectorBlock::of_floats(2.0); 16];
    /// let mut output = [VectorBlock::default(); 16];
    /// product.run(Kernels::detect(), 0..1, &input, &[], &mut output)?;
    /// assert_eq!(output[..4], [VectorBlock::of_floats(18.5); 4]);
    /// # Ok::<(), burn_compress_kernel::KernelError>(())
    /// ```
    pub fn winograd(
        side: usize,
        [filters, channels]: [usize; 2],
        [apart, below, beside]: [u32; 3],
        taps: impl Fn(usize, usize) -> [f32; 9],
    ) -> Self {
        Self::Winograd {
            filter_blocks: filters.div_ceil(FILTER_BLOCK),
            side,
            channels,
            apart,
            below,
            beside,
            weights: Arc::new(Self::transformed(side, [filters, channels], taps)),
        }
    }

    /// The transformed weights alone.
    pub fn transformed(
        side: usize,
        [filters, channels]: [usize; 2],
        taps: impl Fn(usize, usize) -> [f32; 9],
    ) -> Vec<f32> {
        // Another number makes no product.
        let places = winograd::places(if side == 2 { 2 } else { 4 });
        let filter_blocks = filters.div_ceil(FILTER_BLOCK);
        let mut weights = vec![0.0; filter_blocks * places * channels * FILTER_BLOCK];
        for (filter, channel) in (0..filters).flat_map(|f| (0..channels).map(move |c| (f, c))) {
            let transformed = transform(taps(filter, channel), side);
            for (place, weight) in transformed.into_iter().enumerate() {
                let at = (filter / FILTER_BLOCK * places + place) * channels + channel;
                weights[at * FILTER_BLOCK + filter % FILTER_BLOCK] = weight;
            }
        }
        weights
    }
}

// The taps of a filter's channel, `[row][column]`, as `PackedWeights::Winograd` holds them: `G g Gᵀ`.
fn transform(taps: [f32; 9], side: usize) -> Vec<f32> {
    let line = |[a, b, c]: [f64; 3]| -> Vec<f64> {
        match side {
            2 => vec![a, (a + b + c) / 2.0, (a - b + c) / 2.0, c],
            _ => vec![
                a / 4.0,
                -(a + b + c) / 6.0,
                (b - a - c) / 6.0,
                (a + 2.0 * b + 4.0 * c) / 24.0,
                (a - 2.0 * b + 4.0 * c) / 24.0,
                c,
            ],
        }
    };
    let taps = taps.map(f64::from);
    let [a, b, c] = [0, 1, 2].map(|x| line([taps[x], taps[3 + x], taps[6 + x]]));
    let rows = a.iter().zip(b).zip(c);
    let rows = rows.flat_map(|((&a, b), c)| line([a, b, c]));
    rows.map(|value| value as f32).collect()
}
