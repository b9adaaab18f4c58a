//! Settings by name.
#![allow(unsafe_code)]

use std::ffi::c_char;

use hotstuff2_sync::config::{SetConfigError, SyncConfig};

use crate::buffer::give;
use crate::failure::Failure;
use crate::fence::fence;
use crate::objects::Config;
use crate::pointer::{Out, text};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{hs2_buffer, hs2_config, hs2_slice};

/// Settings, all at their defaults. Ownership: one reference to `config`. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_config_new(config: *mut hs2_config) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the header asks for.
        let config = unsafe { Out::new(config, "config") }?;
        config.set(table::insert(Config::default())?);
        Ok(())
    })
}

/// Sets one setting: `hs2_config_set(config, "memory_budget", "64 MiB")`. Numbers are whole; bytes may have `KiB`, `MiB`
/// or `GiB`, times need `us`, `ms`, `s`, `min`, `h` or `d`; others are `true`, `false`, or words. Settings are always
/// valid together: a value that is out of range is refused, and changes nothing. Threads: one at a time.
/// Errors: `HS2_UNKNOWN_NAME`, `HS2_UNREADABLE` and `HS2_OUT_OF_RANGE` (`hs2_last_error` says what would do),
/// `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_config_set(config: hs2_config, name: *const c_char, value: *const c_char) -> hs2_status {
    fence(config, || {
        // SAFETY: texts closed by a zero byte, as the header asks for.
        let (name, value) = unsafe { (text(name, "name")?, text(value, "value")?) };
        table::get::<Config>(config)?.lock()?.set(name, value).map_err(|error| {
            let status = match error {
                SetConfigError::UnknownName => Status::UnknownName,
                SetConfigError::Unreadable { .. } => Status::Unreadable,
                SetConfigError::OutOfRange(_) => Status::OutOfRange,
            };
            Failure::new(status, format!("{name}: {error}"))
        })
    })
}

/// The value of one setting, as `hs2_config_set` reads it. Ownership: one reference to `value`. Threads: one at a time.
/// Errors: `HS2_UNKNOWN_NAME`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_config_get(config: hs2_config, name: *const c_char, value: *mut hs2_buffer) -> hs2_status {
    fence(config, || {
        // SAFETY: a text closed by a zero byte, and writable, as the header asks for.
        let (name, value) = unsafe { (text(name, "name")?, Out::new(value, "value")?) };
        let found = table::get::<Config>(config)?.lock()?.text(name);
        let found = found.ok_or_else(|| Failure::new(Status::UnknownName, SetConfigError::UnknownName.to_string()))?;
        value.set(give(found)?);
        Ok(())
    })
}

/// The name of the setting at `index` and the range of its values, to list all from 0 on until `HS2_NOT_FOUND`.
/// Ownership: the library's, for ever; the texts have no zero byte behind them. Threads: any.
/// Errors: `HS2_NOT_FOUND` behind the last one, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_config_field(index: usize, name: *mut hs2_slice, range: *mut hs2_slice) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the header asks for.
        let (name, range) = unsafe { (Out::new(name, "name")?, Out::new(range, "range")?) };
        let field = SyncConfig::FIELDS.get(index);
        let field = field.ok_or_else(|| Failure::new(Status::NotFound, "there is no further setting"))?;
        name.set(hs2_slice::of(field.name.as_bytes()));
        range.set(hs2_slice::of(SyncConfig::range_of(field.name).unwrap_or_default().as_bytes()));
        Ok(())
    })
}
