//! The session: requests and answers over one stream of bytes, a TCP connection or a WebSocket, for hosts that have no QUIC.
//!
//! A [`Session`] is one end. It does no I/O and has no clock: the host feeds it the bytes that it reads, writes the bytes
//! that it is given, and acts on events. Either side may ask, many questions at a time, and answers travel in pieces, so
//! that short ones overtake.
//!
//! A ban rests on every byte being the peer's. So all frames go through a channel: Noise XX, whose keys are signed by the
//! Ed25519 keys that are the peers' names on every transport. Whatever somebody on the way does ends the session with an
//! error that is no fault of the peer ([`SessionError::is_fault`]). What an authenticated peer sends is bounded before
//! memory is spent on it; how long it may take is the host's decision.
//!
//! `docs/design.md` describes the bytes.
//!
//! ```
//! use hotstuff2_sync::hash::Hash;
//! use hotstuff2_sync::session::{Role, Session, SessionConfig, SessionEvent, SessionIdentity};
//!
//! let config = SessionConfig { chain: Hash::ZERO, role: Role::Node, max_asks: 32 };
//! // Seeds are random in earnest.
//! let (server_key, client_key) = (SessionIdentity::from_secret(&[1; 32]), SessionIdentity::from_secret(&[2; 32]));
//! let mut client = Session::dial(&client_key, Some(server_key.peer_id()), config, [3; 32])?;
//! let mut server = Session::accept(&server_key, config, [4; 32])?;
//!
//! // What either side writes the other one reads, as long as there is anything.
//! fn carry(from: &mut Session, to: &mut Session) {
//!     let mut bytes = Vec::new();
//!     from.poll_bytes(&mut bytes, 65_536);
//!     to.handle_bytes(&bytes).unwrap();
//! }
//! fn line(client: &mut Session, server: &mut Session) {
//!     while client.wants_write() || server.wants_write() {
//!         carry(client, server);
//!         carry(server, client);
//!     }
//! }
//! line(&mut client, &mut server);
//! assert!(matches!(client.poll_event(), Some(SessionEvent::Open { peer, .. }) if peer == server_key.peer_id()));
//!
//! let question = client.ask("how high?".into(), 1024)?;
//! line(&mut client, &mut server);
//! server.poll_event();
//! let Some(SessionEvent::Asked { id, request }) = server.poll_event() else { panic!("nothing came") };
//! assert_eq!(&request[..], b"how high?");
//! server.answer(id, "7,000".into());
//! line(&mut client, &mut server);
//! assert_eq!(client.poll_event(), Some(SessionEvent::Answer { id: question, bytes: "7,000".into() }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
mod asks;
mod channel;
mod crypto;
mod error;
mod event;
mod frame;
mod identity;
mod noise;
#[allow(clippy::module_inception)]
mod session;
mod stream_code;

#[cfg(test)]
mod tests;

pub use channel::Channel;
pub use error::{AskError, SessionError, Violation};
pub use event::{AskId, SessionConfig, SessionEvent};
pub use frame::{Hello, Role, reason_of};
pub use identity::SessionIdentity;
pub use session::Session;
pub use stream_code::StreamCode;
