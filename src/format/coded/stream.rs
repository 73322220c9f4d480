//! Symbols in a string of bytes, by asymmetric numeral systems (Duda 2013, "Asymmetric numeral
//! systems: entropy coding combining speed of Huffman coding with compression rate of arithmetic
//! coding"). All probabilities are whole numbers of 4096ths: the same bytes on every machine.

use std::convert::Infallible;
use std::num::NonZeroU16;

use constriction::Stack;
use constriction::backends::ReadWords;
use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use constriction::stream::stack::{AnsCoder, DefaultAnsCoder};
use constriction::stream::{Decode, Encode};

use crate::format::FormatError;

/// Bits of a probability.
pub(super) const PRECISION: usize = 12;

/// A symbol's share of all 4096ths: the sum of those before it and its own.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub left: u16,
    pub frequency: NonZeroU16,
}

impl Share {
    /// Of one of the numbers of this many bits, 1 to 12, all equally probable.
    fn of_bits(value: u32, bits: u32) -> Self {
        let rest = PRECISION as u32 - bits;
        Self {
            left: (value << rest) as u16,
            frequency: NonZeroU16::MIN.saturating_add((1 << rest) - 1),
        }
    }
}

impl Share {
    /// Of a bit that is 1 with a probability of so many 4096ths, neither 0 nor all.
    fn of_bit(bit: bool, one: u16) -> Self {
        let (left, frequency) = match bit {
            true => (0, one),
            false => (one, (1 << PRECISION) - one),
        };
        Self {
            left,
            frequency: NonZeroU16::MIN.saturating_add(frequency - 1),
        }
    }
}

impl EntropyModel<PRECISION> for Share {
    type Symbol = ();
    type Probability = u16;
}

impl EncoderModel<PRECISION> for Share {
    fn left_cumulative_and_probability(
        &self,
        _: impl std::borrow::Borrow<()>,
    ) -> Option<(u16, NonZeroU16)> {
        Some((self.left, self.frequency))
    }
}

/// Symbols on their way to bytes: the coder takes the last first.
#[derive(Default)]
pub(super) struct Writer(Vec<Share>);

impl Writer {
    pub fn push(&mut self, share: Share) {
        self.0.push(share);
    }

    /// A bit, 1 with a probability of so many 4096ths.
    pub fn bit(&mut self, bit: bool, one: u16) {
        self.push(Share::of_bit(bit, one));
    }

    /// A number of at most 32 bits as it is.
    pub fn bits(&mut self, mut value: u32, mut bits: u32) {
        while bits > 0 {
            let part = bits.min(PRECISION as u32);
            self.push(Share::of_bits(value & ((1 << part) - 1), part));
            value >>= part;
            bits -= part;
        }
    }

    pub fn into_bytes(self) -> Result<Vec<u8>, FormatError> {
        let mut coder = DefaultAnsCoder::new();
        for share in self.0.into_iter().rev() {
            let coded = coder.encode_symbol((), share);
            coded.map_err(|error| FormatError::corrupt(error.to_string()))?;
        }
        let Ok(words) = coder.into_compressed();
        Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
    }
}

/// Which symbol each of the 4096ths belongs to: in 32 bits the symbol, how far in its share, and its
/// share less one.
pub(super) struct Slots(Box<[u32; 1 << PRECISION]>);

impl Slots {
    /// Of at most 256 symbols by their frequencies, whose sum is 4096; none otherwise.
    pub fn new(frequencies: &[u16]) -> Option<Self> {
        let mut slots = Vec::with_capacity(1 << PRECISION);
        for (symbol, &frequency) in frequencies.iter().enumerate() {
            let head = u32::from(u8::try_from(symbol).ok()?) << 24;
            let frequency = u32::from(frequency);
            if slots.len() + frequency as usize > 1 << PRECISION {
                return None;
            }
            slots.extend((0..frequency).map(|place| head | place << 12 | (frequency - 1)));
        }
        Some(Self(slots.into_boxed_slice().try_into().ok()?))
    }
}

impl EntropyModel<PRECISION> for &Slots {
    type Symbol = u8;
    type Probability = u16;
}

impl DecoderModel<PRECISION> for &Slots {
    #[inline(always)]
    fn quantile_function(&self, quantile: u16) -> (u8, u16, NonZeroU16) {
        let quantile = quantile & ((1 << PRECISION) - 1);
        let slot = self.0[usize::from(quantile)];
        let (place, less_one) = ((slot >> 12 & 0xfff) as u16, (slot & 0xfff) as u16);
        let frequency = NonZeroU16::MIN.saturating_add(less_one);
        ((slot >> 24) as u8, quantile - place, frequency)
    }
}

/// Numbers of this many bits, 1 to 12, all equally probable.
struct Bits(u32);

impl EntropyModel<PRECISION> for Bits {
    type Symbol = u32;
    type Probability = u16;
}

impl DecoderModel<PRECISION> for Bits {
    #[inline(always)]
    fn quantile_function(&self, quantile: u16) -> (u32, u16, NonZeroU16) {
        let value = u32::from(quantile) >> (PRECISION as u32 - self.0);
        let share = Share::of_bits(value, self.0);
        (value, share.left, share.frequency)
    }
}

/// A bit that is 1 with a probability of so many 4096ths.
struct Bit(u16);

impl EntropyModel<PRECISION> for Bit {
    type Symbol = bool;
    type Probability = u16;
}

impl DecoderModel<PRECISION> for Bit {
    #[inline(always)]
    fn quantile_function(&self, quantile: u16) -> (bool, u16, NonZeroU16) {
        let bit = quantile < self.0;
        let share = Share::of_bit(bit, self.0);
        (bit, share.left, share.frequency)
    }
}

/// The bytes as words, the last first.
struct Words<'a>(&'a [[u8; 4]]);

impl ReadWords<u32, Stack> for Words<'_> {
    type ReadError = Infallible;

    #[inline(always)]
    fn read(&mut self) -> Result<Option<u32>, Infallible> {
        Ok(self.0.split_last().map(|(word, rest)| {
            self.0 = rest;
            u32::from_le_bytes(*word)
        }))
    }
}

/// Reads symbols back. Of bytes that no [`Writer`] gave it reads some symbols, too; whether they were
/// those, [`ends`](Self::ends) tells.
pub(super) struct Reader<'a>(AnsCoder<u32, u64, Words<'a>>);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks() else {
            return None;
        };
        AnsCoder::from_compressed(Words(words)).ok().map(Self)
    }

    #[inline(always)]
    pub fn symbol(&mut self, slots: &Slots) -> u8 {
        let Ok(symbol) = self.0.decode_symbol(slots);
        symbol
    }

    /// A bit that is 1 with a probability of so many 4096ths, neither 0 nor all.
    #[inline(always)]
    pub fn bit(&mut self, one: u16) -> bool {
        let Ok(bit) = self.0.decode_symbol(Bit(one));
        bit
    }

    #[inline]
    pub fn bits(&mut self, mut bits: u32) -> u32 {
        let (mut value, mut filled) = (0, 0);
        while bits > 0 {
            let part = bits.min(PRECISION as u32);
            let Ok(read) = self.0.decode_symbol(Bits(part));
            value |= read << filled;
            filled += part;
            bits -= part;
        }
        value
    }

    /// Whether all was read, and no more.
    pub fn ends(&self) -> bool {
        self.0.is_empty() && self.0.bulk().0.is_empty()
    }
}
