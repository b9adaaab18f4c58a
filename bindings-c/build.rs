//! Gives the shared library its soname, which Rust leaves out: programs then ask for the version that they were linked
//! with. Before 1.0 every minor version may break, so the name has both numbers.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let number = |name: &str| std::env::var(name).unwrap_or_default();
    let (major, minor) = (number("CARGO_PKG_VERSION_MAJOR"), number("CARGO_PKG_VERSION_MINOR"));
    if number("CARGO_CFG_TARGET_OS") == "linux" {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libhs2sync.so.{major}.{minor}");
    }
}
