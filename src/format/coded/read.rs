use super::fold::Fold;
use super::model::Numbers;
use super::stream::Reader;
use super::{BITMAP, GAPS, HALVES, MOST_IN_A_BYTE, PACKED};
use crate::format::{FormatError, packed_bytes, unpack_bits};

/// Bytes of a number when it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Width {
    One,
    Two,
    Four,
}

impl Width {
    pub(crate) fn of(low: i32, high: i32) -> Self {
        if i8::try_from(low).is_ok() && i8::try_from(high).is_ok() {
            Self::One
        } else if i16::try_from(low).is_ok() && i16::try_from(high).is_ok() {
            Self::Two
        } else {
            Self::Four
        }
    }
}

/// The bytes in which the numbers fit. Fails with [`FormatError::Corrupt`] where there are none.
pub(crate) fn width(bytes: &[u8]) -> Result<Width, FormatError> {
    match bytes.first().map(|head| head >> 2) {
        Some(0) => Ok(Width::One),
        Some(1) => Ok(Width::Two),
        Some(2) => Ok(Width::Four),
        _ => Err(FormatError::corrupt("numbers of another form")),
    }
}

/// Reads `count` numbers: of the bytes that [`encode`](super::encode) gives, those, and of any others
/// an error, or other numbers. Memory is taken for at most 1024 numbers a byte.
pub(crate) fn decode<T>(bytes: &[u8], count: usize) -> Result<Vec<T>, FormatError>
where
    T: Copy + Default + TryFrom<i32>,
{
    let wrong = || FormatError::corrupt(format!("{} bytes are not {count} numbers", bytes.len()));
    if count.div_ceil(MOST_IN_A_BYTE) > bytes.len() {
        return Err(wrong());
    }
    let mut numbers = Vec::new();
    let reserved = numbers.try_reserve_exact(count);
    reserved.map_err(|_| FormatError::corrupt(format!("no memory for {count} numbers")))?;
    read(bytes, count, &mut numbers).ok_or_else(wrong)?;
    Ok(numbers)
}

fn read<T: Copy + Default + TryFrom<i32>>(
    bytes: &[u8],
    count: usize,
    numbers: &mut Vec<T>,
) -> Option<()> {
    let (&head, mut rest) = bytes.split_first()?;
    match head & 3 {
        form @ (PACKED | BITMAP) => {
            let (&bits, low_and_codes) = rest.split_first()?;
            let (low, codes) = low_and_codes.split_first_chunk::<4>()?;
            let low = i32::from_le_bytes(*low);
            let bits = u32::from(bits);
            numbers.resize(count, T::default());
            if form == PACKED {
                let codes = unpack_bits(codes, bits, count).ok()?;
                return fill(numbers.iter_mut(), codes, low);
            }
            let (mask, codes) = codes.split_at_checked(packed_bytes(count, 1))?;
            let mask = unpack_bits(mask, 1, count).ok()?;
            let kept = mask.iter().filter(|kept| **kept == 1).count();
            let codes = unpack_bits(codes, bits, kept).ok()?;
            let kept = numbers.iter_mut().zip(mask).filter(|(_, kept)| *kept == 1);
            fill(kept.map(|(number, _)| number), codes, low)
        }
        HALVES => {
            let fold = Fold::from_number(take(&mut rest)?)?;
            let [first, second] = streams(rest, bytes.len(), count)?;
            numbers.resize(count, T::default());
            halves(first, second, fold, numbers)
        }
        GAPS => {
            let fold = Fold::from_number(take(&mut rest)?)?;
            let kept = take(&mut rest)?;
            let [places, others] = streams(rest, bytes.len(), count)?;
            spread([places, others], (fold, kept), count, numbers)
        }
        _ => None,
    }
}

fn fill<'a, T: TryFrom<i32> + 'a>(
    numbers: impl Iterator<Item = &'a mut T>,
    codes: Vec<u32>,
    low: i32,
) -> Option<()> {
    for (number, code) in numbers.zip(codes) {
        *number = T::try_from(low.checked_add_unsigned(code)?).ok()?;
    }
    Some(())
}

fn halves<T: Copy + TryFrom<i32>>(
    mut first: Reader,
    mut second: Reader,
    fold: Fold,
    numbers: &mut [T],
) -> Option<()> {
    if !numbers.is_empty() {
        let model = Numbers::read(&mut first)?;
        let (left, right) = numbers.split_at_mut(numbers.len().div_ceil(2));
        let (left, last) = left.split_at_mut(right.len());
        for (left, right) in left.iter_mut().zip(right) {
            *left = T::try_from(fold.unfold(model.next(&mut first))).ok()?;
            *right = T::try_from(fold.unfold(model.next(&mut second))).ok()?;
        }
        for left in last {
            *left = T::try_from(fold.unfold(model.next(&mut first))).ok()?;
        }
    }
    (first.ends() && second.ends()).then_some(())
}

/// Numbers that are made zero at once: few enough to be in the processor's cache when the others come.
const BLOCK: usize = 1 << 14;

fn spread<T: Copy + Default + TryFrom<i32>>(
    [mut places, mut others]: [Reader; 2],
    (fold, kept): (Fold, usize),
    count: usize,
    numbers: &mut Vec<T>,
) -> Option<()> {
    if kept > 0 {
        let gaps = Numbers::read(&mut places)?;
        let values = Numbers::read(&mut others)?;
        let mut place = 0;
        for _ in 0..kept {
            place = usize::saturating_add(place, gaps.next(&mut places) as usize);
            let value = values.next(&mut others).wrapping_add(1);
            let value = T::try_from(fold.unfold(value)).ok()?;
            if place >= numbers.len() {
                if place >= count {
                    return None;
                }
                numbers.resize(count.min(place + BLOCK), T::default());
            }
            *numbers.get_mut(place)? = value;
            place += 1;
        }
    }
    numbers.resize(count, T::default());
    (places.ends() && others.ends()).then_some(())
}

/// Two streams, and zeros where fewer bytes would be too few for the count.
fn streams(mut bytes: &[u8], size: usize, count: usize) -> Option<[Reader<'_>; 2]> {
    let (first, second) = (take(&mut bytes)?, take(&mut bytes)?);
    let (first, rest) = bytes.split_at_checked(first)?;
    let (second, padding) = rest.split_at_checked(second)?;
    let needed = count
        .div_ceil(MOST_IN_A_BYTE)
        .saturating_sub(size - padding.len());
    let fits = padding.len() == needed && padding.iter().all(|byte| *byte == 0);
    match fits {
        true => Some([Reader::new(first)?, Reader::new(second)?]),
        false => None,
    }
}

fn take(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
