use std::collections::HashMap;

use super::fold::Fold;
use super::model::Model;
use super::read::Width;
use super::stream::Writer;
use super::{BITMAP, GAPS, HALVES, MOST_IN_A_BYTE, PACKED};
use crate::format::{FormatError, pack_bits, packed_bytes};

/// The numbers in the fewest bytes: the same for the same numbers. Fails with
/// [`FormatError::Corrupt`] where they are more than 32 bits count.
pub(crate) fn encode(numbers: &[i32]) -> Result<Vec<u8>, FormatError> {
    if u32::try_from(numbers.len()).is_err() {
        return Err(FormatError::corrupt("a tensor of more than 2^32 numbers"));
    }
    let kept: Vec<i32> = numbers.iter().copied().filter(|x| *x != 0).collect();
    let low = numbers.iter().fold(0, |low, &x| low.min(x));
    let high = numbers.iter().fold(0, |high, &x| high.max(x));
    let span = i64::from(high) - i64::from(low);
    let bits = (64 - span.leading_zeros()).max(1);

    let fold = Fold::of(low, high);
    let all = Coding::of(|| numbers.iter().map(|&x| fold.fold(x)));
    let places = Coding::of(|| gaps(numbers));
    let others = Coding::of(|| kept.iter().map(|&x| fold.fold(x) - 1));
    let packed = |bytes: usize| match bits <= 16 {
        true => bytes as f64 * 8.0,
        false => f64::INFINITY,
    };
    let bitmap = packed_bytes(numbers.len(), 1) + packed_bytes(kept.len(), bits);
    let sizes = [
        (PACKED, packed(packed_bytes(numbers.len(), bits))),
        (BITMAP, packed(bitmap)),
        // A stream ends with a word that is half full; its length stands before it.
        (HALVES, all.bits + 48.0),
        (GAPS, places.bits + others.bits + 64.0),
    ];
    let least = sizes.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
    let form = least.map_or(PACKED, |(form, _)| form);

    let mut bytes = vec![form | (Width::of(low, high) as u8) << 2];
    match form {
        PACKED | BITMAP => {
            bytes.push(bits as u8);
            bytes.extend_from_slice(&low.to_le_bytes());
            let mut packed = numbers;
            if form == BITMAP {
                let mask: Vec<u32> = numbers.iter().map(|x| u32::from(*x != 0)).collect();
                bytes.extend(pack_bits(&mask, 1)?);
                packed = &kept;
            }
            let codes: Vec<u32> = packed.iter().map(|x| x.wrapping_sub(low) as u32).collect();
            bytes.extend(pack_bits(&codes, bits)?);
        }
        HALVES => {
            put(&mut bytes, fold.to_number());
            let (first, second) = numbers.split_at(numbers.len().div_ceil(2));
            let first = all.write(true, first.iter().map(|&x| fold.fold(x)))?;
            let second = all.write(false, second.iter().map(|&x| fold.fold(x)))?;
            append(&mut bytes, &first, &second);
        }
        _ => {
            put(&mut bytes, fold.to_number());
            put(&mut bytes, kept.len());
            let places = places.write(true, gaps(numbers))?;
            let others = others.write(true, kept.iter().map(|&x| fold.fold(x) - 1))?;
            append(&mut bytes, &places, &others);
        }
    }
    let least = numbers.len().div_ceil(MOST_IN_A_BYTE);
    bytes.resize(bytes.len().max(least), 0);
    Ok(bytes)
}

/// How numbers are coded (none: there are none), and in how many bits.
struct Coding {
    model: Option<Model>,
    bits: f64,
}

impl Coding {
    fn of<I: Iterator<Item = u32>>(numbers: impl Fn() -> I) -> Self {
        let mut counts: HashMap<u32, u64> = HashMap::new();
        numbers().for_each(|number| *counts.entry(number).or_default() += 1);
        match Model::best(&counts) {
            Some((model, bits)) => Self {
                model: Some(model),
                bits,
            },
            None => Self {
                model: None,
                bits: 0.0,
            },
        }
    }

    /// A stream of these numbers, with or without the model before them.
    fn write(
        &self,
        with_model: bool,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<Vec<u8>, FormatError> {
        let mut writer = Writer::default();
        if let Some(model) = &self.model {
            if with_model {
                model.write(&mut writer);
            }
            model.encode(numbers, &mut writer);
        }
        writer.into_bytes()
    }
}

/// How many zeros stand before each number that is not.
fn gaps(numbers: &[i32]) -> impl Iterator<Item = u32> {
    let places = numbers.iter().enumerate().filter(|(_, x)| **x != 0);
    let mut next = 0;
    places.map(move |(place, _)| {
        let gap = place - next;
        next = place + 1;
        gap as u32
    })
}

fn append(bytes: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    put(bytes, first.len());
    put(bytes, second.len());
    bytes.extend_from_slice(first);
    bytes.extend_from_slice(second);
}

/// Seven bits a byte, the least first; all but the last byte say that more follow.
fn put(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
