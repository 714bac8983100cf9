//! Runs code of others that panics on damaged data, and turns the panic into an error without a word on stderr.
//!
//! The message of a panic is printed by the process's hook, before anything can catch it. So while such code runs, the hook is
//! one that says nothing for the threads concerned and asks the hook it found for all others; when the last of such calls is
//! over, the hook that was found is put back.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, PoisonError, RwLock};

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// The hook that was found.
static FOUND: RwLock<Option<Hook>> = RwLock::new(None);
/// How many calls are under way.
static CALLS: Mutex<usize> = Mutex::new(0);

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Threads of sled's own pool; what panics in them comes back to the caller as an error.
const POOL_THREADS: &str = "sled-io-";

/// Runs `call`; a panic in it is an error that holds its message.
///
/// # Errors
/// The panic's message.
pub(crate) fn quietly<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    let _hook = Hushed::new();
    let before = QUIET.replace(true);
    let result = caught(call);
    QUIET.set(before);
    result
}

/// Runs `call`; a panic in it is an error that holds its message, printed as any panic is.
///
/// # Errors
/// The panic's message.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(call)).map_err(|payload| match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => {
            payload.downcast::<&'static str>().map_or_else(|_| "panic".to_owned(), |text| (*text).to_owned())
        }
    })
}

/// The hook is ours while one of these lives. The hook cannot be changed by a thread that is panicking, so then it stays.
struct Hushed(bool);

impl Hushed {
    fn new() -> Self {
        if std::thread::panicking() {
            return Self(false);
        }
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = FOUND.write().unwrap_or_else(PoisonError::into_inner);
        // It is still ours where the last call ended in a panicking thread.
        if found.is_none() {
            *found = Some(std::panic::take_hook());
            std::panic::set_hook(Box::new(speak_for_others));
        }
        *calls += 1;
        Self(true)
    }
}

impl Drop for Hushed {
    fn drop(&mut self) {
        if !self.0 {
            return;
        }
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        *calls -= 1;
        if *calls == 0 && !std::thread::panicking() {
            let _ = std::panic::take_hook();
            if let Some(found) = FOUND.write().unwrap_or_else(PoisonError::into_inner).take() {
                std::panic::set_hook(found);
            }
        }
    }
}

fn speak_for_others(info: &PanicHookInfo<'_>) {
    let pooled = std::thread::current().name().is_some_and(|name| name.starts_with(POOL_THREADS));
    if QUIET.get() || pooled {
        return;
    }
    if let Some(found) = FOUND.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
        found(info);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_hook_that_was_there_is_back_after_it() {
        let heard = Arc::new(AtomicUsize::new(0));
        let count = heard.clone();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        let inner = quietly(|| {
            // Another thread's panic in the meantime is heard.
            assert!(std::thread::spawn(|| panic!("other")).join().is_err());
            let nested = quietly(|| -> u8 { panic!("number {}", 7) });
            assert_eq!(nested, Err("number 7".to_owned()));
            3
        });
        assert_eq!(inner, Ok(3));
        assert_eq!(heard.load(Ordering::SeqCst), 1);
        assert_eq!(caught(|| -> u8 { panic!("loud") }), Err("loud".to_owned()));
        assert_eq!(heard.load(Ordering::SeqCst), 2);
        std::panic::set_hook(before);
    }
}
