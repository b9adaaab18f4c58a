//! Handles, bytes and numbers that everything else is made of.

/// A handle to an object of the library; 0 is none. The kinds below are all of this type: a handle of the wrong kind, or
/// one that was released, is a status and never undefined behaviour. Each handle that a function gives out has one
/// reference, which the host gives back with `hs2_release`; handing a handle to a function takes nothing away.
pub type hs2_handle = u64;

/// Bytes: memory to be filled, then final and shared.
pub type hs2_buffer = hs2_handle;

/// Settings of a machine.
pub type hs2_config = hs2_handle;

/// Bytes that belong to somebody else. Each function says for how long they are there. `data` may be null where `len` is 0.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_slice {
    /// The first byte.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

impl hs2_slice {
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }
}

/// 32 bytes that name something: a block, a chain, a state root, a peer's or a validator's Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct hs2_id {
    /// The bytes.
    pub bytes: [u8; 32],
}

/// The result of a host's function: it did what it was asked.
pub const HS2_HOST_OK: i32 = 0;
/// The result of a host's function: there is no such thing, which is no failure.
pub const HS2_HOST_NONE: i32 = 1;

/// A time or a height that never comes.
pub const HS2_NEVER: u64 = 0xffff_ffff_ffff_ffff;

/// Largest buffer in bytes: more than any answer of the protocol takes.
pub const HS2_MAX_BUFFER_BYTES: usize = 128 << 20;

/// Version of this interface. It rises with every change that a program compiled before would not survive.
pub const HS2_ABI: u32 = 1;
