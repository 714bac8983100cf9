//! The commands, a file each.

mod get_backup_progress;
mod get_backup_run;
mod get_backup_runs;
mod hello;
mod paging;
mod ping;
mod start_full_backup;
mod subscribe;
mod unsubscribe;

pub use self::get_backup_progress::GetBackupProgress;
pub use self::get_backup_run::GetBackupRun;
pub use self::get_backup_runs::{GetBackupRuns, RunRows};
pub use self::hello::{Hello, Welcome};
pub use self::ping::{Ping, Pong};
pub use self::start_full_backup::StartFullBackup;
pub use self::subscribe::{Subscribe, Subscribed};
pub use self::unsubscribe::Unsubscribe;
