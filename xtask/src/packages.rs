//! Builds each package that is published from its archive, as its users will: what it needs of the checkout and does not
//! bring, a file or the version of a sibling, is missing there.

use std::fs;
use std::path::Path;

use crate::command;
use crate::workspace::{self, Workspace};

/// The packages, each after those that it needs.
const PUBLISHED: [&str; 4] = ["hotstuff2-sync", "hotstuff2-sync-testkit", "hotstuff2-sync-tokio", "hs2-sync"];

/// Packs them and builds the archives. Siblings that no registry has yet are taken from their archives; everything else
/// comes from where cargo has it already, so that this works without a network once the workspace was built.
pub(crate) fn check(workspace: &Workspace) -> Result<(), String> {
    forget_earlier(&workspace::cargo_home()?)?;
    // One folder for all of them: dependencies are built once.
    let folder = workspace.target.join("packaged");
    forget_built(&folder)?;
    let mut cargo = workspace.cargo();
    // Archives are made of what is there, committed or not.
    cargo.args(["package", "--allow-dirty", "--target-dir"]).arg(folder);
    command::run(cargo.args(PUBLISHED.iter().flat_map(|name| ["--package", *name])))
}

/// Removes what cargo unpacked of these packages when the step ran before. It unpacks an archive once for each name and
/// version, in a folder of its home that begins with `-`, since the registry of such archives has no host; a package
/// that changed under the same version would be built against its siblings of that day.
fn forget_earlier(cargo_home: &Path) -> Result<(), String> {
    for registries in ["src", "cache"].map(|kind| cargo_home.join("registry").join(kind)) {
        let Ok(entries) = fs::read_dir(&registries) else { continue };
        let hostless = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with('-'));
        for registry in hostless.map(|entry| entry.path()) {
            for entry in
                fs::read_dir(&registry).map_err(|reason| format!("{}: {reason}", registry.display()))?.flatten()
            {
                if is_ours(&entry.file_name().to_string_lossy()) {
                    let path = entry.path();
                    let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                    removed.map_err(|reason| format!("{}: {reason}", path.display()))?;
                }
            }
        }
    }
    Ok(())
}

/// Has cargo build these packages anew in the build folder `folder`: what comes from a registry counts as built for as long as
/// its version is the same, whatever is in it.
fn forget_built(folder: &Path) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(folder.join("debug/.fingerprint")) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if PUBLISHED.iter().any(|package| name.strip_prefix(package).is_some_and(|rest| rest.starts_with('-'))) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(|reason| format!("{}: {reason}", path.display()))?;
        }
    }
    Ok(())
}

/// Whether `name` is that of an archive of ours, or of what was unpacked from one: `NAME-VERSION` or `NAME-VERSION.crate`.
fn is_ours(name: &str) -> bool {
    PUBLISHED.iter().any(|package| {
        let version = name.strip_prefix(package).and_then(|rest| rest.strip_prefix('-'));
        version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_of_an_earlier_archive_is_built_anew() {
        let folder = std::env::temp_dir().join(format!("hs2-xtask-packaged-{}", std::process::id()));
        let of = |name: &str| folder.join("debug/.fingerprint").join(name);
        for name in ["hotstuff2-sync-testkit-0123456789abcdef", "hs2-sync-fedcba9876543210", "bytes-0123456789abcdef"] {
            fs::create_dir_all(of(name)).unwrap();
        }
        forget_built(&folder).unwrap();
        assert!(!of("hotstuff2-sync-testkit-0123456789abcdef").exists() && !of("hs2-sync-fedcba9876543210").exists());
        assert!(of("bytes-0123456789abcdef").exists());
        fs::remove_dir_all(&folder).unwrap();
        forget_built(&folder).unwrap();
    }

    #[test]
    fn packages_of_an_earlier_run_are_forgotten_and_nothing_else() {
        let home = std::env::temp_dir().join(format!("hs2-xtask-packages-{}", std::process::id()));
        let [hostless, hosted] =
            ["-0123456789abcdef", "index.example-0123456789abcdef"].map(|name| home.join("registry/src").join(name));
        let gone = [hostless.join("hotstuff2-sync-0.1.0"), hostless.join("hs2-sync-0.1.0")];
        let kept = [hostless.join("hotstuff2-sync-else-0.1.0"), hosted.join("hotstuff2-sync-0.1.0")];
        for folder in gone.iter().chain(&kept) {
            fs::create_dir_all(folder.join("src")).unwrap();
        }
        let archive = home.join("registry/cache/-0123456789abcdef/hotstuff2-sync-tokio-0.1.0.crate");
        fs::create_dir_all(archive.parent().unwrap()).unwrap();
        fs::write(&archive, b"archive").unwrap();
        forget_earlier(&home).unwrap();
        assert!(gone.iter().all(|folder| !folder.exists()) && !archive.exists());
        assert!(kept.iter().all(|folder| folder.exists()));
        fs::remove_dir_all(&home).unwrap();
        forget_earlier(&home).unwrap();
    }
}
