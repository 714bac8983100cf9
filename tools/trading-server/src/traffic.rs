//! Live traffic: threads that bring orders as fast as they are taken, or so many a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::exchange::{ACCOUNTS, Exchange, Order};

/// Traffic; it ends when it is dropped.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    brought: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Begins with so many threads that bring so many orders a second together; as many as are taken where that is 0.
    pub(crate) fn start(exchange: &Exchange, threads: u32, a_second: u32) -> anyhow::Result<Self> {
        let (stop, brought) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let began = Instant::now();
        let bring = |thread: u32| {
            let (orders, stop, brought) = (exchange.orders()?, stop.clone(), brought.clone());
            let bringing = std::thread::Builder::new().name(format!("trader-{thread}")).spawn(move || {
                let mut random = Random(u64::from(thread) + 1);
                for number in 0_u32.. {
                    if a_second > 0 {
                        let due = f64::from(number) * f64::from(threads) / f64::from(a_second);
                        std::thread::sleep(Duration::from_secs_f64(due).saturating_sub(began.elapsed()));
                    }
                    if stop.load(Ordering::Acquire) || orders.send(random.order()).is_err() {
                        break;
                    }
                    brought.fetch_add(1, Ordering::Relaxed);
                }
            })?;
            anyhow::Ok(bringing)
        };
        let threads = (0..threads).map(bring).collect::<anyhow::Result<_>>()?;
        Ok(Self { stop, brought, threads })
    }

    /// Orders so far.
    pub(crate) fn brought(&self) -> u64 {
        self.brought.load(Ordering::Relaxed)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Numbers that look random and are the same each time (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.next() % u64::from(bound.max(1))).unwrap_or(0)
    }

    fn order(&mut self) -> Order {
        let buyer = self.below(ACCOUNTS);
        let seller = (buyer + 1 + self.below(ACCOUNTS - 1)) % ACCOUNTS;
        Order { buyer, seller, choice: self.below(u32::MAX) as usize, count: i64::from(self.below(20)) + 1 }
    }
}
