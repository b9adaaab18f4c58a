//! Builds each package that is published from its archive, as its users will: what it needs of the checkout and does not
//! bring, a file or the version of a sibling, is missing there.

use crate::command;
use crate::workspace::Workspace;

/// The packages, each after those that it needs.
const PUBLISHED: [&str; 4] = ["hotstuff2-sync", "hotstuff2-sync-testkit", "hotstuff2-sync-tokio", "hs2-sync"];

/// Packs them and builds the archives. Siblings that no registry has yet are taken from their archives; everything else
/// comes from where cargo has it already, so that this works without a network once the workspace was built.
pub(crate) fn check(workspace: &Workspace) -> Result<(), String> {
    let mut cargo = workspace.cargo();
    // Archives are made of what is there, committed or not. One folder for all of them: dependencies are built once.
    cargo.args(["package", "--allow-dirty", "--target-dir"]).arg(workspace.target.join("packaged"));
    command::run(cargo.args(PUBLISHED.iter().flat_map(|name| ["--package", *name])))
}
