#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "runrig/shm/shape.hpp"

namespace runrig::hdf5::detail {

/// Decoded chunks, the longest unused dropped first. Holds at least the one used last.
class ChunkCache {
 public:
  explicit ChunkCache(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  /// The chunk's bytes, or nullptr.
  [[nodiscard]] std::vector<std::byte>* find(std::uint64_t key, const Shape& start) {
    const auto at = by_key_.find(key);
    // Keys are hashes: the coordinates decide.
    if (at == by_key_.end() || !(at->second->start == start)) return nullptr;
    entries_.splice(entries_.begin(), entries_, at->second);
    return &entries_.front().bytes;
  }

  /// Room for a chunk, which is in the cache from now on: call drop_newest() if filling it fails.
  [[nodiscard]] std::vector<std::byte>& insert(std::uint64_t key, const Shape& start, std::size_t bytes) {
    std::vector<std::byte> buffer;
    if (const auto same = by_key_.find(key); same != by_key_.end()) buffer = drop(same->second);
    while (!entries_.empty() && used_bytes_ + bytes + entry_bytes > limit_bytes_) {
      buffer = drop(std::prev(entries_.end()));  // its memory is used again: fresh pages cost more than decoding
    }
    buffer.resize(bytes);
    entries_.push_front({key, start, std::move(buffer)});
    by_key_[key] = entries_.begin();
    used_bytes_ += bytes + entry_bytes;
    return entries_.front().bytes;
  }
  void drop_newest() { (void)drop(entries_.begin()); }

 private:
  struct Entry {
    std::uint64_t key;
    Shape start;
    std::vector<std::byte> bytes;
  };
  static constexpr std::size_t entry_bytes = sizeof(Entry) + 64;  // with what list and map add

  std::vector<std::byte> drop(std::list<Entry>::iterator entry) {
    std::vector<std::byte> buffer = std::move(entry->bytes);
    used_bytes_ -= buffer.size() + entry_bytes;
    by_key_.erase(entry->key);
    entries_.erase(entry);
    return buffer;
  }

  std::size_t limit_bytes_;
  std::size_t used_bytes_ = 0;
  std::list<Entry> entries_;  // the last used first
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> by_key_;
};

}  // namespace runrig::hdf5::detail
