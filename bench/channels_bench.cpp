// What bench/channels runs: one producer process, one consumer process, and something between them.
//
//     bench_channels rate|spinning|parked|value WHAT COUNT [BYTES]
//     bench_channels reference WHAT COUNT BYTES
//     bench_channels send|receive FD COUNT BYTES    arrays through a Unix socket, whose other end is another program's
//
// prints one JSON object. Results are checked before they are told.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "runrig/channel/connection.hpp"
#include "runrig/channel/queue.hpp"
#include "runrig/channel/transfer_arrays.hpp"
#include "runrig/channel/transfer_shm.hpp"
#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/shm/nd_array.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "runrig/sync/waiting.hpp"

namespace runrig {
namespace {

constexpr std::size_t message_bytes = 64;
using Message = std::array<std::byte, message_bytes>;
using Bytes = std::vector<std::byte>;

std::int64_t now_ns() { return std::chrono::nanoseconds(Clock::now().time_since_epoch()).count(); }

Message message_of(std::int64_t number) {
  Message made{};
  std::memcpy(made.data(), &number, sizeof number);
  return made;
}
std::int64_t number_in(const Message& message) {
  std::int64_t number = 0;
  std::memcpy(&number, message.data(), sizeof number);
  return number;
}

// What lies between the two. Each has send() and receive() of a Message; some also of Bytes.

struct OurQueue {
  explicit OurQueue(std::size_t) {}
  void send(const Message& message) { small.put(message); }
  Message receive() { return small.get(); }
  void send(const Bytes& bytes) { large.put(bytes); }
  Bytes receive_bytes() { return large.get(); }
  Queue<Message> small;
  Queue<Bytes> large;
};

struct OurBoundedQueue : OurQueue {
  explicit OurBoundedQueue(std::size_t bytes) : OurQueue(bytes) {
    small = Queue<Message>(1000);
    large = Queue<Bytes>(4);
  }
};

struct OurSimpleQueue {
  explicit OurSimpleQueue(std::size_t) {}
  void send(const Message& message) { small.put(message); }
  Message receive() { return small.get(); }
  SimpleQueue<Message> small;
};

struct OurPipe {
  explicit OurPipe(std::size_t) : pipe(Direction::receive) {}
  void send(const Message& message) { pipe.second.send_bytes(message); }
  Message receive() {
    Message message;
    (void)pipe.first.recv_bytes_into(message);
    return message;
  }
  void send(const Bytes& bytes) { pipe.second.send(bytes); }
  Bytes receive_bytes() { return pipe.first.recv<Bytes>(); }
  Pipe pipe;
};

struct BarePipe {
  explicit BarePipe(std::size_t bytes) : large(bytes) {
    int ends[2];
    check_errno(::pipe2(ends, O_CLOEXEC), "make", "pipe");
    out = UniqueFd(ends[0]);
    in = UniqueFd(ends[1]);
  }
  void send(const Message& message) { write_all(message.data(), message.size()); }
  Message receive() {
    Message message;
    read_all(message.data(), message.size());
    return message;
  }
  void send(const Bytes& bytes) { write_all(bytes.data(), bytes.size()); }
  Bytes receive_bytes() {
    Bytes bytes(large);
    read_all(bytes.data(), bytes.size());
    return bytes;
  }
  void write_all(const std::byte* data, std::size_t bytes) const {
    while (bytes > 0) {
      const auto done = check_errno(::write(in.get(), data, bytes), "write to", "pipe");
      data += done;
      bytes -= static_cast<std::size_t>(done);
    }
  }
  void read_all(std::byte* data, std::size_t bytes) const {
    while (bytes > 0) {
      const auto done = check_errno(::read(out.get(), data, bytes), "read from", "pipe");
      if (done == 0) throw std::runtime_error("the pipe is closed");
      data += done;
      bytes -= static_cast<std::size_t>(done);
    }
  }
  std::size_t large;
  UniqueFd out, in;
};

struct BoostQueue {
  explicit BoostQueue(std::size_t bytes) : large(bytes), name("runrig-bench-" + std::to_string(::getpid())) {
    using boost::interprocess::message_queue;
    message_queue::remove(name.c_str());
    queue = std::make_unique<message_queue>(boost::interprocess::create_only, name.c_str(),
                                            bytes > message_bytes ? 4 : 1000, std::max(bytes, message_bytes));
    message_queue::remove(name.c_str());
  }
  void send(const Message& message) { queue->send(message.data(), message.size(), 0); }
  Message receive() {
    Message message;
    boost::interprocess::message_queue::size_type got = 0;
    unsigned priority = 0;
    queue->receive(message.data(), message.size(), got, priority);
    return message;
  }
  void send(const Bytes& bytes) { queue->send(bytes.data(), bytes.size(), 0); }
  Bytes receive_bytes() {
    Bytes bytes(large);
    boost::interprocess::message_queue::size_type got = 0;
    unsigned priority = 0;
    queue->receive(bytes.data(), bytes.size(), got, priority);
    return bytes;
  }
  std::size_t large;
  std::string name;
  std::unique_ptr<boost::interprocess::message_queue> queue;
};

// The limit: one producer and one consumer that never sleep, and nothing that survives a death.
struct BareRing {
  static constexpr std::size_t cells = 1024;
  struct alignas(128) Count {
    std::atomic<std::uint64_t> value{0};
  };
  struct Shared {
    Count put, got;
    Message ring[cells];
  };
  explicit BareRing(std::size_t)
      : memory(AnonymousMemory::create("bench-ring", sizeof(Shared))),
        shared(*new (memory.writable_bytes().data()) Shared) {}
  void send(const Message& message) {
    while (count - known == cells) known = shared.got.value.load(std::memory_order_acquire);  // pairs with receive()
    shared.ring[count % cells] = message;
    shared.put.value.store(++count, std::memory_order_release);  // pairs with receive()
  }
  Message receive() {
    while (known == count) known = shared.put.value.load(std::memory_order_acquire);  // pairs with send()
    const Message message = shared.ring[count % cells];
    shared.got.value.store(++count, std::memory_order_release);  // pairs with send()
    return message;
  }
  AnonymousMemory memory;
  Shared& shared;
  std::uint64_t count = 0, known = 0;
};

void wait_for(pid_t child) {
  int status = 0;
  check_errno(::waitpid(child, &status, 0), "wait for", "producer");
  if (status != 0) throw std::runtime_error("the producer failed");
}

template <class Body>
pid_t in_child(const Body& body) {
  const pid_t child = check_errno(::fork(), "fork", "producer");
  if (child != 0) return child;
  try {
    body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "producer: %s\n", error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

// Messages a second.
template <class Between>
void rate(std::int64_t count) {
  Between between(message_bytes);
  const pid_t child = in_child([&] {
    for (std::int64_t i = 0; i < count; ++i) between.send(message_of(i));
  });
  if (number_in(between.receive()) != 0) throw std::runtime_error("the first message is wrong");
  const auto begin = now_ns();
  for (std::int64_t i = 1; i < count; ++i) {
    if (number_in(between.receive()) != i) throw std::runtime_error("a message is wrong, or out of order");
  }
  const auto seconds = static_cast<double>(now_ns() - begin) / 1e9;
  wait_for(child);
  std::printf("{\"per_second\": %.0f}\n", static_cast<double>(count - 1) / seconds);
}

void tell_latencies(std::vector<std::int64_t> times) {
  std::sort(times.begin(), times.end());
  std::printf("{\"median_ns\": %lld, \"p99_ns\": %lld}\n", static_cast<long long>(times[times.size() / 2]),
              static_cast<long long>(times[times.size() * 99 / 100]));
}

// There and back at once, so that both ends still look when the message comes. Half of the time.
template <class Between>
void spinning(std::int64_t count) {
  Between there(message_bytes);
  Between back(message_bytes);
  const pid_t child = in_child([&] {
    for (std::int64_t i = 0; i < count; ++i) back.send(there.receive());
  });
  std::vector<std::int64_t> times;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto begin = now_ns();
    there.send(message_of(i));
    if (number_in(back.receive()) != i) throw std::runtime_error("a message is wrong");
    times.push_back((now_ns() - begin) / 2);
  }
  wait_for(child);
  tell_latencies(std::move(times));
}

// From before send() to after receive(), which has been waiting for half a millisecond. The clock is one for both.
template <class Between>
void parked(std::int64_t count) {
  Between between(message_bytes);
  const pid_t child = in_child([&] {
    for (std::int64_t i = 0; i < count; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(500));
      between.send(message_of(now_ns()));
    }
  });
  std::vector<std::int64_t> times;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto sent = number_in(between.receive());
    times.push_back(now_ns() - sent);
  }
  wait_for(child);
  tell_latencies(std::move(times));
}

// Arrays by value, GB/s.
template <class Between>
void value(std::int64_t count, std::size_t bytes) {
  Between between(bytes);
  const pid_t child = in_child([&] {
    Bytes array(bytes);
    for (std::int64_t i = 0; i < count; ++i) {
      std::memcpy(array.data() + bytes - sizeof i, &i, sizeof i);
      between.send(array);
    }
  });
  (void)between.receive_bytes();
  const auto begin = now_ns();
  for (std::int64_t i = 1; i < count; ++i) {
    const Bytes array = between.receive_bytes();
    if (array.size() != bytes || std::memcmp(array.data() + bytes - sizeof i, &i, sizeof i) != 0) {
      throw std::runtime_error("an array is wrong");
    }
  }
  const auto spent = static_cast<double>(now_ns() - begin);
  wait_for(child);
  std::printf("{\"gb_per_second\": %.4f}\n", static_cast<double>(count - 1) * static_cast<double>(bytes) / spent);
}

// Arrays that lie in shared memory, one after the other, each read at its end: ns for one, there and back.
void reference(std::int64_t count, std::size_t bytes) {
  const Queue<NdArray<double>> there;
  const Queue<int> back;
  const pid_t child = in_child([&] {
    for (std::int64_t i = 0; i < count; ++i) {
      auto array = there.get();
      array(0) = array(array.size() - 1) + 1;
      back.put(1);
    }
  });
  auto array = NdArray<double>::create_anonymous({bytes / sizeof(double)});
  std::fill(array.span().begin(), array.span().end(), 1.0);
  std::vector<std::int64_t> times;
  for (std::int64_t i = 0; i < count; ++i) {
    array(array.size() - 1) = static_cast<double>(i);
    const auto begin = now_ns();
    there.put(array);
    (void)back.get();
    times.push_back(now_ns() - begin);
    if (array(0) != static_cast<double>(i) + 1) throw std::runtime_error("the array was not the same");
  }
  wait_for(child);
  tell_latencies(std::move(times));
}

// The ends of what bench/channels measures with a Python at the other end.
void send_arrays(int socket, std::int64_t count, std::size_t bytes) {
  Connection connection{UniqueFd(socket)};
  auto array = NdArray<double>::create_anonymous({bytes / sizeof(double)});
  for (std::int64_t i = 0; i < count; ++i) {
    array(array.size() - 1) = static_cast<double>(i);
    connection.send(by_value(array));
  }
}
void receive_arrays(int socket, std::int64_t count, std::size_t bytes) {
  Connection connection{UniqueFd(socket)};
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto array = connection.recv<ByValue<double>>();
    if (array.size() != bytes / sizeof(double) || array(array.size() - 1) != static_cast<double>(i)) {
      throw std::runtime_error("an array is wrong");
    }
    if (i == 0) begin = now_ns();
  }
  const auto spent = static_cast<double>(now_ns() - begin);
  std::printf("{\"gb_per_second\": %.4f}\n", static_cast<double>(count - 1) * static_cast<double>(bytes) / spent);
}

template <class Between>
void run(std::string_view what, std::int64_t count, std::size_t bytes) {
  if (what == "rate") return rate<Between>(count);
  if (what == "spinning") return spinning<Between>(count);
  if (what == "parked") return parked<Between>(count);
  if constexpr (requires(Between & between) { between.receive_bytes(); }) {
    if (what == "value") return value<Between>(count, bytes);
  }
  throw std::invalid_argument("measure " + std::string(what) + ": not of this");
}

void run(std::string_view what, std::string_view between, std::int64_t count, std::size_t bytes) {
  if (what == "reference") return reference(count, bytes);
  if (what == "send") return send_arrays(std::stoi(std::string(between)), count, bytes);
  if (what == "receive") return receive_arrays(std::stoi(std::string(between)), count, bytes);
  if (between == "queue") return run<OurQueue>(what, count, bytes);
  if (between == "bounded") return run<OurBoundedQueue>(what, count, bytes);
  if (between == "simple") return run<OurSimpleQueue>(what, count, bytes);
  if (between == "pipe") return run<OurPipe>(what, count, bytes);
  if (between == "bare-pipe") return run<BarePipe>(what, count, bytes);
  if (between == "boost") return run<BoostQueue>(what, count, bytes);
  if (between == "ring") return run<BareRing>(what, count, bytes);
  throw std::invalid_argument("nothing is called " + std::string(between));
}

}  // namespace
}  // namespace runrig

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr,
                 "usage: bench_channels rate|spinning|parked|value|reference|send|receive WHAT COUNT [BYTES]\n");
    return 2;
  }
  try {
    runrig::run(argv[1], argv[2], std::stoll(argv[3]), argc > 4 ? std::stoull(argv[4]) : 0);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_channels: %s\n", error.what());
    return 1;
  }
}
