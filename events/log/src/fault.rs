//! Places where a test ends the process, as a power cut or `kill -9` would.
//!
//! Every append, fsync and rename passes one of them. With the feature `fault-points`, which only tests turn on, the
//! environment says what happens there: `HOLDFAST_FAULT_TRACE=FILE` appends the name of each point passed to FILE, one a
//! line; `HOLDFAST_FAULT_KILL=N` kills the process with SIGKILL at the N-th point it passes, counted from 1. Without the feature a
//! point is nothing.

/// A point named `name`.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn point(_name: &'static str) {}

/// A point named `name`.
#[cfg(feature = "fault-points")]
pub fn point(name: &'static str) {
    enabled::pass(name);
}

#[cfg(feature = "fault-points")]
mod enabled {
    use std::io::Write;
    use std::sync::Mutex;

    struct Plan {
        passed: u64,
        kill_at: Option<u64>,
        trace: Option<std::fs::File>,
    }

    static PLAN: Mutex<Option<Plan>> = Mutex::new(None);

    pub(super) fn pass(name: &'static str) {
        let mut plan = PLAN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let plan = plan.get_or_insert_with(|| Plan {
            passed: 0,
            kill_at: std::env::var("HOLDFAST_FAULT_KILL").ok().and_then(|n| n.parse().ok()),
            trace: std::env::var_os("HOLDFAST_FAULT_TRACE")
                .and_then(|path| std::fs::OpenOptions::new().create(true).append(true).open(path).ok()),
        });
        plan.passed += 1;
        if let Some(trace) = &mut plan.trace {
            let _ = writeln!(trace, "{name}");
        }
        if plan.kill_at == Some(plan.passed) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}
