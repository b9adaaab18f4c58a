use super::{NativeSpecimen, Specimen as _, check};

#[test]
fn the_native_chain_passes_the_conformance_kit() {
    let specimen = NativeSpecimen::new().unwrap();
    assert_eq!(specimen.bends().len(), 3, "each way to bend it works");
    assert_eq!(check(&specimen), Ok(()));
}
