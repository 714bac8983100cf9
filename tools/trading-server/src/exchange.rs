//! The exchange: orders come in, one thread makes trades of them, and money moves from buyers over trades to sellers.
//!
//! A batch of orders is first a batch of lines in the trades, durable, and then one change of the accounts. What a crash leaves between
//! the two is made up for at the next start: the accounts know up to which line they are. While a batch is under way the gate is passed,
//! so whoever closes it sees both as of one moment: the money in accounts and in open trades is then always the same sum.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, ensure};

use crate::accounts::Accounts;
use crate::gate::Gate;
use crate::staff::Staff;
use crate::symbols::{Symbol, Symbols};
use crate::trades::{Trade, Trades};

/// Accounts of a new exchange, and what each has, in cents.
pub(crate) const ACCOUNTS: u32 = 1000;
pub(crate) const CENTS: i64 = 1_000_000;
/// All the money there is.
pub(crate) const MONEY: i64 = ACCOUNTS as i64 * CENTS;

const STAFF: [&str; 5] = ["Ada", "Grace", "Barbara", "Edsger", "Leslie"];
const SYMBOLS: [&str; 8] = ["OAK", "ASH", "ELM", "FIR", "YEW", "BAY", "BOX", "FIG"];
/// Orders that wait at most; whoever brings more waits with them.
const WAITING: usize = 10_000;
/// Orders of one batch at most.
const BATCH: usize = 500;
/// Trades that hold money at a time, about.
const OPEN: usize = 2_000;

/// Somebody wants to buy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) buyer: u32,
    pub(crate) seller: u32,
    /// Which symbol and who of the staff, by a number that is taken modulo.
    pub(crate) choice: usize,
    pub(crate) count: i64,
}

/// The modules. Clones share them.
#[derive(Clone)]
pub(crate) struct Modules {
    pub(crate) folder: PathBuf,
    pub(crate) gate: Gate,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) symbols: Arc<Symbols>,
    pub(crate) staff: Arc<Staff>,
    pub(crate) trades: Arc<Trades>,
}

impl Modules {
    /// Opens what lies in a folder, or begins it there. What a crash left undone is made up for.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let modules = Self::open_as_it_is(folder)?;
        modules.catch_up()?;
        Ok(modules)
    }

    /// Opens what lies in a folder, or begins it there.
    pub(crate) fn open_as_it_is(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let listing = || SYMBOLS.iter().map(|name| ((*name).to_owned(), Symbol { cents: 1_000, trades: 0 })).collect();
        Ok(Self {
            folder: folder.to_owned(),
            gate: Gate::default(),
            accounts: Arc::new(Accounts::open(&folder.join("accounts.redb"), ACCOUNTS, CENTS)?),
            symbols: Arc::new(Symbols::open(&folder.join("symbols.json"), listing)?),
            staff: Arc::new(Staff::open(&folder.join("staff.sqlite"), &STAFF)?),
            trades: Arc::new(Trades::open(&folder.join("trades.log"))?),
        })
    }

    /// Brings the accounts up to the last line of the trades.
    pub(crate) fn catch_up(&self) -> anyhow::Result<()> {
        let applied = self.accounts.capture()?.applied()?;
        let (changes, lines) = self.trades.changes_after(applied)?;
        ensure!(
            applied <= lines,
            "the accounts are at line {applied} of the trades, which have {lines}: they are not of one moment"
        );
        if !changes.is_empty() {
            self.accounts.apply(&changes, lines)?;
        }
        Ok(())
    }
}

/// The exchange at work; it stops when it is dropped, after all orders that wait.
pub(crate) struct Exchange {
    orders: Option<SyncSender<Order>>,
    working: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Exchange {
    /// Begins to work.
    pub(crate) fn start(modules: Modules) -> anyhow::Result<Self> {
        let (orders, waiting) = sync_channel(WAITING);
        let working = std::thread::Builder::new().name("exchange".into()).spawn(move || work(&modules, &waiting))?;
        Ok(Self { orders: Some(orders), working: Some(working) })
    }

    /// Where orders are brought.
    pub(crate) fn orders(&self) -> anyhow::Result<SyncSender<Order>> {
        self.orders.clone().context("the exchange is closed")
    }

    /// Makes trades of what waits, and stops. Whoever brings orders has to have stopped before.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.orders = None;
        match self.working.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => anyhow::bail!("the exchange panicked"),
            None => Ok(()),
        }
    }
}

/// Takes orders as they come, a batch at a time.
fn work(modules: &Modules, orders: &Receiver<Order>) -> anyhow::Result<()> {
    let mut balances = BTreeMap::new();
    let mut opened = None;
    while let Ok(first) = orders.recv() {
        let _pass = modules.gate.enter();
        // A restore may have taken place while the gate was closed.
        if opened != Some(modules.gate.times_closed()) {
            balances = modules.accounts.capture()?.balances()?;
            opened = Some(modules.gate.times_closed());
        }
        let batch: Vec<Order> = std::iter::once(first).chain(orders.try_iter().take(BATCH)).collect();
        make_trades(modules, &mut balances, &batch)?;
    }
    modules.symbols.flush()
}

fn make_trades(modules: &Modules, balances: &mut BTreeMap<u32, i64>, batch: &[Order]) -> anyhow::Result<()> {
    let (mut changes, mut stands) = (Vec::new(), BTreeMap::new());
    let listing = modules.symbols.capture();
    for order in batch {
        let Some((symbol, listed)) = listing.iter().nth(order.choice % listing.len().max(1)) else { continue };
        let cents = listed.cents * order.count;
        let by = u32::try_from(order.choice % STAFF.len())? + 1;
        let enough = balances.get(&order.buyer).is_some_and(|balance| *balance >= cents);
        if enough && balances.contains_key(&order.seller) {
            balances.entry(order.buyer).and_modify(|balance| *balance -= cents);
            modules.trades.place(Trade { buyer: order.buyer, seller: order.seller, cents, symbol: symbol.clone(), by });
            changes.push((order.buyer, -cents));
            *stands.entry(by).or_default() += 1;
            modules.symbols.traded(symbol, order.count % 7 - 3);
        }
    }
    let open = modules.trades.oldest(OPEN + batch.len());
    for number in open.iter().take(open.len().saturating_sub(OPEN)) {
        if let Some(trade) = modules.trades.settle(*number) {
            balances.entry(trade.seller).and_modify(|balance| *balance += trade.cents);
            changes.push((trade.seller, trade.cents));
        }
    }
    modules.trades.drain()?;
    modules.staff.stand_for(&stands)?;
    modules.accounts.apply(&changes, modules.trades.lines())
}
