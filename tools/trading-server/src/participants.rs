//! The four modules as participants: each can stand still, and says what it had then.
//!
//! To stand still is to hold the gate closed: no movement of money is half done in any module then. Where only one module does, that is
//! its own moment; where a barrier holds all four, it is one and the same for all, and the money in accounts and open trades is all there
//! is.

use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use holdfast::engine::Builder;
use holdfast::participant::{Artifacts, Capture, Descriptor, Frozen, ParticipantError, Phase, Phased, Restore, Thaw};

use crate::exchange::Modules;
use crate::gate::Closed;
use crate::symbols::Listing;
use crate::{accounts, staff, symbols, trades};

/// One of the four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Module {
    Accounts,
    Symbols,
    Staff,
    Trades,
}

impl Module {
    pub(crate) const ALL: [Module; 4] = [Module::Accounts, Module::Symbols, Module::Staff, Module::Trades];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Module::Accounts => "accounts",
            Module::Symbols => "symbols",
            Module::Staff => "staff",
            Module::Trades => "trades",
        }
    }

    pub(crate) fn artifact(self) -> &'static str {
        match self {
            Module::Accounts => "accounts.snapshot",
            Module::Symbols => "symbols.snapshot",
            Module::Staff => "staff.snapshot",
            Module::Trades => "trades.snapshot",
        }
    }
}

/// Registers all four, critical each.
pub(crate) fn register(mut builder: Builder, modules: &Modules) -> anyhow::Result<Builder> {
    for module in Module::ALL {
        let descriptor = Descriptor::new(module.name())?;
        let descriptor = match module {
            // The balances follow the trades.
            Module::Accounts => descriptor.depends_on([Module::Trades.name().parse()?]),
            Module::Symbols | Module::Staff | Module::Trades => descriptor,
        };
        builder = builder.phased_with(descriptor, Standing { module, modules: modules.clone() });
    }
    Ok(builder)
}

/// All the money in what was restored into a folder, without anything being made up for.
pub(crate) fn money(folder: &Path) -> anyhow::Result<(i64, i64)> {
    let modules = Modules::open_as_it_is(folder)?;
    let accounts = modules.accounts.capture()?.balances()?.values().sum();
    let mut text = Vec::new();
    modules.trades.capture()?.write(&mut text)?;
    Ok((accounts, trades::book(&text[..])?.sum()))
}

/// A module as a participant.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) module: Module,
    pub(crate) modules: Modules,
}

impl Standing {
    /// Makes a file beside the live one of what was written as a snapshot.
    pub(crate) fn stage_from(&self, snapshot: impl Read, staged: &Path) -> anyhow::Result<()> {
        let snapshot = BufReader::new(snapshot);
        match self.module {
            Module::Accounts => self.modules.accounts.stage(snapshot, staged),
            Module::Symbols => self.modules.symbols.stage(snapshot, staged),
            Module::Staff => self.modules.staff.stage(snapshot, staged),
            Module::Trades => self.modules.trades.stage(snapshot, staged),
        }
    }

    /// Puts a file that was staged in the place of the live one, in one step.
    pub(crate) fn swap(&self, staged: &Path) -> anyhow::Result<()> {
        match self.module {
            Module::Accounts => self.modules.accounts.swap(staged),
            Module::Symbols => self.modules.symbols.swap(staged),
            Module::Staff => self.modules.staff.swap(staged),
            Module::Trades => self.modules.trades.swap(staged),
        }
    }

    /// What it has now, held without a copy.
    pub(crate) fn moment(&self) -> Result<Box<dyn Capture>, ParticipantError> {
        let Standing { module, modules } = self;
        let moment = match module {
            Module::Accounts => Moment::Accounts(failed(modules.accounts.capture())?),
            Module::Symbols => Moment::Symbols(modules.symbols.capture()),
            Module::Staff => Moment::Staff(failed(modules.staff.capture())?),
            Module::Trades => Moment::Trades(failed(modules.trades.capture())?),
        };
        Ok(Box::new(Captured { module: *module, moment }))
    }
}

impl Phased for Standing {
    /// What is in memory goes to the disk, so that there is little to do while all stand still.
    fn prepare(&self, _phase: &Phase) -> Result<(), ParticipantError> {
        match self.module {
            Module::Symbols => failed(self.modules.symbols.flush()),
            Module::Trades => failed(self.modules.trades.drain()),
            Module::Accounts | Module::Staff => Ok(()),
        }
    }

    fn freeze(&self, _phase: &Phase) -> Result<Box<dyn Frozen>, ParticipantError> {
        let closed = self.modules.gate.close();
        Ok(Box::new(Still { standing: self.clone(), _closed: closed }))
    }

    fn restore(&self) -> Option<&dyn Restore> {
        Some(self)
    }
}

struct Still {
    standing: Standing,
    _closed: Closed,
}

impl Frozen for Still {
    fn capture(&mut self, _phase: &Phase) -> Result<Box<dyn Capture>, ParticipantError> {
        self.standing.moment()
    }

    fn thaw(self: Box<Self>, _how: Thaw) -> Result<(), ParticipantError> {
        Ok(())
    }
}

enum Moment {
    Accounts(accounts::Moment),
    Symbols(Arc<Listing>),
    Staff(staff::Moment),
    Trades(trades::Moment),
}

struct Captured {
    module: Module,
    moment: Moment,
}

impl Capture for Captured {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        if let Moment::Trades(moment) = &self.moment {
            artifacts.expect_bytes(moment.length());
        }
        let mut sink = artifacts.create(self.module.artifact())?;
        let to: &mut dyn Write = &mut sink;
        failed(match &mut self.moment {
            Moment::Accounts(moment) => moment.write(to),
            Moment::Symbols(listing) => symbols::write(listing, to),
            Moment::Staff(moment) => moment.write(to),
            Moment::Trades(moment) => moment.write(to),
        })?;
        sink.finish()
    }
}

/// A failure of a module, which another try may mend. What its sink said stays as it is.
pub(crate) fn failed<T>(result: anyhow::Result<T>) -> Result<T, ParticipantError> {
    result.map_err(|error| match error.downcast::<std::io::Error>() {
        Ok(error) => error.into(),
        Err(error) => ParticipantError::retryable("MODULE_FAILED", format!("{error:#}")),
    })
}
