//! What the system tells: forks, processors, and whether there is a clock.

/// Whether there is a clock: a module of WebAssembly has none of its own.
///
/// ```
/// use burn_compress_kernel::HAS_CLOCK;
/// assert!(HAS_CLOCK);
/// ```
pub const HAS_CLOCK: bool = !cfg!(all(target_family = "wasm", target_os = "unknown"));

/// How many forks lie between this process and the one that asked first. A fork takes one thread along,
/// so threads that were started before are not there.
///
/// What is made of a raw system call, past the system's library, is not counted.
#[cfg(unix)]
pub(super) fn forks() -> usize {
    use std::ffi::c_int;
    use std::sync::Once;
    use std::sync::atomic::{AtomicUsize, Ordering};

    type Handler = Option<unsafe extern "C" fn()>;
    unsafe extern "C" {
        // POSIX; the library is linked in by the standard one.
        fn pthread_atfork(before: Handler, parent: Handler, child: Handler) -> c_int;
    }

    static FORKS: AtomicUsize = AtomicUsize::new(0);
    static WATCH: Once = Once::new();

    unsafe extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // Asking for the process's number instead would be a system call for each run.
    WATCH.call_once(|| {
        // SAFETY: the handler lives as long as the code does, and adds to an atomic number alone, which
        // is allowed in a process that was just forked. It fails where there is no memory left; then
        // forks are not seen.
        unsafe { pthread_atfork(None, None, Some(count)) };
    });
    FORKS.load(Ordering::Relaxed)
}

/// Other systems do not fork.
#[cfg(not(unix))]
pub(super) fn forks() -> usize {
    0
}

/// The processor that this thread runs on, where the system tells at once.
#[cfg(target_os = "linux")]
pub(super) fn processor() -> Option<usize> {
    use std::ffi::c_int;

    unsafe extern "C" {
        fn sched_getcpu() -> c_int;
    }
    // SAFETY: it takes nothing, and reads what the system keeps for this thread.
    usize::try_from(unsafe { sched_getcpu() }).ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn processor() -> Option<usize> {
    None
}
