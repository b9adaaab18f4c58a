//! What `docs/design.md` says of the bytes on the wire is what the encoders make: whoever writes another implementation has
//! that page.

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::StateForm;
use hotstuff2_sync::wire::Request;

const PAGE: &str = include_str!("../../docs/design.md");

#[test]
fn a_request_in_the_documents_is_what_they_say() {
    let range = HeightRange::new(Height::new(1025), Height::new(2048)).unwrap();
    let request = Request::Segment { range, certified: true, audit: false, bodies: 1 << 20 }.encode();
    let digits: Vec<String> = request.iter().map(|byte| format!("{byte:02x}")).collect();
    let digits = format!("`{}`", digits.join(" "));
    assert!(PAGE.contains(&digits), "docs/design.md: the example is {digits} now");
}

#[test]
fn requests_have_the_numbers_that_the_documents_give() {
    let range = HeightRange::single(Height::new(1));
    let requests = [
        ("Status", Request::Status),
        ("Handovers", Request::Handovers { from: Epoch::ZERO, max: 1 }),
        ("Tip", Request::Tip),
        ("Segment", Request::Segment { range, certified: true, audit: false, bodies: 0 }),
        ("Bodies", Request::Bodies { range, max_bytes: 1 }),
        ("Follow", Request::Follow { after: Height::ZERO, max_bytes: 1, audit: false }),
        ("State", Request::State { height: Height::ZERO, form: StateForm::Leaves, items: Vec::new(), max_bytes: 1 }),
        ("Proof", Request::Proof { height: Height::ZERO, root: Hash::ZERO, key_hash: Hash::ZERO }),
        ("Peers", Request::Peers { max: 1, port: 0 }),
        ("Advert", Request::Advert { challenge: Hash::ZERO }),
    ];
    for (name, request) in requests {
        let row = format!("| {} | `{name}` |", request.encode()[1]);
        assert!(PAGE.contains(&row), "docs/design.md: there is no row `{row}`");
    }
}
