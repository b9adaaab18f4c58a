//! The light client's class.

use hotstuff2_sync::ids::{Height, PeerId, QueryId};
use hotstuff2_sync::light::{At, Query};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::{Instant, UnixMillis};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{argument, fixed, instant, number_of, start_failed, whole};
use crate::host::Host;
use crate::light_values;
use crate::settings::Settings;

/// A light client: the machine, its sessions and its jobs. JavaScript has the sockets and the clocks.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Light {
    host: Host,
    now: Instant,
}

#[wasm_bindgen]
impl Light {
    /// See [`Host::new`]. `secret` and `seed` are 32 random bytes each, `settings` is JSON, `now` milliseconds of a clock
    /// that never goes back, `wall` milliseconds since 1970.
    #[wasm_bindgen(constructor)]
    pub fn new(
        genesis: &str,
        checkpoint: Option<Vec<u8>>,
        settings: &str,
        secret: &[u8],
        seed: &[u8],
        now: f64,
        wall: f64,
    ) -> Result<Self, JsValue> {
        let settings = Settings::parse(settings).map_err(|error| start_failed(&error))?;
        let random = [fixed(secret, "secret")?, fixed(seed, "seed")?];
        let now = instant(now);
        let wall = UnixMillis::new(whole(wall));
        let host = Host::new(genesis, checkpoint.as_deref(), &settings, random, now, wall)
            .map_err(|error| start_failed(&error))?;
        Ok(Self { host, now })
    }

    /// See [`Host::open`]. The group is any text: nodes with the same one count as one operator.
    pub fn open(
        &mut self,
        now: f64,
        connection: u32,
        group: &str,
        expected: Option<Vec<u8>>,
        seed: &[u8],
    ) -> Result<(), JsValue> {
        let expected = expected.map(|peer| fixed(&peer, "peer")).transpose()?.map(PeerId::from_bytes);
        let seed = fixed(seed, "seed")?;
        let now = self.at(now);
        self.host.open(now, connection, number_of(group), expected, seed);
        Ok(())
    }

    /// See [`Host::receive`].
    pub fn receive(&mut self, now: f64, connection: u32, bytes: &[u8]) {
        let now = self.at(now);
        self.host.receive(now, connection, bytes);
    }

    /// See [`Host::closed`].
    pub fn closed(&mut self, now: f64, connection: u32) {
        let now = self.at(now);
        self.host.closed(now, connection);
    }

    /// See [`Host::tick`].
    pub fn tick(&mut self, now: f64) {
        let now = self.at(now);
        self.host.tick(now);
    }

    /// See [`Host::wall`].
    pub fn wall(&mut self, now: f64, wall: f64) {
        let now = self.at(now);
        self.host.wall(now, UnixMillis::new(whole(wall)));
    }

    /// Asks for a key's value: at a block's height, where one is given, at the newest snapshot, or now.
    pub fn read(&mut self, now: f64, key: Vec<u8>, height: Option<u64>, snapshot: bool) -> u64 {
        let at = match height {
            Some(height) => At::Height(Height::new(height)),
            None if snapshot => At::Snapshot,
            None => At::Now,
        };
        let now = self.at(now);
        self.host.ask(now, Query::Read { key: key.into(), at }).get()
    }

    /// Asks for a block.
    pub fn header(&mut self, now: f64, height: u64) -> u64 {
        let now = self.at(now);
        self.host.ask(now, Query::Header(Height::new(height))).get()
    }

    /// Asks for the payloads of some blocks.
    pub fn bodies(&mut self, now: f64, first: u64, last: u64) -> Result<u64, JsValue> {
        let range = HeightRange::new(Height::new(first), Height::new(last));
        let range = range.ok_or_else(|| argument("the last block of a range must not be below its first"))?;
        let now = self.at(now);
        Ok(self.host.ask(now, Query::Bodies(range)).get())
    }

    /// See [`Host::drop_query`].
    #[wasm_bindgen(js_name = dropQuery)]
    pub fn drop_query(&mut self, now: f64, query: u64) {
        let now = self.at(now);
        self.host.drop_query(now, QueryId::from_raw(query));
    }

    /// See [`Host::work`].
    pub fn work(&mut self) -> bool {
        self.host.work()
    }

    /// See [`Host::has_work`].
    #[wasm_bindgen(js_name = hasWork)]
    pub fn has_work(&self) -> bool {
        self.host.has_work()
    }

    /// The next output; `undefined` where there is none.
    pub fn poll(&mut self) -> JsValue {
        self.host.poll().map_or(JsValue::UNDEFINED, |output| light_values::output(&output))
    }

    /// When to tick at the latest, in milliseconds of the same clock.
    pub fn deadline(&self) -> Option<f64> {
        self.host.deadline().map(|at| at.as_micros() as f64 / 1000.0)
    }

    /// Where the client stands.
    pub fn position(&self) -> JsValue {
        light_values::position(&self.host.position())
    }

    /// A clock that goes back stands still instead.
    fn at(&mut self, now: f64) -> Instant {
        self.now = self.now.max(instant(now));
        self.now
    }
}
