//! [`Status`]: the one table of what functions return. The header's constants and the words are made from it.

/// The status that every function returns: 0 where it did what it says, else why it did nothing.
pub type hs2_status = i32;

macro_rules! statuses {
    ($($number:literal $name:ident $upper:literal $words:literal)+) => {
        /// The status that a function returns. Append only: a number never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        pub enum Status {
            $(#[doc = $words] $name = $number,)+
        }

        impl Status {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name in the header, without its prefix.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $upper,)+
                }
            }

            /// The meaning in words.
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)+
                }
            }

            /// The same with a zero byte behind it.
            pub(crate) fn c_words(self) -> &'static std::ffi::CStr {
                let text = match self {
                    $(Self::$name => concat!($words, "\0"),)+
                };
                std::ffi::CStr::from_bytes_with_nul(text.as_bytes()).unwrap_or_default()
            }
        }
    };
}

statuses! {
    0 Ok "OK" "done"
    1 InvalidArgument "INVALID_ARGUMENT" "an argument is null, misaligned or out of range"
    2 StaleHandle "STALE_HANDLE" "the handle was released, or was never given out"
    3 WrongKind "WRONG_KIND" "the handle is of another kind than the function needs"
    4 InUse "IN_USE" "another call uses the object at this moment, on another thread or further up on this one"
    5 Poisoned "POISONED" "an earlier call with this object panicked: release it"
    6 Panicked "PANICKED" "this call panicked, which is a defect of the library: release the object, and report it"
    7 Malformed "MALFORMED" "the bytes are no encoding of what they should be"
    8 UnknownName "UNKNOWN_NAME" "there is nothing of this name"
    9 Unreadable "UNREADABLE" "the text is no value of this kind"
    10 OutOfRange "OUT_OF_RANGE" "the value is out of range"
    11 NotFound "NOT_FOUND" "there is nothing at this place"
    12 WrongState "WRONG_STATE" "the object can't do this now: the order of calls is wrong"
    13 False "FALSE" "the bytes are provably false"
    14 HostFailed "HOST_FAILED" "a function of the host's table failed, or gave back what it must not"
    15 TooMany "TOO_MANY" "there are too many objects or bytes"
    16 Refused "REFUSED" "the parts don't fit together"
    17 SessionOver "SESSION_OVER" "the session is over: write what is left, then close the connection"
}

impl Status {
    /// The number in the header.
    pub const fn number(self) -> hs2_status {
        self as hs2_status
    }
}
