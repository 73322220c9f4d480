//! Floats that are whole multiples of a scale.

/// The greatest multiple that is looked for.
const GREATEST: i32 = (1 << 16) - 1;

/// Where the elements of each index of an axis lie; all of them where there is no axis.
#[derive(Clone, Copy)]
pub struct Channels {
    pub count: usize,
    outer: usize,
    inner: usize,
}

impl Channels {
    /// Of an axis that the dimensions have.
    pub fn of(dims: &[usize], axis: Option<usize>) -> Self {
        let product = |dims: &[usize]| dims.iter().product();
        match axis {
            None => Self {
                count: 1,
                outer: 1,
                inner: product(dims),
            },
            Some(axis) => Self {
                count: dims[axis],
                outer: product(&dims[..axis]),
                inner: product(&dims[axis + 1..]),
            },
        }
    }

    /// The places of a channel's elements, rising.
    pub fn places(self, channel: usize) -> impl Iterator<Item = usize> + Clone {
        (0..self.outer).flat_map(move |outer| {
            let first = (outer * self.count + channel) * self.inner;
            first..first + self.inner
        })
    }
}

/// The axes that may have scales: none, or one of the first two, where output channels lie.
pub fn axes(dims: &[usize]) -> impl Iterator<Item = Option<usize>> {
    let rank = dims.len();
    [None, Some(0), Some(1)]
        .into_iter()
        .filter(move |axis| axis.is_none_or(|axis| rank > 1 && axis < rank))
}

/// The scale of which all values are whole multiples, bit for bit; none where there is no such scale.
/// 1 of zeros.
pub fn exact(values: impl Iterator<Item = f32> + Clone) -> Option<f32> {
    let about = about(values.clone(), GREATEST)?;
    let largest = values.clone().fold(0.0, |most: f32, x| most.max(x.abs()));
    if largest == 0.0 {
        return Some(1.0);
    }
    let guess = (f64::from(largest) / (f64::from(largest) / about).round()) as f32;
    let fits = |scale: &f32| {
        let of = |x: f32| ((x / scale).round() * scale).to_bits() == x.to_bits() || x == 0.0;
        scale.is_normal() && values.clone().all(of)
    };
    let mut below = guess;
    let mut above = guess;
    for _ in 0..4 {
        if let Some(scale) = [below, above].into_iter().find(fits) {
            return Some(scale);
        }
        (below, above) = (below.next_down(), above.next_up());
    }
    None
}

/// A number of which all values are whole multiples, but for rounding, up to a greatest one.
pub fn about(values: impl Iterator<Item = f32> + Clone, greatest: i32) -> Option<f64> {
    let sizes = values.map(|x| f64::from(x.abs())).filter(|x| *x > 0.0);
    let (least, most) = sizes
        .clone()
        .fold((f64::INFINITY, 0.0f64), |(least, most), x| {
            (least.min(x), most.max(x))
        });
    if most == 0.0 {
        return Some(1.0);
    }
    (1..=greatest.min(FACTORS)).find_map(|factor| {
        let scale = least / f64::from(factor);
        let tolerance = |code: f64| code * f64::from(f32::EPSILON) + 1e-9;
        let whole = |x: f64| {
            let code = x / scale;
            (code - code.round()).abs() <= 2.0 * tolerance(code)
        };
        (most / scale <= f64::from(greatest) + 0.5 && sizes.clone().all(whole)).then_some(scale)
    })
}

/// What the least value may be a multiple by.
const FACTORS: i32 = 32;
