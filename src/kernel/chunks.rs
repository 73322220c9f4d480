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
                // No closure here: a compiler may leave it a call, of no instruction set.
                _ => {
                    for one in chunk.chunks(1) {
                        $call!(1, one);
                    }
                }
            }
        }
    }};
}

pub(super) use chunks;
