//! The description of a model, which repeats itself, and others.

use super::bits::{Coding, Decoder, Encoder};
use super::predictor::Predictor;

/// Kinds of contexts.
const CONTEXTS: usize = 4;
/// Bytes before a byte that it is predicted from, beside the last alone.
const ORDERS: [usize; CONTEXTS] = [3, 5, 8, 16];
/// Contexts of each order; texts that differ may share one.
const PLACES: usize = 1 << 16;
/// Bits of a text's length.
const LENGTH: u32 = 32;

/// What the model has read before it reads: part of the format. Descriptions that look otherwise take
/// more bytes.
const PRIMER: &[u8] = include_bytes!("primer.json");

/// A model of a text.
pub(crate) struct Text(Predictor<CONTEXTS>);

impl Text {
    /// Of the description of a model: it has read another.
    pub fn new() -> Self {
        let mut model = Self(Predictor::new(1 << 16, [PLACES; CONTEXTS], CONTEXTS + 1));
        let mut primer = PRIMER.to_vec();
        for place in 0..primer.len() {
            model.code(&mut Nowhere, &mut primer, place);
        }
        model
    }

    /// Writes a text of at most 2^32 bytes.
    pub fn write(&mut self, encoder: &mut Encoder, text: &str) {
        encoder.plain(text.len() as u32, LENGTH);
        let mut bytes = text.as_bytes().to_vec();
        for place in 0..bytes.len() {
            self.code(encoder, &mut bytes, place);
        }
    }

    /// Reads a text; none of what is none, or has more than `most` bytes.
    pub fn read(&mut self, decoder: &mut Decoder, most: usize) -> Option<String> {
        let length = decoder.plain(0, LENGTH) as usize;
        let mut bytes = vec![0; Some(length).filter(|&length| length <= most)?];
        for place in 0..length {
            self.code(decoder, &mut bytes, place);
        }
        String::from_utf8(bytes).ok()
    }

    // Codes the byte at a place, after those before it. A reader fills it in.
    fn code(&mut self, coding: &mut impl Coding, bytes: &mut [u8], place: usize) {
        let last = usize::from(bytes[..place].last().copied().unwrap_or(0));
        let hashes = ORDERS.map(|order| {
            let before = &bytes[place.saturating_sub(order)..place];
            before.iter().fold(0, |hash: u32, &byte| {
                let hash = (hash ^ u32::from(byte)).wrapping_mul(0x9e37_79b1);
                hash.rotate_left(13)
            })
        });
        let mut node = 1;
        for left in (0..8).rev() {
            let places = hashes.map(|hash| {
                let hash = (hash ^ node as u32).wrapping_mul(0x85eb_ca6b);
                (hash >> 16) as usize % PLACES
            });
            let known = self.0.known(places);
            let bit = bytes[place] >> left & 1 == 1;
            let bit = self.0.code(coding, bit, last << 8 | node, places, known);
            node = 2 * node + usize::from(bit);
        }
        bytes[place] = node as u8;
    }
}

/// Coded to no bytes.
struct Nowhere;

impl Coding for Nowhere {
    fn bit(&mut self, bit: bool, _: u16) -> bool {
        bit
    }

    fn plain(&mut self, number: u32, _: u32) -> u32 {
        number
    }
}
