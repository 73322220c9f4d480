//! Single bits on their way to bytes and back.

use super::super::stream::{PRECISION, Reader, Writer};
use crate::format::FormatError;

/// What a model of bits is run by: a writer, which is told the bits, or a reader, which finds them. One
/// description of the model then serves both.
pub(crate) trait Coding {
    /// A bit, 1 with a probability of so many 4096ths, neither 0 nor all. A reader looks at no `bit`.
    fn bit(&mut self, bit: bool, one: u16) -> bool;

    /// The last `count` bits of a number, at most 32, all equally probable.
    fn plain(&mut self, number: u32, count: u32) -> u32;
}

/// Bits to be written.
#[derive(Default)]
pub(crate) struct Encoder(Writer);

impl Encoder {
    pub fn into_bytes(self) -> Result<Vec<u8>, FormatError> {
        self.0.into_bytes()
    }
}

impl Coding for Encoder {
    fn bit(&mut self, bit: bool, one: u16) -> bool {
        self.0.bit(bit, one);
        bit
    }

    fn plain(&mut self, number: u32, count: u32) -> u32 {
        self.0.bits(number, count);
        number
    }
}

/// Bits to be read.
pub(crate) struct Decoder<'a>(Reader<'a>);

impl<'a> Decoder<'a> {
    /// None of bytes that are no whole words.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        Reader::new(bytes).map(Self)
    }

    /// Whether all was read, and no more.
    pub fn ends(&self) -> bool {
        self.0.ends()
    }
}

impl Coding for Decoder<'_> {
    #[inline(always)]
    fn bit(&mut self, _: bool, one: u16) -> bool {
        self.0.bit(one)
    }

    fn plain(&mut self, _: u32, count: u32) -> u32 {
        self.0.bits(count)
    }
}

/// Of 65536ths, those that a coder takes.
pub(super) fn share(probability: u16) -> u16 {
    (probability >> (16 - PRECISION)).clamp(1, (1 << PRECISION) - 1)
}
