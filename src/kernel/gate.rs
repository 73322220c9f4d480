//! Waiting for other threads: a thread looks for a while, then sleeps.
//!
//! A thread that gave its processor away again and again instead would look busy to the system: two such
//! threads on one processor take fair turns there, and neither is moved to another one. A sleeping thread is
//! woken on an idle processor where there is one.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Condvar, Mutex, PoisonError};

use super::team::lock;

/// Looks before a thread sleeps, about 50 microseconds: more than most steps of a pass take.
const LOOKS: u32 = 2_000;
/// Looks after which a thread first asks where it runs, and after which it does again.
const FIRST: u32 = 32;
const NEXT: u32 = 256;

/// What threads wait at until something is true.
#[derive(Debug, Default)]
pub(super) struct Gate {
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    opened: Condvar,
}

impl Gate {
    /// Looks so many times at most whether it is done, and tells.
    pub fn look(looks: u32, done: impl Fn() -> bool) -> bool {
        (0..looks).any(|_| {
            let done = done();
            if !done {
                std::hint::spin_loop();
            }
            done
        })
    }

    /// Waits until it is done; whoever makes it so calls [`open`](Self::open) after that. `beside`: whether
    /// who is waited for may need this processor, so that looking holds it up.
    pub fn wait(&self, done: impl Fn() -> bool, beside: impl Fn() -> bool) {
        let mut looks = FIRST;
        for _ in 0..=LOOKS / NEXT {
            if Self::look(looks, &done) {
                return;
            }
            if beside() {
                break;
            }
            looks = NEXT;
        }
        self.sleep(done);
    }

    // No wake-up is lost. A sleeper counts itself (1), then looks (2); an opener makes it done (3), then
    // reads the count (4). Each has a fence between its two that is sequentially consistent, and one of the
    // fences comes first. If the sleeper's does, (4) sees (1), and the opener takes the lock. If the
    // opener's does, (2) sees (3), and the sleeper does not sleep.
    //
    // Where the opener takes the lock, it holds it before the sleeper does, who then sees (3); or after the
    // sleeper has let go of it, which is when it has begun to wait, and is notified.
    fn sleep(&self, done: impl Fn() -> bool) {
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let mut held = lock(&self.lock);
        while !done() {
            let woken = self.opened.wait(held);
            held = woken.unwrap_or_else(PoisonError::into_inner);
        }
        drop(held);
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Wakes those who wait, after it was made true. It spares the system call where none sleeps.
    pub fn open(&self) {
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            drop(lock(&self.lock));
            self.opened.notify_all();
        }
    }
}
