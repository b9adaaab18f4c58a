//! Headers, payloads and segments of a native chain.
#![allow(unsafe_code)]

use hotstuff2_sync::chain::native::{
    EpochContext, FinalityProof, FinalizedHeader, Handover, Header, Phase, QuorumCertificate, Segment, build,
    payload_hash,
};
use hotstuff2_sync::chain::{Chain as _, TipCheck};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::View;
use hotstuff2_sync::limits::{GRID, MAX_DECIDED_BYTES, MAX_PAYLOAD_BYTES, MAX_PROOF_PATH};
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::encode_blocks;

use crate::buffer::give;
use crate::failure::Failure;
use crate::fence::fence;
use crate::objects::Rules;
use crate::pointer::{Out, array, bytes, read};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{hs2_buffer, hs2_chain, hs2_epoch, hs2_header_info, hs2_id, hs2_proposal, hs2_slice, hs2_tip};

pub(super) fn header_of(encoded: &[u8]) -> Result<Header, Failure> {
    Header::decode(encoded).map_err(|why| Failure::malformed("header", why))
}

/// Headers that the host shows one by one.
///
/// # Safety
/// If `first` is not null, `count` slices lie there, and each leads to its bytes.
pub(super) unsafe fn headers_of(first: *const hs2_slice, count: usize, name: &str) -> Result<Vec<Header>, Failure> {
    // SAFETY: passed on.
    let slices = unsafe { array(first, count, name) }?;
    // SAFETY: passed on.
    slices.iter().map(|slice| header_of(unsafe { bytes(*slice, name) }?)).collect()
}

/// The proof that a certificate over the last of `descendants` makes: of two blocks in consecutive views, or, in phase
/// two, of one.
fn proof_of(descendants: Vec<Header>, certificate: &[u8]) -> Result<FinalityProof, Failure> {
    if descendants.len() > MAX_PROOF_PATH {
        return Err(Failure::new(Status::TooMany, format!("a proof has at most {MAX_PROOF_PATH} headers")));
    }
    let qc = QuorumCertificate::decode(certificate).map_err(|why| Failure::malformed("certificate", why))?;
    Ok(match qc.phase {
        Phase::One => FinalityProof::TwoChain { descendants, qc },
        Phase::Two => FinalityProof::DoubleCertificate { descendants, qc },
    })
}

/// The header of a proposal above `parent`, encoded, as the epoch `epoch` asks for. Nothing is signed.
/// Ownership: one reference to `header`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_TOO_MANY` for a payload above 4 MiB, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_header_new(
    parent: hs2_slice,
    epoch: hs2_epoch,
    proposal: *const hs2_proposal,
    header: *mut hs2_buffer,
) -> hs2_status {
    fence(epoch, || {
        // SAFETY: readable and writable, as the header asks for.
        let (parent, proposal, header) =
            unsafe { (bytes(parent, "parent")?, read(proposal, "proposal")?, Out::new(header, "header")?) };
        // SAFETY: readable, as the header asks for.
        let payload = unsafe { bytes(proposal.payload, "payload") }?;
        if payload.len() > MAX_PAYLOAD_BYTES as usize {
            return Err(Failure::new(Status::TooMany, format!("a payload has at most {MAX_PAYLOAD_BYTES} bytes")));
        }
        let parent = header_of(parent)?;
        let epoch = table::get::<EpochContext>(epoch)?;
        let next = match proposal.next_epoch {
            0 => None,
            next => Some(table::get::<EpochContext>(next)?.hash()),
        };
        let proposed = build::Proposal {
            view: View::new(proposal.view),
            proposer: proposal.proposer,
            timestamp: UnixMillis::new(proposal.timestamp_ms),
            payload,
            state_root: proposal.state_root.into(),
            next_epoch_hash: next,
        };
        let child = build::child_of(&parent, parent.id(), epoch.info(), epoch.hash(), &proposed);
        header.set(give(child.encode())?);
        Ok(())
    })
}

/// The closing header in `view` above `parent`, which is an epoch's last block or another closing header: empty, and
/// there to carry the proof of that block. Ownership: one reference to `header`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_header_closing(
    parent: hs2_slice,
    view: u64,
    proposer: u16,
    header: *mut hs2_buffer,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (parent, header) = unsafe { (bytes(parent, "parent")?, Out::new(header, "header")?) };
        header.set(give(build::closing(&header_of(parent)?, View::new(view), proposer).encode())?);
        Ok(())
    })
}

/// Reads a header. It is not checked. Threads: any. Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_header_read(header: hs2_slice, info: *mut hs2_header_info) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (header, info) = unsafe { (bytes(header, "header")?, Out::new(info, "info")?) };
        let header = header_of(header)?;
        info.set(hs2_header_info {
            id: header.id().into(),
            chain_id: header.chain_id.into(),
            parent: header.parent.into(),
            payload_hash: header.payload_hash.into(),
            state_root: header.state_root.into(),
            epoch_hash: header.epoch_hash.into(),
            height: header.height.get(),
            view: header.view.get(),
            justify_view: header.justify_view.get(),
            epoch: header.epoch.get(),
            timestamp_ms: header.timestamp.get(),
            payload_len: header.payload_len,
            proposer: header.proposer,
            ends_epoch: u16::from(header.next_epoch_hash.is_some()),
        });
        Ok(())
    })
}

/// Checks a proposal as a voter must: that `header` follows `parent` by the rules of `epoch`. Execution, justification and
/// lock are for the engine to check. Threads: any.
/// Errors: `HS2_REFUSED` (`hs2_last_error` names the rule), `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_header_check(parent: hs2_slice, header: hs2_slice, epoch: hs2_epoch) -> hs2_status {
    fence(epoch, || {
        // SAFETY: readable, as the header asks for.
        let (parent, header) = unsafe { (bytes(parent, "parent")?, bytes(header, "header")?) };
        let (parent, header) = (header_of(parent)?, header_of(header)?);
        let checked = table::get::<EpochContext>(epoch)?.check_proposal(&parent, parent.id(), &header);
        checked.map_err(|rule| Failure::new(Status::Refused, rule.to_string()))
    })
}

/// The hash of a payload, as headers carry it. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_payload_hash(payload: hs2_slice, hash: *mut hs2_id) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (payload, hash) = unsafe { (bytes(payload, "payload")?, Out::new(hash, "hash")?) };
        hash.set(payload_hash(payload).into());
        Ok(())
    })
}

/// Puts headers together to a segment, as peers are given them: consecutive headers of one epoch, within one cell of 1,024
/// heights, above `parent`. The last is proven final by `certificate` over the last of `descendants`, the headers above
/// it; without a certificate (length 0) the segment is anchored: proven by a block above.
/// Ownership: one reference to `segment`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_REFUSED` where the headers make no segment, `HS2_TOO_MANY`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_segment_new(
    parent: hs2_slice,
    headers: *const hs2_slice,
    header_count: usize,
    descendants: *const hs2_slice,
    descendant_count: usize,
    certificate: hs2_slice,
    segment: *mut hs2_buffer,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (parent, headers, descendants, certificate, segment) = unsafe {
            let headers = headers_of(headers, header_count, "headers")?;
            let descendants = headers_of(descendants, descendant_count, "descendants")?;
            let certificate = bytes(certificate, "certificate")?;
            (bytes(parent, "parent")?, headers, descendants, certificate, Out::new(segment, "segment")?)
        };
        let proof = if certificate.is_empty() {
            FinalityProof::Anchored { id: headers.last().map_or(Hash::ZERO, Header::id) }
        } else {
            proof_of(descendants, certificate)?
        };
        let made = Segment::new(header_of(parent)?, headers, proof);
        let made = made.map_err(|error| Failure::new(Status::Refused, error.to_string()))?;
        segment.set(give(made.encode())?);
        Ok(())
    })
}

/// Puts blocks together as an engine hands them in with `hs2_machine_handle_decided`: a segment of their headers that proves
/// the last one final, the certificates of the single blocks where the machine is set to audit (else empty), and one payload
/// for each header, in order. Of a chain of the host's own the segment is what its functions read. Nothing is checked.
/// Ownership: one reference to `blocks`. Threads: any.
/// Errors: `HS2_TOO_MANY` for more than 1,024 payloads or 16 MiB, `HS2_REFUSED` where there is no payload,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_blocks_new(
    segment: hs2_slice,
    audit: hs2_slice,
    payloads: *const hs2_slice,
    payload_count: usize,
    blocks: *mut hs2_buffer,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (segment, audit, payloads, blocks) = unsafe {
            let (segment, audit) = (bytes(segment, "segment")?, bytes(audit, "audit")?);
            (segment, audit, array(payloads, payload_count, "payloads")?, Out::new(blocks, "blocks")?)
        };
        let lens = payloads.iter().map(|payload| payload.len).chain([segment.len(), audit.len()]);
        let total = lens.fold(0u64, |sum, len| sum.saturating_add(len as u64));
        if payloads.len() as u64 > GRID || total > MAX_DECIDED_BYTES {
            let text = format!("at most {GRID} blocks of {MAX_DECIDED_BYTES} bytes together: hand in fewer at a time");
            return Err(Failure::new(Status::TooMany, text));
        }
        // SAFETY: readable, as the header asks for.
        let payloads = payloads.iter().map(|payload| unsafe { bytes(*payload, "payloads") });
        let payloads: Vec<&[u8]> = payloads.collect::<Result<_, _>>()?;
        let made = encode_blocks(segment, audit, &payloads);
        blocks.set(give(made.ok_or_else(|| Failure::new(Status::Refused, "there is no payload"))?)?);
        Ok(())
    })
}

/// The message that proves `header` final: with a certificate over the last of `descendants`, the headers above it, or, in
/// phase two, over the header itself where there are none. Nothing is checked.
/// Ownership: one reference to `tip`. Threads: any. Errors: `HS2_MALFORMED`, `HS2_TOO_MANY`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_tip_new(
    header: hs2_slice,
    descendants: *const hs2_slice,
    descendant_count: usize,
    certificate: hs2_slice,
    tip: *mut hs2_buffer,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (header, descendants, certificate, tip) = unsafe {
            let descendants = headers_of(descendants, descendant_count, "descendants")?;
            (bytes(header, "header")?, descendants, bytes(certificate, "certificate")?, Out::new(tip, "tip")?)
        };
        let made = FinalizedHeader::new(header_of(header)?, proof_of(descendants, certificate)?);
        tip.set(give(made.encode())?);
        Ok(())
    })
}

/// The tip message that the end of a certified segment makes, for a store that serves it. Nothing is checked: the segment
/// was verified before. Ownership: one reference to `tip`. Threads: any.
/// Errors: `HS2_NOT_FOUND` for an anchored segment, and for bytes that are none, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_segment_tip(chain: hs2_chain, segment: hs2_slice, tip: *mut hs2_buffer) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (segment, tip) = unsafe { (bytes(segment, "segment")?, Out::new(tip, "tip")?) };
        let made = table::get::<Rules>(chain)?.chain.tip_of(segment);
        let made = made.ok_or_else(|| Failure::new(Status::NotFound, "the segment proves no tip by itself"))?;
        tip.set(give(made)?);
        Ok(())
    })
}

/// Proves a tip message under the epoch that its block belongs to. Threads: any.
/// Errors: `HS2_FALSE` (`hs2_last_error` says what is false), `HS2_REFUSED` where the block says that it belongs to
/// another epoch, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_tip_check(tip: hs2_slice, epoch: hs2_epoch, facts: *mut hs2_tip) -> hs2_status {
    fence(epoch, || {
        // SAFETY: readable and writable, as the header asks for.
        let (tip, facts) = unsafe { (bytes(tip, "tip")?, Out::new(facts, "facts")?) };
        let checked = FinalizedHeader::decode(tip)?.verify(&*table::get::<EpochContext>(epoch)?)?;
        let found = match checked {
            TipCheck::Final(found) => found,
            TipCheck::OtherEpoch(other) => {
                return Err(Failure::new(Status::Refused, format!("the block belongs to epoch {other}")));
            }
        };
        facts.set(hs2_tip {
            height: found.height.get(),
            id: found.id.into(),
            epoch: found.epoch.get(),
            timestamp_ms: found.timestamp.get(),
        });
        Ok(())
    })
}

/// The handover from an epoch to `next`: `header` is the epoch's last block, `descendants` the closing headers above it,
/// `certificate` over the last of them. Nothing is checked; `hs2_epoch_next` does.
/// Ownership: one reference to `handover`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_TOO_MANY`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_handover_new(
    header: hs2_slice,
    descendants: *const hs2_slice,
    descendant_count: usize,
    certificate: hs2_slice,
    next: hs2_epoch,
    handover: *mut hs2_buffer,
) -> hs2_status {
    fence(next, || {
        // SAFETY: readable and writable, as the header asks for.
        let (header, descendants, certificate, handover) = unsafe {
            let descendants = headers_of(descendants, descendant_count, "descendants")?;
            let certificate = bytes(certificate, "certificate")?;
            (bytes(header, "header")?, descendants, certificate, Out::new(handover, "handover")?)
        };
        let next = table::get::<EpochContext>(next)?;
        let made = Handover::new(header_of(header)?, proof_of(descendants, certificate)?, next.info());
        handover.set(give(made.encode())?);
        Ok(())
    })
}
