//! The handwritten digits of Alpaydin & Kaynak, embedded (see `examples/data/README.md`).

use burn::tensor::{Device, Int, Tensor, TensorData};
use flate2::read::GzDecoder;
use rand::Rng;

use super::Dataset;

const SIDE: usize = 8;
const PIXELS: usize = SIDE * SIDE;
static CSV: &[u8] = include_bytes!("../data/digits.csv.gz");

/// Images of 8x8 pixels from 0 to 1, and their labels.
#[derive(Clone)]
pub struct Digits {
    pub images: Vec<f32>,
    pub labels: Vec<u8>,
}

impl Digits {
    /// 1,437 images to train with and 360 held out, always the same.
    pub fn load() -> (Self, Self) {
        let rows: Vec<Vec<u8>> = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(GzDecoder::new(CSV))
            .deserialize()
            .collect::<Result<_, _>>()
            .expect("the embedded digits are whole");
        // Sorted by a hash: a shuffle that no library version changes.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&place| split_mix(place as u64));
        let (held_out, train) = order.split_at(rows.len().div_ceil(5));
        (Self::pick(&rows, train), Self::pick(&rows, held_out))
    }

    fn pick(rows: &[Vec<u8>], places: &[usize]) -> Self {
        let pixels = places.iter().flat_map(|&place| &rows[place][..PIXELS]);
        Self {
            images: pixels.map(|&pixel| f32::from(pixel) / 16.0).collect(),
            labels: places.iter().map(|&place| rows[place][PIXELS]).collect(),
        }
    }

    /// As [`Dataset::batch`], each image moved by up to `reach` pixels in both directions.
    pub fn batch_shifted(
        &self,
        indices: &[usize],
        reach: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> (Tensor<4>, Tensor<1, Int>) {
        let mut pixels = vec![0.0; indices.len() * PIXELS];
        for (out, &index) in pixels.chunks_exact_mut(PIXELS).zip(indices) {
            let image = self.image(index);
            let down = rng.random_range(0..=2 * reach);
            let right = rng.random_range(0..=2 * reach);
            for (y, row) in out.chunks_exact_mut(SIDE).enumerate() {
                for (x, pixel) in row.iter_mut().enumerate() {
                    let from = (y + down)
                        .checked_sub(reach)
                        .zip((x + right).checked_sub(reach));
                    if let Some((y, x)) = from.filter(|&(y, x)| y < SIDE && x < SIDE) {
                        *pixel = image[y * SIDE + x];
                    }
                }
            }
        }
        self.tensors(pixels, indices, device)
    }

    fn image(&self, index: usize) -> &[f32] {
        &self.images[index * PIXELS..][..PIXELS]
    }

    fn tensors(
        &self,
        pixels: Vec<f32>,
        indices: &[usize],
        device: &Device,
    ) -> (Tensor<4>, Tensor<1, Int>) {
        let n = indices.len();
        let labels: Vec<i64> = indices.iter().map(|&i| i64::from(self.labels[i])).collect();
        (
            Tensor::from_data(TensorData::new(pixels, [n, 1, SIDE, SIDE]), device),
            Tensor::from_data(TensorData::new(labels, [n]), device),
        )
    }
}

impl Dataset for Digits {
    fn len(&self) -> usize {
        self.labels.len()
    }

    /// Images `[n, 1, 8, 8]` and labels `[n]`.
    fn batch(&self, indices: &[usize], device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let pixels = (indices.iter())
            .flat_map(|&i| self.image(i))
            .copied()
            .collect();
        self.tensors(pixels, indices, device)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea & Flood 2014).
fn split_mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
