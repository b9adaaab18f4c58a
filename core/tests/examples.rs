//! Runs the example, as a user would, to its end.

#[path = "../examples/run_loop.rs"]
mod run_loop;

#[test]
fn run_loop() {
    run_loop::main().unwrap();
}
