//! Memory that waits for the disk is bounded, however busy the flusher is.

use bytes::Bytes;

use crate::store::db::{Db, STATE_MEMTABLE_BYTES, Space};

#[test]
fn a_full_memtable_is_sealed_before_the_commit_returns() {
    const ROWS: u64 = 16;
    let dir = tempfile::tempdir().unwrap();
    let db = Db::create(dir.path().join("db")).unwrap();
    let value = Bytes::from(vec![7; 64 << 10]);
    let row = |number: u64| (Space::StagedValues, Bytes::copy_from_slice(&number.to_be_bytes()), Some(value.clone()));
    for batch in 0..64 {
        db.commit((batch * ROWS..(batch + 1) * ROWS).map(row), false).unwrap();
        // Left to fjall's own thread it would be sealed a while later.
        assert!(db.memtable_bytes(Space::StagedValues) <= STATE_MEMTABLE_BYTES, "after batch {batch}");
    }
    for number in 0..64 * ROWS {
        assert_eq!(db.get(Space::StagedValues, &number.to_be_bytes()).unwrap(), Some(value.clone()), "row {number}");
    }
}
