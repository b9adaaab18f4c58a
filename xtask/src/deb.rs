//! `cargo xtask deb`: a Debian package of the command: program, service, manual, completions, a configuration to begin with,
//! and the licences of everything in it.
//!
//! The service's user is made by systemd when it starts (`DynamicUser`), so the package makes none, and has nothing to remove.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Workspace;
use crate::{command, dist};

const PACKAGE: &str = "hs2-sync";

/// Where the service file has the program, and where the package has it.
const PROGRAM: (&str, &str) = ("/usr/local/bin/hs2-sync", "/usr/bin/hs2-sync");

/// Files that belong to the operator: an upgrade leaves them as they are.
const CONFFILES: &[&str] = &["/etc/hs2-sync/node.toml"];

/// Shells, and where Debian has what completes their commands.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/hs2-sync"),
    ("zsh", "usr/share/zsh/vendor-completions/_hs2-sync"),
    ("fish", "usr/share/fish/vendor_completions.d/hs2-sync.fish"),
];

/// Makes a running systemd know of the new or the removed service. Nothing is started: a node needs a genesis file first.
const RELOAD: &str = "#!/bin/sh\nset -e\nif [ -d /run/systemd/system ]; then systemctl daemon-reload; fi\n";

/// Stops the node before its program goes.
const STOP: &str = "#!/bin/sh\nset -e\nif [ -d /run/systemd/system ] && [ \"$1\" = remove ]; then\n    \
    systemctl --no-reload disable --now hs2-sync.service\nfi\n";

/// The program to pack, where one is built already.
pub(crate) fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Option<PathBuf>, String> {
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(None),
        (Some("--program"), Some(path), None) => Ok(Some(path.into())),
        _ => Err("`deb` takes `--program FILE` or nothing".to_owned()),
    }
}

/// Makes the package, of `program` or of one that is built for it.
pub(crate) fn run(workspace: &Workspace, program: Option<PathBuf>) -> Result<(), String> {
    let program = match program {
        Some(program) => program,
        None => {
            command::run(workspace.cargo().args(["build", "--release", "--locked", "--package", PACKAGE]))?;
            workspace.target.join("release").join(PACKAGE)
        }
    };
    let architecture = command::output(Command::new("dpkg").arg("--print-architecture"))?;
    let name = format!("{PACKAGE}_{}_{}", env!("CARGO_PKG_VERSION"), architecture.trim());
    let tree = Tree { root: workspace.target.join("deb").join(&name) };
    if tree.root.exists() {
        fs::remove_dir_all(&tree.root).map_err(failed(&tree.root))?;
    }
    tree.fill(workspace, &program)?;
    let size = command::output(Command::new("du").args(["-sk", "--apparent-size"]).arg(&tree.root))?;
    let size = size.split_whitespace().next().unwrap_or_default();
    tree.write("DEBIAN/control", control(architecture.trim(), size).as_bytes())?;
    tree.write("DEBIAN/conffiles", (CONFFILES.join("\n") + "\n").as_bytes())?;
    tree.script("DEBIAN/postinst", RELOAD)?;
    tree.script("DEBIAN/prerm", STOP)?;
    tree.script("DEBIAN/postrm", RELOAD)?;
    let package = tree.root.with_file_name(format!("{name}.deb"));
    command::run(
        Command::new("dpkg-deb").args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree.root).arg(&package),
    )?;
    println!("{}", package.display());
    Ok(())
}

fn control(architecture: &str, kilobytes: &str) -> String {
    let repository = env!("CARGO_PKG_REPOSITORY");
    format!(
        "Package: {PACKAGE}\nVersion: {}\nArchitecture: {architecture}\nMaintainer: {}\nInstalled-Size: {kilobytes}\n\
         Depends: libc6, libgcc-s1\nSection: net\nPriority: optional\nHomepage: {repository}\n\
         Description: brings a node to where a HotStuff-2 network is, and keeps it there\n \
         The command of hotstuff2-sync: synchronizes, follows, serves, checks and repairs chains, trusting nothing but\n \
         a genesis file. With a systemd service, which is not started before it is configured.\n",
        env!("CARGO_PKG_VERSION"),
        maintainer(),
    )
}

/// The first of the authors, with an address, since Debian wants one.
fn maintainer() -> String {
    let first = env!("CARGO_PKG_AUTHORS").split(':').next().unwrap_or_default();
    if first.contains('<') { first.to_owned() } else { format!("{first} <nobody@localhost>") }
}

/// The files of the package.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn fill(&self, workspace: &Workspace, program: &Path) -> Result<(), String> {
        let own = |name: &str| workspace.root.join(name);
        let bytes = fs::read(program).map_err(failed(program))?;
        let installed = self.write(PROGRAM.1, &bytes)?;
        mode(&installed, 0o755)?;
        if command::succeeds(Command::new("strip").arg("--version")) {
            command::run(Command::new("strip").arg(&installed))?;
        }
        let service = read(&own("deploy/hs2-sync.service"))?;
        let page = "https://github.com/hotstuff2-sync/hotstuff2-sync/blob/main/docs/running.md";
        let service = service.replace(PROGRAM.0, PROGRAM.1).replace(page, "file:///usr/share/doc/hs2-sync/running.md");
        self.write("usr/lib/systemd/system/hs2-sync.service", service.as_bytes())?;
        let defaults = command::output(Command::new(&installed).arg("config").env_clear())?;
        self.write("etc/hs2-sync/node.toml", defaults.as_bytes())?;
        for (shell, place) in COMPLETIONS {
            let script = command::output(Command::new(&installed).args(["completions", shell]))?;
            self.write(place, script.as_bytes())?;
        }
        let pages = self.root.join("usr/share/man/man1");
        command::run(Command::new(&installed).args(["man", "--dir"]).arg(&pages))?;
        for page in fs::read_dir(&pages).map_err(failed(&pages))? {
            let page = page.map_err(failed(&pages))?.path();
            command::run(Command::new("gzip").args(["--best", "--no-name"]).arg(page))?;
        }
        for (file, name) in [
            ("docs/running.md", "running.md"),
            ("deploy/alerts.yml", "alerts.yml"),
            ("deploy/grafana.json", "grafana.json"),
            ("deploy/prometheus.yml", "prometheus.yml"),
        ] {
            self.write(&format!("usr/share/doc/hs2-sync/{name}"), read(&own(file))?.as_bytes())?;
        }
        let ours = ["LICENSE-MIT", "LICENSE-APACHE"].map(|name| read(&own(name)));
        let others = dist::others(workspace, PACKAGE, PACKAGE)?;
        let mut copyright = format!("{PACKAGE}: MIT or Apache-2.0, as you like.\n\n");
        for text in ours.into_iter().chain([Ok(others)]) {
            copyright = copyright + &text? + "\n";
        }
        self.write("usr/share/doc/hs2-sync/copyright", copyright.as_bytes())?;
        Ok(())
    }

    /// Writes a file that everybody may read.
    fn write(&self, place: &str, bytes: &[u8]) -> Result<PathBuf, String> {
        let path = self.root.join(place.trim_start_matches('/'));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        fs::write(&path, bytes).map_err(failed(&path))?;
        mode(&path, 0o644)?;
        Ok(path)
    }

    fn script(&self, place: &str, text: &str) -> Result<(), String> {
        mode(&self.write(place, text.as_bytes())?, 0o755)
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(failed(path))
}

fn mode(path: &Path, bits: u32) -> Result<(), String> {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}
