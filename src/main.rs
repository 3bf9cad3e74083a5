//! The `actorline` command.

fn main() {}
