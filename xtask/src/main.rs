//! Set-up and test commands of the workspace.

fn main() {}
