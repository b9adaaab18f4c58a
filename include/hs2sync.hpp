// hs2sync.hpp: libhs2sync for C++17. Header only, without exceptions: objects release themselves, and what may fail returns
// a Result. The manual is hs2sync.h: each method is the C function of the same name.
#ifndef HS2SYNC_HPP
#define HS2SYNC_HPP

#include "hs2sync.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace hs2 {

// What a call returned, with the words of its failure. Conversion to bool says whether it did what it says.
class [[nodiscard]] Status {
public:
    Status() = default;
    explicit Status(hs2_status code) : code_(code), text_(code == HS2_OK ? "" : hs2_last_error()) {}
    explicit operator bool() const { return code_ == HS2_OK; }
    hs2_status code() const { return code_; }
    const std::string &text() const { return text_; }

private:
    hs2_status code_ = HS2_OK;
    std::string text_;
};

// A value, or why there is none. `value` may be taken only where the conversion to bool gives true.
template <typename T> class [[nodiscard]] Result {
public:
    Result(T value) : value_(std::move(value)) {}
    Result(Status status) : status_(std::move(status)) {}
    explicit operator bool() const { return static_cast<bool>(status_); }
    const Status &status() const { return status_; }
    T &value() & { return value_; }
    const T &value() const & { return value_; }
    T &&value() && { return std::move(value_); }
    T *operator->() { return &value_; }
    T &operator*() & { return value_; }

private:
    Status status_;
    T value_{};
};

// Bytes that belong to somebody else.
inline hs2_slice slice(const void *data, std::size_t size) { return {static_cast<const std::uint8_t *>(data), size}; }
inline hs2_slice slice(std::string_view text) { return slice(text.data(), text.size()); }
inline std::string_view view(hs2_slice bytes) { return {reinterpret_cast<const char *>(bytes.data), bytes.len}; }

// One reference to an object of the library; released when it goes. Copies are references of their own.
class Object {
public:
    Object() = default;
    // Takes over a reference that a function gave out.
    explicit Object(hs2_handle handle) : handle_(handle) {}
    Object(const Object &other) : handle_(other.handle_) {
        if (handle_ != 0 && hs2_retain(handle_) != HS2_OK) handle_ = 0;
    }
    Object(Object &&other) noexcept : handle_(std::exchange(other.handle_, 0)) {}
    Object &operator=(Object other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Object() { (void)hs2_release(handle_); }

    hs2_handle get() const { return handle_; }
    explicit operator bool() const { return handle_ != 0; }
    // Where a function of the library writes a new reference; the old one is released.
    hs2_handle *out() {
        (void)hs2_release(std::exchange(handle_, 0));
        return &handle_;
    }

private:
    hs2_handle handle_ = 0;
};

// Runs a function that gives out a reference.
template <typename T, typename Call> Result<T> made(Call call) {
    T object;
    if (Status status(call(object.out())); !status) return status;
    return object;
}

// Runs a function that fills in a plain value.
template <typename T, typename Call> Result<T> read(Call call) {
    T value{};
    if (Status status(call(&value)); !status) return status;
    return value;
}

class Buffer : public Object {
public:
    using Object::Object;
    static Result<Buffer> create(std::size_t capacity) {
        return made<Buffer>([=](hs2_buffer *out) { return hs2_buffer_new(capacity, out); });
    }
    static Result<Buffer> copy(hs2_slice content) {
        return made<Buffer>([=](hs2_buffer *out) { return hs2_buffer_copy(content, out); });
    }
    // Blocks as an engine hands them in with Machine::decided.
    static Result<Buffer> blocks(hs2_slice segment, hs2_slice audit, const hs2_slice *payloads, std::size_t count) {
        return made<Buffer>([=](hs2_buffer *out) { return hs2_blocks_new(segment, audit, payloads, count, out); });
    }
    // Where to write until it is frozen.
    Status memory(std::uint8_t **data, std::size_t *capacity) const {
        return Status(hs2_buffer_memory(get(), data, capacity));
    }
    Status freeze(std::size_t size) const { return Status(hs2_buffer_freeze(get(), size)); }
    // Borrowed from this buffer; empty where it is not frozen.
    hs2_slice bytes() const {
        hs2_slice content{nullptr, 0};
        (void)hs2_buffer_bytes(get(), &content);
        return content;
    }
    std::string_view text() const { return view(bytes()); }
};

class Config : public Object {
public:
    using Object::Object;
    static Result<Config> create() { return made<Config>(hs2_config_new); }
    Status set(const char *name, const char *value) const { return Status(hs2_config_set(get(), name, value)); }
    Result<Buffer> text(const char *name) const {
        return made<Buffer>([=](hs2_buffer *out) { return hs2_config_get(get(), name, out); });
    }
};

class Genesis : public Object {
public:
    using Object::Object;
    static Result<Genesis> decode(hs2_slice encoded) {
        return made<Genesis>([=](hs2_genesis *out) { return hs2_genesis_decode(encoded, out); });
    }
    Result<Buffer> encode() const {
        return made<Buffer>([=](hs2_buffer *out) { return hs2_genesis_encode(get(), out); });
    }
    Result<hs2_genesis_info> info() const {
        return read<hs2_genesis_info>([=](hs2_genesis_info *out) { return hs2_genesis_read(get(), out); });
    }
};

class Chain : public Object {
public:
    using Object::Object;
    static Result<Chain> create(const Genesis &genesis) {
        return made<Chain>([&](hs2_chain *out) { return hs2_chain_new(genesis.get(), out); });
    }
    Result<Buffer> respond(const hs2_reader &reader, hs2_slice request) const {
        return made<Buffer>([&](hs2_buffer *out) { return hs2_respond(get(), &reader, request, out); });
    }
};

class Epoch : public Object {
public:
    using Object::Object;
    static Result<Epoch> first(const Genesis &genesis) {
        return made<Epoch>([&](hs2_epoch *out) { return hs2_epoch_first(genesis.get(), out); });
    }
    Result<Epoch> next(hs2_slice handover) const {
        return made<Epoch>([=](hs2_epoch *out) { return hs2_epoch_next(get(), handover, out); });
    }
};

class Start : public Object {
public:
    using Object::Object;
    static Result<Start> create(const Genesis &genesis) {
        return made<Start>([&](hs2_start *out) { return hs2_start_new(genesis.get(), out); });
    }
    Status stored(std::uint64_t height, const hs2_id &id, std::uint64_t timestamp_ms, hs2_slice tip) const {
        return Status(hs2_start_stored(get(), height, &id, timestamp_ms, tip));
    }
    Status applied(std::uint64_t height) const { return Status(hs2_start_applied(get(), height)); }
    Status handover(hs2_slice bytes) const { return Status(hs2_start_handover(get(), bytes)); }
    Status states(bool lacks_state = false) const { return Status(hs2_start_states(get(), lacks_state)); }
    Status trust(std::uint64_t trusting_period_ms, std::uint64_t wall_ms) const {
        return Status(hs2_start_trust(get(), trusting_period_ms, wall_ms));
    }
};

class Verdict : public Object {
public:
    using Object::Object;
};

class Job : public Object {
public:
    using Object::Object;
    Result<Verdict> run(const Chain &chain) const {
        return made<Verdict>([&](hs2_verdict *out) { return hs2_job_run(get(), chain.get(), out); });
    }
};

class Call : public Object {
public:
    using Object::Object;
    Result<hs2_call_info> info() const {
        return read<hs2_call_info>([=](hs2_call_info *out) { return hs2_call_read(get(), out); });
    }
    // How many blocks from the height `first` on were written to `blocks`. They are borrowed from this call.
    Result<std::size_t> blocks(const Chain &chain, std::uint64_t first, hs2_block *blocks, std::size_t capacity) const {
        return read<std::size_t>([&](std::size_t *count) {
            return hs2_call_blocks(get(), chain.get(), first, blocks, capacity, count);
        });
    }
    Result<hs2_stored_segment> segment(const Chain &chain, std::size_t index) const {
        return read<hs2_stored_segment>(
            [&](hs2_stored_segment *out) { return hs2_call_segment(get(), chain.get(), index, out); });
    }
    Result<hs2_link> handover(std::size_t index) const {
        return read<hs2_link>([=](hs2_link *out) { return hs2_call_handover(get(), index, out); });
    }
    Result<hs2_base> base() const {
        return read<hs2_base>([=](hs2_base *out) { return hs2_call_base(get(), out); });
    }
    // Carries out work on a state with a store; the bytes are for Machine::done.
    Result<Buffer> carry_out(const hs2_state_store &store) const {
        return made<Buffer>([&](hs2_buffer *out) { return hs2_state_carry_out(get(), &store, out); });
    }
};

// An output with its reference: `object` is a Buffer, Job or Call, by `plain.kind`.
struct Output {
    hs2_output plain{};
    Object object;

    Buffer buffer() const { return as<Buffer>(); }
    Job job() const { return as<Job>(); }
    Call call() const { return as<Call>(); }

private:
    template <typename T> T as() const {
        return hs2_retain(object.get()) == HS2_OK ? T(object.get()) : T();
    }
};

class Machine : public Object {
public:
    using Object::Object;
    static Result<Machine> create(const Config &config, const Start &start, std::uint64_t seed, std::uint64_t now_us) {
        return made<Machine>([&](hs2_machine *out) {
            return hs2_machine_new(config.get(), start.get(), seed, now_us, out);
        });
    }
    Status start(std::uint64_t now_us, std::uint64_t until = HS2_NEVER) const {
        return Status(hs2_machine_start(get(), now_us, until));
    }
    Status stop(std::uint64_t now_us) const { return Status(hs2_machine_stop(get(), now_us)); }
    Status connected(std::uint64_t now_us, const hs2_id &peer, std::uint64_t group) const {
        return Status(hs2_machine_handle_connected(get(), now_us, &peer, group));
    }
    Status disconnected(std::uint64_t now_us, const hs2_id &peer) const {
        return Status(hs2_machine_handle_disconnected(get(), now_us, &peer));
    }
    Status response(std::uint64_t now_us, std::uint64_t request, const Buffer &answer) const {
        return Status(hs2_machine_handle_response(get(), now_us, request, answer.get()));
    }
    Status failure(std::uint64_t now_us, std::uint64_t request, std::uint32_t failure) const {
        return Status(hs2_machine_handle_failure(get(), now_us, request, failure));
    }
    Status verdict(std::uint64_t now_us, const Verdict &verdict) const {
        return Status(hs2_machine_handle_verdict(get(), now_us, verdict.get()));
    }
    Status applied(std::uint64_t now_us, std::uint64_t call, std::uint64_t through, std::uint32_t error = 0,
                   std::uint64_t error_height = 0) const {
        return Status(hs2_machine_handle_applied(get(), now_us, call, through, error, error_height));
    }
    Status stored(std::uint64_t now_us, std::uint64_t call, std::uint32_t error = 0) const {
        return Status(hs2_machine_handle_stored(get(), now_us, call, error));
    }
    Status done(std::uint64_t now_us, hs2_slice done) const {
        return Status(hs2_machine_handle_done(get(), now_us, done));
    }
    Status wall(std::uint64_t now_us, std::uint64_t wall_ms) const {
        return Status(hs2_machine_handle_wall(get(), now_us, wall_ms));
    }
    // Answered by an HS2_OUTPUT_DECIDED with this id.
    Status decided(std::uint64_t now_us, std::uint64_t id, std::uint64_t first, const Buffer &blocks,
                   hs2_slice handover = {nullptr, 0}) const {
        return Status(hs2_machine_handle_decided(get(), now_us, id, first, blocks.get(), handover));
    }
    Status timeout(std::uint64_t now_us) const { return Status(hs2_machine_handle_timeout(get(), now_us)); }
    Result<Output> poll() const {
        Output output;
        if (Status status(hs2_machine_poll(get(), &output.plain)); !status) return status;
        output.object = Object(output.plain.object);
        return output;
    }
    Result<hs2_progress> progress() const {
        return read<hs2_progress>([=](hs2_progress *out) { return hs2_machine_progress(get(), out); });
    }
};

class Permit : public Object {
public:
    using Object::Object;
    // Both are borrowed from this permit.
    Result<hs2_slice> header(std::size_t index) const {
        return read<hs2_slice>([=](hs2_slice *out) { return hs2_permit_header(get(), index, out); });
    }
    Result<hs2_slice> certificate() const {
        return read<hs2_slice>([=](hs2_slice *out) { return hs2_permit_certificate(get(), out); });
    }
    // The certificate that a validator without its record is locked on; its view goes to `view`.
    Result<hs2_slice> lock(std::uint64_t &view) const {
        return read<hs2_slice>([&](hs2_slice *out) { return hs2_permit_lock(get(), &view, out); });
    }
};

// A gate's order with its reference.
struct Order {
    hs2_gate_output plain{};
    Permit permit;
};

class Gate : public Object {
public:
    using Object::Object;
    // Without a key of its own (null) the node is no validator.
    static Result<Gate> create(const hs2_id *own, std::uint64_t power, const hs2_id &seed, std::uint64_t max_behind = 0,
                               std::uint64_t fresh_tip_ms = 0) {
        return made<Gate>([&](hs2_gate *out) {
            return hs2_gate_new(own, power, &seed, max_behind, fresh_tip_ms, out);
        });
    }
    // For a chain of which all hosts keep promise 7: lost votes can be restored.
    static Result<Gate> certified(const hs2_id *own, std::uint64_t power, const hs2_id &seed,
                                  std::uint64_t max_behind = 0, std::uint64_t fresh_tip_ms = 0) {
        return made<Gate>([&](hs2_gate *out) {
            return hs2_gate_new_certified(own, power, &seed, max_behind, fresh_tip_ms, out);
        });
    }
    Status votes(std::uint32_t record, std::uint64_t view = 0) const {
        return Status(hs2_gate_votes(get(), record, view));
    }
    Status validator(const hs2_id *own, std::uint64_t power) const {
        return Status(hs2_gate_validator(get(), own, power));
    }
    Status sync(std::uint64_t wall_ms, const Machine &machine, const Chain &chain) const {
        return Status(hs2_gate_sync(get(), wall_ms, machine.get(), chain.get()));
    }
    Status advert(std::uint64_t wall_ms, const Epoch &epoch, hs2_slice advert) const {
        return Status(hs2_gate_advert(get(), wall_ms, epoch.get(), advert));
    }
    Status time(std::uint64_t wall_ms) const { return Status(hs2_gate_time(get(), wall_ms)); }
    Status behind(std::uint64_t height) const { return Status(hs2_gate_behind(get(), height)); }
    Result<Order> poll() const {
        Order order;
        if (Status status(hs2_gate_poll(get(), &order.plain)); !status) return status;
        order.permit = Permit(order.plain.object);
        return order;
    }
};

// A light client. Its outputs are those of HS2_LIGHT_OUTPUT_..., and its jobs are run with its own chain.
class Light : public Object {
public:
    using Object::Object;
    // Without settings (null) they are the defaults; an empty checkpoint is the genesis block.
    static Result<Light> create(const Genesis &genesis, hs2_slice checkpoint, const hs2_light_settings *settings,
                                std::uint64_t seed, std::uint64_t now_us, std::uint64_t wall_ms) {
        return made<Light>([&](hs2_light *out) {
            return hs2_light_new(genesis.get(), checkpoint, settings, seed, now_us, wall_ms, 0, out);
        });
    }
    static Result<Chain> chain(const Genesis &genesis, hs2_slice checkpoint) {
        return made<Chain>([&](hs2_chain *out) { return hs2_light_chain(genesis.get(), checkpoint, out); });
    }
    Status start(std::uint64_t now_us) const { return Status(hs2_light_start(get(), now_us)); }
    Status stop(std::uint64_t now_us) const { return Status(hs2_light_stop(get(), now_us)); }
    Status timeout(std::uint64_t now_us) const { return Status(hs2_light_handle_timeout(get(), now_us)); }
    Status wall(std::uint64_t now_us, std::uint64_t wall_ms) const {
        return Status(hs2_light_handle_wall(get(), now_us, wall_ms));
    }
    Status connected(std::uint64_t now_us, const hs2_id &peer, std::uint64_t group) const {
        return Status(hs2_light_handle_connected(get(), now_us, &peer, group));
    }
    Status disconnected(std::uint64_t now_us, const hs2_id &peer) const {
        return Status(hs2_light_handle_disconnected(get(), now_us, &peer));
    }
    Status response(std::uint64_t now_us, std::uint64_t request, const Buffer &answer) const {
        return Status(hs2_light_handle_response(get(), now_us, request, answer.get()));
    }
    Status failure(std::uint64_t now_us, std::uint64_t request, std::uint32_t failure) const {
        return Status(hs2_light_handle_failure(get(), now_us, request, failure));
    }
    Status verdict(std::uint64_t now_us, const Verdict &verdict) const {
        return Status(hs2_light_handle_verdict(get(), now_us, verdict.get()));
    }
    Result<Output> poll() const {
        Output output;
        if (Status status(hs2_light_poll(get(), &output.plain)); !status) return status;
        output.object = Object(output.plain.object);
        return output;
    }
    // The number of the question, which an HS2_LIGHT_OUTPUT_ANSWER closes.
    Result<std::uint64_t> value(std::uint64_t now_us, hs2_slice key, std::uint32_t at = HS2_LIGHT_NOW,
                                std::uint64_t height = 0) const {
        return read<std::uint64_t>(
            [=](std::uint64_t *out) { return hs2_light_get(get(), now_us, key, at, height, out); });
    }
    Result<hs2_light_position> position() const {
        return read<hs2_light_position>([=](hs2_light_position *out) { return hs2_light_read(get(), out); });
    }
    Result<Buffer> checkpoint() const {
        return made<Buffer>([=](hs2_buffer *out) { return hs2_light_checkpoint(get(), out); });
    }
};

// A session's event with its reference.
struct SessionEvent {
    hs2_session_event plain{};
    Buffer bytes;
};

class Session : public Object {
public:
    using Object::Object;
    Status read(hs2_slice incoming) const { return Status(hs2_session_read(get(), incoming)); }
    Result<Buffer> write() const {
        return made<Buffer>([=](hs2_buffer *out) { return hs2_session_write(get(), out); });
    }
    Result<SessionEvent> poll() const {
        SessionEvent event;
        if (Status status(hs2_session_poll(get(), &event.plain)); !status) return status;
        event.bytes = Buffer(event.plain.object);
        return event;
    }
    Result<std::uint32_t> ask(hs2_slice request, std::uint64_t max_response_bytes) const {
        return hs2::read<std::uint32_t>(
            [=](std::uint32_t *out) { return hs2_session_ask(get(), request, max_response_bytes, out); });
    }
    Status answer(std::uint32_t id, const Buffer &answer) const {
        return Status(hs2_session_answer(get(), id, answer.get()));
    }
};

} // namespace hs2

#endif
