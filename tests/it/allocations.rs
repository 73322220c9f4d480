//! A run of a program allocates nothing; and what memory is held.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use burn_compress::engine::{Options, Program, Tuning};

use super::backends::engine::resnet;
use super::engine_split;
use super::runs::images;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn hold(bytes: isize) {
    HELD.with(|held| held.set(held.get() + bytes));
}

struct Counting;

// SAFETY: the system's allocator, called as it asks to be; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        hold(layout.size() as isize);
        // SAFETY: by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        // SAFETY: by the caller.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    run();
    COUNT.with(Cell::get) - before
}

/// Bytes that this thread holds after a call and did not before.
pub fn held<T>(make: impl FnOnce() -> T) -> (T, isize) {
    let before = HELD.with(Cell::get);
    let made = make();
    (made, HELD.with(Cell::get) - before)
}

#[test]
fn a_run_allocates_nothing() {
    if super::backends::device::leaves_out("a_run_allocates_nothing") {
        return;
    }
    assert!(allocations(|| drop(std::hint::black_box(vec![0u8; 100]))) > 0);
    // One that fits the caches whole, one whose first layers run image by image.
    for model in [resnet(), engine_split::integers()] {
        let whole: usize = model.output_dims().iter().map(|dim| dim.at(1)).product();
        for threads in [1, 2] {
            let options = Options {
                threads: Some(threads),
                tuning: Tuning::Estimated,
                ..Options::default()
            };
            let program = Program::compile(&model, options).unwrap();
            for batch in [1, 7, 16, 35] {
                let input = images(&model, batch, 9);
                let mut output = vec![0.0; batch * whole];
                let count = allocations(|| program.run_into(&input, batch, &mut output).unwrap());
                assert_eq!(count, 0, "{threads} threads, batch {batch}");
            }
        }
    }
}
