#include "journal.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <span>

#include "runrig/channel/pickle.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig::batch {
namespace {

constexpr std::size_t action_bytes = 1024;

}  // namespace

struct Journal::Head {
  std::atomic<std::uint64_t> committed;  // bytes of whole records
  std::atomic<std::uint32_t> next;       // item of the task
  char action[action_bytes];             // ends at the first NUL or at its end; torn if the worker died writing it
};

Journal::Head& Journal::head() const noexcept { return *std::launder(reinterpret_cast<Head*>(memory_)); }
std::byte* Journal::payload() const noexcept { return memory_ + sizeof(Head); }
std::size_t Journal::capacity() const noexcept { return size_bytes_ - sizeof(Head); }

void Journal::reset() const noexcept {
  auto* fresh = new (memory_) Head;
  // Relaxed: the launch that follows publishes it.
  fresh->committed.store(0, std::memory_order_relaxed);
  fresh->next.store(0, std::memory_order_relaxed);
  fresh->action[0] = '\0';
}

void Journal::act(std::string_view action) const noexcept {
  const std::size_t length = std::min(action.size(), action_bytes - 1);
  std::memcpy(head().action, action.data(), length);
  head().action[length] = '\0';
}

// Relaxed, both: read by the same process, or by others after the writer's end was learnt through the launch.
void Journal::set_next(std::uint32_t item) const noexcept { head().next.store(item, std::memory_order_relaxed); }
std::uint32_t Journal::next() const noexcept { return head().next.load(std::memory_order_relaxed); }

void Journal::append(const pickle::Object& record) const {
  const auto bytes = pickle::dumps(record);
  // Relaxed: this process is the only writer; an attempt before this one ended with its process.
  const std::uint64_t used = head().committed.load(std::memory_order_relaxed);
  const std::uint64_t length = bytes.size();
  if (used > capacity() || capacity() - used < sizeof length || capacity() - used - sizeof length < length) {
    throw Error(std::errc::no_buffer_space, "report more than " + std::to_string(capacity() >> 20) + " MiB about",
                "a file");
  }
  std::memcpy(payload() + used, &length, sizeof length);
  std::memcpy(payload() + used + sizeof length, bytes.data(), bytes.size());
  RUNRIG_KILLPOINT("batch.journal.written");
  // Release: pairs with the acquire in records(). Who sees the new length sees the whole record.
  head().committed.store(used + sizeof length + length, std::memory_order_release);
}

std::string Journal::action() const {
  const char* text = head().action;
  return {text, ::strnlen(text, action_bytes)};
}

std::vector<pickle::Object> Journal::records() const {
  // Acquire: pairs with the release in append().
  const std::uint64_t committed = head().committed.load(std::memory_order_acquire);
  if (committed > capacity()) throw FormatError("read the report of", "a worker", "it is longer than its memory");
  // A copy: a worker gone wild may still write to the original while it is being read.
  const std::vector<std::byte> bytes(payload(), payload() + committed);
  std::vector<pickle::Object> all;
  std::span<const std::byte> rest(bytes);
  while (!rest.empty()) {
    std::uint64_t length = 0;
    if (rest.size() < sizeof length) throw FormatError("read the report of", "a worker", "a record is cut");
    std::memcpy(&length, rest.data(), sizeof length);
    rest = rest.subspan(sizeof length);
    if (length > rest.size()) throw FormatError("read the report of", "a worker", "a record is cut");
    pickle::Limits limits;
    limits.max_memory = 256U << 20;
    limits.source = "report of a worker";
    all.push_back(pickle::loads(rest.first(length), limits));
    rest = rest.subspan(length);
  }
  return all;
}

}  // namespace runrig::batch
