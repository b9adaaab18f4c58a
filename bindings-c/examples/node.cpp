// A node in C++17, with objects that release themselves: catches up with 2,000 blocks from a peer in memory.
//
//   c++ -std=c++17 -Iinclude bindings-c/examples/node.cpp network.o store.o target/release/libhs2sync.a
//       -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc -o node
//
// where the objects come from `cc -std=c99 -Iinclude -c bindings-c/examples/network.c bindings-c/examples/store.c`.
#include "hs2sync.hpp"
#include "network.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>

namespace {

constexpr std::uint64_t blocks_of_chain = 2000;

std::uint64_t now_us() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

// A failure ends the program, with the library's words.
void must(const hs2::Status &status) {
    if (status) return;
    std::fprintf(stderr, "%s\n", status.text().c_str());
    std::exit(1);
}

template <typename T> T must(hs2::Result<T> result) {
    must(result.status());
    return std::move(result).value();
}

struct Answer {
    std::uint64_t request;
    hs2::Buffer bytes;
};

struct Node {
    network *net;
    hs2::Chain chain;
    hs2::Machine machine;
    std::deque<Answer> answers;
    std::uint64_t height = 0;
    hs2_id head{};
    bool reached = false;

    void apply(const hs2::Call &call) {
        const hs2_call_info info = must(call.info());
        if (info.work != HS2_HOST_WORK_APPLY) return must(machine.stored(now_us(), info.id));
        std::array<hs2_block, 64> blocks;
        for (std::uint64_t next = info.first; next <= info.last;) {
            const std::size_t count = must(call.blocks(chain, next, blocks.data(), blocks.size()));
            height = blocks[count - 1].height;
            head = blocks[count - 1].id;
            next += count;
        }
        must(machine.applied(now_us(), info.id, info.last));
    }

    // Carries out what the machine says until it waits, and returns until when.
    std::uint64_t drain() {
        for (;;) {
            const hs2::Output output = must(machine.poll());
            switch (output.plain.kind) {
            case HS2_OUTPUT_REQUEST:
                answers.push_back({output.plain.id, hs2::Buffer(network_answer(net, output.buffer().bytes()))});
                break;
            case HS2_OUTPUT_VERIFY:
                must(machine.verdict(now_us(), must(output.job().run(chain))));
                break;
            case HS2_OUTPUT_CALL:
                apply(output.call());
                break;
            case HS2_OUTPUT_EVENT: {
                const hs2::Buffer buffer = output.buffer();
                const std::string_view words = buffer.text();
                std::printf("%.*s\n", static_cast<int>(words.size()), words.data());
                reached = reached || (output.plain.code == HS2_EVENT_REACHED && output.plain.height == blocks_of_chain);
                break;
            }
            case HS2_OUTPUT_WAIT:
                return output.plain.deadline_us;
            default:
                break;
            }
        }
    }
};

bool sync(network *net) {
    hs2::Genesis genesis = must(hs2::Genesis::decode(must(hs2::made<hs2::Buffer>([=](hs2_buffer *out) {
        return hs2_genesis_encode(network_genesis(net), out);
    })).bytes()));
    hs2::Config config = must(hs2::Config::create());
    must(config.set("memory_budget", "16 MiB"));
    const hs2::Start start = must(hs2::Start::create(genesis));
    Node node{net, must(hs2::Chain::create(genesis)), must(hs2::Machine::create(config, start, 7, now_us())), {}};
    hs2_id peer{};
    peer.bytes[0] = 1;
    must(node.machine.connected(now_us(), peer, 1));
    must(node.machine.start(now_us()));
    for (std::uint64_t deadline = node.drain(); !node.reached; deadline = node.drain()) {
        if (node.answers.empty()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            if (now_us() >= deadline) must(node.machine.timeout(now_us()));
            continue;
        }
        const Answer answer = node.answers.front();
        node.answers.pop_front();
        must(node.machine.response(now_us(), answer.request, answer.bytes));
    }
    const hs2_id expected = network_head(net);
    const bool right = node.height == blocks_of_chain && std::memcmp(&expected, &node.head, sizeof expected) == 0;
    std::printf("%llu blocks applied, head %s\n", static_cast<unsigned long long>(node.height),
                right ? "as expected" : "WRONG");
    return right;
}

} // namespace

int main() {
    network *net = network_new(blocks_of_chain);
    if (net == nullptr) {
        std::fprintf(stderr, "no network: %s\n", hs2_last_error());
        return 1;
    }
    const bool right = sync(net);
    network_free(net);
    std::size_t left = 0;
    must(hs2::Status(hs2_object_count(&left)));
    if (left != 0) std::fprintf(stderr, "%zu objects were forgotten\n", left);
    return right && left == 0 ? 0 : 1;
}
