//! The `actorline` command.

fn main() -> std::process::ExitCode {
    actorline::cli::main()
}
