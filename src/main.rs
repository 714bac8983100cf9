//! The `holdfast` program.

fn main() -> std::process::ExitCode {
    holdfast::cli::main()
}
