//! The classes of the whole synchronization.

use hotstuff2_sync::calls::{BlockPoint, CallDone, HostError, HostReply};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{CallId, DecidedId, Height, JobId, PeerId, RequestId};
use hotstuff2_sync::limits::{GRID, MAX_DECIDED_BYTES, MAX_HANDOVER_BYTES};
use hotstuff2_sync::machine::{Decided, Input, PeerEvent, RequestFailure};
use hotstuff2_sync::peers::BlacklistReason;
use hotstuff2_sync::serve::{PartReader, respond};
use hotstuff2_sync::time::{Instant, UnixMillis};
use hotstuff2_sync::verify::Verdict;
use hotstuff2_sync::wire::{Refusal, Request, encode_blocks, encode_refusal};
use js_sys::{Function, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{argument, fixed, instant, number_of, start_failed, whole};
use crate::full::{self, JsStore, Stored, SyncHost, Trusted, Verifier};
use crate::settings::StartError;
use crate::values;

/// The machine with its jobs. See the package's TypeScript, which is its only caller.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Full {
    host: SyncHost,
    now: Instant,
}

#[wasm_bindgen]
impl Full {
    /// See [`SyncHost::new`]. `settings` are names and values in turn, `stored` the height, and with it the id and the time in
    /// milliseconds since 1970.
    #[wasm_bindgen(constructor)]
    #[allow(
        clippy::too_many_arguments,
        reason = "one call across the border, which names cost nothing on the other side"
    )]
    pub fn new(
        genesis: &str,
        checkpoint: Option<Vec<u8>>,
        long_range: bool,
        settings: Vec<String>,
        stored: Option<u64>,
        id: &[u8],
        timestamp: f64,
        tip: Option<Vec<u8>>,
        applied: Option<u64>,
        handovers: Vec<Uint8Array>,
        seed: u64,
        now: f64,
        wall: f64,
    ) -> Result<Self, JsValue> {
        let failed = |error: StartError| start_failed(&error);
        let wall = UnixMillis::new(whole(wall));
        let trusted = Trusted::new(genesis, checkpoint.as_deref(), long_range, wall).map_err(failed)?;
        let mut config = SyncConfig::default();
        for pair in settings.chunks(2) {
            let [name, value] = pair else { return Err(argument("each setting has a name and a value")) };
            let set = config.set(name, value);
            set.map_err(|error| failed(StartError::Settings(format!("{name}: {error}"))))?;
        }
        let block = match stored {
            Some(height) => {
                let point = BlockPoint { height: Height::new(height), id: Hash::from_bytes(fixed(id, "stored.id")?) };
                Some((point, UnixMillis::new(whole(timestamp))))
            }
            None => None,
        };
        let stored = Stored {
            block,
            tip: tip.map(Into::into),
            applied: applied.map(Height::new),
            handovers: handovers.iter().map(|handover| handover.to_vec().into()).collect(),
        };
        let now = instant(now);
        let host = SyncHost::new(&trusted, stored, config, seed, now).map_err(failed)?;
        Ok(Self { host, now })
    }

    /// See [`Input::Start`].
    pub fn start(&mut self, now: f64, until: Option<u64>) {
        self.handle(now, Input::Start(until.map(Height::new)));
    }

    /// See [`Input::Stop`].
    pub fn stop(&mut self, now: f64) {
        self.handle(now, Input::Stop);
    }

    /// See [`Input::Strategy`]. By its name.
    pub fn strategy(&mut self, now: f64, name: &str) -> Result<(), JsValue> {
        let all =
            [SyncStrategyType::Auto, SyncStrategyType::Parallel, SyncStrategyType::Incremental, SyncStrategyType::Fast];
        let found = all.into_iter().find(|one| one.name() == name);
        let found = found.filter(|one| self.host.machine().can_use(*one));
        let found = found.ok_or_else(|| argument("the strategy must be auto, parallel or incremental"))?;
        self.handle(now, Input::Strategy(found));
        Ok(())
    }

    /// See [`Input::Timeout`].
    pub fn timeout(&mut self, now: f64) {
        self.handle(now, Input::Timeout);
    }

    /// See [`Input::Wall`].
    pub fn wall(&mut self, now: f64, wall: f64) {
        self.handle(now, Input::Wall(UnixMillis::new(whole(wall))));
    }

    /// See [`PeerEvent::Connected`].
    pub fn connected(&mut self, now: f64, peer: &[u8], group: &str) -> Result<(), JsValue> {
        let peer = peer_of(peer)?;
        self.handle(now, Input::Peer(PeerEvent::Connected { peer, group: number_of(group) }));
        Ok(())
    }

    /// See [`PeerEvent::Disconnected`].
    pub fn disconnected(&mut self, now: f64, peer: &[u8]) -> Result<(), JsValue> {
        let peer = peer_of(peer)?;
        self.handle(now, Input::Peer(PeerEvent::Disconnected { peer }));
        Ok(())
    }

    /// See [`PeerEvent::Excluded`].
    pub fn excluded(&mut self, now: f64, peer: &[u8]) -> Result<(), JsValue> {
        let peer = peer_of(peer)?;
        self.handle(now, Input::Peer(PeerEvent::Excluded { peer, reason: BlacklistReason::ByHand }));
        Ok(())
    }

    /// See [`PeerEvent::Pardoned`].
    pub fn pardoned(&mut self, now: f64, peer: &[u8]) -> Result<(), JsValue> {
        let peer = peer_of(peer)?;
        self.handle(now, Input::Peer(PeerEvent::Pardoned { peer }));
        Ok(())
    }

    /// A request was answered.
    pub fn response(&mut self, now: f64, request: u64, answer: Vec<u8>) {
        self.handle(now, Input::Response(RequestId::from_raw(request), Ok(answer.into())));
    }

    /// A request won't be answered: see [`RequestFailure`].
    pub fn failure(&mut self, now: f64, request: u64, oversize: bool) {
        let failure = if oversize { RequestFailure::Oversize } else { RequestFailure::Broken };
        self.handle(now, Input::Response(RequestId::from_raw(request), Err(failure)));
    }

    /// See [`Input::Begun`].
    pub fn begun(&mut self, now: f64, job: u64) {
        self.handle(now, Input::Begun(JobId::from_raw(job)));
    }

    /// See [`SyncHost::run`].
    #[wasm_bindgen(js_name = runJob)]
    pub fn run_job(&mut self, now: f64, job: u64) -> bool {
        let now = self.at(now);
        self.host.run(now, JobId::from_raw(job))
    }

    /// A job's canonical encoding; `undefined` where it is done or cancelled.
    #[wasm_bindgen(js_name = encodeJob)]
    pub fn encode_job(&self, job: u64) -> Option<Vec<u8>> {
        self.host.job(JobId::from_raw(job)).map(hotstuff2_sync::verify::Job::encode)
    }

    /// A worker's verdict, which is believed.
    pub fn verdict(&mut self, now: f64, verdict: &[u8]) -> Result<(), JsValue> {
        let verdict = Verdict::decode(verdict).map_err(|_| argument("these bytes are no verdict"))?;
        self.handle(now, Input::Verdict(verdict));
        Ok(())
    }

    /// Blocks are stored and executed up to `through`; `error` says why no further.
    pub fn applied(
        &mut self,
        now: f64,
        call: u64,
        through: u64,
        error: Option<String>,
        height: Option<u64>,
    ) -> Result<(), JsValue> {
        let stopped = error_of(error.as_deref(), height)?;
        let done = CallDone::applied(CallId::from_raw(call), Height::new(through), stopped);
        self.handle(now, Input::Done(done));
        Ok(())
    }

    /// Handovers are stored, or are not; with an error it answers any call.
    #[wasm_bindgen(js_name = handoversStored)]
    pub fn handovers_stored(&mut self, now: f64, call: u64, error: Option<String>) -> Result<(), JsValue> {
        let result = error_of(error.as_deref(), None)?.map_or(Ok(HostReply::HandoversStored), Err);
        self.handle(now, Input::Done(CallDone { id: CallId::from_raw(call), result }));
        Ok(())
    }

    /// See [`Input::Decided`].
    #[allow(clippy::too_many_arguments, reason = "one call across the border")]
    pub fn decided(
        &mut self,
        now: f64,
        id: u64,
        first: u64,
        segment: &[u8],
        audit: &[u8],
        payloads: Vec<Uint8Array>,
        handover: Option<Vec<u8>>,
        executed: bool,
    ) -> Result<(), JsValue> {
        let lens = payloads.iter().map(|payload| u64::from(payload.length()));
        let total = lens.chain([segment.len() as u64, audit.len() as u64]).fold(0, u64::saturating_add);
        if payloads.len() as u64 > GRID || total > MAX_DECIDED_BYTES {
            let most = format!("at most {GRID} blocks of {MAX_DECIDED_BYTES} bytes together: hand in fewer at a time");
            return Err(argument(&most));
        }
        if handover.as_ref().is_some_and(|handover| handover.len() > MAX_HANDOVER_BYTES as usize) {
            return Err(argument(&format!("a handover has at most {MAX_HANDOVER_BYTES} bytes")));
        }
        let payloads: Vec<Vec<u8>> = payloads.iter().map(Uint8Array::to_vec).collect();
        let bytes = encode_blocks(segment, audit, &payloads).ok_or_else(|| argument("there is no payload"))?;
        self.handle(
            now,
            Input::Decided(Decided {
                id: DecidedId::from_raw(id),
                first: Height::new(first),
                bytes: bytes.into(),
                handover: handover.map(Into::into),
                executed,
            }),
        );
        Ok(())
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Result<JsValue, JsValue> {
        let output = self.host.poll();
        full::output(&output, self.host.chain()).map_err(|why| {
            values::error("host", why.code(), why.name(), "verified blocks can't be read again: bad memory")
        })
    }

    /// How far it is.
    pub fn progress(&self) -> JsValue {
        full::progress(self.host.machine())
    }

    fn handle(&mut self, now: f64, input: Input) {
        let now = self.at(now);
        self.host.handle(now, input);
    }

    /// A clock that goes back stands still instead.
    fn at(&mut self, now: f64) -> Instant {
        self.now = self.now.max(instant(now));
        self.now
    }
}

/// Rules of a chain: for workers that verify, and for serving.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Rules {
    verifier: Verifier,
}

#[wasm_bindgen]
impl Rules {
    /// See [`Trusted::new`].
    #[wasm_bindgen(constructor)]
    pub fn new(genesis: &str, checkpoint: Option<Vec<u8>>, long_range: bool, wall: f64) -> Result<Self, JsValue> {
        let wall = UnixMillis::new(whole(wall));
        let trusted = Trusted::new(genesis, checkpoint.as_deref(), long_range, wall);
        let trusted = trusted.map_err(|error| start_failed(&error))?;
        Ok(Self { verifier: Verifier::new(&trusted) })
    }

    /// The chain's id.
    #[wasm_bindgen(js_name = chainId)]
    pub fn chain_id(&self) -> Vec<u8> {
        self.verifier.chain_id().as_bytes().to_vec()
    }

    /// See [`Verifier::run`].
    pub fn run(&mut self, job: &[u8]) -> Result<Vec<u8>, JsValue> {
        self.verifier.run(job).ok_or_else(|| argument("these bytes are no job of this version"))
    }

    /// Answers a peer's request out of the host's store, with bounded work, whatever is asked.
    pub fn respond(&self, read: &Function, request: &[u8]) -> Result<Vec<u8>, JsValue> {
        let request = Request::decode(request)
            .map_err(|why| values::error("request", 0, "malformed", &format!("the request can't be read: {why}")))?;
        let store = JsStore { read, chain_id: self.verifier.chain_id() };
        let reader = PartReader::new(self.verifier.chain(), store);
        let failed = |words: String| values::error("store", 0, "store", &words);
        let answer = respond(&request, &reader).map_err(|error| failed(error.to_string()))?;
        match reader.failure() {
            Some(error) => Err(failed(error.to_string())),
            None => Ok(answer.to_vec()),
        }
    }
}

/// The answer "not available", for a request whose answer failed.
#[wasm_bindgen(js_name = notAvailable)]
pub fn not_available() -> Vec<u8> {
    encode_refusal(Refusal::NotAvailable).to_vec()
}

fn peer_of(peer: &[u8]) -> Result<PeerId, JsValue> {
    fixed(peer, "peer").map(PeerId::from_bytes)
}

/// The error with this name.
fn error_of(name: Option<&str>, height: Option<u64>) -> Result<Option<HostError>, JsValue> {
    let Some(name) = name else { return Ok(None) };
    let mismatch = HostError::StateMismatch(Height::new(height.unwrap_or_default()));
    let all = [HostError::Transient, HostError::Permanent, mismatch, HostError::NoSpace];
    let found = all.into_iter().find(|one| one.name() == name);
    found.map(Some).ok_or_else(|| argument("the error must be transient, permanent, state_mismatch or no_space"))
}
