//! The `holdfast` program.

fn main() -> std::process::ExitCode {
    holdfast::command::launch_if_asked();
    holdfast::cli::main()
}
