//! [`StoreConfig`]: limits of a store, of blocks that it keeps and of room on its disk.

use hotstuff2_sync::config::ConfigField;
use serde::{Deserialize, Serialize};

/// Limits of a store: blocks that it keeps, and room that it leaves on its disk. All zero, as by default, it keeps every block
/// and fills the disk.
///
/// Blocks go in whole cells of the chain's grid, the oldest first, and as far as the newest that either limit asks for. What
/// the state, its snapshots or an application that is behind still need stays, whatever the limits say; handovers always stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The newest blocks that are kept, in number; 0 keeps all.
    pub retain_blocks: u64,
    /// Bytes of blocks on disk above which the oldest go; 0 for no limit.
    pub retain_bytes: u64,
    /// Free bytes of the disk below which no more blocks are written; 0 for none.
    pub min_free_disk: u64,
}

impl StoreConfig {
    /// All fields, in order, for programs that show settings to people.
    pub const FIELDS: &'static [ConfigField] = &[
        ConfigField {
            name: "retain_blocks",
            doc: &[
                " Newest blocks that are kept, in number; 0 keeps all. Older ones go while the node runs, and peers are told. What the",
                " state, its snapshots and handovers need stays.",
            ],
        },
        ConfigField {
            name: "retain_bytes",
            doc: &[
                " Bytes of blocks on disk above which the oldest go, as with retain_blocks; 0 for no limit. The newest and what is",
                " needed stay, though they take more.",
            ],
        },
        ConfigField {
            name: "min_free_disk",
            doc: &[
                " Free bytes of the disk below which the node takes no more blocks, until there is room again; 0 for none. A GiB",
                " leaves room for what is on its way, and for the other programs on the disk.",
            ],
        },
    ];

    /// Range of every field.
    pub const RANGE: &'static str = "any number from 0 on";

    /// Whether any block may go.
    pub(super) fn prunes(self) -> bool {
        self.retain_blocks > 0 || self.retain_bytes > 0
    }
}
