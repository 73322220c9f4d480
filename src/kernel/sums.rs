//! The loops of a product, over the lanes of an instruction set.

use super::lanes::Lanes;
use super::{
    Cell, Epilogue, Filter, Position, Product, QUAD, Record, Records, SharedRecord, Sink, Work,
};

pub(super) struct Run<'a> {
    pub product: &'a Product,
    pub quads: std::ops::Range<usize>,
    pub input: &'a [Cell],
    pub residual: &'a [Cell],
    pub output: &'a mut [Cell],
}

impl Work for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let product = self.product;
        for block in product.positions.chunks(product.block) {
            for quad in self.quads.clone() {
                let planes = product.planes();
                let residual = product.epilogue().residual.map(|residual| residual.plane);
                // SAFETY: `Product::run` has checked that these planes, every position in them and
                // every record of every position lie within the slices.
                unsafe {
                    let task = Task {
                        input: self.input.as_ptr().cast(),
                        residual: self
                            .residual
                            .as_ptr()
                            .add(residual.unwrap_or(0) * quad * product.residual_planes()),
                        output: self
                            .output
                            .as_mut_ptr()
                            .add((quad - self.quads.start) * planes * product.plane),
                        epilogue: product.epilogue(),
                        plane: product.plane,
                        filters: product.epilogue().filters.as_ptr().add(quad * QUAD).cast(),
                    };
                    task.quad::<S>(product, quad, block);
                }
            }
        }
    }
}

// One quad over one block.
#[derive(Clone, Copy)]
struct Task<'a> {
    input: *const u8,
    residual: *const Cell,
    output: *mut Cell,
    epilogue: &'a Epilogue,
    plane: usize,
    filters: *const [Filter; QUAD],
}

// Runs a loop body with as many positions at a time as the registers hold; what is left at the end is
// made with the last of them again where there are enough, else in smaller chunks.
macro_rules! chunks {
    ($positions:expr, $most:expr, $call:ident) => {{
        let positions: &[Position] = $positions;
        let mut rest = positions;
        while !rest.is_empty() {
            let size = match rest.len() {
                length if length >= $most => $most,
                _ if positions.len() >= $most => {
                    rest = &positions[positions.len() - $most..];
                    $most
                }
                length => length,
            };
            let (chunk, after) = rest.split_at(size);
            rest = after;
            match size {
                8 if $most >= 8 => $call!(8, chunk),
                7 if $most >= 7 => $call!(7, chunk),
                6 if $most >= 6 => $call!(6, chunk),
                5 if $most >= 5 => $call!(5, chunk),
                4 if $most >= 4 => $call!(4, chunk),
                3 if $most >= 3 => $call!(3, chunk),
                2 if $most >= 2 => $call!(2, chunk),
                _ => chunk.chunks(1).for_each(|one| $call!(1, one)),
            }
        }
    }};
}

impl Task<'_> {
    #[inline(always)]
    unsafe fn quad<S: Lanes>(self, product: &Product, quad: usize, block: &[Position]) {
        // SAFETY: by `Work::run` above.
        unsafe {
            match (&product.records, product.codes) {
                (Records::Filter { records, starts }, codes) => {
                    let at = |place: usize| *starts.get_unchecked(quad * QUAD + place) as usize;
                    let of = |f: usize| records.get_unchecked(at(f)..at(f + 1));
                    let records: [&[Record]; QUAD] = [of(0), of(1), of(2), of(3)];
                    if codes {
                        macro_rules! call {
                            ($p:literal, $chunk:expr) => {
                                self.codes_by_filter::<S, $p>(records, $chunk)
                            };
                        }
                        chunks!(block, S::POSITIONS, call);
                    } else {
                        macro_rules! call {
                            ($p:literal, $chunk:expr) => {
                                self.floats_by_filter::<S, $p>(records, $chunk)
                            };
                        }
                        chunks!(block, S::FLOAT_POSITIONS, call);
                    }
                }
                (Records::Shared { records, starts }, codes) => {
                    let at = |place: usize| *starts.get_unchecked(place) as usize;
                    let records = records.get_unchecked(at(quad)..at(quad + 1));
                    if codes {
                        macro_rules! call {
                            ($p:literal, $chunk:expr) => {
                                match S::FILTERS {
                                    4 => self.codes_shared::<S, 4, $p>(records, $chunk),
                                    2 => self.codes_shared::<S, 2, $p>(records, $chunk),
                                    _ => self.codes_shared::<S, 1, $p>(records, $chunk),
                                }
                            };
                        }
                        chunks!(block, S::SHARED_POSITIONS, call);
                    } else {
                        macro_rules! call {
                            ($p:literal, $chunk:expr) => {
                                match S::FLOAT_FILTERS {
                                    4 => self.floats_shared::<S, 4, $p>(records, $chunk),
                                    _ => self.floats_shared::<S, 2, $p>(records, $chunk),
                                }
                            };
                        }
                        chunks!(block, S::FLOAT_SHARED_POSITIONS, call);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn starts<const P: usize>(&self, chunk: &[Position]) -> [*const u8; P] {
        // SAFETY: a chunk has P positions, each within the input.
        unsafe {
            std::array::from_fn(|i| {
                let position = chunk.get_unchecked(i);
                self.input.add(position.input as usize * Cell::BYTES)
            })
        }
    }

    #[inline(always)]
    unsafe fn codes_by_filter<S: Lanes, const P: usize>(
        &self,
        records: [&[Record]; QUAD],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let starts = self.starts::<P>(chunk);
            let mut packed = [S::splat_integer(0); P];
            let filters = &*self.filters;
            macro_rules! filter {
                ($f:literal) => {
                    let mut sums = [S::sums(filters[$f].start); P];
                    for record in records[$f] {
                        let weights = S::weights(record.bits);
                        for (sum, start) in sums.iter_mut().zip(starts) {
                            let bytes = S::bytes(start.add(record.offset as usize));
                            *sum = S::dot(*sum, bytes, weights);
                        }
                    }
                    self.finish::<S, $f, P>(sums, &mut packed, chunk);
                };
            }
            filter!(0);
            filter!(1);
            filter!(2);
            filter!(3);
            self.write::<S, P>(packed, chunk);
        }
    }

    #[inline(always)]
    unsafe fn codes_shared<S: Lanes, const F: usize, const P: usize>(
        &self,
        records: &[SharedRecord],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let starts = self.starts::<P>(chunk);
            let filters = &*self.filters;
            let mut packed = [S::splat_integer(0); P];
            macro_rules! filters {
                ($first:literal) => {
                    let mut sums: [[S::Sums; P]; F] =
                        std::array::from_fn(|f| [S::sums(filters[($first + f) % QUAD].start); P]);
                    for record in records {
                        for (i, start) in starts.iter().enumerate() {
                            let bytes = S::bytes(start.add(record.offset as usize));
                            for (f, sums) in sums.iter_mut().enumerate() {
                                let weights = S::weights(record.bits[($first + f) % QUAD]);
                                sums[i] = S::dot(sums[i], bytes, weights);
                            }
                        }
                    }
                    macro_rules! end {
                        ($f:literal) => {
                            if $f >= $first && $f < $first + F {
                                self.finish::<S, $f, P>(
                                    sums[($f - $first) % F],
                                    &mut packed,
                                    chunk,
                                );
                            }
                        };
                    }
                    end!(0);
                    end!(1);
                    end!(2);
                    end!(3);
                };
            }
            filters!(0usize);
            if F == 2 {
                filters!(2usize);
            }
            if F == 1 {
                filters!(1usize);
                filters!(2usize);
                filters!(3usize);
            }
            self.write::<S, P>(packed, chunk);
        }
    }

    // From sums of whole numbers to the quad's codes or to floats.
    #[inline(always)]
    unsafe fn finish<S: Lanes, const F: usize, const P: usize>(
        &self,
        sums: [S::Sums; P],
        packed: &mut [S::Integers; P],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let filter = &(&*self.filters)[F];
            let (multiplier, offset) = (S::splat(filter.multiplier), S::splat(filter.offset));
            for i in 0..P {
                let t = S::multiply(S::to_floats(S::total(sums[i])), multiplier);
                let t = S::add(t, offset);
                let position = chunk.get_unchecked(i);
                let place = position.output as usize;
                let t = match self.epilogue.residual {
                    Some(residual) => {
                        let cell = self.residual.add(position.residual as usize);
                        let code = match F {
                            0 => S::byte::<0>(S::load_integers(cell.cast())),
                            1 => S::byte::<8>(S::load_integers(cell.cast())),
                            2 => S::byte::<16>(S::load_integers(cell.cast())),
                            _ => S::byte::<24>(S::load_integers(cell.cast())),
                        };
                        let code = S::add_integers(code, S::splat_integer(residual.low));
                        S::add(
                            t,
                            S::multiply(S::to_floats(code), S::splat(residual.factor)),
                        )
                    }
                    None => t,
                };
                self.bounded::<S, F>(t, &mut packed[i], place);
            }
        }
    }

    #[inline(always)]
    unsafe fn bounded<S: Lanes, const F: usize>(
        &self,
        t: S::Floats,
        packed: &mut S::Integers,
        place: usize,
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let (least, most) = self.epilogue.bounds;
            let t = S::min(S::max(t, S::splat(least)), S::splat(most));
            match self.epilogue.sink {
                Sink::Codes { .. } => {
                    let code = S::round(t);
                    // Added, not joined: what a negative code borrows, `write` gives back.
                    let shifted = match F {
                        0 => code,
                        1 => S::shift_left::<8>(code),
                        2 => S::shift_left::<16>(code),
                        _ => S::shift_left::<24>(code),
                    };
                    *packed = S::add_integers(*packed, shifted);
                }
                Sink::Floats => {
                    S::store(self.output.add(F * self.plane + place).cast(), t);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn write<S: Lanes, const P: usize>(&self, packed: [S::Integers; P], chunk: &[Position]) {
        // SAFETY: by `Work::run`.
        unsafe {
            if let Sink::Codes { low } = self.epilogue.sink {
                let low = low.wrapping_neg().wrapping_mul(0x0101_0101);
                for (i, packed) in packed.into_iter().enumerate() {
                    let codes = S::add_integers(packed, S::splat_integer(low));
                    let place = chunk.get_unchecked(i).output as usize;
                    S::store_integers(self.output.add(place).cast(), codes);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn floats_by_filter<S: Lanes, const P: usize>(
        &self,
        records: [&[Record]; QUAD],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let starts = self.starts::<P>(chunk);
            macro_rules! filter {
                ($f:literal) => {
                    let mut sums = [S::splat((&*self.filters)[$f].offset); P];
                    for record in records[$f] {
                        let weight = S::splat(f32::from_bits(record.bits));
                        for (sum, start) in sums.iter_mut().zip(starts) {
                            let x = S::load(start.add(record.offset as usize).cast());
                            *sum = S::multiply_add(x, weight, *sum);
                        }
                    }
                    self.finish_floats::<S, $f, P>(sums, chunk);
                };
            }
            filter!(0);
            filter!(1);
            filter!(2);
            filter!(3);
        }
    }

    #[inline(always)]
    unsafe fn floats_shared<S: Lanes, const F: usize, const P: usize>(
        &self,
        records: &[SharedRecord],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let starts = self.starts::<P>(chunk);
            macro_rules! filters {
                ($first:literal) => {
                    let mut sums: [[S::Floats; P]; F] = std::array::from_fn(|f| {
                        [S::splat((&*self.filters)[($first + f) % QUAD].offset); P]
                    });
                    for record in records {
                        for (i, start) in starts.iter().enumerate() {
                            let x = S::load(start.add(record.offset as usize).cast());
                            for (f, sums) in sums.iter_mut().enumerate() {
                                let weight =
                                    S::splat(f32::from_bits(record.bits[($first + f) % QUAD]));
                                sums[i] = S::multiply_add(x, weight, sums[i]);
                            }
                        }
                    }
                    macro_rules! end {
                        ($f:literal) => {
                            if $f >= $first && $f < $first + F {
                                self.finish_floats::<S, $f, P>(sums[($f - $first) % F], chunk);
                            }
                        };
                    }
                    end!(0);
                    end!(1);
                    end!(2);
                    end!(3);
                };
            }
            filters!(0usize);
            if F == 2 {
                filters!(2usize);
            }
        }
    }

    #[inline(always)]
    unsafe fn finish_floats<S: Lanes, const F: usize, const P: usize>(
        &self,
        sums: [S::Floats; P],
        chunk: &[Position],
    ) {
        // SAFETY: by `Work::run`.
        unsafe {
            let mut unused = S::splat_integer(0);
            for (i, sum) in sums.into_iter().enumerate() {
                let position = chunk.get_unchecked(i);
                let place = position.output as usize;
                let t = match self.epilogue.residual {
                    Some(residual) => {
                        let from = position.residual as usize;
                        let cell = self.residual.add(F * residual.plane + from);
                        let factor = S::splat(residual.factor);
                        S::multiply_add(S::load(cell.cast()), factor, sum)
                    }
                    None => sum,
                };
                self.bounded::<S, F>(t, &mut unused, place);
            }
        }
    }
}
