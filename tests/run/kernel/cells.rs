//! Cells and records by themselves.

use burn_compress::kernel::{Cell, Record, Records, SharedRecord};

#[test]
fn views_of_a_cell_are_of_the_same_bytes() {
    let mut cells = [Cell::default(); 3];
    Cell::bytes_mut(&mut cells)[64 + 8..][..4].copy_from_slice(&(-2.5f32).to_le_bytes());
    if cfg!(target_endian = "little") {
        assert_eq!(Cell::floats(&cells)[16 + 2], -2.5);
        assert_eq!(Cell::integers(&cells)[16 + 2], (-2.5f32).to_bits() as i32);
    }
    Cell::integers_mut(&mut cells)[47] = -1;
    assert_eq!(Cell::bytes(&cells)[188..], [255; 4]);
    assert_eq!(Cell::bytes(&cells)[187], 0);
    Cell::floats_mut(&mut cells)[0] = f32::NAN;
    assert!(Cell::floats(&cells[..1])[0].is_nan());
    assert_eq!(
        (
            Cell::bytes(&cells).len(),
            Cell::floats(&cells).len(),
            Cell::integers(&cells).len()
        ),
        (3 * Cell::BYTES, 3 * Cell::SITES, 3 * Cell::SITES)
    );
    assert!(Cell::bytes(&[]).is_empty() && Cell::floats_mut(&mut []).is_empty());
}

#[test]
fn a_cell_is_one_aligned_vector() {
    assert_eq!((size_of::<Cell>(), align_of::<Cell>()), (64, 64));
    assert_eq!(Cell::bytes(&[Cell::of_bytes(7)]), [7; 64]);
    assert_eq!(Cell::floats(&[Cell::of_floats(-0.5)]), [-0.5; 16]);
}

#[test]
fn records_know_their_cells_up_to_the_last() {
    for cell in [0, 1, 1000, (1 << 26) - 1] {
        assert_eq!(Record::of_bytes(cell, [-128, 127, 0, 1]).cell(), cell);
        assert_eq!(Record::of_float(cell, f32::MIN).cell(), cell);
        assert_eq!(SharedRecord::of_bytes(cell, [[-1; 4]; 4]).cell(), cell);
        assert_eq!(SharedRecord::of_floats(cell, [1.0; 4]).cell(), cell);
    }
}

#[test]
fn costs_are_the_records_of_a_quad() {
    let records = vec![Record::of_float(0, 1.0); 7];
    let filter = Records::Filter {
        records,
        starts: vec![0, 1, 1, 4, 5, 5, 6, 6, 7],
    };
    assert_eq!((filter.quads(), filter.cost(0), filter.cost(1)), (2, 5, 2));
    let records = vec![SharedRecord::of_floats(0, [1.0; 4]); 5];
    let shared = Records::Shared {
        records,
        starts: vec![0, 2, 5],
    };
    assert_eq!((shared.quads(), shared.cost(0), shared.cost(1)), (2, 4, 6));
    for records in [filter, shared] {
        assert_eq!((records.cost(2), records.cost(usize::MAX)), (0, 0));
    }
    // Not yet checked: what does not rise costs nothing.
    let torn = Records::Shared {
        records: vec![],
        starts: vec![9, 2],
    };
    assert_eq!((torn.quads(), torn.cost(0)), (1, 0));
    let none = Records::Filter {
        records: vec![],
        starts: vec![],
    };
    assert_eq!((none.quads(), none.cost(0)), (0, 0));
}
