//! The command line: one file a command, errors that say what to do, exit codes that programs can rely on.

mod args;
mod backup;
mod bar;
mod browse;
mod cancel;
mod config;
mod delete;
mod documents;
mod door;
mod endpoint_test;
mod endpoints;
mod errors;
mod exit;
mod follow;
mod in_place;
mod in_the_way;
mod init;
mod interrupts;
mod key;
mod key_there;
mod lock;
mod log;
mod maintenance;
mod output;
mod participants;
mod progress;
mod recover;
mod remote;
mod restore;
mod restores;
mod runs;
mod serve;
mod server_settings;
mod status;
mod stop;
mod summary;
mod token;
mod trace;
mod uploads;
mod vault;
mod verify;
mod watcher;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use holdfast_log::home::HomeError;
use holdfast_model::codec::Origin;
use uuid::Uuid;

use self::args::{Cli, Command, KeyCommand, VaultCommand};
use self::exit::{CliError, CliResult, Exit};
use self::output::Output;
use crate::command::Launcher;
use crate::config::Config;
use crate::engine::{HomeView, Start, ViewError};

/// Runs the program on the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    no_core_dump();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let json = std::env::args_os().any(|argument| argument == "--json");
            if json && error.use_stderr() {
                let next = "`holdfast --help` and `holdfast COMMAND --help` show what can be said.";
                let told = CliError::new(Exit::Usage, "USAGE", error.to_string().trim_end(), next);
                report(&told, Output { json, quiet: false });
            } else {
                let _ = error.print();
            }
            return ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Good as u8 });
        }
    };
    let output = Output { json: cli.json, quiet: cli.quiet };
    match run(cli, output) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            report(&error, output);
            ExitCode::from(error.exit as u8)
        }
    }
}

/// A core dump would write passwords and keys to a disk. What is started from here is not dumped either, unless it asks to be.
fn no_core_dump() {
    let now = rustix::process::getrlimit(rustix::process::Resource::Core);
    let none = rustix::process::Rlimit { current: Some(0), maximum: now.maximum };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, none) {
        tracing::warn!(%error, "a crash of this process may leave a core dump with secrets in it");
    }
}

fn report(error: &CliError, output: Output) {
    if error.code == "OUTPUT_CLOSED" {
        return;
    }
    if output.json {
        let value = serde_json::json!({
            "message_type": "error", "error": error.code, "message": error.message, "next": error.next,
            "exit_code": error.exit as u8,
        });
        let _ = writeln!(std::io::stdout().lock(), "{value}");
    } else {
        let _ = writeln!(std::io::stderr().lock(), "error: {error}");
    }
}

fn run(cli: Cli, output: Output) -> CliResult {
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
        std::io::stdout().lock().write_all(&script).map_err(|error| output::output_error(&error))?;
        return Ok(Exit::Good);
    }
    if let Command::Documents { document } = cli.command {
        return documents::print(document);
    }
    let serves = matches!(cli.command, Command::Serve | Command::Vault(VaultCommand::Serve(_)));
    if !serves {
        trace::for_commands();
    }
    let home = home(cli.home)?;
    // These must work where the configuration does not: one that lacks a key is refused, too.
    match &cli.command {
        Command::Config(command) => return config::run(command, cli.config.as_deref(), &home, output),
        Command::Init(args) => return init::init(args, cli.config.as_deref(), &home, output),
        Command::Key(KeyCommand::Generate { output: file }) => return key::generate(output, file.as_deref()),
        // There is no configuration yet.
        Command::Recover(args) => return recover::recover(args, home, output, principal()),
        _ => {}
    }
    let config = config::load(cli.config.as_deref(), &home)?;
    let lines = serves.then(|| trace::for_server(&config.server));
    let _lines = lines.transpose().map_err(|error| CliError::failed("LOG_LINES", error))?;
    let context = Context { home, config, config_file: cli.config, output, lock_wait: cli.lock_wait };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::failed("RUNTIME", format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(dispatch(&context, &cli.command));
    // What still writes after a second Ctrl-C is left to the next start.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn dispatch(context: &Context, command: &Command) -> CliResult {
    match command {
        Command::Backup(args) => backup::backup(context, args).await,
        Command::Resume => backup::resume(context).await,
        Command::Cancel(args) => cancel::cancel(context, args).await,
        Command::Status => status::status(context).await,
        Command::Progress(args) => progress::progress(context, args).await,
        Command::Stop(args) => stop::stop(context, args).await,
        Command::Token(command) => token::run(context, command).await,
        Command::Maintenance(command) => maintenance::run(context, command).await,
        Command::Endpoints(command) => endpoints::run(context, command).await,
        Command::Remote(command) => remote::run(context, command).await,
        Command::Key(command) => key::run(context, command).await,
        Command::Runs(args) => runs::runs(context, args),
        Command::Show(args) => runs::show(context, args),
        Command::Verify(args) => verify::verify(context, args).await,
        Command::Ls(args) => browse::ls(context, args),
        Command::Dump(args) => browse::dump(context, args),
        Command::Restore(args) => restore::restore(context, args).await,
        Command::Restores(args) => restores::list(context, args),
        Command::Delete(args) => delete::delete(context, args).await,
        Command::Upload(args) => uploads::run(context, args).await,
        Command::Lock(args) => lock::lock(context, args).await,
        Command::Unlock(args) => lock::unlock(context, args).await,
        Command::Participants(args) => participants::run(context, args).await,
        Command::Log(command) => log::run(context, command).await,
        Command::Serve => serve::serve(context).await,
        Command::Vault(command) => vault::run(context, command).await,
        Command::Completions { .. }
        | Command::Documents { .. }
        | Command::Config(_)
        | Command::Init(_)
        | Command::Recover(_) => Ok(Exit::Good),
    }
}

/// What every command needs.
struct Context {
    home: PathBuf,
    config: Config,
    /// The configuration's file, where one was given.
    config_file: Option<PathBuf>,
    output: Output,
    lock_wait: Duration,
}

impl Context {
    /// The home to read from; an error where there is none.
    fn view(&self) -> Result<HomeView, CliError> {
        HomeView::open(&self.home).map_err(errors::view)
    }

    /// The home to read from, if there is one.
    fn view_if_there(&self) -> Result<Option<HomeView>, CliError> {
        match HomeView::open(&self.home) {
            Err(ViewError::Home(HomeError::Missing(_))) if !self.home.join("log").exists() => Ok(None),
            view => view.map(Some).map_err(errors::view),
        }
    }

    fn start(&self, purpose: &'static str, lock_wait: Duration, resume: bool) -> Start {
        let (config, origin) = (self.config.clone(), self.origin());
        Start {
            purpose,
            config,
            participants: Vec::new(),
            late_registration: Duration::ZERO,
            launcher: Some(Launcher::this_program()),
            lock_wait,
            resume,
            origin,
        }
    }

    /// Who this process acts for: the user it runs as.
    fn origin(&self) -> Origin {
        Origin { principal: principal(), correlation_id: Uuid::now_v7() }
    }
}

/// Who this process acts for.
fn principal() -> String {
    format!("local:uid={}", rustix::process::getuid().as_raw())
}

/// The home that is meant: the one given, or that of the XDG base directories.
fn home(given: Option<PathBuf>) -> Result<PathBuf, CliError> {
    if let Some(home) = given {
        return std::path::absolute(&home).map_err(|error| {
            CliError::new(Exit::Usage, "HOME_INVALID", format!("{}: {error}", home.display()), "Give --home a folder.")
        });
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let user = std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    data.or_else(|| user.map(|user| user.join(".local/share"))).map(|data| data.join("holdfast")).ok_or_else(|| {
        CliError::new(
            Exit::Usage,
            "HOME_UNKNOWN",
            "neither XDG_DATA_HOME nor HOME says where the home is",
            "Give it by --home DIR or HOLDFAST_HOME.",
        )
    })
}

/// A path as given on the command line, made absolute against the current folder.
fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|error| {
        CliError::new(
            Exit::Usage,
            "PATH_INVALID",
            format!("{}: {error}", path.display()),
            "Give a path that is not empty.",
        )
    })
}
