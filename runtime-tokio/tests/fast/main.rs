//! States over real connections and on real disks: what is fetched again, and what is not.

mod kill_nine;
mod moving;
mod source;
