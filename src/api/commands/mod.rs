//! The commands, a file each; those that belong together share one.

mod add_backup_config;
mod auth;
mod begin_restore;
mod cancel_backup_run;
mod delete_backup_config;
mod delete_backup_run;
mod endpoint_row;
mod get_backup_config;
mod get_backup_participants;
mod get_backup_progress;
mod get_backup_run;
mod get_backup_run_log;
mod get_backup_runs;
mod get_restore_runs;
mod hello;
mod lock_backup_run;
mod paging;
mod ping;
mod record_validation;
mod remote_backup_runs;
mod reset_backup_participant;
mod set_maintenance;
mod start_full_backup;
mod start_restore_run;
mod stop_backup_server;
mod subscribe;
mod tokens;
mod unsubscribe;
mod update_backup_config;
mod validate_backup_run;

pub use self::get_backup_progress::GetBackupProgress;

pub use self::add_backup_config::AddBackupConfig;
pub use self::auth::{Auth, Authenticated};
pub use self::begin_restore::{BeginRestore, EndRestore, Reason as RestoreFailure, RestoreEnd};
pub use self::cancel_backup_run::CancelBackupRun;
pub use self::delete_backup_config::{DeleteBackupConfig, EndpointDeleted};
pub use self::delete_backup_run::{DeleteBackupRun, RunDeleted};
pub use self::endpoint_row::EndpointRow;
pub use self::get_backup_config::{EndpointRows, GetBackupConfig};
pub use self::get_backup_participants::{GetBackupParticipants, ParticipantRows};
pub use self::get_backup_run::GetBackupRun;
pub use self::get_backup_run_log::{GetBackupRunLog, LogRows};
pub use self::get_backup_runs::{GetBackupRuns, RunRows};
pub use self::get_restore_runs::{GetRestoreRun, GetRestoreRuns, RestoreRows};
pub use self::hello::{Hello, Welcome};
pub use self::lock_backup_run::{LockBackupRun, UnlockBackupRun};
pub use self::ping::{Ping, Pong};
pub use self::record_validation::RecordValidation;
pub use self::remote_backup_runs::{
    DeleteRemoteBackupRun, GetRemoteBackupRuns, ImportRemoteBackupRun, RemoteRunDeleted, RemoteRuns,
};
pub use self::reset_backup_participant::{ParticipantReset, ResetBackupParticipant};
pub use self::set_maintenance::{MaintenanceSet, SetMaintenance};
pub use self::start_full_backup::{Files, StartFullBackup};
pub use self::start_restore_run::{Safety, StartRestoreRun};
pub use self::stop_backup_server::{StopBackupServer, Stopping};
pub use self::subscribe::{Subscribe, Subscribed};
pub use self::tokens::{CreateToken, Expiry, ListTokens, RevokeToken, TokenCreated, TokenRow, TokenRows};
pub use self::unsubscribe::Unsubscribe;
pub use self::update_backup_config::UpdateBackupConfig;
pub use self::validate_backup_run::{ValidateBackupRun, Validated};
