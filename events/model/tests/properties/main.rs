//! What holds for any commands, any events and any bytes.
//!
//! proptest prints a failing case, shrunk, and its seed, which it also writes under `proptest-regressions/`.

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod codec;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod folds;
