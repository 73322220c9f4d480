//! Vector blocks and sparse entries by themselves.

use burn_compress::kernel::{PackedWeights, SharedEntry, SparseEntry, VectorBlock};

#[test]
fn views_of_a_block_are_of_the_same_bytes() {
    let mut blocks = [VectorBlock::default(); 3];
    VectorBlock::bytes_mut(&mut blocks)[64 + 8..][..4].copy_from_slice(&(-2.5f32).to_le_bytes());
    if cfg!(target_endian = "little") {
        assert_eq!(VectorBlock::floats(&blocks)[16 + 2], -2.5);
        assert_eq!(
            VectorBlock::integers(&blocks)[16 + 2],
            (-2.5f32).to_bits() as i32
        );
    }
    VectorBlock::integers_mut(&mut blocks)[47] = -1;
    assert_eq!(VectorBlock::bytes(&blocks)[188..], [255; 4]);
    assert_eq!(VectorBlock::bytes(&blocks)[187], 0);
    VectorBlock::floats_mut(&mut blocks)[0] = f32::NAN;
    assert!(VectorBlock::floats(&blocks[..1])[0].is_nan());
    assert_eq!(
        (
            VectorBlock::bytes(&blocks).len(),
            VectorBlock::floats(&blocks).len(),
            VectorBlock::integers(&blocks).len()
        ),
        (
            3 * VectorBlock::BYTES,
            3 * VectorBlock::LANES,
            3 * VectorBlock::LANES
        )
    );
    assert!(VectorBlock::bytes(&[]).is_empty() && VectorBlock::floats_mut(&mut []).is_empty());
}

#[test]
fn a_block_is_one_aligned_vector() {
    assert_eq!(
        (size_of::<VectorBlock>(), align_of::<VectorBlock>()),
        (64, 64)
    );
    assert_eq!(VectorBlock::bytes(&[VectorBlock::of_bytes(7)]), [7; 64]);
    assert_eq!(
        VectorBlock::floats(&[VectorBlock::of_floats(-0.5)]),
        [-0.5; 16]
    );
}

#[test]
fn entries_know_their_blocks_up_to_the_last() {
    for block in [0, 1, 1000, (1 << 26) - 1] {
        assert_eq!(
            SparseEntry::of_bytes(block, [-128, 127, 0, 1]).block(),
            block
        );
        assert_eq!(SparseEntry::of_float(block, f32::MIN).block(), block);
        assert_eq!(SharedEntry::of_bytes(block, [[-1; 4]; 4]).block(), block);
        assert_eq!(SharedEntry::of_floats(block, [1.0; 4]).block(), block);
    }
}

#[test]
fn costs_are_the_entries_of_a_filter_block() {
    let entries = vec![SparseEntry::of_float(0, 1.0); 7];
    let filter = PackedWeights::Filter {
        entries,
        starts: vec![0, 1, 1, 4, 5, 5, 6, 6, 7],
    };
    assert_eq!(
        (filter.filter_blocks(), filter.cost(0), filter.cost(1)),
        (2, 5, 2)
    );
    let entries = vec![SharedEntry::of_floats(0, [1.0; 4]); 5];
    let shared = PackedWeights::Shared {
        entries,
        starts: vec![0, 2, 5],
    };
    assert_eq!(
        (shared.filter_blocks(), shared.cost(0), shared.cost(1)),
        (2, 4, 6)
    );
    for entries in [filter, shared] {
        assert_eq!((entries.cost(2), entries.cost(usize::MAX)), (0, 0));
    }
    // Not yet checked: what does not rise costs nothing.
    let torn = PackedWeights::Shared {
        entries: vec![],
        starts: vec![9, 2],
    };
    assert_eq!((torn.filter_blocks(), torn.cost(0)), (1, 0));
    let none = PackedWeights::Filter {
        entries: vec![],
        starts: vec![],
    };
    assert_eq!((none.filter_blocks(), none.cost(0)), (0, 0));
}
