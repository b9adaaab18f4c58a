//! A world for the light client: virtual time, and peers that answer truthfully or not.

mod growing;
mod world;

pub use growing::Growing;
pub use world::LightWorld;
