//! Floats: signs and exponents are predicted, mantissas are noise.

use super::bits::Coding;
use super::predictor::Predictor;

/// Bits that are predicted: the sign, the exponent, the first of the mantissa.
const PREDICTED: u32 = 10;
const NODES: usize = 1 << PREDICTED;
/// Bits that follow.
const PLAIN: u32 = 32 - PREDICTED;
/// Classes of a float that another is predicted from.
const CLASSES: usize = 32;

/// Models of vectors, one after the other.
pub(crate) struct Floats {
    predictor: Predictor<4>,
    // The vector before.
    before: Vec<f32>,
}

impl Floats {
    /// Of vectors of so many kinds.
    pub fn new(kinds: usize) -> Self {
        let contexts = [NODES, NODES * CLASSES, NODES * kinds, NODES * CLASSES];
        Self {
            predictor: Predictor::new(NODES, contexts, 2),
            before: Vec::new(),
        }
    }

    /// Codes a vector of a kind. A reader fills it in.
    pub fn code(&mut self, coding: &mut impl Coding, kind: usize, numbers: &mut [f32]) {
        self.predictor.forget(0, NODES);
        // Bits at the end that are zero in all, as in numbers that were rounded, take no room.
        let zeros = numbers
            .iter()
            .map(|number| number.to_bits().trailing_zeros());
        let zeros = coding
            .plain(zeros.min().unwrap_or(0).min(PLAIN), 5)
            .min(PLAIN);
        let is_like = self.before.len() == numbers.len();
        let mut last = 0;
        for (place, number) in numbers.iter_mut().enumerate() {
            let bits = number.to_bits();
            let beside = match is_like {
                true => class(self.before[place]),
                false => 0,
            };
            let places = |node: usize| {
                [
                    node,
                    last * NODES + node,
                    kind * NODES + node,
                    beside * NODES + node,
                ]
            };
            let mut node = 1;
            for left in (PLAIN..32).rev() {
                let bit = bits >> left & 1 == 1;
                let bit = self.predictor.code(coding, bit, node, places(node), 0);
                node = 2 * node + usize::from(bit);
            }
            let head = (node - NODES) as u32;
            // Of what is round, nothing follows.
            let rest = bits & ((1 << PLAIN) - 1);
            let is_round = self.predictor.code(coding, rest == 0, 0, places(0), 1);
            let rest = match is_round {
                true => 0,
                false => coding.plain(rest >> zeros, PLAIN - zeros) << zeros,
            };
            *number = f32::from_bits(head << PLAIN | rest);
            last = class(*number);
        }
        self.before.clear();
        self.before.extend_from_slice(numbers);
    }
}

/// The last of the predicted bits.
fn class(number: f32) -> usize {
    (number.to_bits() >> (PLAIN as usize)) as usize % CLASSES
}
