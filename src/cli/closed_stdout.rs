//! Whether the program was started with a closed stdout.
//!
//! Before `main` the standard library opens /dev/null in the place of a closed stream, so that no socket gets its number. What was there
//! can't be told any more from the /dev/null of a caller who wants no output. So a function looks that the system calls still earlier.

/// Stdout was closed, as it is behind `>&-` in a shell.
pub(super) fn was_found() -> bool {
    #[cfg(unix)]
    return before_main::stdout_was_closed();
    #[cfg(not(unix))]
    false
}

#[cfg(unix)]
mod before_main {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::{io::fcntl_getfd, stdio::stdout};

    static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

    // The standard library is not ready there. All this does is one system call; nothing in it allocates or panics.
    ctor_lite::ctor! {
        unsafe fn look() {
            WAS_CLOSED.store(fcntl_getfd(stdout()).is_err(), Ordering::Relaxed);
        }
    }

    pub(super) fn stdout_was_closed() -> bool {
        WAS_CLOSED.load(Ordering::Relaxed)
    }
}
