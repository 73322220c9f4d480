//! The next bit's probability, from several contexts.

use super::bits::{Coding, share};
use super::logistic::{UNIT, squash, stretch};

/// How often a chance's bits were seen, at most: later ones move it by as much as the one that made this
/// number.
const MOST_SEEN: usize = 255;
/// What a chance counts as seen that starts from the base's.
const AT_FIRST: u32 = 1;
/// Weights of a mix are in 65536ths. The base's is 1 at first, those of the others' differences together:
const OTHERS: i32 = 52_000;
const LARGEST_WEIGHT: i32 = 1 << 24;
/// How fast weights move: by the error times the input, divided by two to this power.
const SPEED: u32 = 15;

/// How far a bit moves a chance that was seen so often, in 65536ths of the way.
static RATES: [u16; MOST_SEEN + 1] = {
    let mut rates = [0; MOST_SEEN + 1];
    let mut seen = 0;
    while seen <= MOST_SEEN {
        rates[seen] = ((1 << 17) / (2 * seen + 3)) as u16;
        seen += 1;
    }
    rates
};

/// How probable a 1 is in a context: in 2^22ths, and in the last 10 bits how often it was seen.
#[derive(Clone, Copy, Default)]
struct Chance(u32);

impl Chance {
    const SEEN: u32 = 0x3ff;
    const HALF: Self = Self(1 << 31);

    #[inline(always)]
    fn logarithm(self) -> i32 {
        stretch(self.0 >> 20)
    }

    #[inline(always)]
    fn moved(self, bit: bool) -> Self {
        let seen = self.0 & Self::SEEN;
        let (now, rate) = (
            i64::from(self.0 >> 10),
            i64::from(RATES[seen as usize & MOST_SEEN]),
        );
        let goal = if bit { (1 << 22) - 1 } else { 0 };
        let next = now + (((goal - now) * rate) >> 16);
        Self((next as u32) << 10 | (seen + 1).min(MOST_SEEN as u32))
    }
}

/// Predicts bits from a base and contexts that refine it. Each learns what follows it; a context that is
/// new says what the base says. There are `N` kinds of contexts beside the base.
pub(super) struct Predictor<const N: usize> {
    base: Vec<Chance>,
    contexts: [Vec<Chance>; N],
    mixes: Vec<Mix<N>>,
}

/// Weights of the base's logarithm of odds, and of the contexts' differences from it.
#[derive(Clone, Copy)]
struct Mix<const N: usize> {
    base: i32,
    others: [i32; N],
}

impl<const N: usize> Predictor<N> {
    /// With so many bases, contexts of each kind, and mixes.
    pub fn new(base: usize, contexts: [usize; N], mixes: usize) -> Self {
        let mix = Mix {
            base: 1 << 16,
            others: [OTHERS / N as i32; N],
        };
        Self {
            base: vec![Chance::HALF; base],
            contexts: contexts.map(|count| vec![Chance::default(); count]),
            mixes: vec![mix; mixes],
        }
    }

    /// Forgets the base.
    pub fn forget_base(&mut self) {
        self.base.fill(Chance::HALF);
    }

    /// Forgets the contexts of a kind, of which there are now so many.
    pub fn forget(&mut self, kind: usize, count: usize) {
        self.contexts[kind].clear();
        self.contexts[kind].resize(count, Chance::default());
    }

    /// How many of these contexts something followed before.
    pub fn known(&self, places: [usize; N]) -> usize {
        let contexts = self.contexts.iter().zip(places);
        contexts.filter(|(of, place)| of[*place].0 != 0).count()
    }

    /// Codes a bit, and learns it. Places are those of the base and of each kind's context.
    #[inline(always)]
    pub fn code(
        &mut self,
        coding: &mut impl Coding,
        bit: bool,
        base: usize,
        places: [usize; N],
        mix: usize,
    ) -> bool {
        let of_base = self.base[base];
        let first = of_base.logarithm();
        let mut inputs = [0; N];
        for (kind, &place) in places.iter().enumerate() {
            let chance = &mut self.contexts[kind][place];
            if chance.0 == 0 {
                chance.0 = (of_base.0 & !Chance::SEEN) | AT_FIRST;
            }
            inputs[kind] = chance.logarithm() - first;
        }
        let mix = &mut self.mixes[mix];
        let pairs = mix.others.iter().zip(inputs);
        let others: i64 = pairs.map(|(&w, x)| i64::from(w) * i64::from(x)).sum();
        let sum = i64::from(mix.base) * i64::from(first) + others;
        let most = i64::from(16 * UNIT);
        let probability = squash((sum >> 16).clamp(-most, most) as i32);
        let bit = coding.bit(bit, share(probability));

        let goal = if bit { 1 << 16 } else { 0 };
        let error = goal - i32::from(probability);
        let others = mix.others.iter_mut().zip(inputs);
        for (weight, input) in others.chain([(&mut mix.base, first)]) {
            let step = (error * input + (1 << (SPEED - 1))) >> SPEED;
            *weight = (*weight + step).clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT);
        }
        self.base[base] = of_base.moved(bit);
        for (kind, &place) in places.iter().enumerate() {
            let chance = &mut self.contexts[kind][place];
            *chance = chance.moved(bit);
        }
        bit
    }
}
