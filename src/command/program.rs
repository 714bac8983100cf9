//! Whether a command could be run: where its program is, and whether it may be executed.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::error::CommandError;
use super::secrets::Secrets;
use super::spec::CommandSpec;

/// Sees that the program can be found and executed, that its folder is there and its secrets can be read. Runs nothing.
pub(super) fn could_run(spec: &CommandSpec) -> Result<(), CommandError> {
    let words = spec.words()?;
    let program = words.first().copied().unwrap_or_default();
    Secrets::read(&spec.env_file)?;
    let directory = spec.directory();
    let unusable = |reason| Err(CommandError::Directory { path: directory.to_owned(), reason });
    match std::fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return unusable(io::ErrorKind::NotADirectory.into()),
        Err(error) => return unusable(error),
    }
    if let Err(errno) = accessat(CWD, directory, Access::EXEC_OK, AtFlags::EACCESS) {
        return unusable(errno.into());
    }
    find(program, spec, directory).map(drop).map_err(|error| CommandError::not_executed(program, error))
}

/// As execvp(3) looks for it: a name with a slash is a path, another one is looked for in the command's own `PATH`.
fn find(program: &str, spec: &CommandSpec, directory: &Path) -> io::Result<PathBuf> {
    if program.contains('/') {
        let path = directory.join(program);
        return executable(&path).map(|()| path);
    }
    let path = match spec.env.get("PATH") {
        Some(path) => path.into(),
        None => std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into()),
    };
    // What is found and may not be executed is told only where nothing better is found.
    let mut best = io::Error::from(io::ErrorKind::NotFound);
    for folder in path.as_bytes().split(|&byte| byte == b':') {
        let path = directory.join(OsStr::from_bytes(folder)).join(program);
        match executable(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => best = error,
            Err(_) => {}
        }
    }
    Err(best)
}

fn executable(path: &Path) -> io::Result<()> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

    use super::*;

    fn code(argv: &[&str], change: impl FnOnce(&mut CommandSpec)) -> Option<String> {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        let mut spec = CommandSpec { argv, ..CommandSpec::default() };
        change(&mut spec);
        could_run(&spec).err().map(|error| error.code().to_owned())
    }

    #[test]
    fn what_could_not_run_is_told_before_it_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "#!/bin/sh\n").unwrap();
        let plain = plain.to_str().unwrap();
        let not = |code: &str| Some(format!("COMMAND_{code}"));
        assert_eq!(code(&["sh"], |_| {}), None);
        assert_eq!(code(&["a script"], |spec| spec.shell = true), None);
        assert_eq!(code(&["bin/sh"], |_| {}), None);
        assert_eq!(code(&["holdfast-no-such-program"], |_| {}), not("NOT_FOUND"));
        assert_eq!(code(&["/no/such/program"], |_| {}), not("NOT_FOUND"));
        assert_eq!(code(&[plain], |_| {}), not("NOT_EXECUTABLE"));
        assert_eq!(code(&["/etc"], |_| {}), not("NOT_EXECUTABLE"));
        assert_eq!(code(&["sh"], |spec| drop(spec.env.insert("PATH".into(), "/nowhere".into()))), not("NOT_FOUND"));
        let own = folder.path().to_str().unwrap().to_owned();
        assert_eq!(code(&["plain"], |spec| drop(spec.env.insert("PATH".into(), own))), not("NOT_EXECUTABLE"));
        assert_eq!(code(&["sh"], |spec| spec.directory = Some("/nowhere".into())), not("DIRECTORY_UNUSABLE"));
        assert_eq!(code(&["sh"], |spec| spec.directory = Some(plain.into())), not("DIRECTORY_UNUSABLE"));
        assert_eq!(
            code(&["sh"], |spec| drop(spec.env_file.insert("PW".into(), "/no".into()))),
            not("SECRET_UNREADABLE")
        );
    }
}
