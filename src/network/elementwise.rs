//! Steps on each element, and sums over windows and axes.

use super::movement::expand;
use super::sink::{Operand, Sink, View};
use super::window::{Seen, Windows, pool, size};
use super::{Activation, Arithmetic, Divide, Over, Rescale};

fn bounded(t: f32, activation: Option<Activation>) -> f32 {
    activation.map_or(t, |activation| activation.apply(t))
}

/// Each channel by its own factor.
pub(super) fn rescale(
    sink: &mut Sink,
    rescale: &Rescale,
    codes: &[i32],
    residual: Option<&[i32]>,
    dims: &[usize],
) {
    let inner: usize = dims.iter().skip(2).product();
    let channels = dims.get(1).copied().unwrap_or(1);
    for (index, &code) in codes.iter().enumerate() {
        let channel = index / inner % channels;
        let residual = residual.map_or(0, |codes| codes[index]);
        sink.push(rescale.apply(code, channel, residual));
    }
}

/// Two operands that broadcast to `dims`; the second is codes or floats.
pub(super) fn arithmetic(
    sink: &mut Sink,
    how: Arithmetic,
    operands: &[Operand],
    dims: &[usize],
    activation: Option<Activation>,
) -> Result<(), String> {
    let [left, right] = operands else {
        return Err("not two operands".to_string());
    };
    let a = expand(left.codes()?, &left.dims, dims)?;
    match right.elements {
        View::Codes(codes) => {
            let b = expand(codes, &right.dims, dims)?;
            for (&a, &b) in a.iter().zip(b.iter()) {
                let t = match how {
                    Arithmetic::Add { left, right } => {
                        let t = a as f32 * left;
                        let other = b as f32 * right;
                        t + other
                    }
                    Arithmetic::Multiply { multiplier } => sink.sum(a * b) as f32 * multiplier,
                    _ => return Err("codes in the place of a constant".to_string()),
                };
                sink.push(bounded(t, activation));
            }
        }
        View::Values(values) => {
            let b = expand(values, &right.dims, dims)?;
            for (&a, &constant) in a.iter().zip(b.iter()) {
                let t = match how {
                    Arithmetic::AddConstant { multiplier } => {
                        let t = a as f32 * multiplier;
                        t + constant
                    }
                    Arithmetic::MultiplyConstant => a as f32 * constant,
                    _ => return Err("floats in the place of codes".to_string()),
                };
                sink.push(bounded(t, activation));
            }
        }
    }
    Ok(())
}

/// Sums over windows or axes.
pub(super) fn sums(
    sink: &mut Sink,
    over: Over,
    (codes, from): (&[i32], &[usize]),
    to: &[usize],
    (multiplier, divide): (f32, Divide),
    activation: Option<Activation>,
) -> Result<(), String> {
    let Some(windows) = Windows::of(over) else {
        for sum in over_axes::<i32, i32>(codes, from, to)? {
            let sum = sink.sum(sum);
            sink.push(bounded(sum as f32 * multiplier, activation));
        }
        return Ok(());
    };
    pool(windows, codes, size(from), size(to), |seen: Seen<i32>| {
        let sum = sink.sum(seen.values().sum());
        let t = sum as f32 * multiplier;
        // Divided by 1, it stays as it is.
        let t = t / seen.divisor(divide) as f32;
        sink.push(bounded(t, activation));
    });
    Ok(())
}

/// The sum, of another type, of all elements that an axis of length 1 in `to` holds.
pub(super) fn over_axes<T: Copy + Into<S>, S: Copy + Default + std::ops::AddAssign>(
    source: &[T],
    from: &[usize],
    to: &[usize],
) -> Result<Vec<S>, String> {
    let numbers: Vec<usize> = (0..to.iter().product()).collect();
    let mut sums = super::sink::filled(numbers.len(), S::default())?;
    // Each element's place in the result.
    for (&x, &place) in source.iter().zip(expand(&numbers, to, from)?.iter()) {
        sums[place] += x.into();
    }
    Ok(sums)
}
