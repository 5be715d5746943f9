#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "runrig/channel/queue.hpp"

/// Messages that tell whose they are, and a record of what became of them that survives the death of its writer.
namespace runrig::test {

struct Note {
  int producer = 0;
  int number = 0;
  std::string body;
  friend bool operator==(const Note&, const Note&) = default;
};

/// Of several lengths: beside others, almost too long for that, and in a block of its own.
inline Note note(int producer, int number) {
  const std::size_t length = number % 7 == 3 ? 5000 : number % 7 == 5 ? 1500 : static_cast<std::size_t>(number % 40);
  return {producer, number, std::string(length, static_cast<char>('a' + (producer + number) % 26))};
}

/// What one process did; written by it alone. In memory that is shared.
class Ledger {
 public:
  static constexpr std::size_t most = 16'384;

  // Relaxed, all of it: it is read when the writer is dead.
  void put(const Queue<Note>& queue, const Note& what) {
    begun_.store(what.number + 1, std::memory_order_relaxed);
    queue.put(what);
    done_.store(what.number + 1, std::memory_order_relaxed);
  }
  void get(const Queue<Note>& queue) { record(queue.get()); }
  void record(const Note& got) {
    if (got != note(got.producer, got.number)) bad_.store(1, std::memory_order_relaxed);
    const int place = count_.load(std::memory_order_relaxed);
    received_[static_cast<std::size_t>(place)] = {got.producer, got.number};
    count_.store(place + 1, std::memory_order_release);
  }

  [[nodiscard]] int begun() const { return begun_.load(std::memory_order_relaxed); }
  [[nodiscard]] int done() const { return done_.load(std::memory_order_relaxed); }
  /// Adds what it received to `all`, by producer.
  void read(std::map<int, std::vector<int>>& all) const {
    EXPECT_EQ(bad_.load(), 0) << "a message was not as it was put";
    for (int i = 0; i < count_.load(); ++i) {
      const auto& each = received_[static_cast<std::size_t>(i)];
      all[each.producer].push_back(each.number);
    }
  }
  [[nodiscard]] bool full() const { return static_cast<std::size_t>(count_.load()) == most; }

 private:
  struct Received {
    int producer;
    int number;
  };
  std::atomic<int> begun_;
  std::atomic<int> done_;
  std::atomic<int> count_;
  std::atomic<int> bad_;
  std::array<Received, most> received_;
};

}  // namespace runrig::test
