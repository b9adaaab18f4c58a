//! Runs every example, as a user would, to its end.

#![allow(clippy::duplicate_mod, reason = "every example is a program of its own, with the module that they share")]

macro_rules! examples {
    ($($name:ident in $file:literal),+ $(,)?) => {
        $(
            #[path = $file]
            mod $name;

            #[test]
            fn $name() {
                $name::main().unwrap();
            }
        )+

        /// The names above.
        const RUN: &[&str] = &[$(stringify!($name)),+];
    };
}

examples! {
    application in "../examples/application.rs",
    follow in "../examples/follow.rs",
    light_read in "../examples/light_read.rs",
    own_network in "../examples/own_network.rs",
    own_store in "../examples/own_store.rs",
    serve in "../examples/serve.rs",
    validator in "../examples/validator.rs",
}

#[test]
fn every_example_is_run() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, RUN);
}
