package hs2sync

// function names a function of the library, the same in both engines.
type function int

const (
	fnBufferNew function = iota
	fnBufferMemory
	fnBufferFreeze
	fnBufferBytes
	fnRelease
	fnCodeName
	fnConfigNew
	fnConfigSet
	fnGenesisNew
	fnGenesisDecode
	fnGenesisEncode
	fnGenesisHeader
	fnGenesisRead
	fnChainNew
	fnStartNew
	fnStartOwn
	fnStartStored
	fnStartApplied
	fnStartLink
	fnMachineNew
	fnMachineStart
	fnMachineStop
	fnMachineConnected
	fnMachineDisconnected
	fnMachinePardoned
	fnMachineResponse
	fnMachineFailure
	fnMachineBegun
	fnMachineVerdict
	fnMachineApplied
	fnMachineStored
	fnMachineTimeout
	fnMachinePoll
	fnMachineProgress
	fnMachineEvidence
	fnJobRun
	fnJobRunOwn
	fnJobEncode
	fnJobDecode
	fnVerdictEncode
	fnVerdictDecode
	fnCallRead
	fnCallBlocks
	fnCallBlocksOwn
	fnCallSegment
	fnCallSegmentOwn
	fnCallHandover
	fnRespond
	fnRespondOwn
	fnAdmissionNew
	fnAdmissionAsk
	fnAdmissionPoll
	fnAdmissionMade
	fnAdmissionEnd
	fnRefusalNotAvailable
	fnRefusalBusy
	fnRefusalUnsupported
	fnEpochFirst
	fnHeaderNew
	fnHeaderRead
	fnVoteBytes
	fnCertificateNew
	fnSegmentNew
	fnTipNew
	fnSegmentTip
	fnBlocksNew
	fnMachineDecided
	fnEpochNew
	fnEpochDecode
	fnEpochEncode
	fnEpochRead
	fnEpochNext
	fnHeaderClosing
	fnHeaderCheck
	fnCertificateCheck
	fnHandoverNew
	fnGateNew
	fnGateVotes
	fnGateSync
	fnGateAdvert
	fnGateTime
	fnGateBehind
	fnGatePoll
	fnPermitHeader
	fnPermitCertificate
	fnAdvertSign
	fnGateNewCertified
	fnPermitLock
	fnAdvertSignBacked
	fnTimeoutBytes
	fnTimeoutNew
	fnTimeoutCheck
	fnStartStates
	fnStartTrust
	fnMachineWall
	fnMachineDone
	fnCallEncode
	fnCallDecode
	fnCallBase
	fnStateCarryOut
	fnStateApply
	fnStateGet
	fnStateRead
	fnRespondWithState
	fnLightDefaults
	fnLightNew
	fnLightChain
	fnLightStart
	fnLightStop
	fnLightTimeout
	fnLightWall
	fnLightConnected
	fnLightDisconnected
	fnLightResponse
	fnLightFailure
	fnLightVerdict
	fnLightPoll
	fnLightRead
	fnLightCheckpoint
	fnLightEvidence
	fnLightGet
	fnLightHeader
	fnLightBodies
	fnLightDrop
	fnLightAnswerRead
	fnLightAnswerPayload
	fnGateValidator
	functions
)

// functionNames are the names that the library exports them by.
var functionNames = [functions]string{
	"hs2_buffer_new", "hs2_buffer_memory", "hs2_buffer_freeze", "hs2_buffer_bytes", "hs2_release", "hs2_code_name",
	"hs2_config_new", "hs2_config_set",
	"hs2_genesis_new", "hs2_genesis_decode", "hs2_genesis_encode", "hs2_genesis_header", "hs2_genesis_read", "hs2_chain_new",
	"hs2_start_new", "hs2_start_own", "hs2_start_stored", "hs2_start_applied", "hs2_start_link",
	"hs2_machine_new", "hs2_machine_start", "hs2_machine_stop", "hs2_machine_handle_connected",
	"hs2_machine_handle_disconnected", "hs2_machine_handle_pardoned", "hs2_machine_handle_response",
	"hs2_machine_handle_failure", "hs2_machine_handle_begun", "hs2_machine_handle_verdict", "hs2_machine_handle_applied",
	"hs2_machine_handle_stored", "hs2_machine_handle_timeout", "hs2_machine_poll", "hs2_machine_progress",
	"hs2_machine_evidence",
	"hs2_job_run", "hs2_job_run_own", "hs2_job_encode", "hs2_job_decode", "hs2_verdict_encode", "hs2_verdict_decode",
	"hs2_call_read", "hs2_call_blocks", "hs2_call_blocks_own", "hs2_call_segment", "hs2_call_segment_own",
	"hs2_call_handover", "hs2_respond", "hs2_respond_own",
	"hs2_admission_new", "hs2_admission_ask", "hs2_admission_poll", "hs2_admission_made", "hs2_admission_end",
	"hs2_refusal_not_available", "hs2_refusal_busy", "hs2_refusal_unsupported",
	"hs2_epoch_first", "hs2_header_new", "hs2_header_read", "hs2_vote_bytes", "hs2_certificate_new", "hs2_segment_new",
	"hs2_tip_new", "hs2_segment_tip",
	"hs2_blocks_new", "hs2_machine_handle_decided",
	"hs2_epoch_new", "hs2_epoch_decode", "hs2_epoch_encode", "hs2_epoch_read", "hs2_epoch_next",
	"hs2_header_closing", "hs2_header_check", "hs2_certificate_check", "hs2_handover_new",
	"hs2_gate_new", "hs2_gate_votes", "hs2_gate_sync", "hs2_gate_advert", "hs2_gate_time", "hs2_gate_behind", "hs2_gate_poll",
	"hs2_permit_header", "hs2_permit_certificate", "hs2_advert_sign",
	"hs2_gate_new_certified", "hs2_permit_lock", "hs2_advert_sign_backed", "hs2_timeout_bytes", "hs2_timeout_new",
	"hs2_timeout_check", "hs2_start_states", "hs2_start_trust", "hs2_machine_handle_wall",
	"hs2_machine_handle_done", "hs2_call_encode", "hs2_call_decode", "hs2_call_base", "hs2_state_carry_out",
	"hs2_state_apply", "hs2_state_get", "hs2_state_read", "hs2_respond_with_state", "hs2_light_defaults",
	"hs2_light_new", "hs2_light_chain", "hs2_light_start", "hs2_light_stop", "hs2_light_handle_timeout",
	"hs2_light_handle_wall", "hs2_light_handle_connected", "hs2_light_handle_disconnected",
	"hs2_light_handle_response", "hs2_light_handle_failure", "hs2_light_handle_verdict", "hs2_light_poll",
	"hs2_light_read", "hs2_light_checkpoint", "hs2_light_evidence", "hs2_light_get", "hs2_light_header",
	"hs2_light_bodies", "hs2_light_drop", "hs2_light_answer_read", "hs2_light_answer_payload",
	"hs2_gate_validator",
}
